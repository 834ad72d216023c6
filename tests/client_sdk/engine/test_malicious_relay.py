"""What a relay that lies achieves: nothing, or a named alarm that stops sending (docs/SECURITY.md)."""

from __future__ import annotations

from dataclasses import replace

import pytest

from client_sdk.delivery import (
    ClonedDevice,
    RelayContradiction,
    SecurityAlarm,
    StreamForked,
    StreamReplaced,
    StreamRolledBack,
    StreamSkipped,
)
from client_sdk.errors import EngagementUnavailable
from relay.wire import EntryKind
from relay.wire import frames as fr
from relay.wire.ids import DeviceId
from tests.support.fake_relay import Peer
from tests.support.fake_stream import Log
from tests.support.restored import set_vault_back
from tests.support.world import Device, World, alarms, say


async def assert_stopped(world: World, device: Device, alarm: type[SecurityAlarm]) -> None:
    """The alarm is raised and shown, sending stops, the outbox is kept."""
    shown = device.room.alarm
    assert type(shown) is alarm
    assert shown.sentence
    assert "alarm" in await device.kinds()
    appended = appends(world)
    with pytest.raises(alarm):
        await device.room.send("never")
    await world.pass_time(60)
    assert "never" not in await device.texts()
    assert appends(world) == appended
    with pytest.raises(alarm):
        await device.room.wait_sent()


def appends(world: World) -> int:
    return sum(isinstance(frame, fr.Append) for _, frame in world.relay.received)


# The log


async def test_a_log_forked_for_two_members(world: World) -> None:
    async with world.pair() as (anna, ben):
        stream = world.relay.streams[world.stream]
        stream.fork(world.relay.device_of("ben"))
        await say(world, anna, "only Anna's log has this")
        await say(world, ben, "only Ben's log has this")
        assert alarms(anna, ben) == []
        del stream.forks[world.relay.device_of("ben")]
        await say(world, anna, "Ben, do you see what I see?")
        await assert_stopped(world, ben, StreamForked)


async def test_a_message_dropped_in_the_middle(world: World) -> None:
    async with world.pair() as (anna, ben):
        stream, dropped = world.relay.streams[world.stream], set[int]()

        def drop_one(device: DeviceId, entry: fr.Entry) -> fr.Entry | None:
            if device == world.relay.device_of("ben") and not dropped:
                dropped.add(entry.seq)
                return None
            return entry

        stream.tamper = drop_one
        await say(world, anna, "you never get this", "but this")
        await assert_stopped(world, ben, StreamSkipped)


async def test_a_message_dropped_and_the_rest_renumbered(world: World) -> None:
    async with world.pair() as (anna, ben):
        fork = world.relay.streams[world.stream].fork(world.relay.device_of("ben"))
        await say(world, anna, "you never get this", "but this")
        kept = world.relay.streams[world.stream].log.entries[-1]
        fork.store(replace(kept, seq=fork.head + 1))
        world.relay.push_all()
        await world.settle()
        assert await ben.texts() == ["but this"]
        await assert_stopped(world, ben, StreamForked)


async def test_messages_reordered(world: World) -> None:
    async with world.pair() as (anna, ben):
        fork = world.relay.streams[world.stream].fork(world.relay.device_of("ben"))
        await say(world, anna, "one", "two")
        one, two = world.relay.streams[world.stream].log.entries[-2:]
        fork.store(replace(two, seq=fork.head + 1))
        fork.store(replace(one, seq=fork.head + 1))
        world.relay.push_all()
        await world.settle()
        await assert_stopped(world, ben, StreamForked)


async def test_a_message_altered(world: World) -> None:
    async with world.pair() as (anna, ben):
        altered: list[int] = []

        def alter(device: DeviceId, entry: fr.Entry) -> fr.Entry:
            if device == world.relay.device_of("ben") and entry.body is not None and not altered:
                altered.append(entry.seq)
                return entry._replace(body=entry.body[:-1] + bytes([entry.body[-1] ^ 1]))
            return entry

        world.relay.streams[world.stream].tamper = alter
        await say(world, anna, "altered on its way")
        assert await ben.texts() == []
        await say(world, anna, "the next one")
        await assert_stopped(world, ben, StreamForked)


async def test_an_entry_delivered_twice_counts_once(world: World) -> None:
    async with world.pair() as (anna, ben):
        await say(world, anna, "once")
        (peer,) = [p for p in world.relay.peers.values() if p.user == "ben"]
        last = world.relay.streams[world.stream].log.entries[-1]
        peer.send([fr.Entries(world.stream, (last.seen_by(peer.device),))])
        await world.settle()
        assert await ben.texts() == ["once"]
        assert ben.room.alarm is None


async def test_an_entry_replayed_under_a_new_number_says_nothing_new(world: World) -> None:
    async with world.pair() as (anna, ben):
        await say(world, anna, "once")
        old = world.relay.streams[world.stream].log.entries[-1]
        world.relay.inject(world.stream, EntryKind.MESSAGE, old.body)
        await world.settle()
        assert await ben.texts() == ["once"]
        assert "gap" in await ben.kinds()
        await say(world, ben, "still talking")
        assert await anna.texts() == ["once", "still talking"]


@pytest.mark.parametrize("kind", list(EntryKind))
async def test_garbage_changes_nothing_for_anybody(world: World, kind: EntryKind) -> None:
    async with world.pair() as (anna, ben):
        world.relay.inject(world.stream, kind, b"\x00" * 300)
        await say(world, anna, "after the garbage")
        await say(world, ben, "indeed")
        assert await anna.texts() == await ben.texts() == ["after the garbage", "indeed"]
        assert alarms(anna, ben) == []


async def test_the_stream_rolled_back(world: World) -> None:
    async with world.pair() as (anna, ben):
        await say(world, anna, "one", "two", "three")
        log = world.relay.streams[world.stream].log
        log.truncate(log.head - 2)
        world.relay.drop_connections()
        await world.pass_time(2)
        await assert_stopped(world, anna, StreamRolledBack)
        await assert_stopped(world, ben, StreamRolledBack)


async def test_another_stream_under_the_same_name(world: World) -> None:
    async with world.pair() as (anna, ben):
        stream = world.relay.streams[world.stream]
        stream.log, stream.incarnation = Log(), bytes(16)
        world.relay.drop_connections()
        await world.pass_time(2)
        await assert_stopped(world, anna, StreamReplaced)
        await assert_stopped(world, ben, StreamReplaced)


async def test_a_commit_withheld(world: World) -> None:
    async with world.pair() as (anna, ben):
        withheld: list[int] = []

        def withhold(device: DeviceId, entry: fr.Entry) -> fr.Entry | None:
            if device == world.relay.device_of("ben") and entry.kind is EntryKind.COMMIT:
                withheld.append(entry.seq)
                return None
            return entry

        world.relay.streams[world.stream].tamper = withhold
        world.relay.inject(world.stream, EntryKind.COMMIT, b"void, but an entry")
        await say(world, anna, "after the commit")
        assert withheld
        await assert_stopped(world, ben, StreamSkipped)


# Answers


async def test_stale_said_of_an_append_that_was_stored(world: World) -> None:
    async with world.pair() as (anna, ben):

        def lie(peer: Peer, frame: fr.Append) -> list[fr.RelayFrame] | None:
            if peer.user != "anna":
                return None
            peer.append_honestly(frame)
            return [fr.Refused(frame.stream, frame.counter, "stale", frame.after_commit)]

        world.relay.lies.append = lie
        await say(world, anna, "said once")
        await world.pass_time(5)
        assert await ben.texts() == ["said once"]
        assert await anna.texts() == ["said once"]
        assert anna.room.alarm is None
        bodies = [entry for entry in world.relay.streams[world.stream].log.entries if entry.counter]
        assert len({(e.device, e.counter) for e in bodies}) == len(bodies)


async def test_an_append_acknowledged_and_not_stored(world: World) -> None:
    async with world.pair() as (anna, ben):
        log = world.relay.streams[world.stream].log

        def lie(peer: Peer, frame: fr.Append) -> list[fr.RelayFrame] | None:
            if peer.user != "anna":
                return None
            return [fr.Appended(frame.stream, (fr.AppendResult(frame.counter, log.head + 1),))]

        world.relay.lies.append = lie
        await say(world, anna, "swallowed")
        await say(world, ben, "hello?")
        await assert_stopped(world, anna, RelayContradiction)


@pytest.mark.parametrize(("code", "alarm"), [("ahead", StreamRolledBack), ("conflict", ClonedDevice)])
async def test_refusals_that_mean_alarm(world: World, code: str, alarm: type[SecurityAlarm]) -> None:
    async with world.pair() as (anna, _ben):
        world.relay.lies.append = lambda peer, frame: [fr.Refused(frame.stream, frame.counter, code, 0)]
        await anna.room.send("waits")
        await world.settle()
        world.relay.lies.append = None
        await assert_stopped(world, anna, alarm)
        assert "waits" in await anna.texts()
        assert len(anna.conversation.standing.box.items) == 1


# Copies


async def test_an_entry_in_our_name_that_we_did_not_send(world: World) -> None:
    async with world.pair() as (anna, _ben):
        log = world.relay.streams[world.stream].log
        old = log.entries[-1]
        log.store(replace(old, seq=log.head + 1, device=world.relay.device_of("anna"), counter=999))
        world.relay.push_all()
        await world.settle()
        await assert_stopped(world, anna, ClonedDevice)


async def test_a_vault_restored_from_an_old_copy(world: World) -> None:
    async with world.device("ben", name="Ben") as ben:
        await set_vault_back(world)
        async with world.device("anna") as anna:
            await world.pass_time(6)
            await assert_stopped(world, anna, ClonedDevice)
            assert await ben.texts() == ["before the copy", "after the copy"]


# What it says about people


async def test_a_ghost_user_on_the_roster_is_not_let_in(world: World) -> None:
    async with world.pair() as (anna, ben):
        world.relay.set_roster(world.stream, anna="coach", ben="client", ghost="supervisor")
        async with world.device("ghost", name="Ghost") as ghost:
            await world.pass_time(30)
            await say(world, anna, "between us")
            assert await ghost.texts() == []
            assert not ghost.conversation.is_member
            assert [str(p) for p in anna.room.people] == [
                "Ben (client), not yet verified",
                "ghost (supervisor), waits for your approval",
            ]
            assert alarms(anna, ben) == []


async def test_a_person_may_let_a_third_one_in(world: World) -> None:
    async with world.pair() as (anna, ben):
        world.relay.set_roster(world.stream, anna="coach", ben="client", sue="supervisor")
        async with world.device("sue", name="Sue") as sue:
            await world.pass_time(10)
            await anna.room.admit(anna.room.people.named("sue"))
            await world.pass_time(10)
            await say(world, anna, "welcome, Sue")
            assert await sue.texts() == await ben.texts() == ["welcome, Sue"]
            assert (
                str(ben.room.people) == "Anna (coach), not yet verified; Sue (supervisor), not yet verified"
            )


async def test_a_participant_said_to_have_left_stays_until_a_person_decides(world: World) -> None:
    async with world.pair() as (anna, ben):
        world.relay.set_roster(world.stream, anna="coach")
        await world.pass_time(10)
        world.relay.set_roster(world.stream, anna="coach", ben="client")
        await world.pass_time(10)
        await say(world, anna, "still here?")
        assert await ben.texts() == ["still here?"]


async def test_an_engagement_said_to_have_ended_keeps_what_was_said(world: World) -> None:
    async with world.pair() as (anna, ben):
        world.relay.lies.append = lambda peer, frame: []
        await anna.room.send("on its way")
        await world.settle()
        world.relay.end(world.stream)
        await world.pass_time(5)
        assert anna.room.ended
        assert len(anna.room.outbox) == 1
        with pytest.raises(EngagementUnavailable):
            await anna.room.wait_sent()
        world.relay.lies.append = None
        world.relay.ended.clear()
        world.relay.drop_connections()
        await world.pass_time(5)
        assert await ben.texts() == ["on its way"]
