"""A device that is out of step comes back by external commit and shows the gap; it never goes backwards."""

from __future__ import annotations

from dataclasses import replace

from client_sdk import Gap
from client_sdk.delivery import MOST_IN_FLIGHT, EpochRolledBack, StreamForked, StreamSkipped
from client_sdk.engine import spaces
from client_sdk.vault import Vault
from relay.wire import EntryKind
from relay.wire import frames as fr
from relay.wire.ids import DeviceId
from tests.support.restored import set_vault_back
from tests.support.world import Device, World, alarms, say

DAY = 86_400


async def gaps(device: Device) -> list[str]:
    return [item.reason for item in reversed(await device.room.history(limit=500)) if isinstance(item, Gap)]


def lose_group_state(world: World, user: str) -> None:
    """Damage the vault of a program that does not run."""
    with (
        Vault.open(world.folder / f"{user}.vault", key=user.encode().ljust(32, b".")) as vault,
        vault.transaction() as tx,
    ):
        tx.put(spaces.EPOCH, spaces.conversation_key(world.stream), b"damaged")


async def test_a_lost_group_state_leads_to_a_gap_and_not_to_silence(world: World) -> None:
    async with world.device("anna", name="Anna") as anna:
        async with world.device("ben", name="Ben") as ben:
            await world.pass_time(6)
            await say(world, anna, "before")
            assert await ben.texts() == ["before"]
        lose_group_state(world, "ben")
        await say(world, anna, "while Ben's keys are lost")
        async with world.device("ben") as ben:
            await world.pass_time(6)
            assert ben.conversation.is_member
            assert len(await gaps(ben)) == 1
            await say(world, anna, "can you read me?")
            await say(world, ben, "again, yes")
            assert await ben.texts() == ["before", "can you read me?", "again, yes"]
            assert (await anna.texts())[-1] == "again, yes"
            assert await gaps(anna) == []
            assert alarms(anna, ben) == []


async def test_what_was_said_in_the_lost_state_and_nobody_attested_is_said_again_once(world: World) -> None:
    async with world.device("anna", name="Anna") as anna:
        async with world.device("ben", name="Ben") as ben:
            await world.pass_time(6)
            world.relay.lies.withheld.add(world.relay.device_of("anna"))
            await say(world, ben, "unattested")
        lose_group_state(world, "ben")
        world.relay.lies.withheld.clear()
        world.relay.push_all()
        await world.pass_time(6)
        async with world.device("ben") as ben:
            await world.pass_time(6)
            assert await ben.texts() == ["unattested"]
            assert await anna.texts() == ["unattested"]
            assert ben.room.outbox == ()
            assert alarms(anna, ben) == []


async def test_what_was_said_in_the_second_of_a_rejoin_is_taken_back_for_all(world: World) -> None:
    """It waits to be said again, but others have it: dropped here alone, it would stay there."""
    async with world.device("anna", name="Anna") as anna:
        async with world.device("ben", name="Ben") as ben:
            await world.pass_time(6.25)
            said = [await ben.room.send(str(number)) for number in range(MOST_IN_FLIGHT + 8)]
            await world.settle()
            assert len(await anna.texts()) == len(said)
        lose_group_state(world, "ben")
        world.relay.lies.append = lambda _, frame: [] if frame.kind is EntryKind.MESSAGE else None
        async with world.device("ben") as ben:
            await world.settle()
            assert said[-1].origin.sent_ms > ben.conversation.standing.record.rejoined_at * 1000 > 0
            waiting = [item.id for item in ben.conversation.standing.box.items if not item.in_flight]
            assert said[-1].id in waiting
            await ben.room.retract(said[-1])
            world.relay.lies.append = None
            world.relay.drop_connections()
            await world.pass_time(31)
            assert (await anna.kinds())[-1] == "retracted"
            assert alarms(anna, ben) == []


async def test_away_for_longer_than_messages_are_kept(world: World) -> None:
    async with world.device("anna", name="Anna") as anna:
        async with world.device("ben", name="Ben"):
            await world.pass_time(6)
        await say(world, anna, "erased before Ben returned")
        await world.pass_time(31 * DAY)
        await say(world, anna, "erased too", "kept")
        log = world.relay.streams[world.stream].log
        log.expire(log.head)
        async with world.device("ben") as ben:
            await world.pass_time(6)
            assert await gaps(ben) == ["This device was away for longer than messages are kept."]
            await say(world, anna, "welcome back")
            await say(world, ben, "thanks")
            assert await ben.texts() == ["welcome back", "thanks"]
            assert (await anna.texts())[-1] == "thanks"


async def test_entries_that_cannot_be_over_yet_were_withheld(world: World) -> None:
    async with world.device("anna", name="Anna") as anna:
        async with world.device("ben", name="Ben"):
            await world.pass_time(6)
        await world.pass_time(DAY)
        await say(world, anna, "one", "two")
        log = world.relay.streams[world.stream].log
        log.expire(log.head)
        async with world.device("ben") as ben:
            await world.pass_time(6)
            assert isinstance(ben.room.alarm, StreamSkipped)


def alter_commits_for(world: World, user: str) -> None:
    device = world.relay.device_of(user)

    def alter(reader: DeviceId, entry: fr.Entry) -> fr.Entry:
        if reader == device and entry.kind is EntryKind.COMMIT and entry.body is not None:
            return entry._replace(body=entry.body[:200] + bytes(8) + entry.body[208:])
        return entry

    world.relay.streams[world.stream].tamper = alter


async def add_somebody(world: World, member: Device, user: str) -> None:
    roster = {u: r.value for u, r in world.relay.rosters[world.stream].items()}
    world.relay.set_roster(world.stream, **roster, **{user: "supervisor"})
    await world.settle()
    await member.room.admit(member.room.people.named(user))
    async with world.device(user, name=user):
        await world.pass_time(8)


async def test_who_cannot_follow_what_the_others_accepted_rejoins(world: World) -> None:
    async with world.pair() as (anna, ben):
        alter_commits_for(world, "ben")
        await add_somebody(world, anna, "sue")
        world.relay.streams[world.stream].tamper = None
        await say(world, anna, "in the new epoch")
        await world.pass_time(6)
        assert await gaps(ben) != []
        assert ben.conversation.is_member
        await say(world, anna, "and now?")
        await say(world, ben, "back")
        assert (await ben.texts())[-2:] == ["and now?", "back"]
        assert alarms(anna, ben) == []


async def test_out_of_step_twice_in_a_row_is_no_accident(world: World) -> None:
    async with world.pair() as (anna, ben):
        for user in ("sue", "tom"):
            alter_commits_for(world, "ben")
            await add_somebody(world, anna, user)
            world.relay.streams[world.stream].tamper = None
            await say(world, anna, "in the new epoch")
            await world.pass_time(6)
        assert isinstance(ben.room.alarm, StreamForked)


async def test_an_old_state_offered_as_the_newest_is_refused(world: World) -> None:
    async with world.pair() as (anna, ben):
        await add_somebody(world, anna, "sue")
        await say(world, anna, "later")
        assert ben.conversation.is_member
    lose_group_state(world, "ben")
    stream = world.relay.streams[world.stream]
    fork = stream.fork(world.relay.device_of("ben"))
    commits = [entry for entry in fork.entries if entry.kind is EntryKind.COMMIT]
    old = replace(commits[-2], seq=commits[-1].seq)
    fork.entries = [old if entry.seq == old.seq else entry for entry in fork.entries]
    async with world.device("ben") as ben:
        await world.pass_time(6)
        assert isinstance(ben.room.alarm, EpochRolledBack)
        assert not ben.conversation.is_member


async def test_a_void_bundle_as_the_newest_commit_is_no_hindrance(world: World) -> None:
    async with world.device("anna", name="Anna") as anna:
        async with world.device("ben", name="Ben"):
            await world.pass_time(6)
        lose_group_state(world, "ben")
        world.relay.inject(world.stream, EntryKind.COMMIT, b"void")
        async with world.device("ben") as ben:
            await world.pass_time(6)
            assert ben.conversation.is_member
            await say(world, anna, "welcome back")
            assert (await ben.texts())[-1] == "welcome back"


async def test_a_person_goes_on_after_a_fork(world: World) -> None:
    async with world.pair() as (anna, ben):
        stream = world.relay.streams[world.stream]
        stream.fork(world.relay.device_of("ben"))
        await say(world, anna, "one side")
        await say(world, ben, "other side")
        del stream.forks[world.relay.device_of("ben")]
        stream.log.counters[world.relay.device_of("ben")].last += 1
        await say(world, anna, "do you see this?")
        alarm = ben.room.alarm
        assert isinstance(alarm, StreamForked)
        await ben.room.resolve_alarm(alarm)
        await world.pass_time(6)
        assert ben.room.alarm is None
        assert [reason for reason in await gaps(ben) if "go on" in reason]
        await say(world, ben, "on we go")
        assert (await anna.texts())[-1] == "on we go"


async def test_a_person_goes_on_after_restoring_an_old_vault(world: World) -> None:
    async with world.device("ben", name="Ben") as ben:
        await set_vault_back(world)
        async with world.device("anna") as anna:
            await world.pass_time(6)
            assert anna.room.alarm is not None
            await anna.room.resolve_alarm(anna.room.alarm)
            await world.pass_time(6)
            await say(world, anna, "it is me, really")
            await say(world, ben, "good")
            assert await ben.texts() == ["before the copy", "after the copy", "it is me, really", "good"]
            assert (await anna.texts())[-2:] == ["it is me, really", "good"]
            assert alarms(anna, ben) == []
