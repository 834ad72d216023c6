"""What a relay that lies gains by saying that it was restored: nothing, or an alarm (PROTOCOL 4.1)."""

from __future__ import annotations

from contextlib import AsyncExitStack
from dataclasses import replace
from typing import Any

import pytest

from client_sdk import mls
from client_sdk.content import Envelope, Text
from client_sdk.delivery import EpochRolledBack
from client_sdk.engine import keeping, resending
from client_sdk.engine.items import TextItem
from client_sdk.engine.offers import check_offer, read_offer
from client_sdk.mls import GroupState
from relay.wire import Bundle, EntryKind
from relay.wire import frames as fr
from relay.wire.ids import DeviceId
from tests.support.own_devices import linked
from tests.support.restored import back_up, restore
from tests.support.rogue import rogue_commit
from tests.support.world import World, alarms, say

pytestmark = pytest.mark.usefixtures("depot")


async def test_a_message_that_it_drops_by_a_restore_comes_back(world: World) -> None:
    async with world.pair() as (anna, ben):
        copy = back_up(world)
        await say(world, ben, "the relay wants this to disappear")
        await world.pass_time(10)
        await restore(world, copy)
        await world.pass_time(20)
        assert await anna.texts() == await ben.texts() == ["the relay wants this to disappear"]


async def test_a_relay_that_does_not_take_it_back_stops_the_conversation(world: World) -> None:
    async with world.pair() as (_anna, ben):
        copy = back_up(world)
        await say(world, ben, "hidden")

        world.relay.lies.append = lambda peer, frame: (
            [fr.Refused(frame.stream, frame.counter, "store_unavailable", 0)] if peer.user == "ben" else None
        )
        await restore(world, copy)
        await world.pass_time(20)
        await say(world, ben, "new")
        await world.pass_time(60)
        assert ben.room.repairing
        assert len(ben.room.outbox) == 2, "nothing new goes out before it"


async def test_a_relay_that_only_pretends_to_take_it_back_is_found(world: World) -> None:
    """It acknowledges Ben's message and keeps it out of what Anna gets."""
    async with world.pair() as (anna, ben):
        copy = back_up(world)
        await say(world, ben, "hidden")
        await restore(world, copy)
        stream = world.relay.streams[world.stream]
        stream.fork(world.relay.device_of("ben"))
        await world.pass_time(20)
        stream.forks.clear()
        await say(world, ben, "one more")
        await say(world, anna, "what else")
        await world.pass_time(20)
        assert alarms(anna, ben), "found at the first honest exchange"


async def test_two_devices_with_two_incarnations_are_found_at_the_first_exchange(world: World) -> None:
    async with world.pair() as (anna, ben):
        copy = back_up(world)
        await say(world, anna, "one")
        await say(world, ben, "two")
        stream, device = world.relay.streams[world.stream], world.relay.device_of("ben")
        world.relay.lies.opened = lambda who, opened: (
            opened._replace(incarnation=b"for Ben alone...") if who == device else opened
        )
        stream.log = copy.log.copy()
        stream.incarnation = b"for Anna alone.."
        stream.fork(device)
        world.relay.drop_connections()
        await world.pass_time(20)
        await say(world, anna, "only Anna's log has this")
        del stream.forks[device]
        world.relay.drop_connections()
        await world.pass_time(20)
        await say(world, anna, "three")
        await world.pass_time(20)
        assert alarms(anna, ben)


async def test_the_same_incarnation_with_less_in_it_is_an_alarm(world: World) -> None:
    async with world.pair() as (anna, ben):
        await say(world, anna, "one")
        copy = back_up(world)
        await restore(world, copy)
        await world.pass_time(20)
        await say(world, anna, "two", "three")
        await restore(world, copy, says_so=False)
        await world.pass_time(20)
        assert alarms(anna, ben) == ["stream_rolled_back"] * 2


async def test_a_stream_that_was_altered_further_back_is_an_alarm(world: World) -> None:
    async with world.pair() as (anna, ben):
        for number in range(3):
            await say(world, anna, f"{number}")
        stream = world.relay.streams[world.stream]
        stream.log.truncate(2)
        for entry in range(8):
            world.relay.inject(world.stream, EntryKind.MESSAGE, b"made up %d" % entry)
        stream.incarnation = bytes(16)
        world.relay.drop_connections()
        await world.pass_time(20)
        # All that was said comes back; what the relay made up is shown as unreadable, and then alarms.
        assert "gap" in await ben.kinds() or alarms(anna, ben)


async def test_no_key_encrypts_twice(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    """However often the relay forgets: no state of the ratchets is encrypted from a second time."""
    states: list[bytes] = []

    def encrypt(group: GroupState, data: bytes, **options: Any) -> Any:
        states.append(group.ratchet_part() + group.epoch_part())
        return mls.encrypt(group, data, **options)

    monkeypatch.setattr("client_sdk.engine.sending.encrypt", encrypt)
    async with world.pair() as (anna, ben):
        copies = [back_up(world)]
        for number in range(3):
            await say(world, anna, f"a{number}")
            await say(world, ben, f"b{number}")
            copies.append(back_up(world))
        for number in (2, 1, 0):
            await restore(world, copies[number])
            await world.pass_time(20)
        assert sorted(await anna.texts()) == ["a0", "a1", "a2", "b0", "b1", "b2"]
        assert await anna.texts() == await ben.texts()
        assert alarms(anna, ben) == []
    assert len(states) > 6
    assert len(states) == len(set(states))


async def test_a_removed_device_cannot_win_the_race_and_stay(world: World) -> None:
    """The relay forgets a removal; the removed device commits first. Nobody speaks before it is out again."""
    async with AsyncExitStack() as stack:
        anna = await stack.enter_async_context(world.device("anna", name="Anna"))
        await world.settle()
        ben = await stack.enter_async_context(world.device("ben", name="Ben"))
        await world.pass_time(6)
        laptop = await stack.enter_async_context(linked(world, anna, "laptop"))
        await world.pass_time(10)
        thief = laptop.engine.account.device
        before = laptop.conversation.standing
        copy = back_up(world)
        (lost,) = [device for device in anna.client.devices.all if not device.is_this]
        world.relay.lies.withheld = {thief}
        await anna.client.devices.remove(lost)
        await world.pass_time(10)
        assert laptop.conversation.standing.record.highest_epoch == before.record.highest_epoch
        group = before.group
        assert group is not None
        commit = rogue_commit(group, now=int(world.time.now())).body
        await restore(world, copy)
        log = world.relay.streams[world.stream].log
        counter = log.counters[thief].last + 1
        frame = fr.Append(world.stream, counter, EntryKind.COMMIT, log.last_commit, commit)
        assert isinstance(log.append(thief, frame, 0, {}), int)
        world.relay.drop_connections()
        await world.pass_time(60)
        for device in (anna, ben):
            view = device.conversation.standing.view
            assert view is not None
            assert thief not in view.devices, "it was put out again, before anything was said"
        await say(world, anna, "without the thief")
        await say(world, ben, "indeed")
        assert await anna.texts() == await ben.texts() == ["without the thief", "indeed"]
        assert await laptop.texts() == []
        assert thief not in world.relay.streams[world.stream].log.members
        assert alarms(anna, ben) == []


async def test_after_a_restore_nobody_goes_back_before_it(world: World) -> None:
    """Ben saw Anna's laptop leave; an earlier group, with the laptop in it, is not where others went on."""
    async with AsyncExitStack() as stack:
        anna = await stack.enter_async_context(world.device("anna", name="Anna"))
        await world.settle()
        ben = await stack.enter_async_context(world.device("ben", name="Ben"))
        await world.pass_time(6)
        await stack.enter_async_context(linked(world, anna, "laptop"))
        await world.pass_time(10)
        (lost,) = [device for device in anna.client.devices.all if not device.is_this]
        await anna.client.devices.remove(lost)
        await world.pass_time(10)
        record = ben.conversation.standing.record
        assert record.removed == (bytes(lost.id),)
        with ben.conversation.work("test") as work:
            work.change(overtaken=True, branch=record.highest_epoch)
            offer = read_offer(work, ben.conversation.context, newest_group_info(world))
            check_offer(work, ben.conversation.context, offer)
            entered = world.relay.streams[world.stream].log.entries
            earlier = [e for e in entered if e.kind is EntryKind.COMMIT][-2]
            offer = read_offer(work, ben.conversation.context, Bundle.parse(earlier.body).group_info)
            with pytest.raises(EpochRolledBack):
                check_offer(work, ben.conversation.context, offer)


def newest_group_info(world: World) -> bytes:
    log = world.relay.streams[world.stream].log
    return Bundle.parse([e for e in log.entries if e.kind is EntryKind.COMMIT][-1].body).group_info


async def test_a_device_that_was_in_no_group_takes_the_stream_as_it_is(world: World) -> None:
    """Ben waits to be let in when the relay is set back; and a stream begun anew stays an alarm for Anna."""
    async with world.device("anna", name="Anna") as anna:
        await world.settle()
        world.relay.lies.withheld = {anna.engine.account.device}
        async with world.device("ben", name="Ben") as ben:
            await world.settle()
            copy = back_up(world)
            await restore(world, copy)
            world.relay.lies.withheld = set()
            world.relay.drop_connections()
            await world.pass_time(40)
            await say(world, ben, "in")
            assert await anna.texts() == ["in"]
            assert alarms(anna, ben) == []


async def test_entries_that_this_device_never_made_are_an_alarm_in_repair_too(world: World) -> None:
    async with world.pair() as (anna, _ben):
        copy = back_up(world)
        await say(world, anna, "one")
        world.relay.lies.opened = lambda who, opened: (
            opened._replace(last_counter=99) if who == anna.engine.account.device else opened
        )
        await restore(world, copy)
        await world.pass_time(20)
        assert alarms(anna) == ["cloned_device"]


async def test_fewer_of_our_entries_than_the_stream_shows_are_an_alarm(world: World) -> None:
    async with world.pair() as (anna, _ben):
        await say(world, anna, "one")
        copy = back_up(world)
        await say(world, anna, "two")
        world.relay.lies.opened = lambda who, opened: (
            opened._replace(last_counter=1) if who == anna.engine.account.device else opened
        )
        await restore(world, copy)
        await world.pass_time(20)
        assert alarms(anna) == ["stream_rolled_back"]


async def test_more_than_is_remembered_is_not_given_up_silently(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The relay forgets more than Anna's device could bring back, and says that it has the rest."""
    monkeypatch.setattr(keeping, "MOST_PASSED", 12)
    monkeypatch.setattr(keeping, "PRUNE_EVERY", 1)
    async with world.pair() as (anna, _ben):
        copy = back_up(world)
        for number in range(12):
            await say(world, anna, f"{number}")
        async with linked(world, anna, "laptop"):
            await world.pass_time(10)
        conversation = anna.conversation
        with conversation.work("look") as work:
            own = sum(row.own for row in keeping.passed_after(work, 0))
        counter = conversation.standing.box.last_seen_counter - own
        assert counter > copy.log.counters[anna.engine.account.device].last
        world.relay.lies.opened = lambda who, opened: (
            opened._replace(last_counter=counter) if who == anna.engine.account.device else opened
        )
        await restore(world, copy)
        await world.pass_time(20)
        assert alarms(anna) == ["stream_rolled_back"]


async def test_an_incarnation_that_is_taken_back_at_once_changes_nothing(world: World) -> None:
    """The relay says that it was restored, and answers the second opening as if it had not been."""
    async with world.pair() as (anna, ben):
        await say(world, ben, "one")
        told: list[fr.Opened] = []

        def once(who: DeviceId, opened: fr.Opened) -> fr.Opened:
            if who != anna.engine.account.device or told:
                return opened
            told.append(opened)
            return opened._replace(incarnation=b"for a moment....")

        world.relay.lies.opened = once
        world.relay.drop_connections()
        await world.pass_time(20)
        await say(world, ben, "two")
        assert told
        assert await anna.texts() == ["one", "two"]
        await say(world, anna, "three")
        assert await ben.texts() == ["one", "two", "three"]
        assert alarms(anna, ben) == []


async def test_who_says_an_old_message_again_changes_nothing_but_its_place(world: World) -> None:
    """Anna's program is a rogue's: it says an old message again with other words, as if after a loss."""
    async with world.pair() as (anna, ben):
        copy = back_up(world)
        await say(world, anna, "yes")
        await say(world, ben, "shall we stop?")
        await world.pass_time(10)
        await restore(world, copy)
        await world.pass_time(20)
        before = {item.id: item for item in await ben.room.history() if isinstance(item, TextItem)}
        with anna.conversation.work("rogue") as work:
            resending._resend(work, 0)
            for queued in work.box.items:
                waiting = work.waiting(queued.id)
                envelope = Envelope.parse(waiting.content)
                later = replace(envelope, sent_ms=envelope.sent_ms + 60_000, content=Text("yes, stop"))
                work.put_waiting(replace(waiting, content=later.serialize()))
        anna.conversation.go_on()
        await world.pass_time(10)
        after = [item for item in await ben.room.history() if isinstance(item, TextItem)]
        assert [item.text for item in after] == ["yes", "shall we stop?"], "moved, and there once"
        for item in after:
            assert (item.text, item.sent_at) == (before[item.id].text, before[item.id].sent_at)
        assert alarms(anna, ben) == []
