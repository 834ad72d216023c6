"""A member that would move the conversation against the rules: it stays as it is, and all talk on."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace

import pytest

from client_sdk.delivery import BundleMismatch
from client_sdk.engine import admitting
from client_sdk.engine.account import Account
from client_sdk.engine.key_packages import capabilities, lifetime, parse_claimed
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
from relay.wire import Bundle
from relay.wire.ids import Role, device_id
from tests.support.fake_time import SeededRandom
from tests.support.moving import (
    assert_moved,
    gaps,
    generation_of,
    group_of,
    three,
)
from tests.support.rogue import Anyone, package_of
from tests.support.suites import Versions
from tests.support.world import Device, World, alarms, say


@pytest.fixture
def versions(monkeypatch: pytest.MonkeyPatch) -> Versions:
    return Versions(monkeypatch, "anna", "ben", "sue")


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


async def meet_before_the_move(world: World, versions: Versions, monkeypatch: pytest.MonkeyPatch) -> None:
    """All three have met and can do the stronger suite now, but none moves the conversation by itself."""
    monkeypatch.setattr(admitting, "plan_renewal", lambda *_args: None)
    async with three(world):
        pass
    versions.update(["anna", "ben", "sue"])


@pytest.mark.parametrize("what", FORGED)
async def test_a_move_that_breaks_a_rule_is_void_and_all_talk_on(
    world: World, versions: Versions, monkeypatch: pytest.MonkeyPatch, what: str
) -> None:
    await meet_before_the_move(world, versions, monkeypatch)
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
    await meet_before_the_move(world, versions, monkeypatch)
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
    await meet_before_the_move(world, versions, monkeypatch)
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


async def test_a_move_whose_bundle_names_a_device_is_void_and_an_alarm(
    world: World, versions: Versions, monkeypatch: pytest.MonkeyPatch
) -> None:
    await meet_before_the_move(world, versions, monkeypatch)
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
    await meet_before_the_move(world, versions, monkeypatch)
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
    await meet_before_the_move(world, versions, monkeypatch)
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
