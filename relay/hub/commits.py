"""The commit queue: what arrives while a transaction runs goes into the next one. No timer, but for what
may wait."""

from __future__ import annotations

import asyncio
import logging
from collections import deque
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from itertools import islice
from typing import TYPE_CHECKING, Final

from relay.core.operations import AcknowledgeEntries, AppendEntries, Operation, Outcome
from relay.errors import RelayError, StoreError, StoreUnavailable
from relay.hub.settings import (
    ACKNOWLEDGE_SECONDS,
    MAX_BATCH_ACKNOWLEDGEMENTS,
    MAX_BATCH_BYTES,
    MAX_BATCH_OPERATIONS,
    MAX_QUEUED_BYTES,
    MAX_QUEUED_OPERATIONS,
    RETRY_SECONDS,
)
from relay.store.interface import StreamStore
from relay.wire.ids import DeviceId, EngagementId

if TYPE_CHECKING:
    from relay.hub.session import Session

_log: Final = logging.getLogger("relay.hub")
_BYTES_EACH: Final = 256


@dataclass(frozen=True, slots=True)
class Answers:
    """Who is told what became of appends, and, behind those of one transaction, that it was all of them."""

    appended: Callable[[AppendEntries, list[Outcome], Session], None]
    refused: Callable[[AppendEntries, RelayError, Session], None]
    handed_out: Callable[[], None]


class CommitQueue:
    """Feeds the store one batch at a time, and hands out what became of each operation."""

    def __init__(self, store: StreamStore, answers: Answers) -> None:
        self._store = store
        self._answers = answers
        self._appends: deque[tuple[AppendEntries, Session, int]] = deque()  # with their sizes
        self._entries = 0
        self._bytes = 0
        self._others: list[tuple[Operation, asyncio.Future[Outcome]]] = []
        self._acknowledged: dict[tuple[EngagementId, DeviceId], int] = {}
        self._due: dict[tuple[EngagementId, DeviceId], int] = {}  # acknowledgements that have waited
        self._wake = asyncio.Event()
        self._has_room = asyncio.Event()
        self._has_room.set()
        self._idle = asyncio.Event()
        self._idle.set()
        self._timer: asyncio.TimerHandle | None = None
        self._task: asyncio.Task[None] | None = None
        self._closing = False

    def __len__(self) -> int:
        return self._entries + len(self._others)

    def start(self) -> None:
        """Begin to commit."""
        self._task = asyncio.get_running_loop().create_task(self._run(), name="commit queue")

    async def close(self) -> None:
        """Commit everything that was accepted, then stop."""
        self._closing = True
        self._hurry()
        if self._task is not None:
            await self._task
        if self._timer is not None:
            self._timer.cancel()

    async def settle(self) -> None:
        """Wait until everything accepted so far has been committed and answered."""
        if self._task is not None and self._task.done():
            self._task.result()  # a fault of ours ended it: nothing more is committed
            return
        self._hurry()
        await self._idle.wait()

    def append(self, append: AppendEntries, session: Session) -> None:
        """Queue an append; its session is told. Raises `StoreUnavailable` when it is too late."""
        if not self._appends:
            self._begin()
        size = sum(map(len, append.bodies)) + _BYTES_EACH * len(append.bodies)
        self._appends.append((append, session, size))
        self._entries += len(append.bodies)
        self._bytes += size
        if self._bytes >= MAX_QUEUED_BYTES or self._entries >= MAX_QUEUED_OPERATIONS:
            self._has_room.clear()

    def submit(self, operation: Operation) -> asyncio.Future[Outcome]:
        """Queue an operation that is no append; the future has its outcome, or `StoreError`."""
        self._begin()
        future: asyncio.Future[Outcome] = asyncio.get_running_loop().create_future()
        self._others.append((operation, future))
        return future

    def acknowledge(self, stream: EngagementId, device: DeviceId, seq: int) -> None:
        """Note an acknowledgement: of those that gather for a moment only the highest is written."""
        key = (stream, device)
        if seq > self._acknowledged.get(key, 0):
            self._acknowledged[key] = seq
            if self._timer is None:
                self._wake_in(ACKNOWLEDGE_SECONDS)

    @property
    def is_full(self) -> bool:
        return not self._has_room.is_set()

    async def wait_room(self) -> None:
        """Wait until more may be queued."""
        await self._has_room.wait()

    def _begin(self) -> None:
        if self._closing:
            raise StoreUnavailable("the relay is going down")
        self._idle.clear()
        self._wake.set()

    def _hurry(self) -> None:
        due = self._due
        for key, seq in self._acknowledged.items():
            due[key] = max(seq, due.get(key, 0))
        self._acknowledged = {}
        self._idle.clear()
        self._wake.set()

    def _wake_in(self, seconds: float) -> None:
        def wake() -> None:
            self._timer = None
            self._hurry()

        self._timer = asyncio.get_running_loop().call_later(seconds, wake)

    async def _run(self) -> None:
        """Start the next batch before the last one's results are handed out: the disk does not wait."""
        done: tuple[_Batch, list[list[Outcome]] | StoreError] | None = None
        while True:
            batch = self._take()
            running = self._start(batch) if batch else None
            if done is not None:
                self._hand_out_safely(*done)
                done = None
            if batch and running is not None:
                done = batch, await _outcomes(running)
            elif not len(self):
                self._idle.set()
                if self._closing:
                    return
                await self._wake.wait()
                self._wake.clear()

    def _start(self, batch: _Batch) -> Awaitable[list[list[Outcome]]]:
        try:
            return self._store.commit(batch.operations)
        except StoreError as error:
            return _failed(error)

    def _take(self) -> _Batch | None:
        """What goes into the next transaction."""
        acknowledged = self._take_acknowledged()
        if not len(self) and not acknowledged:
            return None
        appends, sessions = self._take_appends()
        others, self._others = self._others, []
        operations: list[Operation] = [
            *appends,
            *[operation for operation, _ in others],
            *acknowledged,
        ]
        return _Batch(operations, sessions, [future for _, future in others])

    def _take_acknowledged(self) -> list[AcknowledgeEntries]:
        """Some acknowledgements that have waited; those that are left go into the next transactions."""
        keys = list(islice(self._due, MAX_BATCH_ACKNOWLEDGEMENTS))
        return [AcknowledgeEntries(*key, self._due.pop(key)) for key in keys]

    def _take_appends(self) -> tuple[list[AppendEntries], list[Session]]:
        """Appends of as many entries and bytes as one transaction takes; at least one append."""
        appends: list[AppendEntries] = []
        sessions: list[Session] = []
        entries = taken = 0
        while self._appends and entries < MAX_BATCH_OPERATIONS:
            append, session, size = self._appends[0]
            if appends and taken + size > MAX_BATCH_BYTES:
                break
            self._appends.popleft()
            appends.append(append)
            sessions.append(session)
            entries += len(append.bodies)
            taken += size
        self._entries -= entries
        self._bytes -= taken
        if self._entries < MAX_QUEUED_OPERATIONS and self._bytes < MAX_QUEUED_BYTES:
            self._has_room.set()
        return appends, sessions

    def _hand_out_safely(self, batch: _Batch, outcomes: list[list[Outcome]] | StoreError) -> None:
        try:
            if isinstance(outcomes, StoreError):
                self._hand_out_failure(batch, outcomes)
            else:
                self._hand_out(batch, outcomes)
        except Exception:
            # A fault of ours in one answer must not end everybody's commits: who has none asks again.
            _log.exception("answers to a commit failed", extra={"operations": len(batch.operations)})
        self._answers.handed_out()

    def _hand_out(self, batch: _Batch, outcomes: list[list[Outcome]]) -> None:
        appended = self._answers.appended
        for append, outcome, session in zip(batch.operations, outcomes, batch.sessions, strict=False):
            appended(append, outcome, session)  # type: ignore[arg-type]  # appends are the first operations
        for future, outcome in zip(batch.futures, outcomes[len(batch.sessions) :], strict=False):
            if not future.done():
                future.set_result(outcome[0])

    def _hand_out_failure(self, batch: _Batch, error: StoreError) -> None:
        _log.error("commit failed", extra={"code": str(error.code), "operations": len(batch.operations)})
        for operation in batch.operations:
            if isinstance(operation, AcknowledgeEntries) and not self._closing:
                key = operation.stream, operation.device
                self._acknowledged[key] = max(operation.seq, self._acknowledged.get(key, 0))
        if self._acknowledged and self._timer is None:
            self._wake_in(RETRY_SECONDS)
        for future in batch.futures:
            if not future.done():
                future.set_exception(error)
        for append, session in zip(batch.operations, batch.sessions, strict=False):
            self._answers.refused(append, error, session)  # type: ignore[arg-type]  # as above


@dataclass(frozen=True, slots=True)
class _Batch:
    """One transaction: first the sessions' appends, then what the futures wait for, then acknowledgements."""

    operations: list[Operation]
    sessions: list[Session]
    futures: list[asyncio.Future[Outcome]]


async def _failed(error: StoreError) -> list[list[Outcome]]:
    raise error


async def _outcomes(running: Awaitable[list[list[Outcome]]]) -> list[list[Outcome]] | StoreError:
    try:
        return await running
    except StoreError as error:
        return error
    except Exception:
        _log.exception("a store failed in a way that it does not know")
        return StoreUnavailable("the store failed")
