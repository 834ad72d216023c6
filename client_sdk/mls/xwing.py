"""X-Wing, the hybrid post-quantum KEM of X25519 and ML-KEM-768 (draft-connolly-cfrg-xwing-kem).

Key generation is determined by its seed. Encapsulation is not wholly determined by ``rng``: `cryptography`
draws ML-KEM's own share of the randomness itself and takes none from outside; only the X25519 share is ours.
"""

from __future__ import annotations

import hashlib
from dataclasses import dataclass

from cryptography.hazmat.primitives.asymmetric.mlkem import MLKEM768PrivateKey, MLKEM768PublicKey
from nacl.bindings import crypto_scalarmult, crypto_scalarmult_base
from nacl.exceptions import CryptoError as NaClCryptoError

from .errors import CryptoError
from .hpke import KemKeyPair, Rng, draw

_LABEL = b"\\.//^\\"
_SEED_LENGTH = 32
_MLKEM_SEED_LENGTH = 64
_MLKEM_PUBLIC_LENGTH = 1184
_MLKEM_CIPHERTEXT_LENGTH = 1088
_X25519_LENGTH = 32
_PUBLIC_LENGTH = _MLKEM_PUBLIC_LENGTH + _X25519_LENGTH
_CIPHERTEXT_LENGTH = _MLKEM_CIPHERTEXT_LENGTH + _X25519_LENGTH


@dataclass(frozen=True, slots=True)
class XWing:
    """X-Wing as HPKE's KEM 0x647a: private keys are 32-byte seeds, public keys 1216 bytes."""

    id: int = 0x647A

    def generate_key_pair(self, rng: Rng) -> KemKeyPair:
        """A fresh key pair."""
        seed = draw(rng, _SEED_LENGTH)
        return KemKeyPair(self.public_key(seed), seed)

    def derive_key_pair(self, seed: bytes) -> KemKeyPair:
        """The key pair that keying material determines (DeriveKeyPair): its SHAKE-256 is the private key."""
        private = hashlib.shake_256(seed).digest(_SEED_LENGTH)
        return KemKeyPair(self.public_key(private), private)

    def public_key(self, private: bytes) -> bytes:
        """The public half of a private key."""
        mlkem, x25519 = _expand(private)
        return mlkem.public_key().public_bytes_raw() + crypto_scalarmult_base(x25519)

    def check_public(self, public: bytes) -> None:
        """Refuse a public key of the wrong length, or whose ML-KEM half FIPS 203 does not admit."""
        _mlkem_public(public)

    def encapsulate(self, public: bytes, rng: Rng) -> tuple[bytes, bytes]:
        """A fresh shared secret and its encapsulation; ML-KEM's randomness is not drawn from ``rng``."""
        lattice_secret, lattice_ciphertext = _mlkem_public(public).encapsulate()
        theirs, ephemeral = public[_MLKEM_PUBLIC_LENGTH:], draw(rng, _X25519_LENGTH)
        ours = crypto_scalarmult_base(ephemeral)
        secret = _combine(lattice_secret, _agree(ephemeral, theirs), ours, theirs)
        return secret, lattice_ciphertext + ours

    def decapsulate(self, private: bytes, encapsulated: bytes) -> bytes:
        """The shared secret behind an encapsulation."""
        if len(encapsulated) != _CIPHERTEXT_LENGTH:
            raise CryptoError("KEM-ENCAPSULATION", "an X-Wing encapsulation is not 1120 bytes long")
        mlkem, x25519 = _expand(private)
        theirs = encapsulated[_MLKEM_CIPHERTEXT_LENGTH:]
        lattice_secret = mlkem.decapsulate(encapsulated[:_MLKEM_CIPHERTEXT_LENGTH])
        return _combine(lattice_secret, _agree(x25519, theirs), theirs, crypto_scalarmult_base(x25519))


def _expand(private: bytes) -> tuple[MLKEM768PrivateKey, bytes]:
    """The two private keys a seed stands for."""
    if len(private) != _SEED_LENGTH:
        raise CryptoError("KEM-KEY", "an X-Wing private key is not 32 bytes long")
    expanded = hashlib.shake_256(private).digest(_MLKEM_SEED_LENGTH + _X25519_LENGTH)
    mlkem = MLKEM768PrivateKey.from_seed_bytes(expanded[:_MLKEM_SEED_LENGTH])
    return mlkem, expanded[_MLKEM_SEED_LENGTH:]


def _mlkem_public(public: bytes) -> MLKEM768PublicKey:
    if len(public) != _PUBLIC_LENGTH:
        raise CryptoError("KEM-KEY", "an X-Wing public key is not 1216 bytes long")
    try:
        return MLKEM768PublicKey.from_public_bytes(public[:_MLKEM_PUBLIC_LENGTH])
    except ValueError:
        raise CryptoError("KEM-LATTICE-KEY", "an ML-KEM-768 public key is not one") from None


def _agree(private: bytes, public: bytes) -> bytes:
    try:
        return crypto_scalarmult(private, public)
    except NaClCryptoError:  # libsodium refuses the all-zero output of low-order points
        raise CryptoError("KEM-LOW-ORDER", "the X25519 half of a public key is of low order") from None


def _combine(lattice: bytes, curve: bytes, curve_ciphertext: bytes, curve_public: bytes) -> bytes:
    """The combiner: SHA3-256 over both secrets and the X25519 transcript."""
    joined = lattice + curve + curve_ciphertext + curve_public + _LABEL
    return hashlib.sha3_256(joined).digest()
