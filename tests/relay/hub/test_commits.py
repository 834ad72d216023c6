"""The commit queue: what goes into a transaction, in which order, and what waits."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Sequence
from typing import Any

import pytest

from relay.core.operations import AcknowledgeEntries, AppendEntries, Operation, Outcome
from relay.errors import StoreFull, StoreUnavailable
from relay.hub.commits import Answers, CommitQueue
from relay.hub.settings import (
    MAX_BATCH_ACKNOWLEDGEMENTS,
    MAX_BATCH_BYTES,
    MAX_BATCH_OPERATIONS,
    MAX_QUEUED_OPERATIONS,
)
from relay.store import MemoryStreamStore
from tests.conformance.support import ANNA, BEN, STREAM, create, message

SESSION: Any = "a session"


class HeldStore(MemoryStreamStore):
    """Commits when a test lets it, and remembers the batches."""

    def __init__(self) -> None:
        super().__init__()
        self.batches: list[list[Operation]] = []
        self.go = asyncio.Event()
        self.failures: list[Exception] = []
        self.started = asyncio.Condition()

    async def commit(self, operations: Sequence[Operation]) -> list[list[Outcome]]:
        self.batches.append(list(operations))
        async with self.started:
            self.started.notify_all()
        await self.go.wait()
        if self.failures:
            raise self.failures.pop(0)
        return [[Outcome(1, 1, True, None, 0)] for _ in operations]


class Queue:
    """A queue, and what its session was told."""

    def __init__(self) -> None:
        self.store = HeldStore()
        self.told: list[int] = []
        self.refused: list[int] = []
        self.handed_out: list[int] = []
        self.queue = CommitQueue(
            self.store,
            Answers(
                appended=lambda append, _, __: self.told.append(append.counter),
                refused=lambda append, _, __: self.refused.append(append.counter),
                handed_out=lambda: self.handed_out.append(len(self.told)),
            ),
        )

    def append(self, *counters: int, size: int = 1) -> None:
        for counter in counters:
            self.queue.append(message(ANNA, counter, body=bytes(size)), SESSION)

    async def started(self, batches: int = 1) -> None:
        async with self.store.started:
            await self.store.started.wait_for(lambda: len(self.store.batches) >= batches)


@pytest.fixture
async def held() -> AsyncIterator[Queue]:
    held = Queue()
    held.queue.start()
    yield held
    held.store.go.set()
    await held.queue.close()


def counters(batch: Sequence[Operation]) -> list[int]:
    return [operation.counter for operation in batch if isinstance(operation, AppendEntries)]


async def test_what_comes_while_a_transaction_runs_goes_into_the_next(held: Queue) -> None:
    held.append(1)
    await held.started()
    held.append(2, 3)
    held.append(4)
    assert held.told == []
    held.store.go.set()
    await held.queue.settle()
    assert [counters(batch) for batch in held.store.batches] == [[1], [2, 3, 4]]
    assert held.told == [1, 2, 3, 4]
    assert held.handed_out == [1, 4]


async def test_a_transaction_has_its_most_of_operations(held: Queue) -> None:
    every = list(range(1, 2 * MAX_BATCH_OPERATIONS + 10))
    held.append(*every)
    held.store.go.set()
    await held.queue.settle()
    assert max(map(len, held.store.batches)) == MAX_BATCH_OPERATIONS
    assert [counter for batch in held.store.batches for counter in counters(batch)] == every
    assert held.told == every


async def test_a_transaction_has_its_most_of_bytes(held: Queue) -> None:
    held.append(*range(1, 40), size=1024 * 1024)
    held.store.go.set()
    await held.queue.settle()
    sizes = [
        sum(len(op.bodies[0]) for op in batch if isinstance(op, AppendEntries))
        for batch in held.store.batches
    ]
    assert max(sizes) <= MAX_BATCH_BYTES
    assert held.told == list(range(1, 40))


async def test_a_full_queue_has_room_again(held: Queue) -> None:
    held.append(*range(1, MAX_QUEUED_OPERATIONS))
    waiting = asyncio.ensure_future(held.queue.wait_room())
    await asyncio.sleep(0)
    assert waiting.done()
    held.append(*range(MAX_QUEUED_OPERATIONS, MAX_QUEUED_OPERATIONS + MAX_BATCH_OPERATIONS + 1))
    waiting = asyncio.ensure_future(held.queue.wait_room())
    await held.started()
    assert held.queue.is_full
    held.store.go.set()
    await waiting
    assert len(held.queue) < MAX_QUEUED_OPERATIONS


async def test_a_queue_is_full_of_bytes_too(held: Queue) -> None:
    held.append(*range(1, 65), size=1024 * 1024)
    assert held.queue.is_full


async def test_acknowledgements_gather_and_only_the_highest_counts(held: Queue) -> None:
    held.append(1)
    await held.started()
    for seq in (3, 5, 4):
        held.queue.acknowledge(STREAM, ANNA, seq)
    held.queue.acknowledge(STREAM, BEN, 2)
    held.append(2)
    held.store.go.set()
    await held.started(2)
    held.append(3)
    await held.queue.settle()
    assert counters(held.store.batches[1]) == [2]
    assert held.store.batches[2][1:] == [
        AcknowledgeEntries(STREAM, ANNA, 5),
        AcknowledgeEntries(STREAM, BEN, 2),
    ]


async def test_a_crowd_of_acknowledgements_does_not_hold_a_message_up(held: Queue) -> None:
    held.append(1)
    await held.started()
    devices = [type(ANNA)(bytes([number]) * 16) for number in range(40)]
    for device in devices:
        held.queue.acknowledge(STREAM, device, 7)
    held.append(2)
    settled = asyncio.ensure_future(held.queue.settle())
    held.store.go.set()
    await settled
    acknowledged = [
        [operation.device for operation in batch if isinstance(operation, AcknowledgeEntries)]
        for batch in held.store.batches
    ]
    assert max(map(len, acknowledged)) == MAX_BATCH_ACKNOWLEDGEMENTS
    assert [device for batch in acknowledged for device in batch] == devices
    assert counters(held.store.batches[1]) == [2]


async def test_acknowledgements_alone_are_written_soon(held: Queue) -> None:
    held.store.go.set()
    held.queue.acknowledge(STREAM, ANNA, 3)
    assert held.store.batches == []
    async with asyncio.timeout(30):
        await held.started()
    assert held.store.batches == [[AcknowledgeEntries(STREAM, ANNA, 3)]]


async def test_an_acknowledgement_that_waits_is_not_taken_back_by_a_lower_one(held: Queue) -> None:
    held.store.failures.append(StoreFull("full"))
    held.append(1)
    await held.started()
    devices = [type(ANNA)(bytes([number]) * 16) for number in range(MAX_BATCH_ACKNOWLEDGEMENTS + 1)]
    for device in devices:
        held.queue.acknowledge(STREAM, device, 7)
    held.queue._hurry()
    held.queue.acknowledge(STREAM, devices[-1], 5)  # a connection that began again from before
    held.store.go.set()
    await held.queue.settle()
    written = [op for batch in held.store.batches for op in batch if isinstance(op, AcknowledgeEntries)]
    assert written == [AcknowledgeEntries(STREAM, device, 7) for device in devices]


async def test_nobody_waits_for_a_queue_that_is_closed(held: Queue) -> None:
    settled = asyncio.ensure_future(held.queue.settle())
    held.store.go.set()
    await held.queue.close()
    async with asyncio.timeout(30):
        await settled
        await held.queue.settle()


async def test_other_operations_have_their_answer(held: Queue) -> None:
    held.store.go.set()
    assert (await held.queue.submit(create())).code is None
    held.store.failures.append(StoreFull("full"))
    with pytest.raises(StoreFull):
        await held.queue.submit(create())


async def test_a_failure_refuses_the_batch_and_nothing_else(held: Queue) -> None:
    held.store.failures.append(StoreFull("full"))
    held.append(1, 2)
    await held.started()
    held.append(3)
    held.store.go.set()
    await held.queue.settle()
    assert held.refused == [1, 2]
    assert held.told == [3]


async def test_a_cancelled_waiter_harms_nobody(held: Queue) -> None:
    waiting = held.queue.submit(create())
    held.append(1)
    await held.started()
    waiting.cancel()
    held.store.go.set()
    await held.queue.settle()
    assert held.told == [1]


async def test_closing_commits_what_was_accepted(held: Queue) -> None:
    held.append(1, 2)
    held.queue.acknowledge(STREAM, ANNA, 1)
    held.store.go.set()
    await held.queue.close()
    assert held.told == [1, 2]
    with pytest.raises(StoreUnavailable):
        held.append(3)
    with pytest.raises(StoreUnavailable):
        held.queue.submit(create())


class ClosedStore(MemoryStreamStore):
    def commit(self, operations: Sequence[Operation]) -> Any:
        raise StoreUnavailable("closed")


async def test_a_store_that_refuses_at_once_is_survived() -> None:
    refused: list[int] = []
    answers = Answers(
        appended=lambda *_: None,
        refused=lambda append, _, __: refused.append(append.counter),
        handed_out=lambda: None,
    )
    queue = CommitQueue(ClosedStore(), answers)
    queue.start()
    for counter in (1, 2):
        queue.append(message(ANNA, counter), SESSION)
        await queue.settle()
    assert refused == [1, 2]
    await queue.close()
