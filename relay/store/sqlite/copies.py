"""Copies of the databases: made consistent while a relay writes, and checked before they are used."""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path
from typing import Final

import apsw

from relay.errors import StoreCorrupt, StoreUnavailable
from relay.store.sqlite.database import BUSY_MS, check_library, translate
from relay.store.sqlite.directory import DIRECTORY_FILE
from relay.store.sqlite.streams import STREAMS_FILE, SqliteStreamStore

# Streams first: an engagement that is newer than they are gets an empty stream, and a file that an entry
# names is copied after the entry.
DATABASES: Final = (STREAMS_FILE, DIRECTORY_FILE)
STEP_PAGES: Final = 2_048  # 16 MiB between two tellings of how far it is

Progress = Callable[[int, int], None]
"""Told how many of how many bytes are copied."""


def copy_database(source: Path, target: Path, progress: Progress) -> int:
    """Copy a database that may be in use, as it is at this moment; its size. Raises `StoreError`.

    Writers go on meanwhile: the copy is of one snapshot, which a read transaction holds.
    """
    check_library()
    try:
        original = apsw.Connection(str(source), flags=apsw.SQLITE_OPEN_READONLY)
        copy = apsw.Connection(str(target))
    except apsw.Error as error:
        raise translate(error, source.name) from error
    try:
        original.set_busy_timeout(BUSY_MS)
        _copy(original, copy, progress)
    except apsw.Error as error:
        raise translate(error, source.name) from error
    finally:
        copy.close(True)
        original.close(True)
    return sync_file(target)


def _copy(original: apsw.Connection, copy: apsw.Connection, progress: Progress) -> None:
    page = int(original.execute("PRAGMA page_size").get)
    original.execute("BEGIN")
    original.execute("SELECT count(*) FROM sqlite_schema").fetchall()  # from here on it is one snapshot
    with copy.backup("main", original, "main") as backup:
        while not backup.done:
            backup.step(STEP_PAGES)
            progress((backup.page_count - backup.remaining) * page, backup.page_count * page)
    original.execute("COMMIT")
    # The copy is one file: no log beside it that could be forgotten.
    copy.execute("PRAGMA journal_mode = DELETE").fetchall()


def check_copy(path: Path) -> None:
    """Read a copy whole; raises `StoreCorrupt` if anything in it is damaged."""
    try:
        connection = apsw.Connection(str(path), flags=apsw.SQLITE_OPEN_READONLY)
        try:
            result = connection.execute("PRAGMA integrity_check(1)").fetchall()
        finally:
            connection.close(True)
    except apsw.Error as error:
        raise translate(error, path.name) from error
    if result != [("ok",)]:
        raise StoreCorrupt(f"{path.name} is damaged: take another copy")


def sync_file(path: Path) -> int:
    """Have the disk hold a file; its size."""
    try:
        descriptor = os.open(path, os.O_RDONLY)
        try:
            os.fsync(descriptor)
            return os.fstat(descriptor).st_size
        finally:
            os.close(descriptor)
    except OSError as error:
        raise StoreUnavailable(f"{path.name} cannot be written: {error.strerror}") from error


async def begin_history_in(folder: Path, history: bytes) -> None:
    """Have the streams of a folder that no relay has open say that they were set back.

    Raises `StoreError`.
    """
    streams = SqliteStreamStore.open(folder)
    try:
        await streams.begin_history(history)
    finally:
        await streams.close()
