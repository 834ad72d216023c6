"""News that bring entries, late, twice, out of order, cut off, of other versions: devices see one history."""

from __future__ import annotations

import asyncio
import itertools
from typing import Any

import msgpack
import pytest
from hypothesis import given
from hypothesis import strategies as st

from relay.hub.settings import HEAL_SECONDS
from relay.hub.told import Fresh, read_wake
from relay.store.bus import WAKE
from relay.wire import frames as fr
from relay.wire.frames import EntryKind
from relay.wire.ids import DeviceId, EngagementId
from tests.relay.hub.support import BEN, Device
from tests.relay.hub.switchboard import Several, entries, pack, several
from tests.relay.hub.test_nodes import conversation

NODE = b"node two"
DEVICE = DeviceId(b"d" * 16)
TIME = 1_700_000_000_000


def run(seq: int, *bodies: bytes, **changed: Any) -> list[bytes]:
    """A run as Redis has it, or with something else in it."""
    described = {"seq": seq, "kind": 0, "after": 1, "time": TIME, "device": DEVICE, "counter": seq}
    described |= {"entries": len(bodies)} | changed
    return [pack(tuple(described.values())), pack(bodies)]


def test_entries_are_read_run_by_run() -> None:
    wake = read_wake([NODE, 6, [*run(7, b"a", b"b"), *run(9, b"c", counter=1)]], 9, 1)
    first = Fresh(DEVICE, 7, EntryKind.MESSAGE, 1, 7, TIME, [b"a", b"b"])
    second = Fresh(DEVICE, 1, EntryKind.MESSAGE, 1, 9, TIME, [b"c"])
    assert wake == (NODE, 9, 1, 6, [first, second])


def test_news_without_entries_are_a_wake() -> None:
    assert read_wake(NODE, 9, 1) == (NODE, 9, 1, 0, ())


@pytest.mark.parametrize(
    "parts",
    [
        [],
        run(8, b"a", b"b"),  # not what follows
        run(7, b"a"),  # not all
        run(7, b"a", b"b", b"c"),  # more
        [*run(7, b"a"), *run(9, b"b")],  # a gap between
        [*run(7, b"a"), *run(7, b"a")],
        run(7, b"a", b"b", kind=1),  # a commit, which changes who is a member
        run(7, b"a", b"b", after=2),
        run(7, b"a", b"b", device=b"short"),
        run(7, b"a", b"b", counter=-1),
        run(7, b"a", b"b", time=1.5),
        run(7, b"a", b"b", entries=3),
        run(7, b"a", b"b", later="more"),
        [run(7, b"a", b"b")[0]],
        [run(7, b"a", b"b")[0], pack((b"a", 2))],
        [run(7, b"a", b"b")[0], pack(b"ab")],
        [run(7, b"a", b"b")[0], run(7, b"a", b"b")[1][:-1]],
        [b"", b""],
        [7, 8],
        {b"of": b"a later version"},
    ],
)
def test_entries_that_are_not_understood_are_left_to_be_read(parts: Any) -> None:
    assert read_wake([NODE, 6, parts], 8, 1) == (NODE, 8, 1, 6, ())


@given(st.binary(max_size=200), st.binary(max_size=200), st.integers(0, 300))
def test_whatever_bytes_come_entries_follow_on_each_other(one: bytes, other: bytes, head: int) -> None:
    described, bodies = run(7, b"a", b"b")
    for parts in ([one, other], [described, other], [one, bodies]):
        wake = read_wake([NODE, 6, parts], head, 1)
        assert not wake.fresh or wake.fresh[-1].last == head


@pytest.mark.parametrize("wrong", [([NODE, 6, []], "8", 1), ([NODE], 8, 1), (7, 8, 1), (NODE, 8, None)])
def test_what_is_no_wake_is_refused(wrong: tuple[Any, Any, Any]) -> None:
    with pytest.raises((ValueError, TypeError)):
        read_wake(*wrong)


async def said(nodes: Several, stream: EngagementId, anna: Device, count: int) -> list[bytes]:
    """The news of so many messages, one each, which nobody has heard yet."""
    nodes.board.keeps = True
    for number in range(count):
        await anna.say(anna.message(stream, body=b"%d" % number))
    await nodes.settle()
    nodes.board.keeps = False
    nodes.board.reads = 0
    kept, nodes.board.kept = nodes.board.kept, []
    return kept


async def hear(nodes: Several, stream: EngagementId, *news: bytes) -> None:
    for one in news:
        nodes.board.tell(stream, one)
        await asyncio.sleep(0)
    await nodes.settle()


def bodies_of(device: Device) -> list[tuple[int, bytes | None]]:
    return [(entry.seq, entry.body) for entry in device.take_entries()]


async def test_news_that_bring_entries_need_no_reading() -> None:
    async with several() as nodes:
        stream, anna, ben = await conversation(nodes)
        await hear(nodes, stream, *await said(nodes, stream, anna, 3))
        assert bodies_of(ben) == [(2, b"0"), (3, b"1"), (4, b"2")]
        assert nodes.board.reads == 0


async def test_in_whatever_order_and_how_often_news_come_entries_come_once_and_in_order() -> None:
    expected = [(2, b"0"), (3, b"1"), (4, b"2")]
    for order in itertools.permutations((0, 1, 2, 1)):
        async with several() as nodes:
            stream, anna, ben = await conversation(nodes)
            news = await said(nodes, stream, anna, 3)
            await hear(nodes, stream, *[news[place] for place in order])
            assert bodies_of(ben) == expected, order


async def test_before_a_gap_is_closed_by_reading_nothing_is_pushed() -> None:
    async with several() as nodes:
        stream, anna, ben = await conversation(nodes)
        _, _, last = await said(nodes, stream, anna, 3)
        await hear(nodes, stream, last)
        assert bodies_of(ben) == [(2, b"0"), (3, b"1"), (4, b"2")]
        assert nodes.board.reads > 0


async def test_news_that_come_after_they_were_read_say_nothing_new() -> None:
    async with several() as nodes:
        stream, anna, ben = await conversation(nodes)
        news = await said(nodes, stream, anna, 2)
        for _ in range(HEAL_SECONDS):
            await nodes.tick()
        assert bodies_of(ben) == [(2, b"0"), (3, b"1")]
        await hear(nodes, stream, *news)
        assert bodies_of(ben) == []
        await anna.say(anna.message(stream, body=b"next"))
        await nodes.settle()
        assert bodies_of(ben) == [(4, b"next")]


async def test_own_messages_between_those_that_are_told_late() -> None:
    async with several() as nodes:
        stream, anna, ben = await conversation(nodes)
        news = await said(nodes, stream, anna, 2)
        seen = entries(await ben.say(ben.message(stream, body=b"mine")))
        await nodes.settle()
        assert [entry.seq for entry in seen + ben.take_entries()] == [2, 3, 4]
        await hear(nodes, stream, *news)
        assert bodies_of(ben) == []


async def test_what_was_told_before_a_commit_that_is_known_already_is_not_pushed_twice() -> None:
    async with several() as nodes:
        stream, anna, ben = await conversation(nodes)
        second = await Device(nodes.hubs[1], BEN, seed="2").connect()
        await second.open(stream)
        second.take()
        news = await said(nodes, stream, anna, 1)
        await anna.say(anna.commit(stream, 1, adds=[second.id]))
        await nodes.settle()
        await hear(nodes, stream, *news)
        assert [seq for seq, _ in bodies_of(ben)] == [2, 3]
        assert [seq for seq, _ in bodies_of(second)] == [3], "not what was said before it was added"


@pytest.mark.parametrize("cut", [1, 5, 20, 60])
async def test_news_that_were_cut_off_are_healed(cut: int) -> None:
    async with several() as nodes:
        stream, anna, ben = await conversation(nodes)
        (news,) = await said(nodes, stream, anna, 1)
        await hear(nodes, stream, news[:-cut])
        assert bodies_of(ben) == []
        await anna.say(anna.message(stream, body=b"next"))
        await nodes.settle()
        assert bodies_of(ben) == [(2, b"0"), (3, b"next")]


async def test_news_of_other_versions_wake() -> None:
    async with several() as nodes:
        stream, anna, ben = await conversation(nodes)
        before = await said(nodes, stream, anna, 1)
        await hear(nodes, stream, pack((WAKE, NODE, 2, 1)))  # of the version before this one
        assert bodies_of(ben) == [(2, b"0")]
        (news,) = await said(nodes, stream, anna, 1)
        _, _, head, last_commit = msgpack.unpackb(news, raw=True)
        await hear(nodes, stream, pack((WAKE, (NODE, 2, {"in": "another form"}), head, last_commit)), *before)
        assert bodies_of(ben) == [(3, b"0")]
        await hear(nodes, stream, pack(("z", NODE, 4, 1)), pack((WAKE, NODE)), pack(7), b"")
        assert ben.session.is_ready


def test_the_version_before_takes_news_that_bring_entries_for_a_wake() -> None:
    """It reads them like this, and wakes unless the second is its own name."""
    news = pack((WAKE, (NODE, 6, run(7, b"\xff" * 600)), 7, 1))
    kind, node, *what = msgpack.unpackb(news, raw=False, unicode_errors="surrogateescape")
    assert (kind, what) == (WAKE, [7, 1])
    assert node != NODE


async def test_a_device_that_is_slow_reads_what_its_window_does_not_take() -> None:
    async with several(window_entries=2) as nodes:
        stream, anna, ben = await conversation(nodes)
        await hear(nodes, stream, *await said(nodes, stream, anna, 5))
        seen = ben.take_entries()
        assert [entry.seq for entry in seen] == [2, 3]
        for upto in (3, 5):
            seen += entries(await ben.say(fr.Ack(stream, upto)))
        assert [entry.seq for entry in seen] == [2, 3, 4, 5, 6]


async def test_a_device_that_moves_gets_its_own_entries_without_bodies() -> None:
    async with several() as nodes:
        stream, anna, _ = await conversation(nodes)
        nodes.board.lossy = True  # so that its first connection stays for a moment
        moved = await Device(nodes.hubs[1], anna.user).connect()
        await moved.open(stream, after=1)
        moved.take()
        nodes.board.lossy = False
        await hear(nodes, stream, *await said(nodes, stream, anna, 1))
        assert moved.id == anna.id
        assert [(e.seq, e.counter, e.body) for e in moved.take_entries()] == [(2, anna.counter, None)]
        assert nodes.board.reads == 0
