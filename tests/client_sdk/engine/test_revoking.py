"""Removing a device that was lost or stolen: what its holder gets afterwards, also with the relay's help."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import replace

import pytest

from client_sdk.delivery import StreamForked
from client_sdk.devices import OwnDevice
from client_sdk.errors import (
    AccessRefused,
    DevicesChanged,
    MayNotLink,
    UnknownDevice,
    UsageError,
)
from client_sdk.identity import KeyPair, ManifestDevice, generate_key_pair, next_manifest
from relay.wire import Bundle, EntryKind
from relay.wire import frames as fr
from relay.wire.ids import DeviceId
from tests.support.fake_relay import Peer
from tests.support.fake_time import SeededRandom
from tests.support.linking import write_account
from tests.support.own_devices import linked, until_done
from tests.support.rogue import strangers_external_commit
from tests.support.world import Device, World, alarms, say

pytestmark = pytest.mark.usefixtures("depot")


def phone(anna: Device) -> OwnDevice:
    return anna.client.devices.named("phone")


async def revoke(world: World, anna: Device) -> None:
    """Take the phone off the list, and wait until it is out of the conversation."""
    lost = phone(anna)
    await until_done(world, anna.client.devices.remove(lost))
    await until_done(world, anna.client.devices.wait_removed(lost))


@asynccontextmanager
async def with_phone(world: World, *, may_link: bool = False) -> AsyncIterator[tuple[Device, Device, Device]]:
    """Anna, Ben, and Anna's phone, which will be stolen."""
    async with world.pair() as (anna, ben), linked(world, anna, "phone", may_link=may_link) as stolen:
        await world.pass_time(6)
        await say(world, ben, "for all of us")
        assert "for all of us" in await stolen.texts()
        yield anna, ben, stolen


def help_the_thief(world: World) -> None:
    """The relay takes no list and shuts nobody out."""
    world.relay.lies.takes_no_lists = world.relay.lies.lets_in_revoked = True


async def assert_closed_to(world: World, stolen: Device, *others: Device) -> None:
    """The others talk on, without an alarm, and the thief reads nothing of it."""
    for number, device in enumerate(others):
        await say(world, device, f"not for the thief {number}")
    await world.pass_time(30)
    for number, _ in enumerate(others):
        for device in others:
            assert f"not for the thief {number}" in await device.texts()
    assert not [text for text in await stolen.texts() if text.startswith("not for the thief")]
    assert alarms(*others) == []


async def test_a_revoked_device_is_out_at_once(world: World) -> None:
    async with with_phone(world) as (anna, ben, stolen):
        await revoke(world, anna)
        assert [str(device) for device in anna.client.devices.all] == [
            f"device {anna.client.devices.all[0].short_id} (this device, may link others)"
        ]
        assert not stolen.client.online
        error = stolen.client.status.error
        assert isinstance(error, AccessRefused)
        assert error.code == "device_revoked"
        await assert_closed_to(world, stolen, anna, ben)


async def test_it_is_removed_before_anything_more_is_said(world: World) -> None:
    async with with_phone(world) as (anna, ben, stolen):
        before = world.relay.streams[world.stream].log.head
        device = stolen.engine.account.device
        await until_done(world, anna.client.devices.remove(phone(anna)))
        await anna.room.send("said at once")
        await world.pass_time(5)
        after = world.relay.streams[world.stream].log.after(before)
        assert after[0].kind is EntryKind.COMMIT
        assert Bundle.parse(after[0].body).removes == (device,)
        assert "said at once" in await ben.texts()
        assert "said at once" not in await stolen.texts()


async def test_it_is_removed_in_every_conversation(world: World) -> None:
    async with with_phone(world) as (anna, ben, stolen):
        second = world.relay.create_engagement(anna="coach", ben="client")
        await world.pass_time(10)
        rooms = [await device.client.engagement(second) for device in (anna, ben, stolen)]
        await rooms[0].send("in the second one")
        await world.pass_time(5)
        assert "in the second one" in [getattr(i, "text", "") for i in await rooms[2].history()]
        await revoke(world, anna)
        await rooms[1].send("not for the phone")
        await world.pass_time(5)
        assert "not for the phone" in [getattr(i, "text", "") for i in await rooms[0].history()]
        assert "not for the phone" not in [getattr(i, "text", "") for i in await rooms[2].history()]


async def test_a_relay_that_takes_no_list_keeps_nobody_in(world: World) -> None:
    async with with_phone(world) as (anna, ben, stolen):
        help_the_thief(world)
        await revoke(world, anna)
        await world.pass_time(5)
        assert stolen.client.online
        await assert_closed_to(world, stolen, anna, ben)


async def test_the_removal_withheld_from_the_thief_opens_nothing(world: World) -> None:
    async with with_phone(world) as (anna, ben, stolen):
        help_the_thief(world)
        device = stolen.engine.account.device
        head = world.relay.streams[world.stream].log.head

        def withhold(receiver: DeviceId, entry: fr.Entry) -> fr.Entry | None:
            if receiver != device or entry.seq <= head:
                return entry
            return None if entry.kind is EntryKind.COMMIT else entry._replace(seq=entry.seq - 1)

        stream = world.relay.streams[world.stream]
        stream.tamper = withhold
        await revoke(world, anna)
        stream.log.members[device] = head  # the relay goes on to deliver
        await assert_closed_to(world, stolen, anna, ben)


async def test_the_removal_withheld_from_the_other_person_is_an_alarm(world: World) -> None:
    """The relay keeps Ben in the past, where the thief still reads: until Ben hears anything from Anna."""
    async with with_phone(world) as (anna, ben, stolen):
        help_the_thief(world)
        stream = world.relay.streams[world.stream]
        stream.fork(ben.engine.account.device)
        stream.forks[stolen.engine.account.device] = stream.forks[ben.engine.account.device]
        await revoke(world, anna)
        for number in range(3):
            await say(world, anna, f"from the present {number}")
            newest = stream.log.entries[-1]
            world.relay.inject(world.stream, newest.kind, newest.body, only=ben.engine.account.device)
        await world.pass_time(5)
        assert isinstance(ben.room.alarm, StreamForked)
        with pytest.raises(StreamForked):
            await ben.room.send("never")
        assert not [text for text in await stolen.texts() if text.startswith("from the present")]


@pytest.mark.parametrize(
    ("group_info", "takes_the_place_of"),
    [("stale", "itself"), ("newest", "nobody"), ("newest", "the owner")],
)
async def test_an_external_commit_of_the_thief_is_void(
    world: World, group_info: str, takes_the_place_of: str
) -> None:
    async with with_phone(world) as (anna, ben, stolen):
        help_the_thief(world)
        log = world.relay.streams[world.stream].log
        stale = [e for e in log.entries if e.kind is EntryKind.COMMIT][-1]
        view = stolen.conversation.standing.view
        assert view is not None
        places = {leaf.device: leaf.index for leaf in view.leaves}
        await revoke(world, anna)
        newest = [e for e in log.entries if e.kind is EntryKind.COMMIT][-1]
        place = {
            "nobody": None,
            "itself": places[stolen.engine.account.device],
            "the owner": places[anna.engine.account.device],
        }
        body = strangers_external_commit(
            Bundle.parse((stale if group_info == "stale" else newest).body).group_info,
            stolen.engine.account,
            remove=place[takes_the_place_of],
            now=int(world.time.now()),
        )
        world.relay.inject(world.stream, EntryKind.COMMIT, body)
        await world.pass_time(5)
        for device in (anna, ben):
            view = device.conversation.standing.view
            assert view is not None
            assert stolen.engine.account.device not in view.devices
            assert anna.engine.account.device in view.devices
        await assert_closed_to(world, stolen, anna, ben)


async def test_an_old_list_brings_nobody_back(world: World) -> None:
    """The relay shows the thief's device as one that waits, with the key packages of its old list."""
    async with with_phone(world) as (anna, ben, stolen):
        help_the_thief(world)
        await revoke(world, anna)
        waiting = stolen.engine.account.device
        assert world.relay.has_key_package(waiting)
        assert waiting in world.relay.roster_devices(world.stream)
        for _ in range(4):
            world.relay.announce(world.stream)
            await world.pass_time(60)
        for device in (anna, ben):
            view = device.conversation.standing.view
            assert view is not None
            assert waiting not in view.devices
        await assert_closed_to(world, stolen, anna, ben)


async def test_a_stolen_identity_key_alone_brings_nobody_in(world: World) -> None:
    """The phone could link. Its thief signs a list with a device of their own, and the relay helps."""
    async with with_phone(world, may_link=True) as (anna, ben, stolen):
        help_the_thief(world)
        await revoke(world, anna)
        record = stolen.engine.account.record
        assert record.identity, "the thief has the identity key"
        key = generate_key_pair(SeededRandom("thief"))
        seen = anna.engine.account.manifest  # the relay shows it to the thief
        forged = next_manifest(
            seen,
            key=KeyPair.from_private(record.identity),
            devices=[*seen.devices, ManifestDevice(key.public)],
        )
        write_account(
            world.folder, "thief", replace(record, device=key.private, manifest=forged.raw), create=True
        )
        async with world.device("anna", vault="thief") as thief:
            for _ in range(4):
                await world.pass_time(60)
                world.relay.announce(world.stream)
            assert world.relay.has_key_package(thief.engine.account.device)
            assert not thief.conversation.is_member
            await assert_closed_to(world, thief, anna, ben)


async def test_the_thief_cannot_shut_the_owner_out_at_the_relay(world: World) -> None:
    async with with_phone(world, may_link=True) as (anna, _, stolen):
        await revoke(world, anna)
        held = world.relay.manifests[anna.client.user]
        seen = anna.engine.account.manifest
        takeover = next_manifest(
            seen,
            key=KeyPair.from_private(stolen.engine.account.record.identity),
            devices=[ManifestDevice(stolen.engine.account.device_key.public)],
        )
        peer = Peer(world.relay)
        peer.user, peer.device = anna.client.user, stolen.engine.account.device
        world.relay.put_manifest(peer, takeover.raw)
        assert world.relay.manifests[anna.client.user] == held
        assert anna.client.online


async def test_another_device_of_the_owner_follows(world: World) -> None:
    async with with_phone(world) as (anna, ben, stolen), linked(world, anna, "tablet") as tablet:
        await world.pass_time(6)
        await revoke(world, anna)
        await world.pass_time(6)
        assert tablet.engine.account.manifest.raw == anna.engine.account.manifest.raw
        assert [d.short_id for d in tablet.client.devices.all] == [
            d.short_id for d in anna.client.devices.all
        ]
        await assert_closed_to(world, stolen, anna, ben, tablet)


async def test_two_devices_change_the_list_at_once(world: World) -> None:
    """One is first at the relay; the other is told, follows, and may then do what it wanted."""
    async with (
        with_phone(world) as (anna, ben, stolen),
        linked(world, anna, "tablet", may_link=True) as tablet,
    ):
        await world.pass_time(6)
        key = generate_key_pair(SeededRandom("watch")).public
        world.relay.lies.withheld.add(tablet.engine.account.device)
        await until_done(world, anna.client.devices.remove(phone(anna)))
        with pytest.raises(DevicesChanged):
            await until_done(world, tablet.engine.own.add(key, "watch", may_link=False))
        world.relay.lies.withheld.clear()
        world.relay.push_all()
        await world.pass_time(6)
        assert tablet.engine.account.manifest.raw == anna.engine.account.manifest.raw
        await assert_closed_to(world, stolen, anna, ben, tablet)
        await until_done(world, tablet.engine.own.add(key, "watch", may_link=False))
        await world.pass_time(6)
        assert anna.engine.account.manifest.lists(key)
        assert alarms(anna, ben, tablet) == []


async def test_two_devices_remove_the_same_one_at_once(world: World) -> None:
    """What they sign is the same, byte for byte."""
    async with (
        with_phone(world) as (anna, ben, stolen),
        linked(world, anna, "tablet", may_link=True) as tablet,
    ):
        await world.pass_time(6)
        lost = tablet.client.devices.named("phone")
        world.relay.lies.withheld.add(tablet.engine.account.device)
        await until_done(world, anna.client.devices.remove(phone(anna)))
        await until_done(world, tablet.client.devices.remove(lost))
        world.relay.lies.withheld.clear()
        world.relay.push_all()
        await world.pass_time(6)
        assert tablet.engine.account.manifest.raw == anna.engine.account.manifest.raw
        await assert_closed_to(world, stolen, anna, ben, tablet)


@pytest.mark.parametrize("then", ["it has taken it", "it takes no list"])
async def test_a_removal_that_is_interrupted_is_finished(world: World, then: str) -> None:
    """The answer of the relay never comes, and the program ends; whatever the relay does then."""
    async with world.pair() as (anna, ben):
        async with linked(world, anna, "phone"):
            await world.pass_time(6)
        held = world.relay.put_manifest

        def take_and_cut(peer: Peer, raw: bytes | None) -> bytes | None:
            if then == "it has taken it":
                held(peer, raw)
            peer.close()
            return None

        world.relay.put_manifest = take_and_cut  # type: ignore[method-assign]  # one that answers never
        removing = asyncio.ensure_future(anna.client.devices.remove(phone(anna)))
        await world.pass_time(10)
        assert not removing.done()
        removing.cancel()
        await asyncio.gather(removing, return_exceptions=True)
        assert len(anna.client.devices.all) == 2
        world.relay.put_manifest = held  # type: ignore[method-assign]  # and is well again
        world.relay.lies.takes_no_lists = then == "it takes no list"
    async with world.device("anna") as anna, world.device("ben") as ben:
        await world.pass_time(10)
        assert len(anna.client.devices.all) == 1
        assert anna.client.devices.relay_follows == (then == "it has taken it")
        view = ben.conversation.standing.view
        assert view is not None
        assert len(view.leaves) == 2
        assert alarms(anna, ben) == []


async def test_what_may_not_be_is_refused_in_words(world: World) -> None:
    async with with_phone(world) as (anna, _, plain):
        with pytest.raises(MayNotLink, match="Do it on one of these: device"):
            await plain.client.devices.remove(plain.client.devices.all[0])
        with pytest.raises(UsageError):
            await anna.client.devices.remove(anna.client.devices.all[0])
        with pytest.raises(UnknownDevice, match="no device called “watch”"):
            anna.client.devices.named("watch")
        await anna.client.devices.rename(phone(anna), "old\nphone")
        assert anna.client.devices.named("old phone").id == plain.engine.account.device
