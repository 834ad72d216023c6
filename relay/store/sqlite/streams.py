"""The `StreamStore` in SQLite: one writer thread with group commit, one reader thread."""

from __future__ import annotations

import asyncio
import contextlib
import queue
import threading
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import apsw

from relay.core.operations import Operation, Outcome, StoredEntry, StreamView
from relay.errors import StoreCorrupt, StoreError, StoreUnavailable
from relay.store.sqlite import rows
from relay.store.sqlite.checkpoints import Checkpoints
from relay.store.sqlite.database import open_database, open_reader, translate
from relay.store.sqlite.writer import Writer
from relay.wire.frames import EntryKind
from relay.wire.ids import EngagementId

STREAMS_FILE: Final = "streams.db"
_LOG_BYTES: Final = 64 * 1024 * 1024  # what the log file is cut back to
_CACHE_KIB: Final = 32 * 1024


@dataclass(slots=True)
class _Job:
    """Operations to commit, or a reading to do between two transactions, and whom to tell."""

    operations: Sequence[Operation]
    read: Callable[[Writer], object] | None
    loop: asyncio.AbstractEventLoop
    future: asyncio.Future[Any]
    result: Any = None
    error: Exception | None = None


class SqliteStreamStore:
    """Streams in one SQLite file, durable at every commit (WAL, synchronous=FULL)."""

    def __init__(
        self, path: Path, connection: apsw.Connection, reader: apsw.Connection, checkpoints: Checkpoints
    ) -> None:
        self._name = path.name
        self._connection = connection
        self._reader_connection = reader
        self._checkpoints = checkpoints
        self._writer = Writer(connection)
        self._jobs: queue.SimpleQueue[_Job | None] = queue.SimpleQueue()
        self._broken: StoreError | None = None
        self._reader = ThreadPoolExecutor(max_workers=1, thread_name_prefix="streams-read")
        self._thread = threading.Thread(target=self._work, name="streams-write", daemon=True)
        self._thread.start()

    @classmethod
    def open(cls, folder: Path) -> SqliteStreamStore:
        """The streams of a data folder, created if there are none; raises `StoreError`."""
        path = folder / STREAMS_FILE
        connection = open_database(path, rows.SCHEMA)
        try:
            connection.execute(f"PRAGMA journal_size_limit = {_LOG_BYTES:d}")
            connection.execute(f"PRAGMA cache_size = -{_CACHE_KIB:d}")
            reader = open_reader(path)
            checkpoints = Checkpoints(connection, path)
        except BaseException:
            connection.close(True)
            raise
        return cls(path, connection, reader, checkpoints)

    def lane(self, stream: EngagementId) -> str:
        del stream
        return ""

    def commit(self, operations: Sequence[Operation]) -> asyncio.Future[list[list[Outcome]]]:
        return self._submit(operations, None)

    async def view(self, stream: EngagementId) -> StreamView | None:
        view: StreamView | None = await self._submit((), lambda writer: writer.view(stream))
        return view

    async def read(
        self, stream: EngagementId, *, after: int, limit: int, max_bytes: int
    ) -> list[StoredEntry]:
        self._check()
        loop = asyncio.get_running_loop()
        return await loop.run_in_executor(self._reader, self._read, stream, after, limit, max_bytes)

    async def begin_history(self, history: bytes) -> None:
        await self._submit((), lambda writer: writer.begin_history(history))

    async def check(self) -> None:
        self._check()

    async def close(self) -> None:
        if self._broken is None:
            self._broken = StoreUnavailable(f"{self._name} is closed")
            await asyncio.get_running_loop().run_in_executor(self._reader, self.abandon)

    def abandon(self) -> None:
        """Finish what was accepted and close the file, without a loop."""
        self._broken = self._broken or StoreUnavailable(f"{self._name} is closed")
        self._jobs.put(None)
        self._thread.join()
        self._checkpoints.close()
        self._reader_connection.close()
        self._connection.close()
        self._reader.shutdown(wait=False)

    def _check(self) -> None:
        if self._broken is not None:
            raise type(self._broken)(*self._broken.args)

    def _submit(
        self, operations: Sequence[Operation], read: Callable[[Writer], object] | None
    ) -> asyncio.Future[Any]:
        self._check()
        loop = asyncio.get_running_loop()
        future: asyncio.Future[Any] = loop.create_future()
        self._jobs.put(_Job(operations, read, loop, future))
        return future

    def _work(self) -> None:
        """The writer thread: what arrived while the last transaction ran goes into the next one."""
        last = False
        while not last:
            taken = [self._jobs.get()]
            with contextlib.suppress(queue.Empty):
                while True:
                    taken.append(self._jobs.get_nowait())
            last = None in taken
            jobs = [job for job in taken if job is not None]
            self._run([job for job in jobs if job.read is None])
            for job in jobs:
                if job.read is not None:
                    self._read_between(job, job.read)
            _tell(jobs)
            self._checkpoints.after_commit()

    def _run(self, jobs: list[_Job]) -> None:
        if not jobs:
            return
        operations = jobs[0].operations if len(jobs) == 1 else [op for job in jobs for op in job.operations]
        try:
            outcomes = self._writer.run(operations)
        except Exception as error:  # whatever it is, every waiting caller has to learn of it
            failure = self._failure(error)
            for job in jobs:
                job.error = failure
            return
        start = 0
        for job in jobs:
            end = start + len(job.operations)
            job.result = outcomes[start:end]
            start = end

    def _read_between(self, job: _Job, read: Callable[[Writer], object]) -> None:
        try:
            job.result = read(self._writer)
        except Exception as error:  # as above
            job.error = self._failure(error)

    def _failure(self, error: Exception) -> Exception:
        """Our error for this one. A damaged file is not touched again."""
        failure = translate(error, self._name) if isinstance(error, apsw.Error) else error
        if isinstance(failure, StoreCorrupt):
            self._broken = failure
        return failure

    def _read(self, stream: EngagementId, after: int, limit: int, max_bytes: int) -> list[StoredEntry]:
        try:
            return self._select(stream, after, limit, max_bytes)
        except apsw.Error as error:
            failure = self._failure(error)
            raise failure from error

    def _select(self, stream: EngagementId, after: int, limit: int, max_bytes: int) -> list[StoredEntry]:
        execute = self._reader_connection.execute
        found = execute("SELECT no FROM streams WHERE id = ?", (stream,)).fetchone()
        if found is None:
            return []
        base = rows.base_of(found[0])
        entries: list[StoredEntry] = []
        size = 0
        bounds = {"base": base, "after": base + after, "end": rows.base_of(found[0] + 1), "limit": limit}
        for position, kind, after_commit, time_ms, device, counter, body in execute(
            rows.SELECT_ENTRIES, bounds
        ):
            size += len(body)
            if entries and size > max_bytes:
                break
            seq = position & rows.SEQ_MASK
            entries.append(StoredEntry(seq, EntryKind(kind), after_commit, time_ms, device, counter, body))
        return entries


def _tell(jobs: list[_Job]) -> None:
    """Hand all results over in one turn of the loop; a loop that is gone has nobody waiting."""
    if jobs:
        with contextlib.suppress(RuntimeError):
            jobs[0].loop.call_soon_threadsafe(_resolve, jobs)


def _resolve(jobs: list[_Job]) -> None:
    for job in jobs:
        if job.future.done():
            continue
        if job.error is not None:
            job.future.set_exception(job.error)
        else:
            job.future.set_result(job.result)
