"""A relay that lost the newest of a stream gets it back from the devices (PROTOCOL 4.1)."""

from __future__ import annotations

from contextlib import AsyncExitStack

import pytest

from client_sdk.content import File
from client_sdk.delivery.repair import MOST_LOSSES
from client_sdk.engine import keeping
from client_sdk.engine.waiting import WaitReason
from relay.wire import EntryKind
from relay.wire import frames as fr
from tests.support.fake_relay import Peer
from tests.support.own_devices import linked
from tests.support.restored import back_up, restore
from tests.support.world import World, alarms, say

pytestmark = pytest.mark.usefixtures("depot")


def commits_of(world: World) -> list[bytes]:
    log = world.relay.streams[world.stream].log
    return [entry.body for entry in log.entries if entry.kind is EntryKind.COMMIT]


async def test_messages_that_the_relay_lost_are_there_again(world: World) -> None:
    async with world.pair() as (anna, ben):
        await say(world, anna, "one")
        await say(world, ben, "two")
        copy = back_up(world)
        await say(world, anna, "three", "four")
        await say(world, ben, "five")
        before = world.relay.bodies(world.stream)
        await restore(world, copy)
        await world.pass_time(10)
        assert alarms(anna, ben) == []
        assert await anna.texts() == await ben.texts()
        assert sorted(await anna.texts()) == ["five", "four", "one", "three", "two"]
        assert len(world.relay.bodies(world.stream)) >= len(before)
        await say(world, anna, "six")
        await say(world, ben, "seven")
        assert await anna.texts() == await ben.texts()
        assert (await anna.texts())[-2:] == ["six", "seven"]
        assert alarms(anna, ben) == []


async def test_what_still_holds_is_sent_again_byte_for_byte(world: World) -> None:
    async with world.device("anna", name="Anna") as anna:
        await world.settle()
        async with world.device("ben", name="Ben"):
            await world.pass_time(6)
            await say(world, anna, "one")
            await world.pass_time(20)
            copy = back_up(world)
        await say(world, anna, "two", "three")
        bodies = world.relay.bodies(world.stream)
        await restore(world, copy)
        await world.pass_time(20)
        assert world.relay.bodies(world.stream) == bodies
        async with world.device("ben", name="Ben") as ben:
            await world.pass_time(20)
            assert await ben.texts() == ["one", "two", "three"]
            assert alarms(anna, ben) == []


async def test_it_is_shown_while_it_lasts(world: World) -> None:
    async with world.pair() as (anna, ben):
        copy = back_up(world)
        await say(world, anna, "one")
        await say(world, ben, "two")
        world.relay.lies.append = lambda _peer, frame: [
            fr.Refused(frame.stream, frame.counter, "rate_limited", 0)
        ]
        await restore(world, copy)
        await world.pass_time(2)
        await say(world, anna, "new")
        assert anna.room.repairing
        assert [waiting.reason for waiting in anna.room.outbox] == [WaitReason.REPAIRING] * 2
        world.relay.lies.append = None
        await world.pass_time(60)
        assert [device.room.repairing for device in (anna, ben)] == [False, False]
        assert anna.room.outbox == ()
        assert sorted(await ben.texts()) == ["new", "one", "two"]


async def test_who_has_lost_nothing_goes_on_at_once(world: World) -> None:
    async with world.device("anna", name="Anna") as anna:
        await world.settle()
        async with world.device("ben", name="Ben"):
            await world.pass_time(6)
        await world.pass_time(10)
        copy = back_up(world)
        await say(world, anna, "Ben has not seen this")
        async with AsyncExitStack() as stack:
            world.relay.lies.withheld = {anna.engine.account.device}
            await restore(world, copy)
            ben = await stack.enter_async_context(world.device("ben"))
            assert not ben.room.repairing
            await say(world, ben, "Ben goes on")
            assert ben.room.outbox == ()
            world.relay.lies.withheld = set()
            world.relay.drop_connections()
            await world.pass_time(20)
            assert await anna.texts() == await ben.texts() == ["Ben goes on", "Ben has not seen this"]
            assert alarms(anna, ben) == []


async def test_others_went_on_before_a_lost_commit_was_back(world: World) -> None:
    """Ben speaks in an epoch whose keys the others have deleted: they come in anew, and he says it again."""
    async with AsyncExitStack() as stack, AsyncExitStack() as annas:
        anna = await annas.enter_async_context(world.device("anna", name="Anna"))
        await world.settle()
        async with world.device("ben", name="Ben"):
            await world.pass_time(6)
            await say(world, anna, "one")
        copy = back_up(world)
        laptop = await stack.enter_async_context(linked(world, anna, "laptop"))
        await world.pass_time(10)
        await say(world, anna, "two")
        world.relay.lies.offline = True
        await restore(world, copy)
        await annas.aclose()
        offline = {laptop.engine.account.device}
        world.relay.lies.withheld = offline
        world.relay.lies.offline = False
        async with world.device("ben") as ben:
            await say(world, ben, "in the old epoch")
            async with world.device("anna") as anna:
                world.relay.lies.withheld = set()
                world.relay.drop_connections()
                await world.pass_time(60)
                assert alarms(anna, ben, laptop) == []
                wanted = ["in the old epoch", "one", "two"]
                assert sorted(await ben.texts()) == wanted
                assert sorted(await anna.texts()) == wanted
                await say(world, laptop, "together again")
                assert (await ben.texts())[-1] == (await anna.texts())[-1] == "together again"


async def test_a_lost_commit_and_what_was_said_after_it(world: World) -> None:
    async with world.pair() as (anna, ben):
        await say(world, anna, "one")
        copy = back_up(world)
        await say(world, ben, "before the change")
        async with linked(world, anna, "laptop") as laptop:
            await world.pass_time(10)
            await say(world, anna, "two")
            await say(world, laptop, "three")
            await say(world, ben, "four")
            await world.pass_time(10)
            commits = commits_of(world)
            await restore(world, copy)
            await world.pass_time(30)
            assert alarms(anna, ben, laptop) == []
            assert commits_of(world)[: len(commits)] == commits, "byte for byte"
            assert sorted(await ben.texts()) == ["before the change", "four", "one", "three", "two"]
            await say(world, laptop, "five")
            assert await anna.texts() == await ben.texts()
            assert (await laptop.texts())[-1] == "five"
            assert alarms(anna, ben, laptop) == []


async def test_a_removed_device_does_not_come_back(world: World) -> None:
    async with world.pair() as (anna, ben), linked(world, anna, "laptop") as laptop:
        await world.pass_time(10)
        await say(world, laptop, "from the laptop")
        copy = back_up(world)
        (lost,) = [device for device in anna.client.devices.all if not device.is_this]
        await anna.client.devices.remove(lost)
        await world.pass_time(10)
        await say(world, ben, "without it")
        removed = world.relay.streams[world.stream].log
        assert laptop.engine.account.device not in removed.members
        await restore(world, copy)
        await world.pass_time(30)
        assert alarms(anna, ben) == []
        assert laptop.engine.account.device not in world.relay.streams[world.stream].log.members
        await say(world, ben, "still without it")
        assert "still without it" in await anna.texts()
        assert "still without it" not in await laptop.texts()
        assert "without it" in await ben.texts()


async def test_a_device_that_was_offline_comes_back_later(world: World) -> None:
    async with world.device("anna", name="Anna") as anna:
        await world.settle()
        async with world.device("ben", name="Ben") as ben:
            await world.pass_time(6)
            await say(world, anna, "one")
            copy = back_up(world)
            await say(world, ben, "only Ben can bring this back")
            await say(world, anna, "three")
            await world.pass_time(10)
        await restore(world, copy)
        await say(world, anna, "new")
        await world.pass_time(10)
        assert "only Ben can bring this back" in await anna.texts()
        async with world.device("ben") as ben:
            await world.pass_time(20)
            assert alarms(anna, ben) == []
            assert await anna.texts() == await ben.texts()
            assert sorted(await ben.texts()) == ["new", "one", "only Ben can bring this back", "three"]


async def test_the_author_of_a_lost_commit_never_comes_back(world: World) -> None:
    async with AsyncExitStack() as stack, AsyncExitStack() as annas:
        anna = await annas.enter_async_context(world.device("anna", name="Anna"))
        await world.settle()
        async with world.device("ben", name="Ben") as ben:
            await world.pass_time(6)
            await say(world, ben, "one")
            copy = back_up(world)
            laptop = await stack.enter_async_context(linked(world, anna, "laptop"))
            await world.pass_time(10)
            await say(world, laptop, "two")
            commits = commits_of(world)
            await annas.aclose()
            await restore(world, copy)
            await world.pass_time(40)
            assert commits_of(world)[: len(commits)] == commits, "Ben had it"
            await say(world, ben, "three")
            assert (await laptop.texts())[-1] == "three"
            assert alarms(ben, laptop) == []


async def test_two_restores(world: World) -> None:
    async with world.pair() as (anna, ben):
        await say(world, anna, "one")
        copy = back_up(world)
        await say(world, ben, "two")
        await restore(world, copy)
        await world.pass_time(20)
        await say(world, anna, "three")
        await restore(world, copy)
        await world.pass_time(20)
        await say(world, ben, "four")
        assert sorted(await anna.texts()) == ["four", "one", "three", "two"]
        assert await anna.texts() == await ben.texts()
        assert alarms(anna, ben) == []


async def test_a_relay_that_is_restored_again_and_again_is_an_alarm(world: World) -> None:
    async with world.pair() as (anna, ben):
        copy = back_up(world)
        await say(world, anna, "one")
        await say(world, ben, "two")
        for _ in range(MOST_LOSSES):
            await restore(world, copy)
            await world.pass_time(60)
        assert alarms(anna, ben) == []
        assert sorted(await anna.texts()) == ["one", "two"]
        await restore(world, copy)
        await world.pass_time(60)
        assert alarms(anna, ben) == ["stream_replaced"] * 2


async def test_a_database_that_fails_over_without_a_loss_is_no_alarm(world: World) -> None:
    async with world.pair() as (anna, ben):
        for number in range(MOST_LOSSES + 4):
            await say(world, anna, f"{number}")
            await restore(world, back_up(world))
            await world.pass_time(60)
        assert await ben.texts() == [f"{number}" for number in range(MOST_LOSSES + 4)]
        assert alarms(anna, ben) == []


async def test_an_earlier_incarnation_never_comes_again(world: World) -> None:
    async with world.pair() as (anna, ben):
        stream = world.relay.streams[world.stream]
        first = stream.incarnation
        await restore(world, back_up(world))
        await world.pass_time(20)
        stream.incarnation = first
        world.relay.drop_connections()
        await world.pass_time(20)
        assert alarms(anna, ben) == ["stream_replaced"] * 2


async def test_a_relay_that_does_not_say_so_is_an_alarm_as_ever(world: World) -> None:
    async with world.pair() as (anna, ben):
        await say(world, anna, "one")
        copy = back_up(world)
        await say(world, anna, "two")
        await say(world, ben, "three")
        await restore(world, copy, says_so=False)
        await world.pass_time(20)
        assert alarms(anna, ben) == ["stream_rolled_back"] * 2


async def test_nothing_lost_is_nothing_to_do(world: World) -> None:
    async with world.pair() as (anna, ben):
        await say(world, anna, "one")
        await world.pass_time(20)
        bodies = world.relay.bodies(world.stream)
        await restore(world, back_up(world))
        await world.pass_time(20)
        assert world.relay.bodies(world.stream) == bodies
        await say(world, ben, "two")
        assert await anna.texts() == ["one", "two"]
        assert alarms(anna, ben) == []


async def test_a_device_of_a_lost_commit_that_never_comes_back_holds_nobody_up(world: World) -> None:
    """The restored relay has never heard of it, and takes the commit that adds it all the same."""
    async with world.pair() as (anna, ben):
        copy = back_up(world)
        async with linked(world, anna, "laptop"):
            await world.pass_time(10)
            await say(world, ben, "one")
        await restore(world, copy)
        await world.pass_time(40)
        await say(world, anna, "two")
        assert await anna.texts() == await ben.texts() == ["one", "two"]
        assert alarms(anna, ben) == []
        assert not anna.room.repairing


async def test_a_file_that_the_relay_lost_too_keeps_its_message(world: World) -> None:
    async with world.pair() as (anna, ben):
        copy = back_up(world)
        blob = "a" * 21 + "A"
        file = File("plan.txt", "text/plain", 3, blob, b"k" * 32, 100, b"h" * 32)
        anna.conversation.say(file, message_id=b"f" * 16, blobs=(blob,))
        await say(world, anna, "there it is")
        refused: list[int] = []

        def lost(_peer: Peer, frame: fr.Append) -> list[fr.RelayFrame] | None:
            if not frame.blobs:
                return None
            refused.append(frame.counter)
            return [fr.Refused(frame.stream, frame.counter, "blob_not_found", 0)]

        world.relay.lies.append = lost
        await restore(world, copy)
        await world.pass_time(60)
        assert len(refused) == 1
        assert (await ben.kinds())[-2:] == ["file", "text"]
        assert anna.room.outbox == ()
        assert alarms(anna, ben) == []


async def test_a_commit_that_nobody_has_any_more_is_an_alarm(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(keeping, "MOST_COMMITS", 1)
    async with world.pair() as (anna, ben):
        copy = back_up(world)
        for number in range(2):
            async with linked(world, anna, f"laptop-{number}"):
                await world.pass_time(10)
        await say(world, anna, "one")
        before = ben.conversation.standing.record
        await restore(world, copy)
        await world.pass_time(20)
        assert alarms(anna, ben) == ["stream_rolled_back"] * 2
        after = ben.conversation.standing.record
        assert (after.cursor, after.incarnation) == (before.cursor, before.incarnation), "nothing was changed"
        assert await anna.texts() == await ben.texts() == ["one"]


async def test_who_updated_the_program_meanwhile_goes_on_or_is_told(world: World) -> None:
    """A vault of a version that kept nothing for repair: what is missing is an alarm, as it was then."""
    async with world.pair() as (anna, ben):
        await say(world, anna, "one")
        await world.pass_time(20)
        for device in (anna, ben):
            with device.conversation.work("test") as work:
                keeping.forget_stream(work)
        await restore(world, back_up(world))
        await world.pass_time(20)
        assert alarms(anna, ben) == []
        copy = back_up(world)
        await say(world, anna, "two")
        with ben.conversation.work("test") as work:
            keeping.forget_stream(work)
        await restore(world, copy)
        await world.pass_time(20)
        assert alarms(ben) == ["stream_rolled_back"]
