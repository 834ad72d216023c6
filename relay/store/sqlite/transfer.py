"""A data folder as one side of a move; relays are kept out of it meanwhile."""

from __future__ import annotations

import asyncio
import os
import shutil
from collections.abc import AsyncIterator, Iterable, Iterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Final

import apsw

from relay.core.operations import StoredEntry
from relay.core.streams import StreamState
from relay.errors import InvalidRequest, NotFound, StoreUnavailable
from relay.store.sqlite import rows
from relay.store.sqlite.database import open_database, open_reader
from relay.store.sqlite.directory import DIRECTORY_FILE, SqliteDirectory
from relay.store.sqlite.folder import MOVING, held_lock
from relay.store.sqlite.streams import STREAMS_FILE, SqliteStreamStore
from relay.store.sqlite.writer import Writer
from relay.store.transfer import PAGE_BYTES, PAGE_ENTRIES, PAGE_RECORDS, Marks
from relay.wire.frames import EntryKind
from relay.wire.ids import EngagementId

_FILES: Final = (STREAMS_FILE, DIRECTORY_FILE)
_WHOLE: Final = "whole"  # in the folder of the move once everything is in its files
_INSERT_RUN: Final = "INSERT INTO runs VALUES (?, ?, ?, ?, ?, ?, ?, ?)"
_NUMBER: Final = "SELECT no FROM streams WHERE id = ?"
_SAVE: Final = (
    "UPDATE streams SET head = ?, last_commit = ?, floor = ?, last_time_ms = ?, members = ? WHERE id = ?"
)
_INSERT_SENDER: Final = "INSERT INTO senders (stream, device, last_counter, window) VALUES (?, ?, ?, ?)"
_RESERVE: Final = "INSERT INTO streams (id, incarnation) VALUES (?, ?) ON CONFLICT (id) DO NOTHING"


class FolderSide:
    """What a folder's databases hold, read."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        # It makes what is missing of an older version's tables, and then is of no more use than to read.
        self._store = SqliteStreamStore.open(folder)
        self._directory = SqliteDirectory.open(folder)
        self._streams = open_reader(folder / STREAMS_FILE)
        self._records = open_reader(folder / DIRECTORY_FILE)
        self._writer = Writer(self._streams)  # which also knows how a state is read

    async def close(self) -> None:
        await self._store.close()
        await self._directory.close()
        self._streams.close()
        self._records.close()

    async def streams(self) -> list[EngagementId]:
        return [EngagementId(one) for (one,) in self._streams.execute("SELECT id FROM streams ORDER BY id")]

    async def state(self, stream: EngagementId) -> StreamState:
        found = self._writer.state(stream)
        if found is None:
            raise NotFound("a conversation is gone: does a relay run?")
        return found

    async def entries(self, stream: EngagementId, after: int) -> list[StoredEntry]:
        return await self._store.read(stream, after=after, limit=PAGE_ENTRIES, max_bytes=PAGE_BYTES)

    async def spaces(self) -> list[str]:
        return [
            space for (space,) in self._records.execute("SELECT DISTINCT space FROM records ORDER BY space")
        ]

    async def records(self, space: str, after: str) -> list[tuple[str, bytes]]:
        return await self._directory.scan(space, "", after=after, limit=PAGE_RECORDS)

    async def marks(self) -> Marks:
        return Marks(
            bytes(self._streams.execute(rows.SELECT_HISTORY).get),
            int(self._records.execute("SELECT last FROM versions").get),
        )


class FolderTarget:
    """New databases in a folder of their own beside the place where `finish` puts them."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._moving = folder / MOVING
        self._streams: apsw.Connection | None = None
        self._directory: SqliteDirectory | None = None
        self._records: apsw.Connection | None = None
        self._side: FolderSide | None = None
        self._place = 0

    async def begin(self) -> None:
        if (self._moving / _WHOLE).exists():  # a move that was cut off at its very end
            self._put_in_place()
        if any((self._folder / name).exists() for name in _FILES):
            raise InvalidRequest(f"{self._folder} holds a relay's data already; name another folder")
        shutil.rmtree(self._moving, ignore_errors=True)
        self._moving.mkdir(mode=0o700)
        self._streams = open_database(self._moving / STREAMS_FILE, rows.SCHEMA)
        self._streams.execute("PRAGMA synchronous = OFF")  # `finish` makes the whole file durable
        self._directory = SqliteDirectory.open(self._moving)
        self._records = apsw.Connection(str(self._moving / DIRECTORY_FILE))
        self._records.set_busy_timeout(5_000)

    async def put_entries(self, stream: EngagementId, state: StreamState, entries: list[StoredEntry]) -> None:
        connection = self._opened()
        with connection:
            base = rows.base_of(self._number(stream, state))
            for run in runs(entries):
                seq, kind, after_commit, time_ms, device, counter, _ = run[0]
                place = self._place + 1
                row = (base + seq, place, len(run), kind, after_commit, time_ms, device, counter)
                connection.execute(_INSERT_RUN, row)
                bodies = enumerate((entry.body for entry in run), place)
                connection.executemany("INSERT INTO bodies VALUES (?, ?)", bodies)
                self._place += len(run)

    async def put_state(self, stream: EngagementId, state: StreamState) -> None:
        connection = self._opened()
        with connection:
            no = self._number(stream, state)
            members = rows.pack_members(state.members)
            numbers = (state.head, state.last_commit, state.floor, state.last_time_ms)
            connection.execute(_SAVE, (*numbers, members, stream))
            senders = [
                (no, device, sender.last_counter, rows.pack_window(sender))
                for device, sender in state.senders.items()
            ]
            connection.executemany(_INSERT_SENDER, senders)

    def _number(self, stream: EngagementId, state: StreamState) -> int:
        self._opened().execute(_RESERVE, (stream, state.incarnation))
        return int(self._opened().execute(_NUMBER, (stream,)).get)

    async def put_records(self, space: str, records: dict[str, bytes]) -> None:
        if self._directory is None:
            raise StoreUnavailable("the move has not begun")
        await self._directory.put_many(space, records)

    async def put_marks(self, marks: Marks, spaces: Iterable[str]) -> None:  # noqa: ARG002 - one count for all
        if self._records is None:
            raise StoreUnavailable("the move has not begun")
        self._opened().execute("UPDATE history SET id = ?", (marks.history,))
        self._records.execute("UPDATE versions SET last = ?", (marks.last_version,))

    async def finish(self) -> None:
        """Close what is written, have the disk hold it, and put it in its place."""
        await self.close()
        for name in _FILES:
            _sync(self._moving / name)
        (self._moving / _WHOLE).touch()
        _sync(self._moving)
        self._put_in_place()

    def _put_in_place(self) -> None:
        for name in _FILES:
            if (self._moving / name).exists():
                os.replace(self._moving / name, self._folder / name)
        _sync(self._folder)
        shutil.rmtree(self._moving)

    async def close(self) -> None:
        """Close what is open; what was written stays for `finish`, or for the next `begin` to take away."""
        await self._end_reading()
        if self._records is not None:
            self._records.close()
            self._records = None
        if self._directory is not None:
            await self._directory.close()
            self._directory = None
        if self._streams is not None:
            self._streams.execute("PRAGMA wal_checkpoint(TRUNCATE)").fetchall()
            self._streams.close()
            self._streams = None

    # What was written, read again

    async def streams(self) -> list[EngagementId]:
        return await self._reading().streams()

    async def state(self, stream: EngagementId) -> StreamState:
        return await self._reading().state(stream)

    async def entries(self, stream: EngagementId, after: int) -> list[StoredEntry]:
        return await self._reading().entries(stream, after)

    async def spaces(self) -> list[str]:
        return await self._reading().spaces()

    async def records(self, space: str, after: str) -> list[tuple[str, bytes]]:
        return await self._reading().records(space, after)

    async def marks(self) -> Marks:
        return await self._reading().marks()

    def _reading(self) -> FolderSide:
        if self._side is None:
            self._side = FolderSide(self._moving)
        return self._side

    async def _end_reading(self) -> None:
        if self._side is not None:
            await self._side.close()
            self._side = None

    def _opened(self) -> apsw.Connection:
        if self._streams is None:
            raise StoreUnavailable("the move has not begun")
        return self._streams


def runs(entries: list[StoredEntry]) -> Iterator[list[StoredEntry]]:
    """Entries as the runs that they may be stored in: of one device, kind and moment, one after the other."""
    run: list[StoredEntry] = []
    for entry in entries:
        if run and not _follows(run[-1], entry):
            yield run
            run = []
        run.append(entry)
    if run:
        yield run


def _follows(one: StoredEntry, other: StoredEntry) -> bool:
    same = (other.kind, other.after_commit, other.time_ms, other.device)
    return (
        one.kind is EntryKind.MESSAGE
        and (one.kind, one.after_commit, one.time_ms, one.device) == same
        and (other.seq, other.counter) == (one.seq + 1, one.counter + 1)
    )


@asynccontextmanager
async def folder_source(folder: Path) -> AsyncIterator[FolderSide]:
    """A folder to read from; raises `StoreInUse` while a relay has it."""
    if not (folder / STREAMS_FILE).exists():
        raise InvalidRequest(f"{folder} holds no relay's data; name the folder that `coach-relay serve` uses")
    with held_lock(folder):
        side = await asyncio.to_thread(FolderSide, folder)
        try:
            yield side
        finally:
            await side.close()


@asynccontextmanager
async def folder_target(folder: Path) -> AsyncIterator[FolderTarget]:
    """A folder to write to; raises `StoreInUse` while a relay has it."""
    with held_lock(folder):
        target = FolderTarget(folder)
        try:
            yield target
        finally:
            await target.close()


def _sync(path: Path) -> None:
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
