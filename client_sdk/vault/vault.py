"""The encrypted local store: one file, one user of it at a time, transactions that are all or nothing."""

from __future__ import annotations

import fcntl
import os
import stat
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Self

import apsw

from ..errors import (
    UsageError,
    VaultClosed,
    VaultError,
    VaultExists,
    VaultInUse,
    VaultMissing,
    VaultUnavailable,
)
from .database import connect, translated
from .header import HEADER_BYTES, SALT_BYTES, Header
from .keys import Key, master_key
from .schema import migrate
from .transaction import Transaction

_MODE = 0o600


class Vault:
    """An open vault. Use ``Vault.open``; close it, or use it as a context manager.

    It is synchronous. Opening with a passphrase takes about 0.4 s: call it with ``asyncio.to_thread``. A
    transaction takes about a millisecond and may run on the event loop. It may be used from any thread,
    one transaction at a time.
    """

    def __init__(self, connection: apsw.Connection, lock: int) -> None:
        self._connection: apsw.Connection | None = connection
        self._lock = lock
        self._busy = threading.Lock()
        self._checkpoint_due = True

    def __repr__(self) -> str:
        return f"<Vault {'closed' if self._connection is None else 'open'}>"

    @classmethod
    def open(cls, path: str | os.PathLike[str], *, key: Key, create: bool = False) -> Self:
        """Open the vault at ``path``, or with ``create`` make a new one.

        Raises VaultMissing, VaultExists (with ``create``), VaultInUse at once (also within this process),
        WrongPassphrase, VaultCorrupt, VaultFormatUnknown, VaultUnavailable, KeyringUnavailable,
        KeyMissing. A crash while making one leaves no half-made vault at ``path``.
        """
        name = os.path.realpath(os.fspath(path))
        return cls._create(name, key) if create else cls._open(name, key)

    @classmethod
    def _open(cls, path: str, key: Key) -> Self:
        lock = _lock(path, os.O_RDWR)
        try:
            os.fchmod(lock, _MODE)
            start = os.pread(lock, HEADER_BYTES, 0)
            header = Header.parse(start)
            file_key = header.file_key(master_key(key, header.salt, create=False))
            return cls._connected(path, file_key, start, lock)
        except BaseException:
            os.close(lock)
            raise

    @classmethod
    def _create(cls, path: str, key: Key) -> Self:
        """Make the file under another name, and give it its own only when it is whole.

        The lock is held on that file from the first moment, and stays when it is renamed.
        """
        making = path + ".new"
        lock = _lock(making, os.O_RDWR | os.O_CREAT)
        try:
            try:
                if os.path.lexists(path):
                    raise VaultExists(
                        "There is a file at this path already. Open it, or choose another path."
                    )
                os.ftruncate(lock, 0)  # what an interrupted attempt left
                salt = os.urandom(SALT_BYTES)
                master = master_key(key, salt, create=True)
                header = Header.for_key(salt, master)
                file_key = header.file_key(master)
                _initialise(making, file_key, header.serialize())
                if os.pread(lock, HEADER_BYTES, 0) != header.serialize():
                    raise VaultUnavailable("The new vault was not encrypted. Install apsw-sqlite3mc.")
                os.rename(making, path)
            except BaseException:
                os.unlink(making)
                raise
            _sync_directory(path)
            return cls._connected(path, file_key, header.serialize(), lock)
        except OSError as error:
            os.close(lock)
            raise _unavailable() from error
        except BaseException:
            os.close(lock)
            raise

    @classmethod
    def _connected(cls, path: str, file_key: bytes, start: bytes, lock: int) -> Self:
        connection = connect(path, file_key, start, journal="WAL")
        try:
            with translated():
                migrate(connection)
        except BaseException:
            connection.close(True)
            raise
        vault = cls(connection, lock)
        vault._checkpoint()
        return vault

    @contextmanager
    def transaction(self) -> Iterator[Transaction]:
        """Everything inside happens, durably, when the block ends; nothing of it when the block raises.

        What it deleted or replaced is gone from the file and from its write-ahead log when the block has
        ended. Transactions do not nest: a second one at the same time raises UsageError. Raises
        VaultFull, VaultUnavailable or VaultCorrupt (nothing was changed), VaultClosed.
        """
        if not self._busy.acquire(blocking=False):
            raise UsageError(
                "A transaction of this vault is open already: they do not nest. Finish it first."
            )
        try:
            connection = self._open_connection()
            tx = Transaction(connection)
            with translated():
                connection.execute("BEGIN IMMEDIATE")
            try:
                yield tx
                tx.end()
                with translated():
                    connection.execute("COMMIT")
            except BaseException:
                tx.end()
                if connection.in_transaction:
                    connection.execute("ROLLBACK")
                raise
            self._checkpoint_due = self._checkpoint_due or tx.wrote
            self._checkpoint()
        finally:
            self._busy.release()

    def close(self) -> None:
        """Close it and let others open it; twice is fine. Raises UsageError while a transaction is open."""
        if not self._busy.acquire(blocking=False):
            raise UsageError("A transaction of this vault is open: finish it before closing.")
        try:
            if self._connection is None:
                return
            self._checkpoint()
            connection, self._connection = self._connection, None
            try:
                connection.close(True)
            finally:
                os.close(
                    self._lock
                )  # after SQLite: closing any descriptor of the file ends SQLite's own locks
        finally:
            self._busy.release()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def _open_connection(self) -> apsw.Connection:
        if self._connection is None:
            raise VaultClosed("The vault is closed. Open it again.")
        return self._connection

    def _checkpoint(self) -> None:
        """Move the log into the file and cut it to nothing, so that no replaced value survives in it.

        The transaction is durable before this: a failure here (a full disk) only leaves it to the next one.
        """
        if not self._checkpoint_due:
            return
        try:
            self._open_connection().wal_checkpoint(mode=apsw.SQLITE_CHECKPOINT_TRUNCATE)
        except apsw.Error:
            return
        self._checkpoint_due = False


def _lock(path: str, flags: int) -> int:
    """Open the file and take the lock on it; raises VaultMissing, VaultInUse, VaultUnavailable.

    flock belongs to this one opening of the file, so it excludes other processes and other openings in
    this one alike, and ends with the process. SQLite takes POSIX record locks besides, against other
    programs; those do not see other openings in this process, and end as soon as it closes any of them.
    """
    try:
        descriptor = os.open(path, flags | os.O_CLOEXEC, _MODE)
    except FileNotFoundError as error:
        if flags & os.O_CREAT:
            raise VaultMissing(
                "There is no folder at the place of the new vault. Make it, or choose another path."
            ) from error
        raise VaultMissing("There is no vault at this path. Check the path, or make a new vault.") from error
    except OSError as error:
        raise _unavailable() from error
    try:
        if not stat.S_ISREG(os.fstat(descriptor).st_mode):
            raise VaultUnavailable("What stands at this path is no file. Choose another path.")
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError as error:
        os.close(descriptor)
        raise VaultInUse("Another program has this vault open. Close it and try again.") from error
    except OSError as error:
        os.close(descriptor)
        raise _unavailable() from error
    except VaultError:
        os.close(descriptor)
        raise
    return descriptor


def _initialise(path: str, file_key: bytes, header: bytes) -> None:
    connection = connect(path, file_key, header, journal="MEMORY")
    try:
        with translated():
            migrate(connection)
    finally:
        connection.close(True)


def _sync_directory(path: str) -> None:
    """Make the new name durable."""
    descriptor = os.open(os.path.dirname(path), os.O_RDONLY | os.O_CLOEXEC)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def _unavailable() -> VaultUnavailable:
    return VaultUnavailable(
        "The operating system does not let us use the vault's file. Check its rights and the disk."
    )
