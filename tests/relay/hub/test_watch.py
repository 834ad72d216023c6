"""What the hub counts about its work."""

from __future__ import annotations

from dataclasses import replace

import pytest

from relay.core.portals import new_portal
from relay.core.quotas import Quotas
from relay.hub import spaces
from relay.hub.watch import BOUNDS, CALL_PATHS, Distribution, Watch, behind, near_quotas
from relay.wire.errors import ErrorCode
from tests.relay.hub.support import ANNA, BEN, PORTAL, Device
from tests.relay.hub.switchboard import several
from tests.relay.hub.test_nodes import conversation


@pytest.mark.parametrize(
    ("seconds", "place"),
    [(-5.0, 0), (0.0, 0), (0.001, 0), (0.0011, 1), (0.3, 8), (10.0, 12), (10.1, 13), (1e9, 13)],
)
def test_a_time_is_counted_in_its_place(seconds: float, place: int) -> None:
    found = Distribution()
    found.add(seconds, 3)
    assert found.counts[place] == sum(found.counts) == 3
    assert found.seconds == max(0.0, seconds) * 3


def test_bounds_rise() -> None:
    assert list(BOUNDS) == sorted(set(BOUNDS))
    assert len(Distribution().counts) == len(BOUNDS) + 1


def test_codes_and_words_are_ours_alone() -> None:
    watch = Watch()
    for code in (ErrorCode.STALE, ErrorCode.STALE.value, "anna@203.0.113.7"):
        watch.refuse(code)
    for path in (*CALL_PATHS, "anna"):
        watch.call(path)
    assert watch.refused == {"stale": 2, "internal": 1}
    assert watch.calls == {**dict.fromkeys(CALL_PATHS, 1), "other": 1}


async def test_deliveries_are_counted_where_they_are_made_and_not_what_waited_for_the_device() -> None:
    async with several() as nodes:
        stream, anna, ben = await conversation(nodes)
        before = [sum(hub.watch.delivered.counts) for hub in nodes.hubs[:2]]
        nodes.clock.now += 5
        await anna.say(anna.message(stream, body=b"one"), anna.message(stream, body=b"two"))
        await nodes.settle()
        assert len(ben.take_entries()) == 2
        after = [sum(hub.watch.delivered.counts) for hub in nodes.hubs[:2]]
        assert [new - old for new, old in zip(after, before, strict=True)] == [2, 2]
        assert behind(nodes.hubs[1]).streams == 1
        nodes.clock.now += 30
        assert behind(nodes.hubs[1]).seconds == 30
        again = await Device(nodes.hubs[1], BEN).connect()  # the device comes back, and reads what waited
        await again.open(stream)
        await nodes.settle()
        assert len(again.take_entries()) == 3
        assert sum(nodes.hubs[1].watch.delivered.counts) == after[1]


async def test_a_portal_is_near_its_quota_of_connections_by_those_of_all_nodes() -> None:
    async with several() as nodes:
        made = new_portal(PORTAL, api_key="k" * 32, token_secret=b"s" * 32, now=1)
        record = replace(made, quotas=Quotas(connections=2))
        await nodes.hubs[0].directory.put(spaces.PORTALS, PORTAL, record.serialize())
        await Device(nodes.hubs[0], ANNA).connect()
        assert (await near_quotas(nodes.hubs[1]))["connections"] == 0
        await Device(nodes.hubs[1], BEN).connect()
        await nodes.tick()
        assert [(await near_quotas(hub))["connections"] for hub in nodes.hubs[:2]] == [1, 1]
