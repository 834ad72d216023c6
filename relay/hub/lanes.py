"""A commit queue for each lane of the store: if one of several servers is down, the others' streams go on."""

from __future__ import annotations

import asyncio
from collections.abc import Hashable
from typing import TYPE_CHECKING

from relay.core.operations import AppendEntries, Operation, Outcome
from relay.errors import RelayError, StoreUnavailable
from relay.hub.commits import Answers, CommitQueue
from relay.store.interface import StreamStore
from relay.wire.ids import DeviceId, EngagementId

if TYPE_CHECKING:
    from relay.hub.session import Session


class _Place:
    """Where a stream's appends are queued, and how many of them are not answered."""

    __slots__ = ("queue", "under_way")

    def __init__(self, queue: CommitQueue) -> None:
        self.queue = queue
        self.under_way = 0


class CommitLanes:
    """The commit queues of a node. While appends to a stream are under way, those that follow go the same
    way: they stay in order when a server takes over another one's streams."""

    def __init__(self, store: StreamStore, answers: Answers) -> None:
        self._store = store
        self._answers = answers
        self._noted = Answers(self._appended, self._refused, answers.handed_out)
        self._queues: dict[Hashable, CommitQueue] = {}  # one for each server there has been: a few
        self._places: dict[EngagementId, _Place] = {}
        self._started = False
        self._closing = False

    def __len__(self) -> int:
        return sum(map(len, self._queues.values()))

    def start(self) -> None:
        """Begin to commit."""
        self._started = True
        for queue in self._queues.values():
            queue.start()

    async def close(self) -> None:
        """Commit everything that was accepted, then stop."""
        self._closing = True
        await asyncio.gather(*[queue.close() for queue in self._queues.values()])

    async def settle(self) -> None:
        """Wait until everything accepted so far has been committed and answered."""
        await asyncio.gather(*[queue.settle() for queue in self._queues.values()])

    def append(self, append: AppendEntries, session: Session) -> None:
        """Queue an append; its session is told. Raises `StoreUnavailable` when it is too late."""
        place = self._places.get(append.stream)
        queue = place.queue if place else self._queue_of(append.stream)
        queue.append(append, session)
        if place is None:
            place = self._places[append.stream] = _Place(queue)
        place.under_way += 1
        if queue.is_full:
            session.waits_for = queue

    def submit(self, operation: Operation) -> asyncio.Future[Outcome]:
        """Queue an operation that is no append; the future has its outcome, or `StoreError`."""
        return self._queue_of(operation.stream).submit(operation)

    def acknowledge(self, stream: EngagementId, device: DeviceId, seq: int) -> None:
        """Note an acknowledgement: of those that gather for a moment only the highest is written."""
        self._queue_of(stream).acknowledge(stream, device, seq)

    def _queue_of(self, stream: EngagementId) -> CommitQueue:
        lane = self._store.lane(stream)
        queue = self._queues.get(lane)
        if queue is None:
            if self._closing:
                raise StoreUnavailable("the relay is going down")
            queue = CommitQueue(self._store, self._noted)
            self._queues[lane] = queue
            if self._started:
                queue.start()
        return queue

    def _appended(self, append: AppendEntries, outcomes: list[Outcome], session: Session) -> None:
        self._answered(append.stream)
        self._answers.appended(append, outcomes, session)

    def _refused(self, append: AppendEntries, error: RelayError, session: Session) -> None:
        self._answered(append.stream)
        self._answers.refused(append, error, session)

    def _answered(self, stream: EngagementId) -> None:
        place = self._places[stream]
        place.under_way -= 1
        if not place.under_way:
            del self._places[stream]
