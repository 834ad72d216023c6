"""Cipher suites and the labelled functions of RFC 9420 section 5.1, 5.2 and 8."""

from __future__ import annotations

import hashlib
import hmac
from dataclasses import dataclass
from functools import lru_cache

from nacl.bindings import crypto_sign, crypto_sign_open, crypto_sign_seed_keypair
from nacl.exceptions import CryptoError as NaClCryptoError

from .codec import opaque, u16, u32
from .errors import CryptoError, UsageError, ValidationError
from .hpke import (
    AES_128_GCM,
    CHACHA20_POLY1305,
    Aead,
    DhKemX25519,
    Hpke,
    Kem,
    KemKeyPair,
    Rng,
    hkdf_expand,
    hkdf_extract,
)
from .xwing import XWing

_SIGNATURE_LENGTH = 64
_SIGNATURE_KEY_LENGTH = 32


@dataclass(frozen=True, slots=True)
class CipherSuite:
    """One MLS cipher suite: an HPKE suite, a hash, and Ed25519 for signatures.

    A further suite is another value of this type; nothing else changes.
    """

    id: int
    name: str
    hpke: Hpke
    hash_name: str = "sha256"
    hash_length: int = 32

    @property
    def aead(self) -> Aead:
        """The AEAD of messages and of HPKE."""
        return self.hpke.aead

    @property
    def kem(self) -> Kem:
        """The KEM of leaf, parent and init keys."""
        return self.hpke.kem

    def hash(self, data: bytes) -> bytes:
        """Hash(data)."""
        return hashlib.new(self.hash_name, data, usedforsecurity=True).digest()

    def mac(self, key: bytes, data: bytes) -> bytes:
        """MAC(key, data): HMAC over the suite's hash."""
        return hmac.digest(key, data, self.hash_name)

    def verify_mac(self, key: bytes, data: bytes, tag: bytes, rule: str) -> None:
        """Compare a MAC in constant time; any other value or length raises `CryptoError`."""
        if not hmac.compare_digest(self.mac(key, data), tag):
            raise CryptoError(rule, "an authentication tag does not verify")

    def extract(self, salt: bytes, ikm: bytes) -> bytes:
        """KDF.Extract."""
        return hkdf_extract(salt, ikm, self.hash_name)

    def expand_with_label(self, secret: bytes, label: bytes, context: bytes, length: int) -> bytes:
        """ExpandWithLabel (section 8)."""
        return hkdf_expand(secret, _kdf_prefix(label, length) + opaque(context), length, self.hash_name)

    def derive_secret(self, secret: bytes, label: bytes) -> bytes:
        """DeriveSecret (section 8)."""
        return self.expand_with_label(secret, label, b"", self.hash_length)

    def derive_tree_secret(self, secret: bytes, label: bytes, generation: int, length: int) -> bytes:
        """DeriveTreeSecret (section 9.1)."""
        return self.expand_with_label(secret, label, u32(generation), length)

    def ref_hash(self, label: bytes, value: bytes) -> bytes:
        """RefHash (section 5.2)."""
        return self.hash(opaque(label) + opaque(value))

    def sign_with_label(self, private: bytes, public: bytes, label: bytes, content: bytes) -> bytes:
        """SignWithLabel (section 5.1.2) under an Ed25519 seed."""
        return crypto_sign(_labeled(label, content), private + public)[:_SIGNATURE_LENGTH]

    def verify_with_label(
        self, public: bytes, label: bytes, content: bytes, signature: bytes, rule: str
    ) -> None:
        """VerifyWithLabel; raises `CryptoError` with ``rule`` (wrong lengths included)."""
        if len(signature) != _SIGNATURE_LENGTH or len(public) != _SIGNATURE_KEY_LENGTH:
            raise CryptoError(rule, "a signature or its key has the wrong length")
        try:
            crypto_sign_open(signature + _labeled(label, content), public)
        except NaClCryptoError:
            raise CryptoError(rule, "a signature does not verify") from None

    def encrypt_with_label(
        self, public: bytes, label: bytes, context: bytes, plaintext: bytes, rng: Rng
    ) -> tuple[bytes, bytes]:
        """EncryptWithLabel (section 5.1.3): (kem_output, ciphertext)."""
        return self.hpke.seal(public, _labeled(label, context), plaintext, rng)

    def decrypt_with_label(
        self, private: bytes, label: bytes, context: bytes, kem_output: bytes, ciphertext: bytes
    ) -> bytes:
        """DecryptWithLabel (section 5.1.3)."""
        return self.hpke.open(private, kem_output, _labeled(label, context), ciphertext)

    def derive_key_pair(self, secret: bytes) -> KemKeyPair:
        """The KEM key pair a secret determines."""
        return self.kem.derive_key_pair(secret)


def _labeled(label: bytes, content: bytes) -> bytes:
    return opaque(b"MLS 1.0 " + label) + opaque(content)


@lru_cache(maxsize=256)  # a bound on memory only: labels are constants but for the exporter's
def _kdf_prefix(label: bytes, length: int) -> bytes:
    if length > 0xFFFF:
        raise UsageError(None, "more bytes asked than a KDF label can express")
    return u16(length) + opaque(b"MLS 1.0 " + label)


SUITE_1 = CipherSuite(1, "MLS_128_DHKEMX25519_AES128GCM_SHA256_Ed25519", Hpke(DhKemX25519(), AES_128_GCM))
SUITE_3 = CipherSuite(
    3, "MLS_128_DHKEMX25519_CHACHA20POLY1305_SHA256_Ed25519", Hpke(DhKemX25519(), CHACHA20_POLY1305)
)
SUITE_XWING = CipherSuite(
    0xF00E,  # of the range RFC 9420 section 17.1 leaves to private use; no registered suite has X-Wing yet
    "MLS_256_XWING_CHACHA20POLY1305_SHA512_Ed25519",
    Hpke(XWing(), CHACHA20_POLY1305, kdf_id=0x0003, hash_name="sha512", hash_length=64),
    hash_name="sha512",
    hash_length=64,
)

_SUITES = {suite.id: suite for suite in (SUITE_1, SUITE_3, SUITE_XWING)}


def cipher_suite(suite_id: int) -> CipherSuite:
    """The suite with that id, or `ValidationError`."""
    suite = _SUITES.get(suite_id)
    if suite is None:
        raise ValidationError("SUITE-UNKNOWN", f"cipher suite {suite_id} is not supported")
    return suite


def supported_suites() -> tuple[int, ...]:
    """Ids of all suites this package speaks."""
    return tuple(_SUITES)


def signature_public_key(private: bytes) -> bytes:
    """The Ed25519 public key of a 32-byte seed."""
    if len(private) != _SIGNATURE_KEY_LENGTH:
        raise CryptoError("SIGNATURE-KEY", "an Ed25519 seed is not 32 bytes long")
    return crypto_sign_seed_keypair(private)[0]
