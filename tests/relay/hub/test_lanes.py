"""Streams of one lane of the store go on while another lane does not answer."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Sequence

import pytest

from relay.core.operations import AppendEntries, CreateStream, Operation, Outcome
from relay.errors import StoreUnavailable
from relay.hub.commits import Answers, CommitQueue
from relay.hub.lanes import CommitLanes
from relay.hub.settings import MAX_QUEUED_OPERATIONS
from relay.store import MemoryStreamStore
from relay.wire import encode
from relay.wire import frames as fr
from relay.wire.ids import EngagementId
from tests.conformance.support import ANNA, INCARNATION, OTHER, STREAM, message
from tests.relay.hub.support import Device, make_hub, new_engagement


class TwoLanes(MemoryStreamStore):
    """STREAM is in a lane of its own; what is in `held` lanes waits, or fails."""

    def __init__(self) -> None:
        super().__init__()
        self.slow = {STREAM}
        self.go = asyncio.Event()
        self.fails = False
        self.order: list[tuple[EngagementId, int]] = []

    def lane(self, stream: EngagementId) -> str:
        return "slow" if stream in self.slow else "quick"

    async def commit(self, operations: Sequence[Operation]) -> list[list[Outcome]]:
        if any(operation.stream == STREAM for operation in operations):
            await self.go.wait()
            if self.fails:
                raise StoreUnavailable("down")
        self.order += [(one.stream, one.counter) for one in operations if isinstance(one, AppendEntries)]
        return [[Outcome(1, 1, True, None, 0)] for _ in operations]


class Session:
    """As much of one as an append needs."""

    waits_for: CommitQueue | None = None


class Lanes:
    def __init__(self) -> None:
        self.store = TwoLanes()
        self.session = Session()
        self.told: list[tuple[EngagementId, int]] = []
        self.refused: list[tuple[EngagementId, int]] = []
        self.changed = asyncio.Event()
        self.lanes = CommitLanes(
            self.store,
            Answers(
                appended=lambda append, _, __: self.told.append((append.stream, append.counter)),
                refused=lambda append, _, __: self.refused.append((append.stream, append.counter)),
                handed_out=self.changed.set,
            ),
        )

    def append(self, stream: EngagementId, counter: int) -> None:
        self.lanes.append(message(ANNA, counter, stream=stream), self.session)  # type: ignore[arg-type]  # as much

    async def answered(self, count: int) -> None:
        async with asyncio.timeout(30):
            while len(self.told) + len(self.refused) < count:
                self.changed.clear()
                await self.changed.wait()


@pytest.fixture
async def held() -> AsyncIterator[Lanes]:
    held = Lanes()
    held.lanes.start()
    yield held
    held.store.go.set()
    await held.lanes.close()


async def test_what_is_for_a_lane_that_hangs_holds_up_no_other(held: Lanes) -> None:
    held.append(STREAM, 1)
    for counter in (1, 2, 3):
        held.append(OTHER, counter)
        await held.answered(counter)
    assert held.told == [(OTHER, 1), (OTHER, 2), (OTHER, 3)]
    submitted = await held.lanes.submit(CreateStream(OTHER, INCARNATION))
    assert submitted.code is None
    assert len(held.lanes) == 0, "the one that hangs is under way"
    held.store.go.set()
    await held.answered(4)
    assert held.told[-1] == (STREAM, 1)


async def test_what_fails_in_one_lane_fails_in_no_other(held: Lanes) -> None:
    held.store.fails = True
    held.append(STREAM, 1)
    held.append(OTHER, 1)
    held.store.go.set()
    await held.answered(2)
    assert (held.told, held.refused) == ([(OTHER, 1)], [(STREAM, 1)])


async def test_a_stream_that_moves_to_another_lane_stays_in_order(held: Lanes) -> None:
    held.append(STREAM, 1)
    held.store.slow.clear()  # it is in the quick lane now
    held.append(STREAM, 2)
    held.append(OTHER, 1)
    await held.answered(1)
    assert held.told == [(OTHER, 1)]
    held.store.go.set()
    await held.answered(3)
    assert [counter for stream, counter in held.store.order if stream == STREAM] == [1, 2]
    held.append(STREAM, 3)
    await held.answered(4)
    assert held.lanes._places == {}, "nothing is kept of what is answered"


async def test_only_who_fills_a_lane_waits_for_it(held: Lanes) -> None:
    held.append(STREAM, 1)
    await asyncio.sleep(0)
    for counter in range(2, MAX_QUEUED_OPERATIONS + 3):
        held.append(STREAM, counter)
    full = held.session.waits_for
    assert full is not None
    assert full.is_full
    held.session.waits_for = None
    held.append(OTHER, 1)
    assert held.session.waits_for is None
    held.store.go.set()
    await full.wait_room()


async def test_what_closes_finishes_all_lanes_and_begins_none(held: Lanes) -> None:
    held.append(STREAM, 1)
    closing = asyncio.create_task(held.lanes.close())
    await asyncio.sleep(0)
    with pytest.raises(StoreUnavailable):
        held.append(OTHER, 1)
    held.store.go.set()
    await closing
    assert held.told == [(STREAM, 1)]


class HalfHeld(MemoryStreamStore):
    """What is for `hangs` waits."""

    def __init__(self) -> None:
        super().__init__()
        self.hangs: EngagementId | None = None
        self.go = asyncio.Event()

    def lane(self, stream: EngagementId) -> str:
        return stream

    async def commit(self, operations: Sequence[Operation]) -> list[list[Outcome]]:
        if any(operation.stream == self.hangs for operation in operations):
            await self.go.wait()
        return await super().commit(operations)


def appended(device: Device) -> list[EngagementId]:
    return [frame.stream for frame in device.peek() if isinstance(frame, fr.Appended)]


async def test_a_device_goes_on_in_one_conversation_while_another_hangs() -> None:
    store = HalfHeld()
    hub = make_hub(store)
    await hub.start()
    hangs, goes_on = [await new_engagement(hub) for _ in range(2)]
    anna = await Device(hub, "anna").connect()
    for record in (hangs, goes_on):
        await anna.say(anna.commit(record.id, counter=1))
        await anna.open(record.id)
    anna.take()
    store.hangs = hangs.id
    await anna.session.receive(encode([anna.message(hangs.id, counter=2)]))
    await anna.session.receive(encode([anna.message(goes_on.id, counter=2)]))
    async with asyncio.timeout(30):
        while not appended(anna):  # noqa: ASYNC110  it has no event
            await asyncio.sleep(0)
    assert appended(anna) == [goes_on.id]
    store.go.set()
    await hub.close()
