"""What opens a vault: a passphrase, a key in the operating system's keyring, or 32 raw bytes."""

from __future__ import annotations

import os
import unicodedata
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any, NoReturn

from nacl.pwhash import argon2id

from ..errors import KeyMissing, KeyringUnavailable, UsageError
from .header import KEY_BYTES, Header

# Argon2id at libsodium's MODERATE cost (256 MiB, 3 passes, about 0.4 s): a vault is opened once a start,
# and a thief of the disk pays it for every guess. INTERACTIVE (64 MiB, 0.06 s) would make guessing six times
# cheaper; SENSITIVE (1 GiB) does not fit small machines. Another cost is another vault format.
OPSLIMIT = argon2id.OPSLIMIT_MODERATE
MEMLIMIT = argon2id.MEMLIMIT_MODERATE

PASSPHRASE_BYTES = 1024
"""Longer than anybody types; bounds the work before the key derivation."""


@dataclass(frozen=True, slots=True)
class PassphraseKey:
    """A passphrase; Unicode is normalised (NFC), so that the same words typed on another system fit."""

    passphrase: str = field(repr=False)

    def __post_init__(self) -> None:
        if not isinstance(self.passphrase, str) or not self.passphrase:
            raise UsageError("The passphrase is empty. Choose a few words that only you know.")

    def master(self, header_salt: bytes) -> bytes:
        """Derive the master key; takes about 0.4 s and 256 MiB."""
        try:
            typed = unicodedata.normalize("NFC", self.passphrase).encode()
        except UnicodeEncodeError:
            raise UsageError("The passphrase holds half a character. Type it again.") from None
        if len(typed) > PASSPHRASE_BYTES:
            raise UsageError(f"The passphrase is longer than {PASSPHRASE_BYTES} bytes. Use a shorter one.")
        salt = Header(header_salt, b"").kdf_salt
        return bytes(argon2id.kdf(KEY_BYTES, typed, salt, opslimit=OPSLIMIT, memlimit=MEMLIMIT))


@dataclass(frozen=True, slots=True)
class KeyringKey:
    """A random key that the operating system's keyring keeps under this name (extra ``[keyring]``)."""

    name: str
    service: str = "coach-relay"

    def load(self) -> bytes:
        """The stored key; raises KeyMissing or KeyringUnavailable."""
        stored = _with_keyring(lambda keyring: keyring.get_password(self.service, self.name))
        if stored is None:
            raise KeyMissing(
                "The keyring has no key for this vault. Use the account that made the vault, or restore the "
                "key from a backup."
            )
        try:
            key = bytes.fromhex(stored)
        except ValueError:
            _damaged()
        if len(key) != KEY_BYTES:
            _damaged()
        return key

    def load_or_generate(self) -> bytes:
        """The stored key, or a fresh one, stored before it is used."""
        try:
            return self.load()
        except KeyMissing:
            key = os.urandom(KEY_BYTES)
            _with_keyring(lambda keyring: keyring.set_password(self.service, self.name, key.hex()))
            return key


@dataclass(frozen=True, slots=True)
class KeyringCounter:
    """A number that the keyring keeps beside a vault's key: a copy of the vault does not bring it back."""

    name: str
    service: str = "coach-relay"

    def read(self) -> int | None:
        """The number; None if there is none that can be read. Raises KeyringUnavailable."""
        stored = _with_keyring(lambda keyring: keyring.get_password(self.service, self._place))
        return int(stored) if stored is not None and stored.isascii() and stored.isdigit() else None

    def write(self, number: int) -> None:
        """Keep the number; raises KeyringUnavailable."""
        _with_keyring(lambda keyring: keyring.set_password(self.service, self._place, str(number)))

    @property
    def _place(self) -> str:
        return f"{self.name} (times opened)"


Key = PassphraseKey | KeyringKey | bytes


def master_key(key: Key, header_salt: bytes, *, create: bool) -> bytes:
    """The 32-byte master key that ``key`` stands for; for a passphrase it takes about 0.4 s."""
    match key:
        case PassphraseKey():
            return key.master(header_salt)
        case KeyringKey():
            return key.load_or_generate() if create else key.load()
        case bytes() if len(key) == KEY_BYTES:
            return key
    raise UsageError(f"A vault's key is a PassphraseKey, a KeyringKey or {KEY_BYTES} bytes.")


def _damaged() -> NoReturn:
    raise KeyMissing("What the keyring holds for this vault is no key of ours. Restore it from a backup.")


def _with_keyring(use: Callable[[Any], str | None]) -> str | None:
    try:
        import keyring
        from keyring.errors import KeyringError
    except ModuleNotFoundError as error:
        raise KeyringUnavailable(
            "The keyring support is not installed. Install coach-relay[keyring], or use a passphrase."
        ) from error
    try:
        return use(keyring)
    except KeyringError as error:
        raise KeyringUnavailable(
            "The operating system's keyring does not answer or is locked. Unlock it, or use a passphrase."
        ) from error
