"""The data folder: one relay at a time, both databases, a clear refusal if something is wrong with them."""

from __future__ import annotations

import fcntl
import logging
import os
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from relay.errors import StoreInUse, StoreUnavailable
from relay.store.sqlite.directory import SqliteDirectory
from relay.store.sqlite.exchange import LOCK_FILE, RESTORING, finish_exchange
from relay.store.sqlite.streams import SqliteStreamStore

_log = logging.getLogger(__name__)

MOVING: Final = ".moving"
"""The folder in it that is there while `coach-relay migrate` fills it."""
_FOLDER_MODE: Final = 0o700


@dataclass(frozen=True, slots=True)
class DataFolder:
    """An opened data folder; the lock is held until it is closed."""

    path: Path
    streams: SqliteStreamStore
    directory: SqliteDirectory
    _lock: int

    @classmethod
    def open(cls, path: Path) -> DataFolder:
        """Open the folder, created if there is none, for the one relay that may have it.

        A restore that was cut off once its copy was whole is finished first. Raises `StoreInUse`,
        `StoreCorrupt`, `StoreVersion` or `StoreUnavailable`, and then holds nothing open.
        """
        prepare_folder(path)
        lock = _take_lock(path / LOCK_FILE)
        try:
            if (path / MOVING).exists():
                raise StoreUnavailable("a move into this folder was cut off: run `coach-relay migrate` again")
            if (path / RESTORING).exists():
                aside = finish_exchange(path)
                _log.warning("what a restore left undone is done; what was there before: %s", aside)
            # The directory's connection must not outlive a failure to open the streams: open those first.
            streams = SqliteStreamStore.open(path)
            try:
                directory = SqliteDirectory.open(path)
            except BaseException:
                streams.abandon()
                raise
        except BaseException:
            os.close(lock)
            raise
        return cls(path, streams, directory, lock)

    async def close(self) -> None:
        """Finish what was accepted, close both databases, give the lock back."""
        try:
            await self.streams.close()
            await self.directory.close()
        finally:
            os.close(self._lock)


def prepare_folder(path: Path) -> None:
    """Make the folder, for its owner only; raises `StoreUnavailable`."""
    try:
        path.mkdir(mode=_FOLDER_MODE, parents=True, exist_ok=True)
    except OSError as error:
        raise StoreUnavailable(f"the data folder cannot be made: {error.strerror}") from error


@contextmanager
def held_lock(path: Path) -> Iterator[None]:
    """Keep every relay out of a data folder, created if there is none; raises `StoreInUse` if one has it."""
    prepare_folder(path)
    lock = _take_lock(path / LOCK_FILE)
    try:
        yield
    finally:
        os.close(lock)


def _take_lock(path: Path) -> int:
    """An exclusive lock that the system gives back when the process ends, however it ends."""
    try:
        lock = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
    except OSError as error:
        raise StoreUnavailable(f"the lock file cannot be opened: {error.strerror}") from error
    try:
        fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError as error:
        os.close(lock)
        raise StoreInUse("another relay has this data folder open") from error
    return lock
