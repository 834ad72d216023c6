"""The commit queue: what arrives while a transaction runs goes into the next one. No timer, but for what
may wait."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Awaitable, Callable
from typing import TYPE_CHECKING, Final

from relay.core.operations import AcknowledgeEntries, AppendEntry, Operation, Outcome
from relay.errors import RelayError, StoreError, StoreUnavailable
from relay.hub.settings import (
    ACKNOWLEDGE_SECONDS,
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


class CommitQueue:
    """Feeds the store one batch at a time, and hands out what became of each operation."""

    def __init__(
        self,
        store: StreamStore,
        appended: Callable[[AppendEntry, Outcome, Session], None],
        refused: Callable[[AppendEntry, RelayError, Session], None],
    ) -> None:
        self._store = store
        self._appended = appended
        self._refused = refused
        self._operations: list[Operation] = []
        self._answers: list[Session | asyncio.Future[Outcome]] = []
        self._bytes = 0
        self._acknowledged: dict[tuple[EngagementId, DeviceId], int] = {}
        self._wake = asyncio.Event()
        self._has_room = asyncio.Event()
        self._has_room.set()
        self._idle = asyncio.Event()
        self._idle.set()
        self._timer: asyncio.TimerHandle | None = None
        self._acknowledge_now = False
        self._task: asyncio.Task[None] | None = None
        self._closing = False

    def __len__(self) -> int:
        return len(self._operations)

    def start(self) -> None:
        """Begin to commit."""
        self._task = asyncio.get_running_loop().create_task(self._run(), name="commit queue")

    async def close(self) -> None:
        """Commit everything that was accepted, then stop."""
        self._closing = True
        self._hurry()
        if self._task is not None:
            await self._task

    async def settle(self) -> None:
        """Wait until everything accepted so far has been committed and answered."""
        self._hurry()
        await self._idle.wait()

    def _hurry(self) -> None:
        self._acknowledge_now = True
        self._idle.clear()
        self._wake.set()

    def append(self, append: AppendEntry, session: Session) -> None:
        """Queue an append; its session is told."""
        operations = self._operations
        if not operations or self._closing:
            self._begin()
        operations.append(append)
        self._answers.append(session)
        self._bytes += len(append.body) + _BYTES_EACH
        if len(operations) >= MAX_QUEUED_OPERATIONS or self._bytes >= MAX_QUEUED_BYTES:
            self._has_room.clear()

    def submit(self, operation: Operation) -> asyncio.Future[Outcome]:
        """Queue an operation; the future has its outcome, or `StoreError`."""
        future: asyncio.Future[Outcome] = asyncio.get_running_loop().create_future()
        self._begin()
        self._operations.append(operation)
        self._answers.append(future)
        self._bytes += _BYTES_EACH
        return future

    def acknowledge(self, stream: EngagementId, device: DeviceId, seq: int) -> None:
        """Note an acknowledgement: of several only the highest is written, with the next batch."""
        key = (stream, device)
        if seq > self._acknowledged.get(key, 0):
            self._acknowledged[key] = seq
            if self._timer is None and not self._operations:
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

    def _wake_in(self, seconds: float) -> None:
        def wake() -> None:
            self._timer = None
            self._hurry()

        self._timer = asyncio.get_running_loop().call_later(seconds, wake)

    async def _run(self) -> None:
        """Start the next batch before the last one's results are handed out: the disk does not wait for
        us."""
        done: tuple[_Batch, list[Outcome] | StoreError] | None = None
        while True:
            batch = self._take()
            running = self._store.commit(batch.operations) if batch else None
            if done is not None:
                self._hand_out_safely(*done)
                done = None
            if batch and running is not None:
                done = batch, await _outcomes(running)
            elif not self._operations:
                if self._closing:
                    return
                self._idle.set()
                await self._wake.wait()
                self._wake.clear()

    def _take(self) -> _Batch | None:
        """What goes into the next transaction."""
        operations, answers = self._operations, self._answers
        hurried, self._acknowledge_now = self._acknowledge_now, False
        if not operations and not (hurried and self._acknowledged):
            return None
        count = _fitting(operations) if self._bytes > MAX_BATCH_BYTES else MAX_BATCH_OPERATIONS
        self._operations, self._answers = operations[count:], answers[count:]
        del operations[count:], answers[count:]
        self._bytes = sum(map(_size, self._operations)) if self._operations else 0
        if len(self._operations) < MAX_QUEUED_OPERATIONS and self._bytes < MAX_QUEUED_BYTES:
            self._has_room.set()
        acknowledged, self._acknowledged = self._acknowledged, {}
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None
        operations.extend([AcknowledgeEntries(*key, seq) for key, seq in acknowledged.items()])
        return _Batch(operations, answers)

    def _hand_out_safely(self, batch: _Batch, outcomes: list[Outcome] | StoreError) -> None:
        try:
            self._hand_out(batch, outcomes)
        except Exception:
            # A fault of ours in one answer must not end everybody's commits: who has none asks again.
            _log.exception("answers to a commit failed", extra={"operations": len(batch.operations)})

    def _hand_out(self, batch: _Batch, outcomes: list[Outcome] | StoreError) -> None:
        if isinstance(outcomes, StoreError):
            self._hand_out_failure(batch, outcomes)
            return
        appended = self._appended
        # Acknowledgements are the last ones, and have nobody to tell.
        for operation, answer, outcome in zip(batch.operations, batch.answers, outcomes, strict=False):
            if type(operation) is AppendEntry and not isinstance(answer, asyncio.Future):
                appended(operation, outcome, answer)
            elif isinstance(answer, asyncio.Future) and not answer.done():
                answer.set_result(outcome)

    def _hand_out_failure(self, batch: _Batch, error: StoreError) -> None:
        _log.error("commit failed", extra={"code": str(error.code), "operations": len(batch.operations)})
        for operation, answer in zip(batch.operations, batch.answers, strict=False):
            if type(operation) is AppendEntry and not isinstance(answer, asyncio.Future):
                self._refused(operation, error, answer)
            elif isinstance(answer, asyncio.Future) and not answer.done():
                answer.set_exception(error)
        for operation in batch.operations[len(batch.answers) :]:
            if isinstance(operation, AcknowledgeEntries) and not self._closing:
                key = operation.stream, operation.device
                self._acknowledged[key] = max(operation.seq, self._acknowledged.get(key, 0))
        if self._acknowledged and self._timer is None:
            self._wake_in(RETRY_SECONDS)


class _Batch:
    """One transaction: `answers` belong to the first operations, the rest are acknowledgements."""

    __slots__ = ("answers", "operations")

    def __init__(self, operations: list[Operation], answers: list[Session | asyncio.Future[Outcome]]) -> None:
        self.operations = operations
        self.answers = answers


async def _outcomes(running: Awaitable[list[Outcome]]) -> list[Outcome] | StoreError:
    try:
        return await running
    except StoreError as error:
        return error
    except Exception:
        _log.exception("a store failed in a way that it does not know")
        return StoreUnavailable("the store failed")


def _size(operation: Operation) -> int:
    return len(operation.body) + _BYTES_EACH if isinstance(operation, AppendEntry) else _BYTES_EACH


def _fitting(operations: list[Operation]) -> int:
    """How many of the first operations fit into one transaction; at least one."""
    size = 0
    for count, operation in enumerate(operations[:MAX_BATCH_OPERATIONS]):
        size += _size(operation)
        if count and size > MAX_BATCH_BYTES:
            return count
    return min(len(operations), MAX_BATCH_OPERATIONS)
