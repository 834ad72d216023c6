"""What the store has done and the hub does not know yet: nobody's delivery stops, nothing comes twice."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Sequence

import pytest

from relay.core.operations import AppendEntries, Operation, Outcome, StoredEntry, StreamView
from relay.errors import StoreUnavailable
from relay.hub import Hub
from relay.store import MemoryStreamStore
from relay.wire import encode
from relay.wire import frames as fr
from relay.wire.ids import EngagementId
from tests.relay.hub.support import (
    ANNA,
    BEN,
    PORTAL,
    Device,
    Pair,
    connected_pair,
    make_hub,
    only,
    participants,
)


class LateStore(MemoryStreamStore):
    """Does at once what it is asked, and answers when a test lets it."""

    def __init__(self) -> None:
        super().__init__()
        self.commits = asyncio.Event()
        self.reads = asyncio.Event()
        self.views = asyncio.Event()
        for gate in (self.commits, self.reads, self.views):
            gate.set()
        self.asked = asyncio.Event()
        self.loses_answers = False

    async def commit(self, operations: Sequence[Operation]) -> list[list[Outcome]]:
        outcomes = await super().commit(operations)
        self.asked.set()
        await self.commits.wait()
        if self.loses_answers and any(isinstance(operation, AppendEntries) for operation in operations):
            raise StoreUnavailable("the answer was lost")
        return outcomes

    async def read(
        self, stream: EngagementId, *, after: int, limit: int, max_bytes: int
    ) -> list[StoredEntry]:
        entries = await super().read(stream, after=after, limit=limit, max_bytes=max_bytes)
        self.asked.set()
        await self.reads.wait()
        return entries

    async def view(self, stream: EngagementId) -> StreamView | None:
        view = await super().view(stream)
        self.asked.set()
        await self.views.wait()
        return view


@pytest.fixture
def late() -> LateStore:
    return LateStore()


@pytest.fixture
async def late_hub(late: LateStore) -> AsyncIterator[Hub]:
    hub = make_hub(late, window_entries=8)
    await hub.start()
    yield hub
    for gate in (late.commits, late.reads, late.views):
        gate.set()
    await hub.close()


@pytest.fixture
async def late_pair(late_hub: Hub) -> Pair:
    return await connected_pair(late_hub)


def seqs(device: Device) -> list[int]:
    return [entry.seq for entry in device.take_entries()]


async def turns() -> None:
    """Let everything go on that does not wait for the test."""
    for _ in range(50):
        await asyncio.sleep(0)


async def say(device: Device, *frames: fr.Frame) -> None:
    await device.session.receive(encode(frames))
    await turns()


async def test_what_was_read_before_its_answer_came_does_not_stop_the_delivery(
    late: LateStore, late_hub: Hub, late_pair: Pair
) -> None:
    anna, ben, stream = late_pair.anna, late_pair.ben, late_pair.stream
    ben.session.lost()
    await ben.connect()
    await anna.say(*[anna.message(stream) for _ in range(4)])
    late.commits.clear()
    await say(anna, *[anna.message(stream) for _ in range(20)])
    await say(ben, fr.Open(1, stream, 1))
    received = seqs(ben)
    await say(ben, fr.Ack(stream, received[-1]))
    late.commits.set()
    await late_hub.settle()
    while new := seqs(ben):
        received += new
        await ben.session.receive(encode([fr.Ack(stream, new[-1])]))
        await late_hub.settle()
    assert received == list(range(2, 26))
    view = await late.view(stream)
    assert view is not None
    assert view.members[ben.id] == 25


async def test_who_was_removed_gets_nothing_more_from_a_reading_under_way(
    late: LateStore, late_hub: Hub, late_pair: Pair
) -> None:
    anna, ben, stream = late_pair.anna, late_pair.ben, late_pair.stream
    ben.session.lost()
    await anna.say(anna.message(stream))
    await ben.connect()
    late.commits.clear()
    late.reads.clear()
    await say(anna, anna.commit(stream, 1, removes=[ben.id]), anna.message(stream, 3))
    await say(ben, fr.Open(1, stream, 1))
    late.commits.set()
    await turns()
    late.reads.set()
    await late_hub.settle()
    assert seqs(ben) == []


async def test_what_was_stored_without_an_answer_comes_with_its_repeat(
    late: LateStore, late_hub: Hub, late_pair: Pair
) -> None:
    anna, ben, stream = late_pair.anna, late_pair.ben, late_pair.stream
    lost = [anna.message(stream, body=b"one"), anna.message(stream, body=b"two")]
    late.loses_answers = True
    refused = await anna.say(*lost)
    assert {frame.code for frame in refused} == {"store_unavailable"}
    late.loses_answers = False
    await anna.say(*lost, *lost, anna.message(stream, body=b"three"))
    assert [(entry.seq, entry.body) for entry in ben.take_entries()] == [
        (2, b"one"),
        (3, b"two"),
        (4, b"three"),
    ]


async def test_what_nobody_repeats_comes_with_the_next_entry(
    late: LateStore, late_hub: Hub, late_pair: Pair
) -> None:
    anna, ben, stream = late_pair.anna, late_pair.ben, late_pair.stream
    late.loses_answers = True
    await anna.say(anna.message(stream))
    late.loses_answers = False
    await ben.say(ben.message(stream))
    assert seqs(anna) == [2, 3]


async def test_a_bundle_without_an_answer_counts_once_it_is_repeated(
    late: LateStore, late_hub: Hub, late_pair: Pair
) -> None:
    anna, ben, stream = late_pair.anna, late_pair.ben, late_pair.stream
    removal = anna.commit(stream, 1, removes=[ben.id])
    late.loses_answers = True
    await anna.say(removal)
    late.loses_answers = False
    await anna.say(removal)
    await anna.say(anna.message(stream, 2))
    assert seqs(ben) == []


@pytest.mark.parametrize(("change", "code"), [("removed", "not_found"), ("ended", "ended")])
async def test_who_is_taken_from_the_roster_while_a_stream_opens_has_it_not_open(
    late: LateStore, late_hub: Hub, late_pair: Pair, change: str, code: str
) -> None:
    anna, ben, stream = late_pair.anna, late_pair.ben, late_pair.stream
    ben.session.lost()
    await ben.connect()
    late.views.clear()
    opening = asyncio.ensure_future(ben.session.receive(encode([fr.Open(1, stream, 1)])))
    await turns()
    engagements = late_hub.engagements
    if change == "ended":
        changing = asyncio.ensure_future(engagements.end(PORTAL, stream))
    else:
        changing = asyncio.ensure_future(engagements.set_participants(PORTAL, stream, participants(ANNA)))
    await turns()
    late.views.set()
    await asyncio.gather(opening, changing)
    await late_hub.settle()
    assert [frame.code for frame in only(ben.take(), fr.Error)] == [code]
    await anna.say(anna.message(stream))
    assert seqs(ben) == []
    assert [frame.code for frame in only(await ben.say(ben.message(stream)), fr.Refused)] == [code]


async def test_a_room_that_two_load_misses_no_commit(late: LateStore, late_hub: Hub, late_pair: Pair) -> None:
    anna, ben, stream = late_pair.anna, late_pair.ben, late_pair.stream
    for device in (anna, ben):
        device.session.lost()
        await device.connect()
    late_hub.rooms.drop(stream)
    late.views.clear()
    first = asyncio.ensure_future(late_hub.rooms.enter(stream, anna.portal, ANNA))
    await turns()
    await commit_beside_the_hub_knowing(late_hub, anna, stream)
    second = asyncio.ensure_future(late_hub.rooms.enter(stream, ben.portal, BEN))
    await turns()
    late.views.set()
    assert await first is await second
    assert (await first).head == 2


async def commit_beside_the_hub_knowing(hub: Hub, anna: Device, stream: EngagementId) -> None:
    """An append that was queued while the room was in use, and is answered after it was dropped."""
    frame = anna.message(stream)
    _, counter, kind, after_commit, body, _ = frame
    append = AppendEntries(stream, anna.id, counter, kind, after_commit, (body,), int(hub.clock() * 1000))
    hub.commits.append(append, anna.session)
    await hub.commits.settle()
