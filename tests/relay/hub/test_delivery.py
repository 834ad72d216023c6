"""Who gets which entries, in which order, and how much at a time."""

from __future__ import annotations

import pytest

from relay.hub import Hub
from relay.hub.settings import CONGESTED_BYTES, SLOW_READER_BYTES
from relay.wire import EntryKind, encode
from relay.wire import frames as fr
from relay.wire.codec import encode_run
from relay.wire.ids import EngagementId
from tests.relay.hub.support import (
    ANNA,
    BEN,
    CARA,
    NOW,
    PORTAL,
    Device,
    Pair,
    Sink,
    connected_pair,
    make_hub,
    new_engagement,
    only,
    participants,
)

NOWHERE = EngagementId("eng_" + "n" * 21 + "A")


def seqs(entries: list[fr.Entry]) -> list[int]:
    return [entry.seq for entry in entries]


async def send(pair: Pair, count: int, size: int = 5) -> None:
    at_once = 10 if size > 10_000 else 100
    for start in range(0, count, at_once):
        run = min(at_once, count - start)
        await pair.anna.say(*[pair.anna.message(pair.stream, body=bytes(size)) for _ in range(run)])


async def test_an_entry_goes_to_the_others_with_its_body(hub: Hub, pair: Pair) -> None:
    await pair.anna.say(pair.anna.message(pair.stream, body=b"sealed"))
    assert pair.ben.take() == [
        fr.Entries(pair.stream, (fr.Entry(2, EntryKind.MESSAGE, 1, NOW * 1000, 0, b"sealed"),))
    ]


async def test_ones_own_entry_comes_back_without_its_body(hub: Hub, pair: Pair) -> None:
    frames = await pair.anna.say(pair.anna.message(pair.stream, body=b"sealed"))
    (entries,) = only(frames, fr.Entries)
    assert entries.entries == (fr.Entry(2, EntryKind.MESSAGE, 1, NOW * 1000, 2, None),)


async def test_another_device_of_the_sender_gets_the_body(hub: Hub, pair: Pair) -> None:
    second = await Device(hub, ANNA, seed="2").connect()
    await pair.anna.say(pair.anna.commit(pair.stream, 1, adds=[second.id]))
    await second.open(pair.stream)
    second.take()
    await pair.anna.say(pair.anna.message(pair.stream, 2, b"sealed"))
    (entry,) = second.take_entries()
    assert (entry.counter, entry.body) == (0, b"sealed")


async def test_opening_tells_the_state_and_brings_what_is_held(hub: Hub, pair: Pair) -> None:
    await send(pair, 3)
    late = await Device(hub, BEN).connect()
    opened = await late.open(pair.stream)
    view = await hub.streams.view(pair.stream)
    assert view is not None
    assert opened == fr.Opened(1, pair.stream, view.incarnation, 4, 1, 1, 1, 0, True)
    assert seqs(late.take_entries()) == [1, 2, 3, 4]


@pytest.mark.parametrize(
    ("after", "expected"), [(0, [1, 2, 3, 4]), (1, [2, 3, 4]), (3, [4]), (4, []), (99, [])]
)
async def test_reading_begins_after_the_devices_own_position(
    hub: Hub, pair: Pair, after: int, expected: list[int]
) -> None:
    await send(pair, 3)
    ben = await Device(hub, BEN).connect()
    await ben.open(pair.stream, after)
    assert seqs(ben.take_entries()) == expected


async def test_entries_from_the_store_are_as_those_from_memory(hub: Hub, pair: Pair) -> None:
    await pair.anna.say(pair.anna.message(pair.stream, body=b"sealed"))
    await pair.ben.say(pair.ben.message(pair.stream, body=b"answer"))
    ben = await Device(hub, BEN).connect()
    await ben.open(pair.stream, 1)
    read = ben.take_entries()
    assert [(e.seq, e.counter, e.body) for e in read] == [(2, 0, b"sealed"), (3, 1, None)]


async def test_a_device_that_does_not_acknowledge_gets_256_entries(hub: Hub, pair: Pair) -> None:
    await send(pair, 300)
    entries = pair.ben.take_entries()
    assert seqs(entries) == list(range(2, 258))
    await pair.ben.session.receive(encode([fr.Ack(pair.stream, 101)]))
    await hub.settle()
    assert seqs(pair.ben.take_entries()) == list(range(258, 302))
    await send(pair, 1)
    assert seqs(pair.ben.take_entries()) == [302]


async def test_the_window_slides_by_what_is_acknowledged(hub: Hub, pair: Pair) -> None:
    await send(pair, 300)
    pair.ben.take()
    await pair.ben.session.receive(encode([fr.Ack(pair.stream, 11)]))
    await hub.settle()
    assert seqs(pair.ben.take_entries()) == list(range(258, 268))


async def test_a_device_that_does_not_acknowledge_gets_a_mebibyte(hub: Hub, pair: Pair) -> None:
    await send(pair, 40, size=60_000)
    entries = pair.ben.take_entries()
    assert seqs(entries) == list(range(2, 19))
    assert sum(len(entry.body or b"") for entry in entries) <= 1024 * 1024
    await pair.ben.session.receive(encode([fr.Ack(pair.stream, 18)]))
    await hub.settle()
    assert seqs(pair.ben.take_entries()) == list(range(19, 36))


async def test_windows_may_be_lowered() -> None:
    hub = make_hub(window_entries=2, window_bytes=1000)
    await hub.start()
    pair = await connected_pair(hub)
    await send(pair, 3)
    assert seqs(pair.ben.take_entries()) == [2, 3]
    await hub.close()
    with pytest.raises(ValueError, match="lowered"):
        make_hub(window_entries=257)


async def test_one_entry_is_always_allowed() -> None:
    hub = make_hub(window_bytes=10)
    await hub.start()
    pair = await connected_pair(hub)
    await send(pair, 2, size=5000)
    assert seqs(pair.ben.take_entries()) == [2]
    await pair.ben.session.receive(encode([fr.Ack(pair.stream, 2)]))
    await hub.settle()
    assert seqs(pair.ben.take_entries()) == [3]
    await hub.close()


async def test_a_large_backlog_comes_in_order_and_whole(hub: Hub, pair: Pair) -> None:
    ben = pair.ben
    ben.session.lost()
    await send(pair, 1000)
    await ben.connect()
    await ben.open(pair.stream, 1)
    received: list[int] = []
    while new := seqs(ben.take_entries()):
        received += new
        await ben.session.receive(encode([fr.Ack(pair.stream, new[-1])]))
        await hub.settle()
    assert received == list(range(2, 1002))


async def test_entries_that_come_while_the_store_is_read_are_not_lost(hub: Hub, pair: Pair) -> None:
    ben = pair.ben
    ben.session.lost()
    await send(pair, 100)
    await ben.connect()
    await ben.session.receive(encode([fr.Open(1, pair.stream, 1)]))
    await pair.anna.session.receive(encode([pair.anna.message(pair.stream) for _ in range(50)]))
    await hub.settle()
    assert seqs(ben.take_entries()) == list(range(2, 152))


async def test_acknowledged_entries_are_erased(hub: Hub, pair: Pair) -> None:
    await send(pair, 3)
    await pair.ben.say(fr.Ack(pair.stream, 4))
    await pair.anna.say(fr.Ack(pair.stream, 3))
    held = await hub.streams.read(pair.stream, after=0, limit=99, max_bytes=1 << 30)
    assert [entry.seq for entry in held] == [1, 4]
    ben = await Device(hub, BEN).connect()
    opened = await ben.open(pair.stream, 0)
    assert (opened.first, opened.head, opened.cursor) == (4, 4, 4)
    assert seqs(ben.take_entries()) == [1, 4]


async def test_a_device_may_acknowledge_before_it_opens(hub: Hub, pair: Pair) -> None:
    await send(pair, 3)
    ben = await Device(hub, BEN).connect()
    await ben.say(fr.Ack(pair.stream, 3))
    assert (await ben.open(pair.stream, 3)).cursor == 3


async def test_acknowledgements_of_what_is_not_there_are_nothing(hub: Hub, pair: Pair) -> None:
    frames = await pair.ben.say(fr.Ack(pair.stream, 99), fr.Ack(pair.stream, 0))
    assert frames == []
    view = await hub.streams.view(pair.stream)
    assert view is not None
    assert view.members[pair.ben.id] == 1
    stranger = await Device(hub, CARA).connect()
    assert await stranger.say(fr.Ack(pair.stream, 1)) == [fr.Error(0, "not_found", "")]


async def test_a_device_that_no_bundle_added_waits(hub: Hub, pair: Pair) -> None:
    second = await Device(hub, BEN, seed="2").connect()
    opened = await second.open(pair.stream)
    assert not opened.member
    await send(pair, 3)
    assert second.take_entries() == []
    await pair.anna.say(pair.anna.commit(pair.stream, 1, adds=[second.id]))
    assert seqs(second.take_entries()) == [5]
    await pair.anna.say(pair.anna.message(pair.stream, 5))
    assert seqs(second.take_entries()) == [6]


async def test_a_new_member_gets_nothing_from_before(hub: Hub, pair: Pair) -> None:
    await send(pair, 3)
    second = await Device(hub, BEN, seed="2").connect()
    await pair.anna.say(pair.anna.commit(pair.stream, 1, adds=[second.id]))
    opened = await second.open(pair.stream, 0)
    assert opened.member
    assert opened.cursor == 4
    assert seqs(second.take_entries()) == [5]


async def test_a_removed_device_is_cut_off(hub: Hub, pair: Pair) -> None:
    frames = await pair.anna.say(pair.anna.commit(pair.stream, 1, removes=[pair.ben.id]))
    assert only(frames, fr.Appended)
    frames = pair.ben.take()
    assert only(frames, fr.Entries) == []
    (changed,) = only(frames, fr.EngagementChanged)
    assert fr.EngagementDevice(BEN, pair.ben.id, False, False) in changed.engagement.devices
    await pair.anna.say(pair.anna.message(pair.stream, 2))
    assert pair.ben.take() == []
    opened = await pair.ben.open(pair.stream)
    assert not opened.member
    assert pair.ben.take_entries() == []


async def test_who_is_taken_from_the_roster_gets_nothing_more(hub: Hub, pair: Pair) -> None:
    await hub.engagements.set_participants(PORTAL, pair.stream, participants(ANNA))
    await hub.settle()
    pair.ben.take()
    await send(pair, 1)
    assert pair.ben.take() == []
    assert await pair.ben.say(fr.Open(7, pair.stream, 0)) == [fr.Error(7, "not_found", "")]


async def test_opening_what_is_not_yours_looks_like_nothing(hub: Hub, pair: Pair) -> None:
    cara = await Device(hub, CARA).connect()
    foreign = await Device(hub, ANNA, portal="other").connect()
    for device in (cara, foreign):
        assert await device.say(fr.Open(3, pair.stream, 0)) == [fr.Error(3, "not_found", "")]
        assert await device.say(fr.Open(3, NOWHERE, 0)) == [fr.Error(3, "not_found", "")]


async def test_opening_again_begins_anew(hub: Hub, pair: Pair) -> None:
    await send(pair, 3)
    pair.ben.take()
    await pair.ben.open(pair.stream, 2)
    assert seqs(pair.ben.take_entries()) == [3, 4]
    await send(pair, 1)
    assert seqs(pair.ben.take_entries()) == [5]


async def test_what_was_about_to_go_out_does_not_come_behind_the_new_beginning(hub: Hub, pair: Pair) -> None:
    await send(pair, 3)
    pair.ben.take()
    await pair.ben.open(pair.stream, 4)
    pair.ben.take()
    subscription = pair.ben.session.subscriptions[pair.stream]
    assert subscription.push(5, 1, encode_run(5, EntryKind.MESSAGE, 1, 0, [b"of this turn"]))
    await pair.ben.session.receive(encode([fr.Open(9, pair.stream, 2)]))
    await hub.settle()
    assert seqs(pair.ben.take_entries()) == [3, 4]


async def test_a_connection_has_many_streams_open(hub: Hub) -> None:
    anna = await Device(hub, ANNA).connect()
    ben = await Device(hub, BEN).connect()
    records = [await new_engagement(hub) for _ in range(5)]
    for record in records:
        await ben.open(record.id)
        await anna.say(anna.commit(record.id, adds=[ben.id], counter=1))
    entries = only(ben.take(), fr.Entries)
    assert {frame.stream for frame in entries} == {record.id for record in records}


async def test_a_slow_device_costs_a_cursor_and_no_memory(hub: Hub, pair: Pair) -> None:
    pair.ben.sink.unread = CONGESTED_BYTES + 1
    await pair.anna.say(pair.anna.message(pair.stream))
    assert seqs(pair.ben.take_entries()) == [2]
    await send(pair, 50)
    assert pair.ben.take() == []
    assert not pair.ben.sink.closed
    pair.ben.sink.unread = 0
    await pair.ben.session.receive(encode([fr.Ack(pair.stream, 2)]))
    await hub.settle()
    assert seqs(pair.ben.take_entries()) == list(range(3, 53))


async def test_a_device_that_caught_up_without_a_word_is_noticed(hub: Hub, pair: Pair) -> None:
    pair.ben.sink.unread = CONGESTED_BYTES + 1
    await send(pair, 1)
    await send(pair, 1)
    pair.ben.take()
    hub.tick()
    await hub.settle()
    assert pair.ben.take() == []
    pair.ben.sink.unread = 0
    hub.tick()
    await hub.settle()
    assert seqs(pair.ben.take_entries()) == [3]


async def test_a_device_that_does_not_read_is_cut(hub: Hub, pair: Pair) -> None:
    pair.ben.sink.unread = SLOW_READER_BYTES + 1
    await send(pair, 1)
    frames = pair.ben.take()
    assert frames[-1].code == "slow_reader"
    assert pair.ben.sink.closed
    assert not pair.anna.sink.closed


async def test_a_lost_connection_is_forgotten(hub: Hub, pair: Pair) -> None:
    pair.ben.session.lost()
    assert pair.ben.sink.closed
    await send(pair, 2)
    assert pair.ben.sink.messages == []
    assert hub.statistics().connections == 1
    room = hub.rooms.get(pair.stream)
    assert room is not None
    assert len(room.subscriptions) == 1


async def test_a_gap_is_shown_by_the_first_that_is_held(hub: Hub, pair: Pair) -> None:
    await send(pair, 3)
    hub.clock.now += 40 * 86_400  # type: ignore[attr-defined]  # the tests' clock
    await pair.anna.say(pair.anna.message(pair.stream))
    await hub.sweep.run(int(hub.clock() * 1000))
    ben = Device(hub, BEN)
    ben.attach()
    assert pair.ben.session is not None
    opened = await pair.ben.open(pair.stream, 2)
    assert (opened.first, opened.head) == (5, 5)
    assert seqs(pair.ben.take_entries())[-1:] == [5]


async def test_many_large_backlogs_at_once_wait_for_each_other_and_all_come(hub: Hub) -> None:
    anna = await Device(hub, ANNA).connect()
    ben = await Device(hub, BEN).connect()
    records = [await new_engagement(hub) for _ in range(8)]
    for record in records:
        await anna.say(anna.commit(record.id, adds=[ben.id], counter=1))
        for counter in range(2, 18):
            await anna.say(anna.message(record.id, body=bytes(60_000), counter=counter))
    await ben.connect()
    await ben.session.receive(encode([fr.Open(n, record.id, 0) for n, record in enumerate(records, 1)]))
    await hub.settle()
    entries = only(ben.take(), fr.Entries)
    got = {
        record.id: [e.seq for f in entries if f.stream == record.id for e in f.entries] for record in records
    }
    assert got == {record.id: list(range(1, 18)) for record in records}


async def test_a_burst_from_many_streams_cuts_nobody(hub: Hub) -> None:
    anna = await Device(hub, ANNA).connect()
    ben = await Device(hub, BEN).connect()
    ben.sink = CountingSink()
    ben.session._sink = ben.sink
    records = [await new_engagement(hub) for _ in range(16)]
    for record in records:
        await anna.say(anna.commit(record.id, adds=[ben.id], counter=1))
        await ben.open(record.id)
    ben.take()
    for record in records:
        for start in (2, 10):
            run = [anna.message(record.id, body=bytes(60_000), counter=start + n) for n in range(8)]
            await anna.session.receive(encode(run))
    await hub.settle()
    assert not ben.sink.closed
    assert 0 < ben.sink.pending() < 2 * CONGESTED_BYTES


class CountingSink(Sink):
    """A peer that has not taken anything yet."""

    def pending(self) -> int:
        return sum(map(len, self.messages))
