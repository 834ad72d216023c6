"""Everything lost, the kit too: a new identity that the others let in, and nothing sent until then."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager

import pytest

from client_sdk import WaitReason
from client_sdk.delivery import IdentityChanged, IdentityRecovered
from client_sdk.devices import LinkSecret
from client_sdk.errors import AccessRefused, OtherListHeld, UsageError
from client_sdk.identity import TrustState, generate_key_pair
from relay.wire import Bundle, EntryKind
from tests.support.fake_time import SeededRandom
from tests.support.own_devices import Depot, linked, until_done
from tests.support.world import Device, World, alarms, say


async def meet(world: World) -> None:
    async with world.pair() as (anna, _ben):
        await say(world, anna, "before")


@asynccontextmanager
async def reset(world: World) -> AsyncIterator[tuple[Device, Device]]:
    """Ben is there, and Anna comes with a new vault."""
    await meet(world)
    async with AsyncExitStack() as stack:
        ben = await stack.enter_async_context(world.device("ben"))
        anna = await stack.enter_async_context(world.device("anna", vault="anew", name="Anna"))
        await world.pass_time(10)
        yield anna, ben


async def test_the_other_hears_who_and_sends_nothing_until_they_decide(world: World) -> None:
    async with reset(world) as (anna, ben):
        alarm = ben.room.alarm
        assert type(alarm) is IdentityChanged
        assert ben.room.said(alarm).startswith("Anna appears with a new security key. Either Anna lost")
        assert "Call Anna" in ben.room.said(alarm)
        with pytest.raises(IdentityChanged):
            await ben.room.send("who are you?")
        assert not anna.conversation.is_member
        assert anna.room.needs_acceptance
        await anna.room.send("it is me")
        assert [waiting.reason for waiting in anna.room.outbox] == [WaitReason.NOT_ACCEPTED]
        assert "it is me" not in await ben.texts()
        person = ben.room.people.named("anna")
        assert person.trust is TrustState.CHANGED
        assert person.safety_number == anna.client.safety_number


async def test_let_in_unverified(world: World) -> None:
    async with reset(world) as (anna, ben):
        await ben.room.accept_identity(ben.room.people.named("anna"))
        await world.pass_time(10)
        assert anna.conversation.is_member
        await say(world, ben, "welcome")
        assert (await anna.texts())[-1:] == ["welcome"]
        assert ben.room.people.named("anna").trust is TrustState.UNVERIFIED
        assert alarms(anna, ben) == []
        assert not anna.room.needs_acceptance
        view = ben.conversation.standing.view
        assert view is not None
        assert {leaf.device for leaf in view.leaves} == {
            anna.engine.account.device,
            ben.engine.account.device,
        }


async def test_let_in_by_comparing(world: World) -> None:
    async with reset(world) as (anna, ben):
        await ben.room.verify(ben.room.people.named("anna"))
        await world.pass_time(10)
        await say(world, anna, "here I am")
        assert (await ben.texts())[-1] == "here I am"
        assert ben.room.people.named("anna").verified
        assert alarms(anna, ben) == []


async def test_not_let_in_it_stays_outside_and_is_asked_about_once(world: World) -> None:
    async with reset(world) as (anna, ben):
        alarm = ben.room.alarm
        assert alarm is not None
        await ben.room.resolve_alarm(alarm)
        await world.pass_time(600)
        assert not anna.conversation.is_member
        assert alarms(ben) == []
        assert ben.room.people.named("anna").trust is TrustState.UNVERIFIED
        assert ben.room.people.named("anna").safety_number != anna.client.safety_number
        with pytest.raises(UsageError):
            await ben.room.accept_identity(ben.room.people.named("anna"))
        await ben.room.send("to the Anna that I know")


async def test_the_lost_device_is_no_news_when_it_turns_up_again(world: World) -> None:
    async with reset(world) as (anna, ben):
        await ben.room.accept_identity(ben.room.people.named("anna"))
        await world.pass_time(10)
        async with world.device("anna") as lost:
            await world.pass_time(600)
            assert alarms(ben, anna) == []
            await say(world, ben, "not for the lost one")
            assert "not for the lost one" not in await lost.texts()
            assert "not for the lost one" in await anna.texts()


async def test_removed_first_and_added_with_the_next_change(world: World) -> None:
    """No single entry puts another identity in a participant's place: the rules for everybody forbid it."""
    async with reset(world) as (anna, ben):
        await ben.room.accept_identity(ben.room.people.named("anna"))
        await world.pass_time(10)
        log = world.relay.streams[world.stream].log
        commits = [Bundle.parse(e.body) for e in log.entries if e.kind is EntryKind.COMMIT]
        leaving, coming = commits[-2:]
        assert (len(leaving.adds), len(leaving.removes)) == (0, 1)
        assert (coming.adds, coming.removes) == ((anna.engine.account.device,), ())


async def test_everybody_decides_for_themselves(world: World) -> None:
    world.relay.set_roster(world.stream, anna="coach", ben="client", carl="supervisor")
    async with world.device("anna", name="Anna") as anna, world.device("ben") as ben:
        await world.pass_time(10)
        if ben.room.people.named("anna").needs_admission or not ben.conversation.is_member:
            await anna.room.admit(anna.room.people.named("ben"))
        await world.pass_time(10)
        async with world.device("carl") as carl:
            await world.pass_time(10)
            await anna.room.admit(anna.room.people.named("carl"))
            await world.pass_time(10)
            assert carl.conversation.is_member
            await say(world, anna, "all three")
    async with (
        world.device("ben") as ben,
        world.device("carl") as carl,
        world.device("anna", vault="anew", name="Anna") as anew,
    ):
        await world.pass_time(10)
        assert alarms(ben, carl) == ["identity_changed", "identity_changed"]
        await ben.room.accept_identity(ben.room.people.named("anna"))
        await world.pass_time(20)
        assert anew.conversation.is_member
        assert alarms(ben, carl) == ["identity_changed"]
        with pytest.raises(IdentityChanged):
            await carl.room.send("not yet")
        await carl.room.accept_identity(carl.room.people.named("anna"))
        await say(world, carl, "now")
        assert "now" in await anew.texts()
        assert not isinstance(carl.room.alarm, IdentityRecovered)


async def test_the_earlier_list_at_the_relay_is_told_of_until_the_portal_ends_it(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    Depot().install(monkeypatch)
    async with reset(world) as (anna, ben):
        await ben.room.accept_identity(ben.room.people.named("anna"))
        await world.pass_time(10)
        devices = anna.client.devices
        assert await until_done(world, devices.other_list_held())
        with pytest.raises(OtherListHeld, match="Ask whoever runs your coaching portal to end your earlier"):
            await until_done(world, devices.find(" ".join(LinkSecret(bytes(16)).words)))
        key = generate_key_pair(SeededRandom("two")).public
        with pytest.raises(OtherListHeld):
            await until_done(world, anna.engine.own.add(key, "two", may_link=False))
        assert len(devices.all) == 1
        world.relay.end_list("anna")
        await world.pass_time(10)
        assert devices.relay_follows
        assert not await until_done(world, devices.other_list_held())
        async with linked(world, anna, "laptop") as laptop:
            await world.pass_time(10)
            assert laptop.conversation.is_member
            await until_done(world, devices.remove(devices.named("laptop")))
            assert devices.relay_follows
            await world.pass_time(10)
            refused = laptop.client.status.error
            assert isinstance(refused, AccessRefused)
            assert refused.code == "device_revoked"
        assert alarms(anna, ben) == []


async def test_whether_the_relay_has_taken_a_removal_is_told(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    Depot().install(monkeypatch)
    async with world.pair() as (anna, ben), linked(world, anna, "laptop") as laptop:
        devices = anna.client.devices
        followed = [devices.relay_follows]
        world.relay.lies.takes_no_lists = True
        await until_done(world, devices.remove(devices.named("laptop")))
        await until_done(world, devices.wait_removed(laptop.client.devices.all[1]))
        followed.append(devices.relay_follows)
        assert not await until_done(world, devices.other_list_held())
        world.relay.lies.takes_no_lists = False
        world.relay.drop_connections()
        await world.pass_time(10)
        followed.append(devices.relay_follows)
        assert followed == [True, False, True]
        assert alarms(anna, ben) == []
