"""GroupInfo and Welcome (RFC 9420 section 12.4.3)."""

from __future__ import annotations

from dataclasses import dataclass, field, replace

from .codec import Reader, opaque, optional, parse_all, u16, u32, vector
from .credentials import SignatureKeyPair
from .errors import CryptoError
from .extensions import Extensions, parse_extensions, serialize_extensions
from .key_schedule import GroupContext, parse_group_context
from .psk import PreSharedKeyID, parse_psk_id
from .suites import CipherSuite
from .update_path import HpkeCiphertext, parse_hpke_ciphertext

_LABEL = b"GroupInfoTBS"
WELCOME_LABEL = b"Welcome"


@dataclass(frozen=True, slots=True)
class GroupInfo:
    """A signed description of an epoch, enough to join it."""

    group_context: GroupContext
    extensions: Extensions
    confirmation_tag: bytes
    signer: int
    signature: bytes

    def _tbs(self) -> bytes:
        return b"".join(
            (
                self.group_context.encoded,
                serialize_extensions(self.extensions),
                opaque(self.confirmation_tag),
                u32(self.signer),
            )
        )

    def signed_by(self, suite: CipherSuite, key: SignatureKeyPair) -> GroupInfo:
        """The same GroupInfo with a fresh signature."""
        return replace(self, signature=key.sign(suite, _LABEL, self._tbs()))

    def verify_signature(self, suite: CipherSuite, public: bytes) -> None:
        """Raise `CryptoError` unless the signer's key signed this."""
        suite.verify_with_label(public, _LABEL, self._tbs(), self.signature, "GROUPINFO-SIGNATURE")

    def serialize(self) -> bytes:
        """Encode the GroupInfo."""
        return self._tbs() + opaque(self.signature)


def parse_group_info(reader: Reader) -> GroupInfo:
    """Decode a GroupInfo."""
    return GroupInfo(
        group_context=parse_group_context(reader),
        extensions=parse_extensions(reader),
        confirmation_tag=reader.opaque(),
        signer=reader.u32(),
        signature=reader.opaque(),
    )


@dataclass(frozen=True, slots=True)
class GroupSecrets:
    """What a Welcome holds for one joiner."""

    joiner_secret: bytes = field(repr=False)
    path_secret: bytes | None = field(repr=False)
    psks: tuple[PreSharedKeyID, ...]

    def serialize(self) -> bytes:
        """Encode the GroupSecrets."""
        path = optional(None if self.path_secret is None else opaque(self.path_secret))
        return opaque(self.joiner_secret) + path + vector(entry.serialize() for entry in self.psks)

    @staticmethod
    def parse(data: bytes) -> GroupSecrets:
        """Decode GroupSecrets that fill ``data``."""
        return parse_all(data, _parse_group_secrets)


def _parse_group_secrets(reader: Reader) -> GroupSecrets:
    return GroupSecrets(reader.opaque(), reader.optional(Reader.opaque), reader.vector(parse_psk_id))


@dataclass(frozen=True, slots=True)
class EncryptedGroupSecrets:
    """GroupSecrets encrypted for the key package with that reference."""

    new_member: bytes
    encrypted: HpkeCiphertext

    def serialize(self) -> bytes:
        """Encode the EncryptedGroupSecrets."""
        return opaque(self.new_member) + self.encrypted.serialize()


def _parse_encrypted_secrets(reader: Reader) -> EncryptedGroupSecrets:
    return EncryptedGroupSecrets(reader.opaque(), parse_hpke_ciphertext(reader))


@dataclass(frozen=True, slots=True)
class Welcome:
    """The message by which added clients join."""

    cipher_suite: int
    secrets: tuple[EncryptedGroupSecrets, ...]
    encrypted_group_info: bytes

    def serialize(self) -> bytes:
        """Encode the Welcome."""
        listed = vector(entry.serialize() for entry in self.secrets)
        return u16(self.cipher_suite) + listed + opaque(self.encrypted_group_info)


def parse_welcome(reader: Reader) -> Welcome:
    """Decode a Welcome."""
    return Welcome(reader.u16(), reader.vector(_parse_encrypted_secrets), reader.opaque())


def _group_info_key(suite: CipherSuite, welcome_secret: bytes) -> tuple[bytes, bytes]:
    aead = suite.aead
    key = suite.expand_with_label(welcome_secret, b"key", b"", aead.key_length)
    return key, suite.expand_with_label(welcome_secret, b"nonce", b"", aead.nonce_length)


def seal_group_info(suite: CipherSuite, welcome_secret: bytes, group_info: GroupInfo) -> bytes:
    """Encrypt a GroupInfo for a Welcome."""
    key, nonce = _group_info_key(suite, welcome_secret)
    return suite.aead.seal(key, nonce, b"", group_info.serialize())


def open_group_info(suite: CipherSuite, welcome_secret: bytes, encrypted: bytes) -> GroupInfo:
    """Decrypt and decode the GroupInfo of a Welcome."""
    key, nonce = _group_info_key(suite, welcome_secret)
    try:
        plain = suite.aead.open(key, nonce, b"", encrypted)
    except CryptoError:
        raise CryptoError("WELCOME-GROUPINFO", "a Welcome's GroupInfo does not decrypt") from None
    return parse_all(plain, parse_group_info)
