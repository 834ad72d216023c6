"""Back on an empty device, with the page alone: the identity, the conversations, and no thief in them."""

from __future__ import annotations

import asyncio
from dataclasses import replace

import pytest

from client_sdk import Client
from client_sdk.delivery import IdentityRecovered
from client_sdk.engine import recovering
from client_sdk.engine.recovering import Recovered
from client_sdk.errors import RecoveryRefused, RecoveryWordsInvalid, RelayUnreachable, VaultExists
from client_sdk.identity import KeyPair, RecoverySeed, Signer, TrustState, next_manifest, verify_manifest
from client_sdk.identity.manifest import ERA_BITS
from client_sdk.transport import Dial, Environment, Socket, session
from relay.wire import Bundle, EntryKind
from tests.support.fake_relay import ORIGIN
from tests.support.fake_time import SeededRandom
from tests.support.linking import link_device, read_account, revoke_device, write_account
from tests.support.world import Device, World, alarms, say


async def recover(
    world: World,
    user: str,
    words: str,
    *,
    vault: str,
    unchecked: bool = False,
    ahead: float = 0.0,
    dial: Dial | None = None,
) -> Recovered:
    """Come back in a new vault, by a clock that is so many seconds ahead."""
    environment = Environment(
        now=lambda: world.time.now() + ahead,
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
        dial=dial or world.relay.dial,
        unchecked=unchecked,
    )


class Silent:
    """A connection over which nothing more comes once so many messages have."""

    def __init__(self, inner: Socket, messages: int) -> None:
        self._inner, self._left, self.closed = inner, messages, False

    async def send(self, message: bytes) -> None:
        await self._inner.send(message)

    async def receive(self) -> bytes | None:
        self._left -= 1
        return await self._inner.receive() if self._left >= 0 else await asyncio.Future()

    async def close(self) -> None:
        self.closed = True
        await self._inner.close()


HANDSHAKE_MESSAGES = 2  # the challenge, and that the device is let in


@pytest.mark.parametrize("messages", [0, HANDSHAKE_MESSAGES, HANDSHAKE_MESSAGES + 1])
async def test_a_relay_that_answers_no_more_is_told_and_recovering_goes_on_later(
    world: World, messages: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(recovering, "ANSWER_SECONDS", 0.2)
    monkeypatch.setattr(session, "HANDSHAKE_SECONDS", 0.2)
    words, made = await words_of(world), list[Silent]()

    async def dial() -> Socket:
        made.append(Silent(await world.relay.dial(), messages))
        return made[0]

    with pytest.raises(RelayUnreachable):
        await recover(world, "anna", words, vault="new", dial=dial)
    assert made[0].closed
    assert await recover(world, "anna", words, vault="new") == Recovered(1)


async def test_a_relay_that_cannot_be_dialled_is_told(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(recovering, "HANDSHAKE_SECONDS", 0.2)
    words = await words_of(world)

    async def dial() -> Socket:
        return await asyncio.Future()

    with pytest.raises(RelayUnreachable):
        await recover(world, "anna", words, vault="new", dial=dial)


def printed(device: Device) -> str:
    """The words on the page of this device's user."""
    return " ".join(device.client.recovery_kit().words)


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


def forge_era(world: World, vault: str, era: int) -> None:
    """Have the device in this vault offer a list of this era, signed by the identity key that it holds."""
    account = read_account(world.folder, vault)
    before = replace(account.manifest, version=(era << ERA_BITS) + 7)
    forged = next_manifest(before, key=KeyPair.from_private(account.record.identity))
    write_account(world.folder, vault, replace(account.record, manifest=forged.raw))


@pytest.mark.parametrize("era", [2**31 - 1, 2**31 - 2, 2**30 + 2**29])
async def test_a_thief_who_signs_the_last_era_does_not_stop_the_kit(world: World, era: int) -> None:
    """Twice: the kit has room left after it was used."""
    words = await words_of(world)
    link_device(world.folder, "anna", "thief")
    async with world.device("ben"), world.device("anna"), world.device("anna", vault="thief"):
        await world.pass_time(10)
    forge_era(world, "thief", era)
    async with world.device("ben") as ben:
        async with world.device("anna", vault="thief"):
            await world.pass_time(10)
        stolen = read_account(world.folder, "thief")
        assert stolen.manifest.era == era
        for vault in ("second", "third"):
            await recover(world, "anna", words, vault=vault)
            async with world.device("anna", vault=vault) as anna:
                await world.pass_time(10)
                assert anna.conversation.is_member
                assert 0 < anna.engine.account.manifest.era < 2**30
                alarm = ben.room.alarm
                assert isinstance(alarm, IdentityRecovered)
                await ben.room.resolve_alarm(alarm)
                view = ben.conversation.standing.view
                assert view is not None
                assert view.devices == {anna.engine.account.device, ben.engine.account.device}


@pytest.mark.parametrize("era", [2**31 - 1, 2**30 + 2**29])
async def test_a_thief_who_signs_the_last_era_is_not_let_in_at_first_contact(world: World, era: int) -> None:
    """Who never met Anna would take the thief's list for hers, and the kit could not surpass it."""
    world.relay.lies.offline = True
    async with world.opened("anna") as client:
        words = " ".join(client.recovery_kit().words)
    link_device(world.folder, "anna", "thief")
    forge_era(world, "thief", era)
    world.relay.lies.offline = False
    async with world.device("ben") as ben:
        await world.pass_time(10)
        assert ben.conversation.is_member
        async with world.device("anna", vault="thief") as thief:
            await world.pass_time(30)
            assert not thief.conversation.is_member
            assert alarms(ben) == []
        await recover(world, "anna", words, vault="new")
        async with world.device("anna", vault="new") as back:
            await world.pass_time(100)
            assert back.conversation.is_member
            await say(world, back, "it is me")
            assert "it is me" in await ben.texts()


async def test_a_list_linked_after_a_recovery_by_a_clock_ahead_is_outranked(world: World) -> None:
    """The relay then holds a list that the identity key signed, of an era that the clock has not reached."""
    words = await words_of(world)
    async with world.device("ben") as ben:
        await recover(world, "anna", words, vault="second", ahead=365 * 86400)
        async with world.device("anna", vault="second"):
            await world.pass_time(10)
        assert ben.room.alarm is not None
        await ben.room.resolve_alarm(ben.room.alarm)
        link_device(world.folder, "second", "linked")
        async with world.device("anna", vault="second") as second:
            await world.pass_time(10)
            ahead = second.engine.account.manifest
        held = verify_manifest(world.relay.manifests[ahead.user].manifest)
        assert (held.raw, held.signer) == (ahead.raw, Signer.IDENTITY)
        await recover(world, "anna", words, vault="third")
        async with world.device("anna", vault="third") as third:
            await world.pass_time(10)
            assert third.engine.account.manifest.era == ahead.era + 1
            assert third.conversation.is_member


async def test_wrong_words_change_nothing(world: World) -> None:
    words = (await words_of(world)).split()
    with pytest.raises(RecoveryWordsInvalid, match="Word 5 is not one of the words"):
        await recover(world, "anna", " ".join([*words[:4], "xyzzy", *words[5:]]), vault="new")
    other = " ".join(RecoverySeed(b"another page ...").words)
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
