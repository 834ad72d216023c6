"""Which suite a new conversation has: signed device lists say it, and no relay can talk it down."""

from __future__ import annotations

import os
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import fields, replace
from typing import Any, cast

import pytest

from client_sdk import Protection
from client_sdk.content.packing import pack, unpack
from client_sdk.engine import spaces
from client_sdk.engine.account import Account, create_account, with_known_suites
from client_sdk.engine.key_packages import SINGLE_USE, StoredKeyPackage, parse_claimed
from client_sdk.engine.membership import Candidate, make_group
from client_sdk.engine.records import ConversationRecord, Record
from client_sdk.engine.renewing import make_renewal, target
from client_sdk.errors import CoachRelayError
from client_sdk.identity import (
    KeyPair,
    ManifestDevice,
    check_successor,
    generate_key_pair,
    next_manifest,
    view_of,
)
from client_sdk.mls import (
    SUITE_3,
    SUITE_XWING,
    CipherSuite,
    KeyPackage,
    MLSError,
    MLSMessage,
    verify_key_package,
)
from client_sdk.vault import Transaction, Vault
from relay.wire import Bundle, EntryKind
from relay.wire import frames as fr
from relay.wire.ids import DeviceId, EngagementId, PortalId, Role, UserId
from relay.wire.limits import MAX_COMMIT_BODY_BYTES, MAX_KEY_PACKAGE_BYTES
from tests.support.fake_relay import PORTAL
from tests.support.fake_time import SeededRandom
from tests.support.rogue import Anyone, package_of
from tests.support.suites import Versions, old_account
from tests.support.world import Device, World, alarms, say


@pytest.fixture
def versions(monkeypatch: pytest.MonkeyPatch) -> Versions:
    return Versions(monkeypatch)


def suite_of(device: Device) -> int:
    group = device.conversation.standing.group
    assert group is not None
    return group.suite.id


def offered_suites(offer: bytes) -> list[int]:
    found = []
    messages = unpack(offer)
    assert isinstance(messages, list)
    for message in messages:
        assert isinstance(message, bytes)
        package = MLSMessage.parse(message).body
        assert isinstance(package, KeyPackage)
        found.append(package.cipher_suite)
    return found


async def test_a_new_conversation_is_post_quantum(world: World) -> None:
    async with world.pair() as (anna, ben):
        await say(world, anna, "hello")
        await say(world, ben, "hello too")
        assert await ben.texts() == await anna.texts() == ["hello", "hello too"]
        assert suite_of(anna) == suite_of(ben) == SUITE_XWING.id
        assert "messages and files yes, calls not yet" in anna.room.protection
        assert anna.room.protection is Protection.YES


async def test_key_packages_are_published_for_every_suite_of_the_list(world: World) -> None:
    async with world.pair() as (_, ben):
        assert ben.engine.account.manifest.suites == (SUITE_XWING.id, SUITE_3.id), "preferred first"
        device = world.relay.device_of("ben")
        for offer in (*world.relay.key_packages[device], world.relay.last_resorts[device]):
            assert offered_suites(offer) == [SUITE_XWING.id, SUITE_3.id]


@asynccontextmanager
async def publishing(world: World, user: str) -> AsyncIterator[None]:
    """This user's device runs in another engagement, and is on the roster of this one afterwards."""
    first, world.stream = world.stream, world.relay.create_engagement(**{user: "client", "sue": "coach"})
    roster = world.relay.rosters.pop(first)
    async with world.device(user, name=user.capitalize()):
        await world.settle()
        yield
    world.relay.rosters[first], world.stream = roster, first


async def meet(world: World, stack: AsyncExitStack) -> tuple[Device, Device]:
    """A conversation that Anna creates with Ben in it: his key packages are there already."""
    async with publishing(world, "ben"):
        pass
    anna = await stack.enter_async_context(world.device("anna", name="Anna"))
    await world.pass_time(6)
    ben = await stack.enter_async_context(world.device("ben"))
    await world.pass_time(6)
    return anna, ben


def first_bundle(world: World) -> Bundle:
    return Bundle.parse(world.relay.bodies(world.stream)[0])


async def test_the_creator_takes_the_suite_that_all_lists_name(world: World, versions: Versions) -> None:
    versions.older = {"ben"}
    async with AsyncExitStack() as stack:
        anna, ben = await meet(world, stack)
        assert first_bundle(world).adds == (world.relay.device_of("ben"),)
        assert suite_of(anna) == suite_of(ben) == SUITE_3.id, "his list names no other"
        await say(world, anna, "hello")
        assert await ben.texts() == ["hello"]


async def test_both_new_and_both_there_is_post_quantum(world: World) -> None:
    async with AsyncExitStack() as stack:
        anna, ben = await meet(world, stack)
        assert first_bundle(world).adds == (world.relay.device_of("ben"),)
        assert suite_of(anna) == suite_of(ben) == SUITE_XWING.id


async def test_who_lacks_the_suite_waits_outside_until_updated(world: World, versions: Versions) -> None:
    """Anna began alone, in the strongest suite: it is not weakened for who comes with an old program."""
    versions.older = {"ben"}
    async with world.device("anna", name="Anna") as anna:
        await world.settle()
        async with world.device("ben", name="Ben") as ben:
            await world.pass_time(200)
            assert suite_of(anna) == SUITE_XWING.id
            assert not ben.conversation.is_member
            assert ben.room.protection is Protection.NONE
            assert len(world.relay.key_packages[world.relay.device_of("ben")]) > SINGLE_USE // 2
        versions.update(["ben"])
        async with world.device("ben") as ben:
            await world.pass_time(1000)
            await say(world, anna, "there you are")
            assert await ben.texts() == ["there you are"]
            assert suite_of(ben) == SUITE_XWING.id
            assert alarms(anna, ben) == []


# The relay


def only(suite: int, offer: bytes | None) -> bytes | None:
    """The offer without what is of any other suite."""
    messages = unpack(offer or b"\x90")
    assert isinstance(messages, list)
    kept = [m for m in messages if isinstance(m, bytes) and offered_suites(pack([m])) == [suite]]
    return pack(kept) if kept else None


async def test_a_relay_that_strips_the_strong_key_packages_weakens_nothing(world: World) -> None:
    def strip(given: tuple[fr.ClaimedKeyPackage, ...]) -> tuple[fr.ClaimedKeyPackage, ...]:
        return tuple(one._replace(package=only(SUITE_3.id, one.package)) for one in given)

    world.relay.lies.key_packages = strip
    async with AsyncExitStack() as stack:
        anna, ben = await meet(world, stack)
        assert suite_of(anna) == SUITE_XWING.id, "his list names it, whatever the relay gives"
        assert first_bundle(world).adds == ()
        assert not ben.conversation.is_member
        await anna.room.send("not in a weaker suite")
        await world.pass_time(300)
        assert suite_of(anna) == SUITE_XWING.id
        assert all(entry.kind is EntryKind.COMMIT for entry in world.relay.streams[world.stream].log.entries)
        world.relay.lies.key_packages = None
        await world.pass_time(4000)
        assert suite_of(ben) == SUITE_XWING.id
        assert await ben.texts() == ["not in a weaker suite"]


async def test_a_relay_that_deals_an_older_list_of_somebody_known_weakens_nothing(
    world: World, versions: Versions
) -> None:
    """Anna knows Ben's newer list from another conversation; his old offers are passed over."""
    versions.older = {"ben"}
    async with publishing(world, "ben"):
        hoard = list(world.relay.key_packages[world.relay.device_of("ben")])
    versions.update(["ben"])
    async with world.pair() as (anna, _):
        await world.pass_time(60)
        assert suite_of(anna) == SUITE_XWING.id
    world.stream = world.relay.create_engagement(anna="coach", ben="client")

    def old_first(given: tuple[fr.ClaimedKeyPackage, ...]) -> tuple[fr.ClaimedKeyPackage, ...]:
        old = (one._replace(package=hoard.pop(), last_resort=False) if hoard else one for one in given)
        return tuple(old)

    world.relay.lies.key_packages = old_first
    async with world.device("anna") as anna:
        await world.pass_time(30)
        assert not hoard, "each of them was dealt"
        assert suite_of(anna) == SUITE_XWING.id
        assert first_bundle(world).adds == (world.relay.device_of("ben"),)
        assert anna.room.alarm is None


@pytest.mark.parametrize("of", ["one list", "two lists"])
async def test_offers_mixed_by_the_relay_are_refused(world: World, of: str) -> None:
    """The package of one list with that of another is no offer that Ben made."""
    ben = create_account(PORTAL, UserId("ben"), "", SeededRandom("ben"))
    other = ben if of == "one list" else old_account(ben)
    now = int(world.time.now())
    offer = pack([package_of(ben, now), package_of(other, now, suite=SUITE_3)])
    world.relay.devices[ben.device] = UserId("ben")
    world.relay.key_packages[ben.device] = [offer]
    async with world.device("anna") as anna:
        await world.pass_time(30)
        assert first_bundle(world).adds == ((ben.device,) if of == "one list" else ())
        assert anna.room.alarm is None


# Lists and sizes


def test_an_older_list_is_continued_by_one_that_names_every_suite() -> None:
    account = old_account(create_account(PortalId("p"), UserId("anna"), "", os.urandom))
    assert account.manifest.suites == (SUITE_3.id,)
    updated = with_known_suites(account)
    assert updated.manifest.suites == (SUITE_XWING.id, SUITE_3.id)
    assert updated.manifest.version == 2
    check_successor(account.manifest, updated.manifest)
    assert with_known_suites(updated) is updated
    assert with_known_suites(account).record == updated.record, "two devices make the same list"


def test_a_device_without_the_identity_key_signs_nothing() -> None:
    account = old_account(create_account(PortalId("p"), UserId("anna"), "", os.urandom))
    for private in (b"", os.urandom(32)):
        other = Account(replace(account.record, identity=private))
        assert with_known_suites(other) is other


async def test_a_vault_of_before_there_were_suites_in_it(world: World, versions: Versions) -> None:
    """Its records lack what is new: it is read, and says what it has."""
    versions.older = {"anna", "ben"}
    async with world.pair():
        pass
    key = spaces.conversation_key(world.stream)
    with (
        Vault.open(world.folder / "anna.vault", key=b"anna".ljust(32, b".")) as vault,
        vault.transaction() as tx,
    ):
        shorten(tx, spaces.CONVERSATION, key, ConversationRecord, "suite")
        for ref, _ in tx.scan("key-package", limit=1000):
            shorten(tx, "key-package", ref, StoredKeyPackage, "offer")
    async with world.device("anna") as anna, world.device("ben") as ben:
        assert anna.conversation.standing.record.suite == 0
        assert anna.room.protection is Protection.NOT_YET
        await say(world, anna, "as ever")
        assert await ben.texts() == ["as ever"]
    versions.update(["anna", "ben"])
    async with world.device("anna") as anna, world.device("ben") as ben:
        await world.pass_time(20)
        assert anna.room.protection is ben.room.protection is Protection.FROM_NOW_ON


def shorten(tx: Transaction, space: str, key: bytes, kind: type[Record], field: str) -> None:
    """Take this field, and what came after it, from a record."""
    names = [each.name for each in fields(cast(Any, kind))]
    values = unpack(tx.get(space, key) or b"")
    assert isinstance(values, list)
    tx.put(space, key, pack(values[: 1 + names.index(field)]))


def test_the_largest_offer_fits_what_the_relay_takes() -> None:
    account = create_account(PortalId("p" * 32), UserId("a" * 64), "", os.urandom)
    account = with_long_list(account)
    identity = KeyPair.from_private(account.record.identity)
    manifest = next_manifest(account.manifest, key=identity, suites=range(0xFF00, 0xFF10))
    account = Account(replace(account.record, manifest=manifest.raw))
    now = 1_790_000_000
    packages = [package_of(account, now, suite=suite) for suite in (SUITE_XWING, SUITE_3)]
    offer = pack(packages)
    assert len(offer) <= MAX_KEY_PACKAGE_BYTES * 3 // 4
    assert set(parse_claimed(offer, account.device)) == {SUITE_XWING.id, SUITE_3.id}


def test_the_largest_conversation_fits_what_the_relay_takes() -> None:
    """32 devices of 32 people, each with the longest list; the move is the largest of all entries."""
    now, rng = 1_790_000_000, SeededRandom("crowd")
    crowd = [with_long_list(create_account(PORTAL, UserId(f"user-{n}"), "", rng)) for n in range(32)]
    roster = tuple(fr.Participant(account.user, Role.CLIENT) for account in crowd)
    engagement = fr.Engagement(EngagementId("eng_" + "A" * 22), "active", now, 720, roster, (), 0)

    def candidates(suite: CipherSuite) -> list[Candidate]:
        found = []
        for account in crowd[1:]:
            (package,) = parse_claimed(package_of(account, now, suite=suite), account.device).values()
            verified = verify_key_package(package, suite=suite, auth=Anyone(), now=now)
            found.append(Candidate(verified, account.manifest, Role.CLIENT))
        return found

    made = make_group(engagement, crowd[0], candidates(SUITE_3), suite=SUITE_3, now=now, rng=rng)
    view = view_of(made.state)
    assert target(made.state, view) is SUITE_XWING
    strong = candidates(SUITE_XWING)
    moved = make_renewal(made.state, view, crowd[0], strong, SUITE_XWING, now=now, rng=rng)
    assert len(moved.state.members) == 32
    for body in (made.body, moved.body):
        assert len(body) <= MAX_COMMIT_BODY_BYTES // 2
        assert Bundle.parse(body).serialize() == body


def with_long_list(account: Account) -> Account:
    """The same user with eight devices."""
    more = (ManifestDevice(generate_key_pair(os.urandom).public) for _ in range(7))
    identity = KeyPair.from_private(account.record.identity)
    manifest = next_manifest(account.manifest, key=identity, devices=[*account.manifest.devices, *more])
    return Account(replace(account.record, manifest=manifest.raw))


@pytest.mark.parametrize(
    "offer",
    [
        b"",
        b"\x90",
        b"\xc0",
        pack([b""]),
        pack(["text"]),
        pack([b"\0\1"] * 17),
        b"\0",
        pack([[b"\0\1"]]),
        b"\x81",
    ],
)
def test_what_is_no_offer_is_refused_by_a_typed_error(offer: bytes) -> None:
    with pytest.raises((CoachRelayError, MLSError)):
        parse_claimed(offer, DeviceId(bytes(16)))
