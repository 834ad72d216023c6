"""GroupContext, epoch secrets and transcript hashes (RFC 9420 section 8)."""

from __future__ import annotations

from dataclasses import dataclass, field
from functools import cached_property

from .codec import Reader, opaque, parse_all, u16, u64
from .extensions import Extensions, parse_extensions, serialize_extensions
from .hpke import KemKeyPair
from .suites import CipherSuite

EXTERNAL_INIT_LABEL = b"MLS 1.0 external init secret"


@dataclass(frozen=True)  # not slotted: the encoding is cached, every signature covers it
class GroupContext:
    """What all members of an epoch agree on (section 8.1)."""

    version: int
    cipher_suite: int
    group_id: bytes
    epoch: int
    tree_hash: bytes
    confirmed_transcript_hash: bytes
    extensions: Extensions

    @cached_property
    def encoded(self) -> bytes:
        """The canonical encoding."""
        return b"".join(
            (
                u16(self.version),
                u16(self.cipher_suite),
                opaque(self.group_id),
                u64(self.epoch),
                opaque(self.tree_hash),
                opaque(self.confirmed_transcript_hash),
                serialize_extensions(self.extensions),
            )
        )

    def serialize(self) -> bytes:
        """Encode the GroupContext."""
        return self.encoded

    @staticmethod
    def parse(data: bytes) -> GroupContext:
        """Decode a GroupContext that fills ``data``."""
        return parse_all(data, parse_group_context)


def parse_group_context(reader: Reader) -> GroupContext:
    """Decode a GroupContext; version and suite are checked by whoever uses it."""
    return GroupContext(
        version=reader.u16(),
        cipher_suite=reader.u16(),
        group_id=reader.opaque(),
        epoch=reader.u64(),
        tree_hash=reader.opaque(),
        confirmed_transcript_hash=reader.opaque(),
        extensions=parse_extensions(reader),
    )


@dataclass(frozen=True, slots=True)
class EpochSecrets:
    """The secrets of one epoch that live as long as it does."""

    sender_data_secret: bytes = field(repr=False)
    exporter_secret: bytes = field(repr=False)
    external_secret: bytes = field(repr=False)
    membership_key: bytes = field(repr=False)
    resumption_psk: bytes = field(repr=False)
    epoch_authenticator: bytes = field(repr=False)
    init_secret: bytes = field(repr=False)

    def external_key_pair(self, suite: CipherSuite) -> KemKeyPair:
        """The key pair external joiners encrypt to (section 8.3)."""
        return suite.derive_key_pair(self.external_secret)


@dataclass(frozen=True, slots=True)
class FreshSecrets:
    """Secrets used up while an epoch begins: the first feeds the secret tree, the second the one tag."""

    encryption_secret: bytes = field(repr=False)
    confirmation_key: bytes = field(repr=False)


def derive_epoch(suite: CipherSuite, epoch_secret: bytes) -> tuple[EpochSecrets, FreshSecrets]:
    """All secrets of an epoch (section 8, table 4)."""

    def derive(label: bytes) -> bytes:
        return suite.derive_secret(epoch_secret, label)

    secrets = EpochSecrets(
        sender_data_secret=derive(b"sender data"),
        exporter_secret=derive(b"exporter"),
        external_secret=derive(b"external"),
        membership_key=derive(b"membership"),
        resumption_psk=derive(b"resumption"),
        epoch_authenticator=derive(b"authentication"),
        init_secret=derive(b"init"),
    )
    return secrets, FreshSecrets(derive(b"encryption"), derive(b"confirm"))


def joiner_secret(
    suite: CipherSuite, init_secret: bytes, commit_secret: bytes, context: GroupContext
) -> bytes:
    """The secret a Welcome hands to joiners."""
    mixed = suite.extract(init_secret, commit_secret)
    return suite.expand_with_label(mixed, b"joiner", context.encoded, suite.hash_length)


def _member_secret(suite: CipherSuite, joiner: bytes, psk_secret: bytes) -> bytes:
    return suite.extract(joiner, psk_secret)


def welcome_secret(suite: CipherSuite, joiner: bytes, psk_secret: bytes) -> bytes:
    """The secret that encrypts the GroupInfo of a Welcome."""
    return suite.derive_secret(_member_secret(suite, joiner, psk_secret), b"welcome")


def epoch_secret(suite: CipherSuite, joiner: bytes, psk_secret: bytes, context: GroupContext) -> bytes:
    """The secret all of an epoch's secrets come from."""
    member = _member_secret(suite, joiner, psk_secret)
    return suite.expand_with_label(member, b"epoch", context.encoded, suite.hash_length)


def mls_exporter(
    suite: CipherSuite, exporter_secret: bytes, label: bytes, context: bytes, length: int
) -> bytes:
    """MLS-Exporter (section 8.5)."""
    derived = suite.derive_secret(exporter_secret, label)
    return suite.expand_with_label(derived, b"exported", suite.hash(context), length)


def next_confirmed_hash(suite: CipherSuite, interim: bytes, commit_input: bytes) -> bytes:
    """confirmed_transcript_hash after a commit; the input is wire format, content and signature (8.2)."""
    return suite.hash(interim + commit_input)


def next_interim_hash(suite: CipherSuite, confirmed: bytes, confirmation_tag: bytes) -> bytes:
    """interim_transcript_hash after a commit (8.2)."""
    return suite.hash(confirmed + opaque(confirmation_tag))
