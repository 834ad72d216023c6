"""Back on an empty device, with the page alone: the identity, the conversations, and no thief in them."""

from __future__ import annotations

import pytest

from client_sdk import Client
from client_sdk.delivery import IdentityRecovered
from client_sdk.engine.recovering import Recovered
from client_sdk.errors import RecoveryRefused, RecoveryWordsInvalid, VaultExists
from client_sdk.identity import RecoverySeed, TrustState
from client_sdk.transport import Environment
from relay.wire import Bundle, EntryKind
from tests.support.fake_relay import ORIGIN
from tests.support.fake_time import SeededRandom
from tests.support.linking import link_device, read_account, revoke_device
from tests.support.world import Device, World, alarms


async def recover(world: World, user: str, words: str, *, vault: str, unchecked: bool = False) -> Recovered:
    environment = Environment(
        now=world.time.now,
        monotonic=world.time.monotonic,
        rng=SeededRandom(f"{vault}"),
        sleep=world.time.sleep,
    )
    return await Client.recover(
        world.folder / f"{vault}.vault",
        words=words,
        relay=ORIGIN,
        token=world.relay.token_for(user),
        key=vault.encode().ljust(32, b"."),
        environment=environment,
        dial=world.relay.dial,
        unchecked=unchecked,
    )


def printed(device: Device) -> str:
    """The words on the page of this device's user."""
    return " ".join(device.client.recovery_kit().words)


async def say(world: World, device: Device, text: str) -> None:
    await device.room.send(text)
    await world.settle()


async def words_of(world: World) -> str:
    """Anna and Ben meet, and Anna prints her kit: the words on it."""
    async with world.pair() as (anna, _ben):
        await say(world, anna, "before")
        words = printed(anna)
        await anna.client.recovery_kit_made(dict(enumerate(words.split(), 1)))
        return words


async def test_with_the_page_alone_one_is_back_and_the_lost_device_is_out(world: World) -> None:
    words = await words_of(world)
    async with world.device("ben") as ben, world.device("anna") as lost:
        await world.settle()
        assert await recover(world, "anna", words, vault="new") == Recovered(1)
        async with world.device("anna", vault="new", name="Anna") as anna:
            await world.pass_time(10)
            assert anna.conversation.is_member
            view = ben.conversation.standing.view
            assert view is not None
            assert {leaf.device for leaf in view.leaves} == {
                anna.engine.account.device,
                ben.engine.account.device,
            }
            await say(world, anna, "it is me")
            assert "it is me" in await ben.texts()
            assert "it is me" not in await lost.texts()
            assert not anna.client.recovery_kit_due


async def test_the_others_hear_who_and_send_nothing_until_they_have_decided(world: World) -> None:
    words = await words_of(world)
    async with world.device("ben") as ben:
        await world.settle()
        before = ben.room.people.named("anna").safety_number
        await recover(world, "anna", words, vault="new")
        async with world.device("anna", vault="new") as anna:
            await world.pass_time(10)
            alarm = ben.room.alarm
            assert isinstance(alarm, IdentityRecovered)
            assert ben.room.said(alarm).startswith("Anna came back on a new device with the recovery kit")
            with pytest.raises(IdentityRecovered):
                await ben.room.send("not before I know")
            person = ben.room.people.named("anna")
            assert person.trust is TrustState.CHANGED
            assert person.safety_number == anna.client.safety_number != before
            await ben.room.verify(person)
            await say(world, ben, "welcome back")
            await world.settle()
            assert "welcome back" in await anna.texts()
            assert ben.room.people.named("anna").verified
            assert alarms(anna, ben) == []


async def test_going_on_without_comparing_leaves_it_unverified(world: World) -> None:
    words = await words_of(world)
    async with world.device("ben") as ben:
        await recover(world, "anna", words, vault="new")
        async with world.device("anna", vault="new"):
            await world.pass_time(10)
            alarm = ben.room.alarm
            assert alarm is not None
            await ben.room.resolve_alarm(alarm)
            await say(world, ben, "on we go")
            assert ben.room.people.named("anna").trust is TrustState.UNVERIFIED
            assert alarms(ben) == []


async def test_a_thief_with_a_device_that_could_link_is_overridden(world: World) -> None:
    """The thief has the identity key, links a device of their own, and comes before and after."""
    words = await words_of(world)
    link_device(world.folder, "anna", "thief")
    async with world.device("ben") as ben, world.device("anna"), world.device("anna", vault="thief") as thief:
        await world.pass_time(10)
        assert thief.conversation.is_member
        await recover(world, "anna", words, vault="new")
        async with world.device("anna", vault="new") as anna:
            await world.pass_time(10)
            assert anna.conversation.is_member
            alarm = ben.room.alarm
            assert isinstance(alarm, IdentityRecovered)
            await ben.room.resolve_alarm(alarm)
            await say(world, ben, "not for thieves")
            assert "not for thieves" in await anna.texts()
            assert "not for thieves" not in await thief.texts()
    link_device(world.folder, "thief", "thief-2")
    async with (
        world.device("ben") as ben,
        world.device("anna", vault="new") as anna,
        world.device("anna", vault="thief-2") as again,
    ):
        await world.pass_time(400)
        assert not again.conversation.is_member
        assert alarms(anna, ben) == []
        await say(world, ben, "still not")
        assert "still not" in await anna.texts()


async def test_a_thief_with_a_revoked_device_that_could_link_is_overridden(world: World) -> None:
    """Its list and the lists that its key can sign lose against the page, also where the relay helps."""
    words = await words_of(world)
    link_device(world.folder, "anna", "stolen")
    async with world.device("ben"), world.device("anna"), world.device("anna", vault="stolen") as stolen:
        await world.pass_time(10)
        assert stolen.conversation.is_member
        assert stolen.engine.account.record.identity
    revoke_device(world.folder, "anna", "stolen")
    async with world.device("ben") as ben, world.device("anna"):
        await world.pass_time(20)
        await say(world, ben, "after the removal")
    link_device(world.folder, "stolen", "accomplice")  # signed by the key that it still holds
    world.relay.lies.lets_in_revoked = True
    async with world.device("ben") as ben, world.device("anna", vault="accomplice") as accomplice:
        await world.pass_time(20)
        await recover(world, "anna", words, vault="new")
        async with world.device("anna", vault="new") as anna, world.device("anna", vault="stolen") as stolen:
            await world.pass_time(60)
            for _ in range(3):
                if ben.room.alarm is not None:
                    await ben.room.resolve_alarm(ben.room.alarm)
                await world.pass_time(20)
            await say(world, ben, "for Anna alone")
            assert (await anna.texts())[-1:] == ["for Anna alone"]
            view = ben.conversation.standing.view
            assert view is not None
            assert view.devices == {anna.engine.account.device, ben.engine.account.device}
            for thief in (stolen, accomplice):
                assert "after the removal" not in await thief.texts()
                assert "for Anna alone" not in await thief.texts()


async def test_recovered_twice_the_later_one_counts(world: World) -> None:
    words = await words_of(world)
    async with world.device("ben") as ben:
        await recover(world, "anna", words, vault="second")
        async with world.device("anna", vault="second") as second:
            await world.pass_time(10)
            assert second.conversation.is_member
        assert ben.room.alarm is not None
        await ben.room.resolve_alarm(ben.room.alarm)
        await recover(world, "anna", words, vault="third")
        async with world.device("anna", vault="third") as third:
            await world.pass_time(10)
            assert third.conversation.is_member
            assert third.engine.account.manifest.era > second.engine.account.manifest.era
            view = ben.conversation.standing.view
            assert view is not None
            assert len(view.leaves) == 2


async def test_wrong_words_change_nothing(world: World) -> None:
    words = (await words_of(world)).split()
    with pytest.raises(RecoveryWordsInvalid, match="Word 5 is not one of the words"):
        await recover(world, "anna", " ".join([*words[:4], "xyzzy", *words[5:]]), vault="new")
    other = (
        " ".join(RecoverySeed(b"another page").words)
        if False
        else " ".join(RecoverySeed(b"another page ...").words)
    )
    with pytest.raises(RecoveryRefused, match="not those of this account"):
        await recover(world, "anna", other, vault="new")
    with pytest.raises(RecoveryRefused, match="no earlier device"):
        await recover(world, "carl", other, vault="new")
    assert not (world.folder / "new.vault").exists()
    async with world.pair() as (anna, ben):
        await world.pass_time(10)
        assert alarms(anna, ben) == []


async def test_a_relay_that_hides_the_earlier_devices_delays_nobody_who_is_sure(world: World) -> None:
    words = await words_of(world)
    world.relay.lies.key_packages = lambda claimed: tuple(c._replace(package=None) for c in claimed)
    world.relay.manifests.clear()
    with pytest.raises(RecoveryRefused):
        await recover(world, "anna", words, vault="new")
    assert await recover(world, "anna", words, vault="new", unchecked=True) == Recovered(1)
    world.relay.lies.key_packages = None
    async with world.device("ben"), world.device("anna", vault="new") as anna:
        await world.pass_time(10)
        assert anna.conversation.is_member


async def test_it_goes_on_where_it_was_cut_off_and_overwrites_no_other_vault(world: World) -> None:
    words = await words_of(world)
    await recover(world, "anna", words, vault="new")
    first = read_account(world.folder, "new")
    await recover(world, "anna", words, vault="new")
    assert read_account(world.folder, "new").record == first.record
    with pytest.raises(VaultExists):
        await recover(world, "anna", words, vault="anna")


async def test_nothing_of_the_words_is_in_the_vault(world: World) -> None:
    words = await words_of(world)
    await recover(world, "anna", words, vault="new")
    record = read_account(world.folder, "new").record
    seed = RecoverySeed.from_words(words)
    assert record.recovery == b""
    assert not [secret for secret in (seed.value, seed.key.private) if secret in record.serialize()]


async def test_only_removing_and_adding_in_one_change_brings_back(world: World) -> None:
    """What the others accept is one entry that adds the new device and removes all earlier ones."""
    words = await words_of(world)
    async with world.device("ben"):
        await recover(world, "anna", words, vault="new")
        async with world.device("anna", vault="new") as anna:
            await world.pass_time(10)
            log = world.relay.streams[world.stream].log
            last = [entry for entry in log.entries if entry.kind is EntryKind.COMMIT][-1]
            bundle = Bundle.parse(last.body)
            assert bundle.adds == (anna.engine.account.device,)
            assert bundle.removes == (read_account(world.folder, "anna").device,)


async def test_nothing_more_is_sent_to_the_lost_device_in_any_conversation(world: World) -> None:
    """The relay keeps the new device out of the second one: there the old one is removed all the same."""
    words = await words_of(world)
    first, second = world.stream, world.relay.create_engagement(anna="coach", ben="client")
    world.stream = second
    async with world.pair():
        pass
    world.stream = first
    async with world.device("ben") as ben, world.device("anna") as lost:
        await world.settle()
        await recover(world, "anna", words, vault="new")
        new = read_account(world.folder, "new").device
        hidden = {second}
        world.relay.lies.engagement = lambda viewer, told: (
            told._replace(devices=tuple(d for d in told.devices if d.device != new))
            if told.id in hidden and viewer != new
            else told
        )
        async with world.device("anna", vault="new"):
            await world.pass_time(10)
            alarm = ben.room.alarm
            assert isinstance(alarm, IdentityRecovered)
            other = await ben.client.engagement(second)
            await ben.room.resolve_alarm(alarm)
            await other.send("not for the lost device")
            await world.pass_time(10)
            assert [waiting.reason.name for waiting in other.outbox] == ["NOBODY_THERE"]
            lost_room = await lost.client.engagement(second)
            assert not [i for i in await lost_room.history() if getattr(i, "text", "").startswith("not for")]
            hidden.clear()
            world.relay.announce(second)
            await world.pass_time(20)
            assert other.outbox == ()
