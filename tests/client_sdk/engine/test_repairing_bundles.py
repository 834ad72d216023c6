"""Commit entries that come in the place of a lost one, made by somebody who means no good (PROTOCOL 4.1)."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import replace
from typing import Any

import pytest

from relay.wire import Bundle, EntryKind
from relay.wire import frames as fr
from relay.wire.ids import DeviceId
from tests.support.own_devices import linked
from tests.support.restored import Copy, back_up, restore
from tests.support.world import Device, World, alarms, say

pytestmark = pytest.mark.usefixtures("depot")


def commits_of(world: World) -> list[bytes]:
    log = world.relay.streams[world.stream].log
    return [entry.body for entry in log.entries if entry.kind is EntryKind.COMMIT]


async def set_back_and_put(world: World, copy: Copy, device: DeviceId, *bodies: bytes) -> None:
    """The relay is restored, and this device's commit entries are the first that come then."""
    world.relay.lies.offline = True
    await restore(world, copy)
    world.relay.lies.offline = False
    log = world.relay.streams[world.stream].log
    for body in bodies:
        sender = log.counters.get(device)
        counter = 1 if sender is None else sender.last + 1
        frame = fr.Append(world.stream, counter, EntryKind.COMMIT, log.last_commit, body)
        assert isinstance(log.append(device, frame, 0, {}), int)
    world.relay.drop_connections()


@asynccontextmanager
async def one_removed(world: World) -> AsyncIterator[tuple[Device, Device, DeviceId, Copy]]:
    """Anna, Ben, and Anna's laptop, which she removed by the newest commit; and a copy from before that."""
    async with AsyncExitStack() as stack:
        anna = await stack.enter_async_context(world.device("anna", name="Anna"))
        await world.settle()
        ben = await stack.enter_async_context(world.device("ben", name="Ben"))
        await world.pass_time(6)
        async with linked(world, anna, "laptop") as laptop:
            await world.pass_time(10)
            thief = laptop.engine.account.device
        copy = back_up(world)
        (lost,) = [device for device in anna.client.devices.all if not device.is_this]
        await anna.client.devices.remove(lost)
        await world.pass_time(10)
        yield anna, ben, thief, copy


async def goes_on_without(world: World, thief: DeviceId, anna: Device, ben: Device) -> None:
    await world.pass_time(60)
    assert alarms(anna, ben) == []
    assert thief not in world.relay.streams[world.stream].log.members
    await say(world, anna, "without the thief")
    await say(world, ben, "indeed")
    assert await anna.texts() == await ben.texts() == ["without the thief", "indeed"]
    assert "gap" not in await anna.kinds() + await ben.kinds()
    assert alarms(anna, ben) == []


@pytest.mark.parametrize("signed", [True, False])
async def test_a_removed_device_cannot_have_its_removal_forgotten(world: World, signed: bool) -> None:
    """It is a member at the relay again for a moment, and puts a void commit entry there.

    What that describes is an epoch before the removal, or one that no member has signed.
    """
    async with one_removed(world) as (anna, ben, thief, copy):
        before, newest = (Bundle.parse(body).group_info for body in commits_of(world)[-2:])
        described = before if signed else newest[:-1] + bytes([newest[-1] ^ 1])
        void = Bundle(commit=b"no commit at all", group_info=described).serialize()
        await set_back_and_put(world, copy, thief, void)
        await goes_on_without(world, thief, anna, ben)
        assert Bundle.parse(commits_of(world)[-1]).removes == (thief,), "brought back behind it"


@pytest.mark.parametrize("change", [{"group_info": b"\x00"}, {"welcome": b"none"}])
async def test_a_lost_commit_in_an_altered_bundle_is_that_commit(
    world: World, change: dict[str, Any]
) -> None:
    """Who has not seen it yet takes it from there, so who has seen it must take it for the same."""
    async with one_removed(world) as (anna, ben, thief, copy):
        altered = replace(Bundle.parse(commits_of(world)[-1]), **change).serialize()
        await set_back_and_put(world, copy, thief, altered)
        await goes_on_without(world, thief, anna, ben)
        assert commits_of(world)[-1] == altered, "nobody brings it back a second time"


async def test_a_lost_commit_with_other_names_is_void(world: World) -> None:
    async with one_removed(world) as (anna, ben, thief, copy):
        original = commits_of(world)[-1]
        altered = replace(Bundle.parse(original), removes=()).serialize()
        await set_back_and_put(world, copy, thief, altered)
        await goes_on_without(world, thief, anna, ben)
        assert commits_of(world)[-2:] == [altered, original]


async def test_a_lost_commit_out_of_its_turn_is_void(world: World) -> None:
    """More than one commit is lost, and somebody brings the second back before the first."""
    async with one_removed(world) as (anna, ben, thief, copy), linked(world, ben, "tablet"):
        await world.pass_time(10)
        there = sum(entry.kind is EntryKind.COMMIT for entry in copy.log.entries)
        first, second, *_ = commits_of(world)[there:]
        await set_back_and_put(world, copy, thief, second)
        await goes_on_without(world, thief, anna, ben)
        assert commits_of(world)[there : there + 3] == [second, first, second]
