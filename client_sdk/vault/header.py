"""The first 16 bytes of a vault file, readable before it is opened, and the keys derived with them.

    format (1 byte) || salt (10 random bytes) || key check (5 bytes)

The cipher gives a file's first 16 bytes to its user (it keeps a salt of its own there, which a raw key
does not need), so that everything stays in one file. The format fixes the cost of Argon2id; the key check
tells a wrong passphrase, which a person can correct, from a damaged file, which they cannot. Being five
bytes of HKDF output it helps a guesser no more than the tag of the first page does. 80 bits of salt make
no two vaults alike (RFC 9106 section 3.1 asks for at least 64).
"""

from __future__ import annotations

import hashlib
import hmac
from dataclasses import dataclass, field
from typing import Self

from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.kdf.hkdf import HKDFExpand

from relay.wire.ids import label

from ..errors import VaultCorrupt, VaultFormatUnknown, WrongPassphrase

FORMAT = 1
HEADER_BYTES = 16
SALT_BYTES = 10
CHECK_BYTES = 5
KEY_BYTES = 32
KDF_SALT_BYTES = 16

_PLAIN_SQLITE = b"SQLite format 3\0"


@dataclass(frozen=True, slots=True)
class Header:
    """The parsed first bytes."""

    salt: bytes
    check: bytes = field(repr=False)

    @property
    def kdf_salt(self) -> bytes:
        """Argon2id's salt, 16 bytes."""
        return hashlib.sha256(label("vault salt") + bytes([FORMAT]) + self.salt).digest()[:KDF_SALT_BYTES]

    def serialize(self) -> bytes:
        """The 16 bytes."""
        return bytes([FORMAT]) + self.salt + self.check

    @classmethod
    def parse(cls, data: bytes) -> Self:
        """Read a file's first bytes; raises VaultCorrupt or VaultFormatUnknown."""
        if len(data) < HEADER_BYTES:
            raise VaultCorrupt("The vault is cut off: its beginning is missing. Restore it from a backup.")
        if data[:HEADER_BYTES] == _PLAIN_SQLITE:
            raise VaultCorrupt("This file is a database without encryption, not a vault. It is not opened.")
        if data[0] != FORMAT:
            raise VaultFormatUnknown(
                "This file is no vault of a format that this version knows. Update the app, or check the "
                "path."
            )
        return cls(data[1 : 1 + SALT_BYTES], data[1 + SALT_BYTES : HEADER_BYTES])

    @classmethod
    def for_key(cls, salt: bytes, master: bytes) -> Self:
        """A new vault's header."""
        return cls(salt, _expand(master, "vault check", salt, CHECK_BYTES))

    def file_key(self, master: bytes) -> bytes:
        """The cipher's 32-byte key; raises WrongPassphrase when the key check does not fit."""
        if not hmac.compare_digest(_expand(master, "vault check", self.salt, CHECK_BYTES), self.check):
            raise WrongPassphrase("The passphrase (or key) does not open this vault. Try again.")
        return _expand(master, "vault key", self.salt, KEY_BYTES)


def _expand(master: bytes, name: str, salt: bytes, length: int) -> bytes:
    info = label(name) + bytes([FORMAT]) + salt
    return HKDFExpand(algorithm=SHA256(), length=length, info=info).derive(master)
