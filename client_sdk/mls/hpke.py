"""HPKE base mode (RFC 9180) composed from the libraries' primitives.

`cryptography` has an HPKE module, but it draws its own randomness, has no exporter (which external
commits need) and no DeriveKeyPair from a seed; this module offers exactly what RFC 9420 asks for.
"""

from __future__ import annotations

import hmac
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Protocol

from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers.aead import AESGCM, ChaCha20Poly1305
from nacl.bindings import crypto_scalarmult, crypto_scalarmult_base
from nacl.exceptions import CryptoError as NaClCryptoError

from .errors import CryptoError, UsageError

Rng = Callable[[int], bytes]
"""A source of that many random bytes."""

_HASH = "sha256"
_HASH_LENGTH = 32
_TAG_LENGTH = 16


def draw(rng: Rng, count: int) -> bytes:
    """``count`` random bytes; a source that returns another number is a fault of the caller."""
    data = rng(count)
    if len(data) != count:
        raise UsageError(None, "the random source returned a wrong number of bytes")
    return data


def hkdf_extract(salt: bytes, ikm: bytes, hash_name: str = _HASH) -> bytes:
    """HKDF-Extract (RFC 5869)."""
    return hmac.digest(salt, ikm, hash_name)


def hkdf_expand(prk: bytes, info: bytes, length: int, hash_name: str = _HASH) -> bytes:
    """HKDF-Expand (RFC 5869); at most 255 blocks."""
    block = hmac.digest(prk, info + b"\x01", hash_name)
    if length <= len(block):
        return block[:length]
    if length > 255 * len(block):
        raise UsageError(None, "more bytes asked than HKDF-Expand can give")
    out = bytearray(block)
    for counter in range(2, -(-length // len(block)) + 1):
        block = hmac.digest(prk, block + info + counter.to_bytes(1), hash_name)
        out += block
    return bytes(out[:length])


@dataclass(frozen=True, slots=True)
class Aead:
    """An AEAD algorithm: HPKE's id, key and nonce lengths in bytes."""

    id: int
    key_length: int
    cipher: type[AESGCM] | type[ChaCha20Poly1305]
    nonce_length: int = 12

    def seal(self, key: bytes, nonce: bytes, aad: bytes, plaintext: bytes) -> bytes:
        """Encrypt; the 16-byte tag is appended."""
        return self.cipher(key).encrypt(nonce, plaintext, aad)

    def open(self, key: bytes, nonce: bytes, aad: bytes, ciphertext: bytes) -> bytes:
        """Decrypt, or raise `CryptoError`."""
        if len(ciphertext) < _TAG_LENGTH:
            raise CryptoError("AEAD-TAG", "a ciphertext is shorter than its tag")
        try:
            return self.cipher(key).decrypt(nonce, ciphertext, aad)
        except InvalidTag:
            raise CryptoError("AEAD-TAG", "a ciphertext does not decrypt") from None


AES_128_GCM = Aead(1, 16, AESGCM)
CHACHA20_POLY1305 = Aead(3, 32, ChaCha20Poly1305)


@dataclass(frozen=True, slots=True)
class KemKeyPair:
    """A KEM key pair in its serialised form."""

    public: bytes
    private: bytes = field(repr=False)


class Kem(Protocol):
    """A key encapsulation mechanism (RFC 9180 section 4) with HPKE's id; all keys are serialised bytes."""

    @property
    def id(self) -> int:
        """HPKE's KEM id."""

    def generate_key_pair(self, rng: Rng) -> KemKeyPair:
        """GenerateKeyPair: a fresh pair."""

    def derive_key_pair(self, seed: bytes) -> KemKeyPair:
        """DeriveKeyPair: the pair that keying material determines."""

    def public_key(self, private: bytes) -> bytes:
        """The public half of a private key, or `CryptoError`."""

    def check_public(self, public: bytes) -> None:
        """Raise `CryptoError` unless this is a public key."""

    def encapsulate(self, public: bytes, rng: Rng) -> tuple[bytes, bytes]:
        """Encap: (shared secret, encapsulation)."""

    def decapsulate(self, private: bytes, encapsulated: bytes) -> bytes:
        """Decap: the shared secret, or `CryptoError`."""


@dataclass(frozen=True, slots=True)
class DhKemX25519:
    """DHKEM(X25519, HKDF-SHA256), RFC 9180 section 4.1."""

    id: int = 0x0020

    def generate_key_pair(self, rng: Rng) -> KemKeyPair:
        """A fresh key pair."""
        return self.derive_key_pair(draw(rng, 32))

    def derive_key_pair(self, seed: bytes) -> KemKeyPair:
        """The key pair a seed determines (DeriveKeyPair)."""
        prk = _labeled_extract(self._suite_id(), b"", b"dkp_prk", seed)
        private = _labeled_expand(self._suite_id(), prk, b"sk", b"", 32)
        return KemKeyPair(self.public_key(private), private)

    def public_key(self, private: bytes) -> bytes:
        """The public half of a private key."""
        if len(private) != 32:
            raise CryptoError("KEM-KEY", "an X25519 private key is not 32 bytes long")
        return crypto_scalarmult_base(private)

    def check_public(self, public: bytes) -> None:
        """Refuse a public key of the wrong length."""
        if len(public) != 32:
            raise CryptoError("KEM-KEY", "an X25519 public key is not 32 bytes long")

    def encapsulate(self, public: bytes, rng: Rng) -> tuple[bytes, bytes]:
        """A fresh shared secret and its encapsulation for the holder of ``public``."""
        ephemeral = self.generate_key_pair(rng)
        secret = self._shared(ephemeral.private, public, ephemeral.public + public)
        return secret, ephemeral.public

    def decapsulate(self, private: bytes, encapsulated: bytes) -> bytes:
        """The shared secret behind an encapsulation."""
        return self._shared(private, encapsulated, encapsulated + self.public_key(private))

    def _shared(self, private: bytes, public: bytes, context: bytes) -> bytes:
        self.check_public(public)
        try:
            product = crypto_scalarmult(private, public)
        except NaClCryptoError:  # libsodium refuses the all-zero output of low-order points
            raise CryptoError("KEM-LOW-ORDER", "an X25519 public key is of low order") from None
        prk = _labeled_extract(self._suite_id(), b"", b"eae_prk", product)
        return _labeled_expand(self._suite_id(), prk, b"shared_secret", context, _HASH_LENGTH)

    def _suite_id(self) -> bytes:
        return b"KEM" + self.id.to_bytes(2)


@dataclass(frozen=True, slots=True)
class HpkeContext:
    """What the HPKE key schedule yields for one message."""

    key: bytes = field(repr=False)
    nonce: bytes = field(repr=False)
    exporter_secret: bytes = field(repr=False)


@dataclass(frozen=True, slots=True)
class Hpke:
    """HPKE base mode for one KEM, AEAD and HKDF (0x0001 is HKDF-SHA256, 0x0003 HKDF-SHA512)."""

    kem: Kem
    aead: Aead
    kdf_id: int = 0x0001
    hash_name: str = _HASH
    hash_length: int = _HASH_LENGTH

    def seal(self, public: bytes, info: bytes, plaintext: bytes, rng: Rng) -> tuple[bytes, bytes]:
        """Single-shot encryption: (kem_output, ciphertext)."""
        secret, encapsulated = self.kem.encapsulate(public, rng)
        context = self._schedule(secret, info)
        return encapsulated, self.aead.seal(context.key, context.nonce, b"", plaintext)

    def open(self, private: bytes, encapsulated: bytes, info: bytes, ciphertext: bytes) -> bytes:
        """Single-shot decryption, or `CryptoError`."""
        context = self._schedule(self.kem.decapsulate(private, encapsulated), info)
        return self.aead.open(context.key, context.nonce, b"", ciphertext)

    def send_export(self, public: bytes, label: bytes, length: int, rng: Rng) -> tuple[bytes, bytes]:
        """SendExport with empty info: (kem_output, exported secret)."""
        secret, encapsulated = self.kem.encapsulate(public, rng)
        return encapsulated, self._export(secret, label, length)

    def receive_export(self, private: bytes, encapsulated: bytes, label: bytes, length: int) -> bytes:
        """ReceiveExport with empty info."""
        return self._export(self.kem.decapsulate(private, encapsulated), label, length)

    def _export(self, secret: bytes, label: bytes, length: int) -> bytes:
        return self._expand(self._schedule(secret, b"").exporter_secret, b"sec", label, length)

    def _suite_id(self) -> bytes:
        return b"HPKE" + self.kem.id.to_bytes(2) + self.kdf_id.to_bytes(2) + self.aead.id.to_bytes(2)

    def _extract(self, salt: bytes, label: bytes, ikm: bytes) -> bytes:
        return _labeled_extract(self._suite_id(), salt, label, ikm, self.hash_name)

    def _expand(self, prk: bytes, label: bytes, info: bytes, length: int) -> bytes:
        return _labeled_expand(self._suite_id(), prk, label, info, length, self.hash_name)

    def _schedule(self, shared_secret: bytes, info: bytes) -> HpkeContext:
        context = b"\0" + self._extract(b"", b"psk_id_hash", b"") + self._extract(b"", b"info_hash", info)
        secret = self._extract(shared_secret, b"secret", b"")
        return HpkeContext(
            key=self._expand(secret, b"key", context, self.aead.key_length),
            nonce=self._expand(secret, b"base_nonce", context, self.aead.nonce_length),
            exporter_secret=self._expand(secret, b"exp", context, self.hash_length),
        )


def _labeled_extract(suite_id: bytes, salt: bytes, label: bytes, ikm: bytes, hash_name: str = _HASH) -> bytes:
    return hkdf_extract(salt, b"HPKE-v1" + suite_id + label + ikm, hash_name)


def _labeled_expand(
    suite_id: bytes, prk: bytes, label: bytes, info: bytes, length: int, hash_name: str = _HASH
) -> bytes:
    return hkdf_expand(prk, length.to_bytes(2) + b"HPKE-v1" + suite_id + label + info, length, hash_name)
