"""Ed25519 keys that sign only under this protocol's labels (docs/PROTOCOL.md section 1)."""

from __future__ import annotations

import hmac
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Self

from nacl.exceptions import BadSignatureError
from nacl.exceptions import ValueError as NaClValueError
from nacl.signing import SigningKey, VerifyKey

from relay.wire.ids import label

from ..errors import IdentityError, UsageError

Rng = Callable[[int], bytes]
"""Gives so many random bytes; ``os.urandom`` outside tests."""

KEY_BYTES = 32
SIGNATURE_BYTES = 64
_LABEL_START = label("")[:-1]


class SignatureInvalid(IdentityError):
    """A signature does not verify."""

    code = "signature_invalid"


@dataclass(frozen=True, slots=True)
class KeyPair:
    """An Ed25519 key pair: public key and private seed, 32 bytes each."""

    public: bytes
    private: bytes = field(repr=False)

    def __post_init__(self) -> None:
        # Signing under a public key that is not the seed's would give the seed away.
        if not hmac.compare_digest(_public(self.private), self.public):
            raise UsageError(
                "The halves of a key pair do not belong together. Generate or load it as a whole."
            )

    @classmethod
    def from_private(cls, private: bytes) -> Self:
        """The pair of a 32-byte seed."""
        return cls(_public(private), private)

    def sign(self, name: str, message: bytes) -> bytes:
        """sign(key, name, message): 64 bytes over ``label(name) || message``."""
        return self.sign_labelled(label(name) + message)

    def sign_labelled(self, data: bytes) -> bytes:
        """Sign bytes that begin with a label already; refuses any others, whoever asks for it."""
        if not data.startswith(_LABEL_START) or b"\0" not in data:
            raise UsageError("A key of this protocol signs only what begins with a label of this protocol.")
        return bytes(SigningKey(self.private).sign(data).signature)


def _public(private: bytes) -> bytes:
    if not isinstance(private, bytes) or len(private) != KEY_BYTES:
        raise UsageError(f"A private key is {KEY_BYTES} bytes.")
    return bytes(SigningKey(private).verify_key)


def generate_key_pair(rng: Rng) -> KeyPair:
    """A fresh key pair from ``rng``."""
    return KeyPair.from_private(rng(KEY_BYTES))


@dataclass(frozen=True, slots=True)
class IdentityKeys:
    """A new user's two keys: the recovery key goes into the recovery kit and nowhere else."""

    identity: KeyPair
    recovery: KeyPair

    @classmethod
    def generate(cls, rng: Rng) -> Self:
        """Two fresh pairs."""
        return cls(generate_key_pair(rng), generate_key_pair(rng))


def verify_signature(public: bytes, name: str, message: bytes, signature: bytes) -> None:
    """Whether ``signature`` is sign(key, name, message); raises SignatureInvalid.

    libsodium refuses non-canonical signatures and public keys of small order.
    """
    if len(signature) != SIGNATURE_BYTES or len(public) != KEY_BYTES:
        raise SignatureInvalid(
            "A signature or a public key has the wrong length. Do not trust what it signs."
        )
    try:
        VerifyKey(public).verify(label(name) + message, signature)
    except (BadSignatureError, NaClValueError) as error:
        raise SignatureInvalid("A signature does not verify. Do not trust what it signs.") from error
