"""A conversation of suite 3 moves to X-Wing: everybody follows, and nothing is lost or doubled."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest

from client_sdk import Protection
from client_sdk.content.packing import pack, unpack
from client_sdk.delivery import EpochRolledBack
from client_sdk.engine import Conversation, commits, spaces
from client_sdk.engine.key_packages import StoredKeyPackage
from client_sdk.engine.records import CommitReason
from client_sdk.mls import (
    SUITE_3,
    SUITE_XWING,
    CipherSuite,
    CommitReceived,
    CryptoError,
    GroupState,
    KeyPackage,
    MLSMessage,
    Received,
    process_message,
)
from client_sdk.transport import Environment
from client_sdk.vault import Vault
from relay.wire import Bundle, EntryKind
from relay.wire import frames as fr
from relay.wire.ids import DeviceId
from tests.support.fake_relay import Peer
from tests.support.linking import link_device, read_account
from tests.support.moving import (
    assert_moved,
    begin,
    gaps,
    generation_of,
    group_of,
    renewals,
    three,
)
from tests.support.rogue import package_of, rogue_commit
from tests.support.suites import Versions
from tests.support.world import Device, World, alarms, say

DAY = 86_400


@pytest.fixture
def versions(monkeypatch: pytest.MonkeyPatch) -> Versions:
    return Versions(monkeypatch, "anna", "ben", "sue")


# Everybody follows


async def test_it_moves_by_itself_when_all_can(world: World, versions: Versions) -> None:
    await begin(world, "one")
    versions.update(["anna", "ben"])
    async with world.device("anna") as anna, world.device("ben") as ben:
        await world.pass_time(10)
        assert_moved(anna, ben)
        assert anna.room.protection is ben.room.protection is Protection.FROM_NOW_ON
        assert len(renewals(world)) == 1
        await say(world, anna, "two")
        await say(world, ben, "three")
        assert await anna.texts() == await ben.texts() == ["one", "two", "three"]
        assert alarms(anna, ben) == await gaps(anna, ben) == []
        await world.pass_time(60)
        assert len(renewals(world)) == 1, "once"


async def test_the_private_parts_of_the_key_packages_used_for_it_are_gone(
    world: World, versions: Versions
) -> None:
    await begin(world)
    versions.update(["anna", "ben"])
    async with world.device("ben") as ben:
        await world.pass_time(3)
        before = kept_packages(ben)
    async with world.device("anna") as anna, world.device("ben") as ben:
        await world.pass_time(10)
        assert_moved(anna, ben)
        gone = [package for package in before - kept_packages(ben) if not package.last_resort]
        assert len(gone) == 2, "one offer: a key package of each suite"


def kept_packages(device: Device) -> set[StoredKeyPackage]:
    with device.engine.vault.transaction() as tx:
        return {StoredKeyPackage.parse(data) for _, data in tx.scan("key-package", limit=1000)}


async def test_not_while_one_of_them_cannot(world: World, versions: Versions) -> None:
    await begin(world, "one")
    versions.update(["anna"])
    async with world.device("anna") as anna, world.device("ben") as ben:
        await world.pass_time(60)
        await say(world, anna, "two")
        assert await ben.texts() == ["one", "two"]
        assert group_of(anna).suite.id == SUITE_3.id
        assert anna.room.protection is ben.room.protection is Protection.NOT_YET
        assert renewals(world) == []


async def test_the_lists_of_an_existing_vault_are_continued_without_an_alarm(
    world: World, versions: Versions
) -> None:
    await begin(world, "one")
    versions.update(["anna", "ben"])
    async with world.device("anna") as anna, world.device("ben") as ben:
        await world.pass_time(10)
        for device in (anna, ben):
            manifest = device.engine.account.manifest
            assert (manifest.version, manifest.suites) == (2, (SUITE_XWING.id, SUITE_3.id))
        view = ben.conversation.standing.view
        assert view is not None
        assert {leaf.manifest.version for leaf in view.leaves} == {2}
        assert alarms(anna, ben) == []


async def test_with_several_devices_of_one_person(world: World, versions: Versions) -> None:
    """Both of Anna's devices continue her list at once, and both go over."""
    await begin(world, "one")
    link_device(world.folder, "anna", "anna-2")
    async with world.device("ben"), world.device("anna"), world.device("anna", vault="anna-2") as two:
        await world.pass_time(10)
        assert group_of(two).suite.id == SUITE_3.id
    versions.update(["anna", "ben"])
    async with (
        world.device("anna", vault="anna-2") as two,
        world.device("anna") as one,
        world.device("ben") as ben,
    ):
        await world.pass_time(30)
        assert one.engine.account.manifest.raw == two.engine.account.manifest.raw
        assert_moved(one, two, ben)
        await say(world, two, "from the second")
        await say(world, ben, "to both")
        assert (await one.texts())[-2:] == (await two.texts())[-2:] == ["from the second", "to both"]
        assert alarms(one, two, ben) == await gaps(one, two, ben) == []


async def test_who_was_away_follows_and_what_they_said_meanwhile_arrives_once(
    world: World, versions: Versions
) -> None:
    async with three(world) as (anna, ben, sue):
        await say(world, sue, "in three")
        assert group_of(sue).suite.id == SUITE_3.id
    versions.update(["anna", "ben", "sue"])
    async with world.device("sue") as sue:
        await world.pass_time(10)
        assert group_of(sue).suite.id == SUITE_3.id, "the others' lists are not there yet"
        world.relay.lies.offline = True
        world.relay.drop_connections()
        await say(world, sue, "written on the train")
    world.relay.lies.offline = False
    async with world.device("anna") as anna, world.device("ben") as ben:
        await world.pass_time(20)
        assert_moved(anna, ben)
        await say(world, anna, "it has moved")
        async with world.device("sue") as sue:
            await world.pass_time(20)
            assert_moved(anna, ben, sue)
            said = ["it has moved", "written on the train"]
            for device in (anna, ben, sue):
                assert (await device.texts())[-2:] == said
            assert alarms(anna, ben, sue) == await gaps(anna, ben, sue) == []
            assert sue.room.outbox == ()


async def test_who_was_away_for_longer_than_messages_are_kept_comes_back_into_the_new_group(
    world: World, versions: Versions
) -> None:
    async with three(world):
        pass
    versions.update(["anna", "ben", "sue"])
    async with world.device("sue"):
        await world.pass_time(10)
    async with world.device("anna") as anna, world.device("ben") as ben:
        await world.pass_time(20)
        assert_moved(anna, ben)
        await say(world, anna, "long ago")
        await world.pass_time(10)
    await world.pass_time(31 * DAY)
    log = world.relay.streams[world.stream].log
    log.expire(log.head + 1)
    async with (
        world.device("anna") as anna,
        world.device("ben") as ben,
        world.device("sue") as sue,
    ):
        await world.pass_time(20)
        assert_moved(anna, ben, sue)
        await say(world, sue, "back again")
        assert (await anna.texts())[-1] == (await ben.texts())[-1] == "back again"
        assert len(await gaps(sue)) == 1
        assert alarms(anna, ben, sue) == await gaps(anna, ben) == []


async def test_what_is_written_while_it_moves_is_neither_lost_nor_doubled(
    world: World, versions: Versions
) -> None:
    """Both write on and on; the entry comes between messages that are on their way."""
    await begin(world)
    versions.update(["anna", "ben"])
    async with world.device("anna") as anna:
        await world.pass_time(3)
        async with world.device("ben") as ben:
            for number in range(12):
                await anna.room.send(f"anna {number}")
                await ben.room.send(f"ben {number}")
                await world.pass_time(0.2)
            await world.pass_time(10)
            assert_moved(anna, ben)
            mine, theirs = await anna.texts(), await ben.texts()
            assert mine == theirs
            for who in ("anna", "ben"):
                assert [text for text in mine if text.startswith(who)] == [f"{who} {n}" for n in range(12)]
            assert alarms(anna, ben) == await gaps(anna, ben) == []


async def test_one_that_was_encrypted_for_the_old_group_is_encrypted_afresh(
    world: World, versions: Versions
) -> None:
    """Ben hears nothing while Anna moves the conversation: what he sends then is refused as stale."""
    await begin(world)
    versions.update(["anna", "ben"])
    async with world.device("ben") as ben:
        await world.pass_time(3)
        world.relay.lies.withheld.add(world.relay.device_of("ben"))
        async with world.device("anna") as anna:
            await world.pass_time(10)
            assert_moved(anna)
            await say(world, ben, "into the old group")
            world.relay.lies.withheld.clear()
            world.relay.push_all()
            await world.pass_time(5)
            assert_moved(anna, ben)
            assert await anna.texts() == await ben.texts() == ["into the old group"]
            his = [frame for device, frame in world.relay.received if device == ben.engine.account.device]
            sent = [f for f in his if isinstance(f, fr.Append) and f.kind is EntryKind.MESSAGE]
            stale, afresh = [frame for frame in sent if frame.counter == sent[-1].counter]
            assert stale.after_commit < renewals(world)[0] <= afresh.after_commit
            assert alarms(anna, ben) == await gaps(anna, ben) == []


async def test_ephemeral_messages_go_on(world: World, versions: Versions) -> None:
    await begin(world)
    versions.update(["anna", "ben"])
    async with world.device("anna") as anna, world.device("ben") as ben:
        heard: list[str] = []
        ben.conversation.whispers.heard = lambda whisper: heard.append(whisper.kind)
        sealed_before = anna.conversation.whispers.seal("before", {})
        await world.pass_time(10)
        assert_moved(anna, ben)
        ben.conversation.whispers.open(sealed_before)
        ben.conversation.whispers.open(anna.conversation.whispers.seal("after", {}))
        assert heard == ["before", "after"], "of the group before for a minute, and of the new one"


@pytest.mark.parametrize("kind", ["a message", "a change"])
async def test_who_alone_cannot_open_the_entry_comes_in_when_the_others_go_on(
    world: World, versions: Versions, monkeypatch: pytest.MonkeyPatch, kind: str
) -> None:
    """For Ben it is void, until he hears something from the group that took over."""
    await begin(world, "one")
    versions.update(["anna", "ben"])
    his = read_account(world.folder, "ben").signer.public

    def spoiled(state: GroupState, message: bytes, **how: Any) -> Received:
        received = process_message(state, message, **how)
        moves = isinstance(received, CommitReceived) and received.state.reinit is not None
        if moves and state.own_leaf.signature_key == his:
            raise CryptoError(None, "as if a secret in it were spoiled for this member alone")
        return received

    monkeypatch.setattr(commits, "process_message", spoiled)
    monkeypatch.setattr(Conversation, "_receipt_if_due", lambda _self: None)
    async with world.device("anna") as anna, world.device("ben") as ben:
        await world.pass_time(10)
        assert_moved(anna)
        assert generation_of(ben) == 1
        if kind == "a message":
            await say(world, anna, "unreadable")
        else:
            made = rogue_commit(group_of(anna), now=int(world.time.now()))
            after = anna.conversation.standing.record.last_commit
            anna.conversation.commit(made, CommitReason.MEMBERSHIP, after_commit=after)
        await world.pass_time(10)
        assert generation_of(ben) == 2
        await say(world, anna, "two")
        await say(world, ben, "three")
        assert (await anna.texts())[-2:] == (await ben.texts())[-2:] == ["two", "three"]
        assert await gaps(ben) != []
        assert alarms(anna, ben) == await gaps(anna) == []


# Races


async def test_of_two_who_move_it_at_once_the_first_in_the_stream_wins(
    world: World, versions: Versions, monkeypatch: pytest.MonkeyPatch
) -> None:
    await begin(world)
    versions.update(["anna", "ben"])
    monkeypatch.setattr(Environment, "fraction", lambda _self: 0.0)
    held: list[DeviceId] = []

    def hold(peer: Peer, frame: fr.Append) -> list[fr.RelayFrame] | None:
        bundle = Bundle.parse(frame.body) if frame.kind is EntryKind.COMMIT else None
        if bundle is None or bundle.welcome is None:
            return None
        held.append(peer.device)
        return []

    world.relay.lies.append = hold
    async with world.device("anna") as anna, world.device("ben") as ben:
        await world.pass_time(10)
        assert set(held) == {anna.engine.account.device, ben.engine.account.device}, "both made the entry"
        world.relay.lies.append = None
        world.relay.drop_connections()
        await world.pass_time(30)
        assert_moved(anna, ben)
        assert len(renewals(world)) == 1
        await say(world, anna, "one")
        await say(world, ben, "two")
        assert await anna.texts() == await ben.texts() == ["one", "two"]
        assert alarms(anna, ben) == await gaps(anna, ben) == []
        assert anna.conversation.standing.pending is ben.conversation.standing.pending is None


@pytest.mark.parametrize("first", ["the new device", "the move"])
async def test_somebody_is_added_while_it_moves(world: World, versions: Versions, first: str) -> None:
    """Sue waits to be let in while one of the others moves the conversation; each commit waits its turn."""
    await begin(world, "one")
    versions.update(["anna", "ben", "sue"])
    async with world.device("anna") as anna, world.device("ben") as ben:
        if first == "the new device":
            world.relay.lies.withheld.add(world.relay.device_of("ben"))
        world.relay.set_roster(world.stream, anna="coach", ben="client", sue="supervisor")
        async with world.device("sue", name="Sue") as sue:
            await world.settle()
            await anna.room.admit(anna.room.people.named("sue"))
            await world.settle()
            world.relay.lies.withheld.clear()
            world.relay.push_all()
            await world.pass_time(60)
            assert_moved(anna, ben, sue)
            await say(world, sue, "here I am")
            assert (await anna.texts())[-1] == (await ben.texts())[-1] == "here I am"
            assert alarms(anna, ben, sue) == await gaps(anna, ben, sue) == []


# A relay that keeps key packages back


async def test_a_relay_that_keeps_the_new_key_packages_back_delays_it_and_stops_nothing(
    world: World, versions: Versions
) -> None:
    def strip(given: tuple[fr.ClaimedKeyPackage, ...]) -> tuple[fr.ClaimedKeyPackage, ...]:
        return tuple(one._replace(package=_of_suite(SUITE_3, one.package)) for one in given)

    await begin(world, "one")
    world.relay.lies.key_packages = strip
    versions.update(["anna", "ben"])
    async with world.device("anna") as anna, world.device("ben") as ben:
        await world.pass_time(30)
        await say(world, anna, "two")
        assert await ben.texts() == ["one", "two"]
        assert renewals(world) == []
        world.relay.lies.key_packages = None
        await world.pass_time(2000)
        assert_moved(anna, ben)
        assert alarms(anna, ben) == await gaps(anna, ben) == []


async def test_key_packages_with_an_older_list_than_the_leafs_are_passed_over(
    world: World, versions: Versions
) -> None:
    """The new group would be void with them: those with the newer list are asked for at once."""
    async with world.pair() as (_, ben):
        older = ben.engine.account.credential
    versions.update(["anna", "ben"])
    dealt: list[bytes] = []

    def outdated(given: tuple[fr.ClaimedKeyPackage, ...]) -> tuple[fr.ClaimedKeyPackage, ...]:
        if len(dealt) == 3:
            return given
        dealt.append(package_of(ben.engine.account, int(world.time.now()), credential=older))
        return tuple(one._replace(package=dealt[-1]) for one in given)

    async with world.device("ben") as ben:
        await world.pass_time(3)
    world.relay.lies.key_packages = outdated
    async with world.device("anna") as anna, world.device("ben") as ben:
        await world.pass_time(10)
        assert len(dealt) == 3
        assert_moved(anna, ben)


def _of_suite(suite: CipherSuite, offer: bytes | None) -> bytes | None:
    messages = unpack(offer or b"\x90")
    assert isinstance(messages, list)
    bodies = [(m, MLSMessage.parse(m).body) for m in messages if isinstance(m, bytes)]
    return pack([m for m, body in bodies if isinstance(body, KeyPackage) and body.cipher_suite == suite.id])


async def test_a_relay_that_deals_used_key_packages_makes_a_gap_and_no_silence(
    world: World, versions: Versions
) -> None:
    """The Welcome opens for nobody who lost those keys: they come in by external commit at once."""
    await begin(world, "one")
    versions.update(["anna", "ben"])
    async with world.device("ben") as ben:
        await world.pass_time(3)
        with ben.engine.vault.transaction() as tx:
            for ref, _ in tx.scan("key-package", limit=1000):
                tx.delete("key-package", ref)
    async with world.device("anna") as anna, world.device("ben") as ben:
        await world.pass_time(20)
        assert_moved(anna, ben)
        await say(world, anna, "two")
        await say(world, ben, "three")
        assert await anna.texts() == await ben.texts() == ["one", "two", "three"]
        assert len(await gaps(ben)) == 1
        assert alarms(anna, ben) == await gaps(anna) == []


async def test_a_device_that_lost_its_state_does_not_come_back_into_the_weaker_group(
    world: World, versions: Versions
) -> None:
    """The relay shows Ben, who has to come in anew, the group of before the move as the newest."""
    await begin(world, "one")
    versions.update(["anna", "ben"])
    async with world.device("anna") as anna, world.device("ben") as ben:
        await world.pass_time(10)
        assert_moved(anna, ben)
    with vault_of(world, "ben") as vault, vault.transaction() as tx:
        tx.put(spaces.EPOCH, spaces.conversation_key(world.stream), b"damaged")
    his = world.relay.device_of("ben")
    fork = world.relay.streams[world.stream].fork(his)
    (moved,) = renewals(world)
    before = [e for e in fork.entries if e.kind is EntryKind.COMMIT and e.seq < moved and e.device != his]
    old = replace(before[-1], seq=moved)
    fork.entries = [old if entry.seq == old.seq else entry for entry in fork.entries]
    async with world.device("ben") as ben:
        await world.pass_time(10)
        assert isinstance(ben.room.alarm, EpochRolledBack)
        assert not ben.conversation.is_member


def vault_of(world: World, user: str) -> Vault:
    return Vault.open(world.folder / f"{user}.vault", key=user.encode().ljust(32, b"."))
