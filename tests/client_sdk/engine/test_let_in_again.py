"""A device that was removed before it saw that, and added again: the relay gives it nothing in between."""

from __future__ import annotations

import shutil
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager

import pytest

from client_sdk.engine import key_packages
from client_sdk.engine.entering import LET_IN_AGAIN, UNKNOWN_WELCOME
from client_sdk.engine.items import Gap
from client_sdk.engine.records import CommitReason, Phase
from client_sdk.engine.sending import put_commit
from relay.wire import Bundle, EntryKind
from relay.wire import frames as fr
from relay.wire.ids import DeviceId
from tests.support.rogue import rogue_commit
from tests.support.world import Device, World, alarms, say

REST = 90  # who was removed is not added again within a minute


async def remove(world: World, by: Device, user: str) -> None:
    """Somebody's device takes this user's device out; the relay tells that one nothing of it."""
    standing, context = by.conversation.standing, by.conversation.context
    assert standing.group is not None
    assert standing.view is not None
    (leaf,) = (leaf.index for leaf in standing.view.leaves if leaf.user == user)
    made = rogue_commit(standing.group, now=int(world.time.now()), remove=[leaf])
    with by.conversation.work("remove") as work:
        put_commit(work, made, CommitReason.MEMBERSHIP, commit_id=context.new_id())
    by.conversation.go_on()
    await world.settle()


async def gaps(device: Device) -> list[str]:
    return [item.reason for item in await device.room.history(limit=500) if isinstance(item, Gap)]


async def talk(world: World, anna: Device, ben: Device) -> None:
    await say(world, anna, "are you back?")
    await say(world, ben, "I am")
    await world.pass_time(6)
    assert (await anna.texts())[-2:] == (await ben.texts())[-2:] == ["are you back?", "I am"]
    assert anna.room.outbox == ben.room.outbox == ()


async def assert_back(world: World, anna: Device, ben: Device) -> None:
    assert alarms(anna, ben) == []
    assert ben.conversation.standing.record.phase is Phase.MEMBER
    await talk(world, anna, ben)
    assert await gaps(ben) == [LET_IN_AGAIN]
    assert await gaps(anna) == []


@pytest.mark.parametrize("where", ["connected", "reconnecting"])
async def test_while_it_is_there(world: World, where: str) -> None:
    async with world.pair() as (anna, ben):
        await say(world, anna, "before")
        await remove(world, anna, "ben")
        if where == "reconnecting":
            world.relay.drop_connections()
            await world.settle()
            assert ben.conversation.standing.record.phase is Phase.MEMBER, "the relay's word is not enough"
        await say(world, ben, "written while out")
        await world.pass_time(REST)
        assert (await anna.texts()) == ["before", "written while out"]
        await assert_back(world, anna, ben)


def forget_keys(device: Device) -> None:
    with device.engine.vault.transaction() as tx:
        for key, _ in tx.scan(key_packages.SPACE, limit=1000):
            tx.delete(key_packages.SPACE, key)


async def test_by_a_key_package_that_it_does_not_have_any_more(world: World) -> None:
    """The Welcome does not open, but what a member has signed shows that it is one for this device."""
    async with world.pair() as (anna, ben):
        await say(world, anna, "before")
        await remove(world, anna, "ben")
        lost = world.relay.key_packages[ben.engine.account.device][0]
        world.relay.lies.key_packages = lambda given: tuple(one._replace(package=lost) for one in given)
        forget_keys(ben)
        await world.pass_time(REST)
        assert alarms(anna, ben) == []
        await talk(world, anna, ben)
        assert await gaps(ben) == [UNKNOWN_WELCOME]


@asynccontextmanager
async def away_meanwhile(world: World, *, again: bool = True) -> AsyncIterator[Device]:
    """Anna, who removed Ben while his program did not run, and added him again."""
    async with AsyncExitStack() as stack:
        anna = await stack.enter_async_context(world.device("anna", name="Anna"))
        async with world.device("ben", name="Ben") as ben:
            await world.pass_time(6)
            await say(world, anna, "before")
            await say(world, ben, "me too")
            await world.pass_time(6)
        await remove(world, anna, "ben")
        if again:
            await world.pass_time(REST)
        yield anna


async def test_by_such_a_key_package_while_it_was_away_and_more_was_said(world: World) -> None:
    """What comes right behind does not hide where it was added: its next commit is one behind that."""
    async with world.device("anna", name="Anna") as anna:
        async with world.device("ben", name="Ben") as ben:
            await world.pass_time(6)
            await say(world, anna, "before")
            await world.pass_time(6)
            lost = world.relay.key_packages[ben.engine.account.device][0]
            forget_keys(ben)
        await remove(world, anna, "ben")
        world.relay.lies.key_packages = lambda given: tuple(one._replace(package=lost) for one in given)
        await world.pass_time(REST)
        await say(world, anna, "there you are")
        async with world.device("ben", name="Ben") as ben:
            await world.pass_time(6)
            assert alarms(anna, ben) == []
            await talk(world, anna, ben)
            assert await gaps(ben) == [UNKNOWN_WELCOME]


async def test_while_it_was_away(world: World) -> None:
    async with away_meanwhile(world) as anna:
        await say(world, anna, "for who is in again")
        async with world.device("ben") as ben:
            await world.pass_time(6)
            assert await ben.texts() == ["before", "me too", "for who is in again"]
            await assert_back(world, anna, ben)


async def test_what_it_said_last_is_neither_lost_nor_said_twice(world: World) -> None:
    """The relay had stored a message when the device was removed: it never comes back."""
    async with world.device("anna", name="Anna") as anna:
        async with world.device("ben", name="Ben") as ben:
            await world.pass_time(6)
            world.relay.lies.append = lambda peer, frame: (peer.append_honestly(frame), [])[1]
            world.relay.lies.withheld = {ben.engine.account.device}
            await say(world, ben, "stored, and nobody told him")
            world.relay.lies.append = None
        world.relay.lies.withheld = set()
        await remove(world, anna, "ben")
        await world.pass_time(REST)
        async with world.device("ben") as ben:
            await world.pass_time(6)
            assert ben.room.outbox == ()
            await assert_back(world, anna, ben)
            assert await anna.texts() == ["stored, and nobody told him", "are you back?", "I am"]
            assert await ben.texts() == await anna.texts()


# A relay that would use it to keep something back


def tampered(world: World, of: DeviceId, body: bytes | None, *, hidden: int) -> None:
    """The relay keeps the next entries from this device, and hands it the one behind them, altered."""
    first = world.relay.streams[world.stream].log.head + 1

    def alter(device: DeviceId, entry: fr.Entry) -> fr.Entry | None:
        if device != of or not first <= entry.seq <= first + hidden:
            return entry
        if entry.seq < first + hidden:
            return None
        return entry if body is None else entry._replace(kind=EntryKind.COMMIT, body=body)

    world.relay.streams[world.stream].tamper = alter


def welcomes(world: World, device: DeviceId) -> list[bytes]:
    """The bundles that have let this device in."""
    entries = world.relay.streams[world.stream].log.entries
    commits = [entry.body for entry in entries if entry.kind is EntryKind.COMMIT]
    return [body for body in commits if device in Bundle.parse(body).adds]


@pytest.mark.parametrize("shown", ["a message", "the first welcome", "a made-up welcome"])
async def test_no_other_gap_is_explained_by_it(world: World, shown: str) -> None:
    async with world.pair() as (anna, ben):
        await say(world, anna, "before")
        device = ben.engine.account.device
        (first,) = welcomes(world, device)
        made_up = Bundle(adds=(device,), commit=b"\x00", welcome=b"\x00", group_info=b"\x00").serialize()
        body = {"a message": None, "the first welcome": first, "a made-up welcome": made_up}[shown]
        tampered(world, device, body, hidden=1)
        await say(world, anna, "hidden", "shown")
        await world.pass_time(6)
        assert alarms(ben) == ["stream_skipped"]
        assert await gaps(ben) == []
        assert await ben.texts() == ["before"]


@pytest.mark.parametrize("shown", ["what is before the place", "what is behind it", "nothing"])
async def test_a_place_further_on_is_still_a_copy_of_this_device(world: World, shown: str) -> None:
    """The relay says that this device has stored more than it has, and shows no Welcome for it."""
    async with world.device("anna", name="Anna") as anna:
        async with world.device("ben", name="Ben") as ben:
            await world.pass_time(6)
            at = ben.conversation.standing.record.cursor
        await say(world, anna, "one", "two", "three")
        head = world.relay.streams[world.stream].log.head
        cursor = {"what is before the place": at + 2, "what is behind it": at + 2, "nothing": head}[shown]
        world.relay.lies.opened = lambda _device, opened: opened._replace(cursor=cursor)
        if shown == "what is behind it":
            log = world.relay.streams[world.stream].log
            log.joined[ben.engine.account.device] = cursor + 1
        async with world.device("ben") as ben:
            await world.pass_time(6)
            assert alarms(ben) == ["cloned_device"]
            assert await ben.texts() == []
            assert await gaps(ben) == []


async def test_a_copy_of_the_device_that_has_been_let_in_is_noticed(world: World) -> None:
    """Another program with the same vault came in by the Welcome, and has stored what is behind it."""

    async with away_meanwhile(world) as anna:
        shutil.copy(world.folder / "ben.vault", world.folder / "earlier")
        async with world.device("ben") as ben:
            await world.pass_time(6)
            await assert_back(world, anna, ben)
        shutil.copy(world.folder / "earlier", world.folder / "ben.vault")
        await say(world, anna, "for the one that is in")
        async with world.device("ben") as ben:
            await world.pass_time(6)
            assert alarms(ben) == ["cloned_device"]
            assert await ben.texts() == ["before", "me too"]
