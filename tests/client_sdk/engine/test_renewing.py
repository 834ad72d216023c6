"""A conversation of suite 3 moves to X-Wing: everybody follows, nothing is lost or doubled, rogues cannot."""

from __future__ import annotations

import contextlib
from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, replace

import pytest

from client_sdk import Gap, Protection
from client_sdk.content.packing import pack, unpack
from client_sdk.delivery import BundleMismatch, EpochRolledBack
from client_sdk.engine import admitting, spaces
from client_sdk.engine.account import Account
from client_sdk.engine.key_packages import StoredKeyPackage, capabilities, lifetime, parse_claimed
from client_sdk.engine.membership import Made, replaced
from client_sdk.engine.records import CommitReason
from client_sdk.engine.sending import put_commit
from client_sdk.identity import (
    EXTENSION_TYPE,
    ConversationInfo,
    KeyPair,
    ManifestDevice,
    generate_key_pair,
    next_manifest,
)
from client_sdk.mls import (
    SUITE_1,
    SUITE_3,
    SUITE_XWING,
    Add,
    CipherSuite,
    Extension,
    GroupInfo,
    GroupState,
    KeyPackage,
    MLSMessage,
    ReInit,
    RequiredCapabilities,
    VerifiedKeyPackage,
    create_commit,
    create_group,
    reinit_group,
    verify_key_package,
)
from client_sdk.mls.extensions import EXTERNAL_PUB, LAST_RESORT
from client_sdk.transport import Environment
from client_sdk.vault import Vault
from relay.wire import Bundle, EntryKind
from relay.wire import frames as fr
from relay.wire.ids import DeviceId, Role, device_id
from tests.support.fake_relay import Peer
from tests.support.fake_time import SeededRandom
from tests.support.linking import link_device
from tests.support.rogue import Anyone, package_of
from tests.support.suites import Versions
from tests.support.world import Device, World, alarms

DAY = 86_400


@pytest.fixture
def versions(monkeypatch: pytest.MonkeyPatch) -> Versions:
    return Versions(monkeypatch, "anna", "ben", "sue")


def group_of(device: Device) -> GroupState:
    group = device.conversation.standing.group
    assert group is not None
    return group


def generation_of(device: Device) -> int:
    view = device.conversation.standing.view
    assert view is not None
    return view.info.generation


def assert_moved(*devices: Device) -> None:
    assert [group_of(device).suite.id for device in devices] == [SUITE_XWING.id] * len(devices)
    assert [generation_of(device) for device in devices] == [2] * len(devices)
    assert len({group_of(device).epoch_authenticator for device in devices}) == 1
    assert len({device.conversation.standing.epoch for device in devices}) == 1


async def say(world: World, device: Device, *texts: str) -> None:
    for text in texts:
        await device.room.send(text)
        await world.settle()


async def gaps(*devices: Device) -> list[str]:
    items = [item for device in devices for item in await device.room.history(limit=500)]
    return [item.reason for item in items if isinstance(item, Gap)]


def renewals(world: World) -> list[int]:
    """The positions of the entries that moved the conversation."""
    found = []
    for entry in world.relay.streams[world.stream].log.entries:
        if entry.kind is EntryKind.COMMIT:
            with contextlib.suppress(ValueError):
                bundle = Bundle.parse(entry.body)
                if bundle.welcome is not None and not bundle.adds:
                    found.append(entry.seq)
    return found


async def begin(world: World, *texts: str) -> None:
    """A conversation of suite 3, in which this was said; nobody runs afterwards."""
    async with world.pair() as (anna, ben):
        await say(world, anna, *texts)
        assert await ben.texts() == list(texts)
        assert group_of(anna).suite.id == group_of(ben).suite.id == SUITE_3.id


@asynccontextmanager
async def three(world: World) -> AsyncIterator[tuple[Device, Device, Device]]:
    """Anna, Ben and Sue in one conversation."""
    async with world.pair() as (anna, ben):
        world.relay.set_roster(world.stream, anna="coach", ben="client", sue="supervisor")
        async with world.device("sue", name="Sue") as sue:
            await world.pass_time(10)
            await anna.room.admit(anna.room.people.named("sue"))
            await world.pass_time(10)
            yield anna, ben, sue


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


# Rogues


@dataclass
class Forged:
    """What a rogue member puts into its entry; what is None is as the rules want it."""

    group_id: Callable[[ConversationInfo], bytes] | None = None
    version: int = 1
    suite: CipherSuite = SUITE_XWING
    info: Callable[[ConversationInfo], ConversationInfo] | None = None
    extensions: Callable[[tuple[Extension, ...]], tuple[Extension, ...]] | None = None
    with_others: bool = True
    bundle: Callable[[Bundle], Bundle] | None = None
    signs: bool = False

    def reinit(self, group: GroupState) -> ReInit:
        info = ConversationInfo.from_extensions(group.extensions)
        following = replace(info, generation=info.generation + 1)
        changed = self.info(following) if self.info else following
        name = self.group_id(changed) if self.group_id else changed.group_id
        extensions = replaced(group.extensions, changed.to_extension())
        extensions = self.extensions(extensions) if self.extensions else extensions
        return ReInit(name, self.version, self.suite.id, extensions)


def forge(world: World, rogue: Device, forged: Forged, *, seed: str = "rogue") -> Made:
    """A rogue's entry that would move the conversation, made without asking any of our rules."""
    group, now, rng = group_of(rogue), int(world.time.now()), SeededRandom(seed)
    account = rogue.engine.account
    ended = create_commit(group, [forged.reinit(group)], auth=Anyone(), now=now, rng=rng, force_path=False)
    others = [m.leaf_node for m in group.members if m.leaf_index != group.own_leaf_index]
    if not forged.with_others:
        bundle = Bundle(commit=ended.commit, group_info=ended.group_info)
    else:
        packages = [_package(world, leaf.signature_key, forged.suite, now) for leaf in others]
        founded = reinit_group(
            ended.state,
            packages,
            account.signer,
            account.credential,
            lifetime=lifetime(now),
            auth=Anyone(),
            now=now,
            rng=rng,
            capabilities=capabilities(),
            identify=lambda leaf: leaf.signature_key,
        )
        bundle = Bundle(commit=ended.commit, welcome=founded.welcome, group_info=founded.group_info)
    bundle = forged.bundle(bundle) if forged.bundle else bundle
    if forged.signs:
        bundle = with_info(lambda info: info.signed_by(forged.suite, account.signer))(bundle)
    return Made(bundle.serialize(), ended.state, ended.current)


def _package(world: World, device_key: bytes, suite: CipherSuite, now: int) -> VerifiedKeyPackage:
    device = device_id(device_key)
    packages = parse_claimed(world.relay.last_resorts[device], device)
    return verify_key_package(packages[suite.id], suite=suite, auth=Anyone(), now=now)


def commit_anyway(device: Device, made: Made) -> None:
    """Have a member's program send a commit without asking its own rules; it stays in the old group."""
    with device.conversation.work("rogue") as work:
        put_commit(work, made, CommitReason.MEMBERSHIP, commit_id=device.conversation.context.new_id())
    device.conversation.go_on()


def other_role(info: ConversationInfo) -> ConversationInfo:
    people = tuple(replace(p, role=Role.COACH) for p in info.participants)
    return replace(info, participants=people)


def other_group_info(bundle: Bundle) -> Bundle:
    """The GroupInfo of the epoch before, which every member has signed for another group."""
    return replace(bundle, group_info=b"\0\1\0\4 nothing")


def with_info(change: Callable[[GroupInfo], GroupInfo]) -> Callable[[Bundle], Bundle]:
    """A bundle whose GroupInfo is another, with the signature that the first one had."""

    def changed(bundle: Bundle) -> Bundle:
        info = MLSMessage.parse(bundle.group_info).body
        assert isinstance(info, GroupInfo)
        return replace(bundle, group_info=MLSMessage(change(info)).serialize())

    return changed


def later(info: GroupInfo) -> GroupInfo:
    return replace(info, group_context=replace(info.group_context, epoch=2))


def shut(info: GroupInfo) -> GroupInfo:
    return replace(info, extensions=tuple(e for e in info.extensions if e.type != EXTERNAL_PUB))


def unsigned(info: GroupInfo) -> GroupInfo:
    return replace(info, signature=bytes(64))


def signed_again(change: Callable[[GroupInfo], GroupInfo]) -> Forged:
    """What the rogue signs itself: its signature is good."""
    return Forged(bundle=with_info(change), signs=True)


MORE = RequiredCapabilities(extension_types=(EXTENSION_TYPE, LAST_RESORT)).to_extension()

FORGED = {
    "a GroupInfo of a later epoch": signed_again(later),
    "a GroupInfo that lets nobody back in": signed_again(shut),
    "a GroupInfo that nobody signed": Forged(bundle=with_info(unsigned)),
    "another group's id": Forged(group_id=lambda _info: b"elsewhere".ljust(32)),
    "the same generation's id": Forged(group_id=lambda i: replace(i, generation=1).group_id),
    "two generations on": Forged(info=lambda info: replace(info, generation=3)),
    "the same generation": Forged(info=lambda info: replace(info, generation=1)),
    "the same suite": Forged(suite=SUITE_3),
    "a weaker suite": Forged(suite=SUITE_1, with_others=False),
    "another version": Forged(version=2, with_others=False),
    "another role": Forged(info=other_role),
    "one participant less": Forged(
        info=lambda info: replace(info, participants=info.participants[:2]), with_others=False
    ),
    "another policy": Forged(info=lambda info: replace(info, policy={"retention_hours": 1})),
    "a feature that nobody has": Forged(info=lambda info: replace(info, features=("rogue",))),
    "no demands on members": Forged(extensions=lambda extensions: extensions[1:]),
    "more demands on members": Forged(extensions=lambda extensions: (MORE, *extensions[1:])),
    "nothing after it": Forged(with_others=False),
    "no GroupInfo": Forged(bundle=other_group_info),
}


@pytest.mark.parametrize("what", FORGED)
async def test_a_move_that_breaks_a_rule_is_void_and_all_talk_on(
    world: World, versions: Versions, monkeypatch: pytest.MonkeyPatch, what: str
) -> None:
    monkeypatch.setattr(admitting, "plan_renewal", lambda *_args: None)
    async with three(world):
        pass
    versions.update(["anna", "ben", "sue"])
    async with (
        world.device("anna") as anna,
        world.device("ben") as ben,
        world.device("sue") as sue,
    ):
        await world.pass_time(30)
        before = group_of(anna).group_context
        commit_anyway(sue, forge(world, sue, FORGED[what]))
        await world.pass_time(5)
        assert group_of(anna).group_context == group_of(ben).group_context == before
        await say(world, anna, "where were we?")
        await say(world, ben, "in the middle")
        assert (await ben.texts())[-2:] == (await anna.texts())[-2:] == ["where were we?", "in the middle"]
        assert alarms(anna, ben) == await gaps(anna, ben) == []


async def test_the_same_entry_by_the_rules_is_accepted(
    world: World, versions: Versions, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What the forged ones differ from: else they could be void for another reason."""
    monkeypatch.setattr(admitting, "plan_renewal", lambda *_args: None)
    async with three(world):
        pass
    versions.update(["anna", "ben", "sue"])
    async with world.device("anna") as anna, world.device("ben") as ben, world.device("sue") as sue:
        await world.pass_time(30)
        commit_anyway(sue, forge(world, sue, Forged()))
        await world.pass_time(5)
        assert_moved(anna, ben)


async def test_a_move_to_what_one_leaf_does_not_name_is_void(world: World, versions: Versions) -> None:
    """Ben's new program has published its key packages; its list has not come into the group yet."""
    async with three(world):
        pass
    versions.update(["anna", "ben", "sue"])
    world.relay.lies.append = lambda _peer, _frame: []
    async with world.device("ben"):
        await world.pass_time(5)
    world.relay.lies.append = None
    async with world.device("anna") as anna, world.device("sue") as sue:
        await world.pass_time(30)
        commit_anyway(sue, forge(world, sue, Forged()))
        await world.pass_time(5)
        assert group_of(anna).suite.id == SUITE_3.id


async def test_a_move_that_offers_another_suite_than_it_asks_for_is_void(
    world: World, versions: Versions, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(admitting, "plan_renewal", lambda *_args: None)
    async with three(world):
        pass
    versions.update(["anna", "ben", "sue"])
    async with world.device("anna") as anna, world.device("ben"), world.device("sue") as sue:
        await world.pass_time(30)
        weak = Bundle.parse(forge(world, sue, Forged(suite=SUITE_3)).body)
        offer = Forged(bundle=lambda b: replace(b, welcome=weak.welcome, group_info=weak.group_info))
        commit_anyway(sue, forge(world, sue, offer))
        await world.pass_time(5)
        assert generation_of(anna) == 1
        assert anna.conversation.is_member


def found_freely(world: World, rogue: Device, packages: Sequence[bytes]) -> Made:
    """A good ReInit, with a group of any members whatever; all that is public of it is signed and whole."""
    group, now, rng = group_of(rogue), int(world.time.now()), SeededRandom("freely")
    reinit, account = Forged().reinit(group), rogue.engine.account
    ended = create_commit(group, [reinit], auth=Anyone(), now=now, rng=rng, force_path=False)
    alone = create_group(
        SUITE_XWING,
        reinit.group_id,
        account.signer,
        account.credential,
        lifetime=lifetime(now),
        rng=rng,
        extensions=reinit.extensions,
        capabilities=capabilities(),
    )
    parsed = [MLSMessage.parse(package).body for package in packages]
    adds = [
        Add(verify_key_package(package, suite=SUITE_XWING, auth=Anyone(), now=now))
        for package in parsed
        if isinstance(package, KeyPackage)
    ]
    founded = create_commit(alone, adds, auth=Anyone(), now=now, rng=rng)
    bundle = Bundle(commit=ended.commit, welcome=founded.welcome, group_info=founded.group_info)
    return Made(bundle.serialize(), ended.state, ended.current)


@pytest.mark.parametrize("who", ["all of them", "one is left out", "a second device", "an older list"])
async def test_the_new_group_has_the_same_devices_with_lists_no_older(
    world: World, versions: Versions, monkeypatch: pytest.MonkeyPatch, who: str
) -> None:
    monkeypatch.setattr(admitting, "plan_renewal", lambda *_args: None)
    async with three(world) as (_, ben, _sue):
        older = ben.engine.account.credential
    versions.update(["anna", "ben", "sue"])
    async with world.device("anna") as anna, world.device("ben") as ben, world.device("sue") as sue:
        await world.pass_time(30)
        now = int(world.time.now())
        accounts = [device.engine.account for device in (anna, ben)]
        packages = [package_of(account, now) for account in accounts]
        if who == "one is left out":
            packages.pop()
        elif who == "a second device":
            packages.append(package_of(second_device(accounts[1]), now))
        elif who == "an older list":
            packages[1] = package_of(accounts[1], now, credential=older)
        commit_anyway(sue, found_freely(world, sue, packages))
        await world.pass_time(5)
        assert generation_of(anna) == (2 if who == "all of them" else 1)


def second_device(account: Account) -> Account:
    """Another device of the same user, listed by a list that its identity key signed."""
    key = generate_key_pair(SeededRandom("second"))
    identity = KeyPair.from_private(account.record.identity)
    devices = [*account.manifest.devices, ManifestDevice(key.public)]
    manifest = next_manifest(account.manifest, key=identity, devices=devices)
    return Account(replace(account.record, device=key.private, manifest=manifest.raw))


async def test_nobody_moves_a_conversation_back(world: World) -> None:
    async with three(world) as (anna, ben, sue):
        assert group_of(sue).suite.id == SUITE_XWING.id
        commit_anyway(sue, forge(world, sue, Forged(suite=SUITE_3)))
        await world.pass_time(5)
        assert group_of(anna).suite.id == group_of(ben).suite.id == SUITE_XWING.id
        await say(world, anna, "as before")
        assert (await ben.texts())[-1] == "as before"
        assert alarms(anna, ben) == []


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


async def test_a_move_whose_bundle_names_a_device_is_void_and_an_alarm(
    world: World, versions: Versions, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(admitting, "plan_renewal", lambda *_args: None)
    async with three(world):
        pass
    versions.update(["anna", "ben", "sue"])
    async with world.device("anna") as anna, world.device("ben") as ben, world.device("sue") as sue:
        await world.pass_time(30)
        names = (ben.engine.account.device,)
        commit_anyway(sue, forge(world, sue, Forged(bundle=lambda b: replace(b, removes=names))))
        await world.pass_time(5)
        assert isinstance(anna.room.alarm, BundleMismatch)
        assert group_of(anna).suite.id == SUITE_3.id


async def test_a_welcome_into_another_group_than_the_one_offered_leads_nobody_away(
    world: World, versions: Versions, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Two groups that look alike: one stands in the GroupInfo, into the other one the Welcome leads."""
    monkeypatch.setattr(admitting, "plan_renewal", lambda *_args: None)
    async with three(world):
        pass
    versions.update(["anna", "ben", "sue"])
    async with world.device("anna") as anna, world.device("ben") as ben:
        async with world.device("sue") as sue:
            await world.pass_time(30)
            other = Bundle.parse(forge(world, sue, Forged(), seed="other").body)
            commit_anyway(
                sue, forge(world, sue, Forged(bundle=lambda b: replace(b, group_info=other.group_info)))
            )
            await world.settle()
        await world.pass_time(30)
        assert_moved(anna, ben)
        await say(world, anna, "here")
        assert (await ben.texts())[-1] == "here"
        assert len(await gaps(anna)) == len(await gaps(ben)) == 1


@pytest.mark.parametrize("welcome", [None, b"garbage"])
async def test_a_rogue_that_moves_all_and_lets_nobody_in_ends_nothing(
    world: World, versions: Versions, monkeypatch: pytest.MonkeyPatch, welcome: bytes | None
) -> None:
    """The entry is valid by all that is public, but its Welcome opens for nobody: all come in anyway."""
    monkeypatch.setattr(admitting, "plan_renewal", lambda *_args: None)
    async with three(world):
        pass
    versions.update(["anna", "ben", "sue"])
    async with world.device("anna") as anna, world.device("ben") as ben:
        async with world.device("sue") as sue:
            await world.pass_time(30)
            commit_anyway(sue, forge(world, sue, Forged(bundle=lambda b: replace(b, welcome=welcome))))
            await world.settle()
        await world.pass_time(30)
        assert_moved(anna, ben)
        await say(world, anna, "still here")
        await say(world, ben, "me too")
        assert (await ben.texts())[-2:] == (await anna.texts())[-2:] == ["still here", "me too"]
        assert len(await gaps(anna)) == len(await gaps(ben)) == 1
        assert alarms(anna, ben) == []
