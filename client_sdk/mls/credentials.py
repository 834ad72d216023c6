"""Credentials, signature keys, and the Authentication Service the application must supply (section 5.3)."""

from __future__ import annotations

import hmac
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Protocol

from .codec import Reader, opaque, u16
from .errors import CryptoError
from .hpke import Rng, draw
from .suites import CipherSuite, signature_public_key

if TYPE_CHECKING:
    from .leaf_node import LeafNode

CREDENTIAL_BASIC = 1


@dataclass(frozen=True, slots=True)
class BasicCredential:
    """A bare identity, whose meaning the application defines."""

    identity: bytes

    @property
    def credential_type(self) -> int:
        """Always 1."""
        return CREDENTIAL_BASIC

    @property
    def content(self) -> bytes:
        """The bytes inside the credential."""
        return self.identity


@dataclass(frozen=True, slots=True)
class OpaqueCredential:
    """A credential of another type, kept as the one vector it consists of."""

    credential_type: int
    content: bytes


Credential = BasicCredential | OpaqueCredential


def serialize_credential(credential: Credential) -> bytes:
    """Encode a Credential."""
    return u16(credential.credential_type) + opaque(credential.content)


def parse_credential(reader: Reader) -> Credential:
    """Decode a Credential; every registered type is one vector."""
    credential_type = reader.u16()
    content = reader.opaque()
    if credential_type == CREDENTIAL_BASIC:
        return BasicCredential(content)
    return OpaqueCredential(credential_type, content)


@dataclass(frozen=True, slots=True)
class SignatureKeyPair:
    """An Ed25519 key pair: 32-byte public key, 32-byte seed. The halves must belong together.

    Signing under a public key that is not the seed's would give the seed away.
    """

    public: bytes
    private: bytes = field(repr=False)

    def __post_init__(self) -> None:
        if not hmac.compare_digest(signature_public_key(self.private), self.public):
            raise CryptoError("SIGNATURE-KEY", "the halves of a signature key pair do not belong together")

    def sign(self, suite: CipherSuite, label: bytes, content: bytes) -> bytes:
        """SignWithLabel under this key."""
        return suite.sign_with_label(self.private, self.public, label, content)


def generate_signature_key(suite: CipherSuite, rng: Rng) -> SignatureKeyPair:  # noqa: ARG001  the suite names the scheme
    """A fresh signature key pair for the suite (Ed25519 in all of them)."""
    private = draw(rng, 32)
    return SignatureKeyPair(signature_public_key(private), private)


class AuthenticationService(Protocol):
    """The application's judgement on who is who. Both methods raise to refuse; there is no default."""

    def verify_credential(self, credential: Credential, signature_key: bytes) -> None:
        """Whether this credential legitimately holds this signature key."""

    def verify_successor(self, old: LeafNode, new: LeafNode) -> None:
        """Whether ``new`` may take the place of ``old`` (Update, commit path, external re-join)."""
