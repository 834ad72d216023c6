"""One encrypted SQLite connection, with every setting the vault relies on and its errors as ours."""

from __future__ import annotations

import unicodedata
from collections.abc import Iterator
from contextlib import contextmanager

import apsw

from ..errors import VaultCorrupt, VaultFull, VaultInUse, VaultUnavailable

OLDEST_SQLITE = 3051003
"""3.51.3: the first release without the WAL-reset corruption."""

_SETTINGS = (
    "locking_mode=EXCLUSIVE",  # also keeps the WAL's index out of a shared-memory file
    "synchronous=FULL",  # a transaction is on the disk when it ends
    "secure_delete=ON",  # what is deleted is overwritten with zeros
    "temp_store=MEMORY",  # nothing in a temporary file, which would be in the clear
    "mmap_size=0",
    "cell_size_check=ON",
    "trusted_schema=OFF",
)


_UNAVAILABLE = (apsw.IOError, apsw.CantOpenError, apsw.ReadOnlyError, apsw.PermissionsError, apsw.NoMemError)


@contextmanager
def translated() -> Iterator[None]:
    """Raise SQLite's errors as the vault's; what went wrong in detail stays in the cause."""
    try:
        yield
    except apsw.FullError as error:
        raise VaultFull(
            "The disk is full, and nothing was changed. Free some space and try again."
        ) from error
    except (apsw.CorruptError, apsw.NotADBError) as error:
        raise VaultCorrupt(
            "The vault is damaged or was altered: what it holds is not used. Restore it from a backup."
        ) from error
    except (apsw.BusyError, apsw.LockedError) as error:
        raise VaultInUse("Another program has the vault open. Close it and try again.") from error
    except _UNAVAILABLE as error:
        raise VaultUnavailable(
            "The vault cannot be read or written, and nothing was changed. Check the disk and the rights."
        ) from error


def connect(path: str, key: bytes, header: bytes, *, journal: str) -> apsw.Connection:
    """Open the file with this 32-byte key; ``header`` are its first 16 bytes. Raises the vault's errors."""
    if not hasattr(apsw, "mc_version") or apsw.SQLITE_VERSION_NUMBER < OLDEST_SQLITE:
        raise VaultUnavailable(
            "The installed SQLite cannot encrypt or is too old. Install apsw-sqlite3mc (and remove apsw)."
        )
    with translated():
        connection = apsw.Connection(path, flags=apsw.SQLITE_OPEN_READWRITE)
        try:
            _configure(connection, key, header, journal)
        except BaseException:
            connection.close(True)
            raise
    return connection


def _configure(connection: apsw.Connection, key: bytes, header: bytes, journal: str) -> None:
    _run(connection, "PRAGMA cipher='chacha20'")
    # "raw:" and 96 hexadecimal digits: key and salt, so that the cipher derives nothing itself.
    if _run(connection, f"PRAGMA key='raw:{key.hex()}{header.hex()}'") != [("ok",)]:
        raise VaultUnavailable("The installed SQLite did not take the key. Install apsw-sqlite3mc.")
    for setting in _SETTINGS:
        _run(connection, f"PRAGMA {setting}")
    if _run(connection, f"PRAGMA journal_mode={journal}") != [(journal.lower(),)]:
        raise VaultUnavailable("This file system does not support the vault's journal. Use a local disk.")
    _run(connection, "BEGIN EXCLUSIVE")  # takes the lock now, not at the first write
    _run(connection, "COMMIT")
    connection.create_scalar_function("contains", contains, 2, deterministic=True)


def _run(connection: apsw.Connection, statement: str) -> list[tuple[object, ...]]:
    return list(connection.execute(statement))


def folded(text: str) -> str:
    """Text as it is searched: without case, and without the difference of equal-looking forms."""
    return unicodedata.normalize("NFKC", text).casefold()


def contains(*values: object) -> bool:
    """SQL function of (text, needle): whether the text contains the needle, which is folded already."""
    text, needle = values
    return isinstance(text, str) and isinstance(needle, str) and needle in folded(text)
