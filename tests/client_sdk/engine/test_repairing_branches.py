"""Somebody who never saw the lost changes makes another one first: all follow, none below its floors.

PROTOCOL 4.1, point 8. Whoever holds the lost changes comes in anew, says nothing before the group is as far
as it had been and without the devices that it saw leave, and brings that about itself.
"""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager

import pytest

from client_sdk.delivery import EpochRolledBack
from client_sdk.engine import keeping
from client_sdk.engine.records import Phase
from client_sdk.engine.waiting import WaitReason
from relay.wire import EntryKind
from relay.wire import frames as fr
from relay.wire.ids import DeviceId
from tests.support.fake_relay import Peer
from tests.support.moving import assert_moved, three
from tests.support.own_devices import linked
from tests.support.restored import Copy, back_up, restore
from tests.support.suites import Versions
from tests.support.world import Device, World, alarms, move_on, say

pytestmark = pytest.mark.usefixtures("depot")


@asynccontextmanager
async def pair_and_copy(world: World) -> AsyncIterator[tuple[Device, Copy]]:
    """Anna is there, Ben was and is away since before the copy."""
    async with world.device("anna", name="Anna") as anna:
        await world.settle()
        async with world.device("ben", name="Ben") as ben:
            await world.pass_time(6)
            await say(world, ben, "before")
        yield anna, back_up(world)


async def restored_for(world: World, copy: Copy, *kept_away: Device) -> set[DeviceId]:
    """The relay is set back, and these devices get nothing and say nothing for now."""
    away = {device.engine.account.device for device in kept_away}
    world.relay.lies.withheld = set(away)

    def refused(peer: Peer, frame: fr.Append) -> list[fr.RelayFrame] | None:
        if peer.device in away:
            return [fr.Refused(frame.stream, frame.counter, "store_unavailable", 0)]
        return None

    world.relay.lies.append = refused
    await restore(world, copy)
    return away


async def all_back(world: World, seconds: float = 120) -> None:
    world.relay.lies.withheld = set()
    world.relay.lies.append = None
    world.relay.drop_connections()
    await world.pass_time(seconds)


async def together(world: World, *devices: Device) -> None:
    """All are in one group, without an alarm, and hear each other."""
    assert alarms(*devices) == []
    ids = {device.engine.account.device for device in devices}
    for device in devices:
        view = device.conversation.standing.view
        assert view is not None
        assert view.devices == ids
        assert not device.room.repairing
        assert device.room.outbox == ()
    assert set(world.relay.streams[world.stream].log.members) == ids
    for number, device in enumerate(devices):
        await say(world, device, f"together {number}")
    await world.pass_time(5)
    wanted = [f"together {number}" for number in range(len(devices))]
    for device in devices:
        assert (await device.texts())[-len(devices) :] == wanted
    assert alarms(*devices) == []


@pytest.mark.parametrize("lost", [1, 2, 3, 5])
async def test_who_saw_none_of_the_lost_changes_makes_one_first(world: World, lost: int) -> None:
    async with AsyncExitStack() as stack, pair_and_copy(world) as (anna, copy):
        annas = [anna]
        for number in range(lost):
            annas.append(await stack.enter_async_context(linked(world, anna, f"anna-{number}")))
            await world.pass_time(10)
        await say(world, anna, "lost with the changes")
        highest = anna.conversation.standing.epoch
        await restored_for(world, copy, *annas)
        ben = await stack.enter_async_context(world.device("ben"))
        await world.pass_time(5)
        tablet = await stack.enter_async_context(linked(world, ben, "tablet"))
        await world.pass_time(10)
        await say(world, ben, "in another history")
        assert ben.conversation.standing.epoch <= highest
        await all_back(world)
        assert "lost with the changes" in await ben.texts()
        assert "in another history" in await anna.texts()
        assert anna.conversation.standing.epoch >= highest
        await together(world, *annas, ben, tablet)


async def test_nothing_is_said_below_the_floor(world: World) -> None:
    """Nobody lets Anna raise the group again: she waits, and is told why."""
    async with AsyncExitStack() as stack, pair_and_copy(world) as (anna, copy):
        annas = [anna]
        for number in range(4):
            annas.append(await stack.enter_async_context(linked(world, anna, f"anna-{number}")))
            await world.pass_time(10)
        highest = anna.conversation.standing.epoch
        await restored_for(world, copy, *annas)
        ben = await stack.enter_async_context(world.device("ben"))
        await world.pass_time(5)
        await stack.enter_async_context(linked(world, ben, "tablet"))
        await world.pass_time(10)
        phone, raised = anna.engine.account.device, 0

        def once(peer: Peer, frame: fr.Append) -> list[fr.RelayFrame] | None:
            nonlocal raised
            if peer.device == phone and frame.kind is EntryKind.COMMIT:
                raised += 1
            if peer.user == "anna" and (peer.device != phone or raised > 1):
                return [fr.Refused(frame.stream, frame.counter, "store_unavailable", 0)]
            return None

        world.relay.lies.withheld = set()
        world.relay.lies.append = once
        world.relay.drop_connections()
        await world.pass_time(30)
        await say(world, anna, "not yet")
        await world.pass_time(30)
        assert anna.conversation.standing.epoch < highest
        assert [waiting.reason for waiting in anna.room.outbox] == [WaitReason.REPAIRING]
        assert "not yet" not in await ben.texts()
        world.relay.lies.append = None
        await world.pass_time(120)
        assert "not yet" in await ben.texts()
        assert anna.conversation.standing.epoch >= highest
        assert alarms(*annas, ben) == []


async def test_a_removed_device_that_commits_first_is_out_before_anything_is_said(world: World) -> None:
    """Ben's tablet was removed by lost changes that it never saw, and begins another epoch first."""
    async with AsyncExitStack() as stack:
        anna = await stack.enter_async_context(world.device("anna", name="Anna"))
        await world.settle()
        ben = await stack.enter_async_context(world.device("ben", name="Ben"))
        await world.pass_time(6)
        tablet = await stack.enter_async_context(linked(world, ben, "tablet"))
        await world.pass_time(10)
        copy = back_up(world)
        thief = tablet.engine.account.device
        world.relay.lies.withheld = {thief}
        world.relay.lies.lets_in_revoked = True
        laptop = await stack.enter_async_context(linked(world, anna, "laptop"))
        (lost,) = [device for device in ben.client.devices.all if not device.is_this]
        await ben.client.devices.remove(lost)
        await world.pass_time(10)
        highest = anna.conversation.standing.epoch
        assert bytes(thief) in anna.conversation.standing.record.removed
        await restored_for(world, copy, anna, ben, laptop)
        await world.pass_time(5)
        move_on(world, tablet)
        await world.pass_time(5)
        await all_back(world)
        assert anna.conversation.standing.epoch >= highest
        await say(world, anna, "without the tablet")
        assert "without the tablet" not in await tablet.texts()
        await together(world, anna, ben, laptop)


async def test_a_device_list_that_the_new_history_lacks_counts(world: World) -> None:
    """Anna removed her laptop and stays away: Ben, who saw it, puts it out himself before he speaks."""
    async with AsyncExitStack() as stack, AsyncExitStack() as annas:
        anna = await annas.enter_async_context(world.device("anna", name="Anna"))
        await world.settle()
        ben = await stack.enter_async_context(world.device("ben", name="Ben"))
        await world.pass_time(6)
        async with linked(world, ben, "tablet"):
            await world.pass_time(10)
        async with linked(world, anna, "laptop") as laptop:
            await world.pass_time(10)
            thief = laptop.engine.account.device
        copy = back_up(world)
        (lost,) = [device for device in anna.client.devices.all if not device.is_this]
        await anna.client.devices.remove(lost)
        await world.pass_time(10)
        move_on(world, ben)
        await world.pass_time(10)
        await annas.aclose()
        with ben.conversation.work("test") as work:
            work.change(removed=())  # as if it had left while Ben was out of step
        await restored_for(world, copy, ben)
        tablet = await stack.enter_async_context(world.device("ben", vault="tablet"))
        await world.pass_time(5)
        move_on(world, tablet)
        await world.pass_time(5)
        await all_back(world)
        view = ben.conversation.standing.view
        assert view is not None
        assert thief not in view.devices
        await say(world, ben, "without the laptop")
        assert "without the laptop" in await tablet.texts()
        assert alarms(ben, tablet) == []
        assert not ben.room.repairing


async def test_who_decides_to_go_on_after_the_alarm_goes_on(world: World) -> None:
    """Without having said that it was restored the relay shows an old state: an alarm, but no dead end."""
    async with world.pair() as (anna, ben):
        copy = back_up(world)
        async with linked(world, anna, "laptop"), linked(world, anna, "tablet"):
            await world.pass_time(10)
        await say(world, ben, "lost")
        await restore(world, copy, says_so=False)
        await world.pass_time(20)
        assert alarms(anna, ben) == ["stream_rolled_back"] * 2
        seen = set()
        for _ in range(2):
            for device in (anna, ben):
                alarm = device.room.alarm
                if alarm is not None:
                    seen.add(type(alarm))
                    await device.room.resolve_alarm(alarm)
                    await world.pass_time(30)
        assert EpochRolledBack in seen
        assert alarms(anna, ben) == []
        await world.pass_time(60)
        await say(world, anna, "on")
        await say(world, ben, "we go")
        await world.pass_time(20)
        assert await anna.texts() == await ben.texts()
        assert sorted(await anna.texts()) == ["lost", "on", "we go"]


async def test_who_made_the_newest_change_comes_in_by_it(world: World) -> None:
    """It comes back without its body, and nobody else makes another."""
    async with world.pair() as (anna, ben):
        move_on(world, anna)
        await world.pass_time(5)
        copy = back_up(world)
        await say(world, anna, "lost")
        with ben.conversation.work("test") as work:
            keeping.forget_stream(work)
            work.change(incarnation=b"")
        await restore(world, copy, says_so=False)
        await world.pass_time(20)
        alarm = anna.room.alarm
        assert alarm is not None
        await anna.room.resolve_alarm(alarm)
        await world.pass_time(30)
        assert anna.conversation.is_member
        assert alarms(anna) == []


async def test_what_was_said_before_coming_in_anew_is_brought_back_too(world: World) -> None:
    """Anna is on her way into the group again when the relay is set back a second time, and further."""
    async with AsyncExitStack() as stack, pair_and_copy(world) as (anna, copy):
        await say(world, anna, "in neither copy")
        await world.pass_time(10)
        later = back_up(world)
        annas = [anna, await stack.enter_async_context(linked(world, anna, "laptop"))]
        await world.pass_time(10)
        away = await restored_for(world, later, *annas)
        ben = await stack.enter_async_context(world.device("ben"))
        await world.pass_time(10)
        assert "in neither copy" in await ben.texts()
        move_on(world, ben)
        await world.pass_time(5)
        world.relay.lies.withheld = set()
        world.relay.drop_connections()
        await world.pass_time(20)
        assert anna.conversation.standing.record.phase is Phase.REJOINING
        with anna.conversation.work("look") as work:
            assert keeping.newest_upto(work, 10_000) is not None
        await restored_for(world, copy, *annas)
        await world.pass_time(20)
        assert away
        await all_back(world)
        assert alarms(*annas, ben) == []
        with anna.conversation.work("look") as work:
            seqs = [passed.seq for passed in keeping.passed_after(work, 0)]
            assert max(seqs) <= world.relay.streams[world.stream].log.head
        assert "in neither copy" in await ben.texts()
        await together(world, *annas, ben)
        tablet = await stack.enter_async_context(linked(world, ben, "tablet"))
        await world.pass_time(20)
        assert sorted(await tablet.texts()) == sorted(await anna.texts())


async def test_a_restore_to_before_somebody_came_in_anew(world: World) -> None:
    """Anna came in anew in one history, and the relay loses that she did."""
    async with AsyncExitStack() as stack, pair_and_copy(world) as (anna, copy):
        laptop = await stack.enter_async_context(linked(world, anna, "laptop"))
        await world.pass_time(10)
        await restored_for(world, copy, anna, laptop)
        ben = await stack.enter_async_context(world.device("ben"))
        await world.pass_time(5)
        move_on(world, ben)
        await world.pass_time(5)
        between = back_up(world)
        await all_back(world)
        await say(world, anna, "after coming in anew")
        await say(world, ben, "me too")
        await world.pass_time(10)
        await restore(world, between)
        await world.pass_time(120)
        for device in (anna, ben):
            assert {"after coming in anew", "me too"} <= set(await device.texts())
        await together(world, anna, laptop, ben)


async def test_a_lost_move_to_a_stronger_suite_is_made_again_before_anything_is_said(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Sue was away when the conversation moved, and makes a change in the old group after the restore."""
    versions = Versions(monkeypatch, "anna", "ben", "sue")
    async with three(world):
        pass
    versions.update(["anna", "sue"])
    async with world.device("sue"), world.device("anna"):
        await world.pass_time(20)
    copy = back_up(world)
    versions.update(["ben"])
    async with world.device("anna") as anna, world.device("ben") as ben:
        await world.pass_time(20)
        assert_moved(anna, ben)
        await say(world, anna, "in the new group")
        await restored_for(world, copy, anna, ben)
        async with world.device("sue") as sue:
            await world.pass_time(5)
            move_on(world, sue)
            await world.pass_time(5)
            await all_back(world, 5)
            assert alarms(anna, ben, sue) == []
            await all_back(world)
            assert_moved(anna, ben, sue)
            await together(world, anna, ben, sue)
            assert "in the new group" in await sue.texts()


async def test_who_was_let_in_after_the_loss_says_its_words_again_to_who_comes_back(world: World) -> None:
    async with AsyncExitStack() as stack, pair_and_copy(world) as (anna, copy):
        other = await stack.enter_async_context(linked(world, anna, "other"))
        await world.pass_time(10)
        await restored_for(world, copy, anna, other)
        ben = await stack.enter_async_context(world.device("ben"))
        await world.pass_time(5)
        tablet = await stack.enter_async_context(linked(world, ben, "tablet"))
        await world.pass_time(10)
        await say(world, tablet, "from who knows of no loss")
        await world.pass_time(10)
        await all_back(world)
        for device in (anna, other, ben, tablet):
            assert (await device.texts()).count("from who knows of no loss") == 1
        await together(world, anna, other, ben, tablet)


async def test_all_that_was_said_behind_the_loss_is_said_again(world: World) -> None:
    """More than a page of the history, and none of it more than once."""
    said = [f"message {number}" for number in range(230)]
    async with AsyncExitStack() as stack, pair_and_copy(world) as (anna, copy):
        other = await stack.enter_async_context(linked(world, anna, "other"))
        await world.pass_time(10)
        await restored_for(world, copy, anna, other)
        ben = await stack.enter_async_context(world.device("ben"))
        await world.pass_time(5)
        tablet = await stack.enter_async_context(linked(world, ben, "tablet"))
        await world.pass_time(10)
        for text in said:
            await say(world, tablet, text)
        await world.pass_time(10)
        await all_back(world)
        for device in (anna, other, ben, tablet):
            texts = await device.texts()
            assert [text for text in texts if text in said] == said
        await together(world, anna, other, ben, tablet)
