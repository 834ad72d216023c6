"""Linking a device: words on one, a name on the other, and then the same history, trust and floors."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager

import pytest

from client_sdk import Client, Delivery
from client_sdk.devices import LinkSecret
from client_sdk.engine import spaces, trusting
from client_sdk.engine.arriving import SHOWN_SECONDS
from client_sdk.errors import LinkFailed, LinkTampered, MayNotLink, TooManyDevices
from client_sdk.identity import TrustState
from relay.wire import frames as fr
from relay.wire.ids import DeviceId, UserId
from relay.wire.limits import MAX_RENDEZVOUS_CHANNELS_PER_USER
from tests.support.own_devices import Depot, linked, newcomer, until_done
from tests.support.world import Device, World, alarms, say

pytestmark = pytest.mark.usefixtures("depot")


async def test_a_linked_device_has_all_that_the_first_one_had(world: World) -> None:
    async with world.pair() as (anna, ben):
        await say(world, anna, "before, from Anna")
        await say(world, ben, "before, from Ben")
        await anna.room.verify(anna.room.people.named("ben"))
        hello = (await anna.room.history())[-1]
        await anna.room.edit(hello, "before, from Anna, edited")
        await ben.room.react(hello, "👍")
        await world.settle()
        await ben.room.mark_read(hello)
        await anna.room.mark_read((await anna.room.history())[0])
        await world.pass_time(6)
        await anna.client.set_read_receipts(False)
        async with linked(world, anna, "anna-2") as two:
            await world.pass_time(5)
            assert two.conversation.is_member
            assert (
                await two.texts()
                == await anna.texts()
                == [
                    "before, from Anna, edited",
                    "before, from Ben",
                ]
            )
            assert not two.client.read_receipts
            assert two.room.read_to == anna.room.read_to > 0
            brought = (await two.room.history())[-1]
            assert brought.delivery is Delivery.DELIVERED  # who tells nothing is shown nothing
            await two.client.set_read_receipts(True)
            assert (await two.room.history())[-1].delivery is Delivery.READ
            assert brought.edited
            assert [reacted.emoji for reacted in brought.reactions] == ["👍"]
            assert [item.mine for item in reversed(await two.room.history())] == [True, False]
            assert str(two.room.people) == str(anna.room.people) == "Ben (client), verified"
            await say(world, two, "after, from the second")
            await say(world, ben, "after, from Ben")
            assert await two.texts() == await anna.texts() == await ben.texts()
            assert [str(d) for d in two.client.devices.all] == [
                f"{anna.client.devices.all[0].name or 'device ' + anna.client.devices.all[0].short_id}"
                " (may link others)",
                "anna-2 (this device)",
            ]
            with two.engine.vault.transaction() as tx:
                record = trusting.trust_of(tx, "ben")
            assert record is not None
            assert record.state is TrustState.VERIFIED
            assert alarms(anna, ben, two) == []


async def test_who_keeps_reading_private_keeps_it_so_on_a_device_that_is_linked_before_any_conversation(
    world: World,
) -> None:
    async with world.opened("clara", name="Clara") as clara:
        await world.settle()
        await clara.set_read_receipts(False)
        shown: asyncio.Future[LinkSecret] = asyncio.get_running_loop().create_future()

        async def confirm() -> None:
            found = await clara.devices.find(" ".join((await shown).words))
            await clara.devices.link(found)

        confirming = asyncio.ensure_future(confirm())
        opening = newcomer(world, "clara", "clara-2", shown)
        two = await until_done(world, opening.__aenter__())
        try:
            await until_done(world, confirming)
            assert not two.read_receipts
        finally:
            await opening.__aexit__(None, None, None)


async def test_what_is_said_while_it_is_linked_is_neither_lost_nor_doubled(world: World) -> None:
    async with world.pair() as (anna, ben):
        for number in range(30):
            await say(world, ben, f"before {number}")

        async def talk() -> None:
            for number in range(40):
                await anna.room.send(f"a{number}")
                await ben.room.send(f"b{number}")
                await world.time.sleep(0.1)

        talking = asyncio.ensure_future(talk())
        async with linked(world, anna, "laptop") as laptop:
            await until_done(world, talking)
            await world.pass_time(10)
            assert await laptop.texts() == await anna.texts() == await ben.texts()
            texts = await laptop.texts()
            assert len(texts) == len(set(texts)) == 110
            assert alarms(anna, ben, laptop) == []


async def test_it_may_link_the_next_one_only_if_it_was_given_the_key(world: World) -> None:
    async with world.pair() as (anna, ben), linked(world, anna, "laptop", may_link=True) as laptop:
        assert laptop.engine.account.record.identity == anna.engine.account.record.identity
        await world.pass_time(6)
        async with linked(world, laptop, "phone") as phone:
            await world.pass_time(6)
            assert phone.engine.account.record.identity == b""
            assert phone.engine.account.record.recovery == b""
            await say(world, ben, "to all three")
            for device in (anna, laptop, phone):
                assert "to all three" in await device.texts()
            assert len({d.engine.account.manifest.raw for d in (anna, laptop, phone)}) == 1
            with pytest.raises(MayNotLink):
                await phone.client.devices.find(" ".join(LinkSecret(bytes(16)).words))
            assert alarms(anna, ben, laptop, phone) == []


async def test_at_most_eight_devices(world: World) -> None:
    async with world.pair() as (anna, _), AsyncExitStack() as stack:
        for number in range(7):
            await stack.enter_async_context(linked(world, anna, f"device {number}"))
        with pytest.raises(TooManyDevices, match="Remove one that you do not use any more"):
            await anna.client.devices.find(" ".join(LinkSecret(bytes(16)).words))
        with pytest.raises(TooManyDevices):
            await anna.engine.own.add(bytes(32), "ninth", may_link=False)
        await until_done(world, anna.client.devices.remove(anna.client.devices.named("device 3")))
        async with linked(world, anna, "the new one") as newest:
            await world.pass_time(5)
            assert newest.conversation.is_member


async def test_a_person_who_does_not_know_the_device_refuses_it(world: World) -> None:
    async with world.pair() as (anna, _):
        shown: asyncio.Future[LinkSecret] = asyncio.get_running_loop().create_future()
        waiting = asyncio.ensure_future(newcomer(world, "anna", "strange", shown).__aenter__())
        secret = await until_done(world, shown)
        found = await until_done(world, anna.client.devices.find(secret.code))
        assert found.name == "strange"
        await until_done(world, anna.client.devices.refuse(found))
        with pytest.raises(LinkFailed, match="this one was not let in"):
            await until_done(world, waiting)
        assert len(anna.client.devices.all) == 1
        with pytest.raises(LinkFailed):
            await anna.client.devices.link(found)


async def test_words_that_nobody_uses_are_given_up(world: World) -> None:
    async with world.pair():
        shown: asyncio.Future[LinkSecret] = asyncio.get_running_loop().create_future()
        waiting = newcomer(world, "anna", "late", shown).__aenter__()
        with pytest.raises(LinkFailed, match="within a quarter of an hour"):
            await until_done(world, waiting, seconds=SHOWN_SECONDS + 10)


async def test_too_many_attempts_are_told_in_words(world: World) -> None:
    async with world.pair() as (anna, _):
        for number in range(MAX_RENDEZVOUS_CHANNELS_PER_USER):
            world.relay.channels[UserId("anna"), bytes([number]) * 16] = {}
        with pytest.raises(LinkFailed, match="Wait that long, then begin again"):
            await until_done(world, anna.client.devices.find(" ".join(LinkSecret(bytes(16)).words)))
        shown: asyncio.Future[LinkSecret] = asyncio.get_running_loop().create_future()
        with pytest.raises(LinkFailed, match="Wait that long, then begin again"):
            await until_done(world, newcomer(world, "anna", "late", shown).__aenter__())


async def test_words_that_two_devices_have_used_are_told_of(world: World) -> None:
    async with world.pair() as (anna, _):
        secret = LinkSecret(bytes(16))
        met = {DeviceId(bytes([n]) * 16): world.relay.peers[anna.engine.account.device] for n in (1, 2)}
        world.relay.channels[UserId("anna"), secret.channel] = met
        with pytest.raises(LinkFailed, match="it shows new words"):
            await until_done(world, anna.client.devices.find(" ".join(secret.words)))


@pytest.mark.parametrize("nth", [0, 1, 2, 3, 5, 8])
@pytest.mark.parametrize("lie", ["drop", "flip", "twice", "cut"])
async def test_a_relay_that_meddles_links_nothing_else(world: World, nth: int, lie: str) -> None:
    """Whichever body it drops, alters, repeats, or breaks the line at: in the end it is linked, or not."""
    async with world.pair() as (anna, ben):
        await say(world, anna, "before")
        count = 0
        kept: list[bytes] = []

        def meddle(device: DeviceId, body: bytes) -> bytes | None:
            nonlocal count
            count += 1
            kept.append(body)
            if count != nth + 1:
                return body
            if lie == "cut":
                world.relay.drop_connections()
            if lie == "flip":
                return body[:-1] + bytes([body[-1] ^ 1]) if body else b"x"
            return kept[max(0, len(kept) - 2)] if lie == "twice" else None

        world.relay.lies.rendezvous = meddle
        with contextlib.suppress(TimeoutError, LinkTampered):
            async with linked(world, anna, "laptop") as laptop:
                await world.pass_time(6)
                assert await laptop.texts() == ["before"]
                assert laptop.engine.account.manifest.raw == anna.engine.account.manifest.raw
        assert alarms(anna, ben) == []
        await say(world, anna, "after")
        assert "after" in await ben.texts()


async def test_both_programs_ended_in_the_middle_go_on(world: World, depot: Depot) -> None:
    """The new device has its account; then both are closed before any history was sent."""
    async with world.pair() as (anna, _):
        await say(world, anna, "before")
        depot.holds = True
        shown: asyncio.Future[LinkSecret] = asyncio.get_running_loop().create_future()

        async def confirm() -> None:
            found = await anna.client.devices.find(" ".join((await shown).words))
            await anna.client.devices.link(found)

        confirming = asyncio.ensure_future(confirm())
        opening = newcomer(world, "anna", "laptop", shown)
        await until_done(world, opening.__aenter__())
        await world.pass_time(5)
        assert not confirming.done()
        await opening.__aexit__(None, None, None)
        confirming.cancel()
        await asyncio.gather(confirming, return_exceptions=True)
    depot.holds = False
    again: asyncio.Future[LinkSecret] = asyncio.get_running_loop().create_future()
    async with world.device("anna") as anna, newcomer(world, "anna", "laptop", again) as client:
        assert not again.done(), "it was linked, and shows no words any more"
        (unfinished,) = anna.client.devices.unfinished
        assert unfinished.name == "laptop"
        laptop = Device(client, await until_done(world, client.engagement(world.stream)))
        await until_done(world, client.devices.wait_history())
        await until_done(world, anna.client.devices.wait_linked(unfinished))
        await world.pass_time(5)
        assert await laptop.texts() == ["before"]
        assert not anna.client.devices.unfinished
        assert alarms(anna, laptop) == []


async def test_a_link_that_came_to_no_end_is_said_to_have_failed(world: World, depot: Depot) -> None:
    """Its device was removed before it had everything."""
    async with world.pair() as (anna, _):
        depot.holds = True
        async with world_of(world, anna, "laptop"):
            await world.pass_time(5)
            (unfinished,) = anna.client.devices.unfinished
        depot.holds = False
        await until_done(world, anna.client.devices.remove(unfinished))
        assert not anna.client.devices.unfinished
    async with world.device("anna") as anna:
        with pytest.raises(LinkFailed, match="link it anew"):
            await until_done(world, anna.client.devices.wait_linked(unfinished))
        assert not job_of(anna)


def job_of(device: Device) -> bool:
    with device.engine.vault.transaction() as tx:
        return bool(tx.scan(spaces.LINKING, limit=1))


async def test_a_history_that_the_relay_lost_or_altered_is_a_gap(world: World, depot: Depot) -> None:
    async with world.pair() as (anna, ben):
        await say(world, anna, "before")
        depot.spoils = True
        async with linked(world, anna, "laptop") as laptop:
            await world.pass_time(5)
            assert await laptop.texts() == []
            assert await laptop.kinds() == ["gap"]
            await say(world, ben, "after")
            assert await laptop.texts() == ["after"]


async def test_nothing_readable_is_left_at_the_relay_or_on_the_disk(world: World, depot: Depot) -> None:
    async with world.pair() as (anna, _):
        await say(world, anna, "a secret sentence")
        async with linked(world, anna, "laptop"):
            pass
    said = b"a secret sentence"
    assert depot.blobs
    assert not any(said in blob for blob in depot.blobs.values())
    assert not any(said in path.read_bytes() for path in world.folder.rglob("*") if path.is_file())
    assert not [p for p in world.folder.rglob("*") if p.is_file() and ".files" in str(p.parent)]


async def test_what_ended_before_comes_too(world: World) -> None:
    async with world.pair() as (anna, _):
        await say(world, anna, "before the end")
        world.relay.create_engagement(anna="coach", ben="client")
        await world.pass_time(6)
        world.relay.end(world.stream)
        await world.settle()
        async with linked(world, anna, "laptop") as laptop:
            await world.pass_time(5)
            assert await laptop.texts() == ["before the end"]
            assert laptop.room.ended


# The floors: what the relay cannot tell the new device, because the first one knew better


async def test_an_empty_stream_shown_to_the_new_device_is_an_alarm(world: World) -> None:
    async with world.pair() as (anna, _):
        await say(world, anna, "before")

        def nothing_was_said(device: DeviceId, opened: fr.Opened) -> fr.Opened:
            if device == anna.engine.account.device:
                return opened
            return opened._replace(head=0, last_commit=0, first=1, incarnation=b"new" + bytes(13))

        world.relay.lies.opened = nothing_was_said
        async with world_of(world, anna, "laptop") as laptop:
            await world.pass_time(20)
            assert alarms(laptop) == ["stream_replaced"]
            assert not laptop.conversation.must_create


async def test_the_new_device_does_not_begin_a_conversation_anew(world: World) -> None:
    async with world.pair() as (anna, _):
        await say(world, anna, "before")

        def nothing_was_said(device: DeviceId, opened: fr.Opened) -> fr.Opened:
            if device == anna.engine.account.device:
                return opened
            return opened._replace(head=0, last_commit=0, first=1, member=False)

        world.relay.lies.opened = nothing_was_said
        async with world_of(world, anna, "laptop") as laptop:
            await world.pass_time(20)
            assert not laptop.conversation.must_create
            assert not [
                frame
                for device, frame in world.relay.received
                if device == laptop.engine.account.device
                and isinstance(frame, fr.Append)
                and frame.after_commit == 0
            ]


@asynccontextmanager
async def world_of(world: World, by: Device, vault: str) -> AsyncIterator[Device]:
    """A device that was linked, without waiting for its history."""
    shown: asyncio.Future[LinkSecret] = asyncio.get_running_loop().create_future()

    async def confirm() -> None:
        found = await by.client.devices.find(" ".join((await shown).words))
        await by.client.devices.link(found)

    confirming = asyncio.ensure_future(confirm())
    async with newcomer_of(world, vault, shown) as client:
        yield Device(client, await until_done(world, client.engagement(world.stream)))
    confirming.cancel()
    await asyncio.gather(confirming, return_exceptions=True)


@asynccontextmanager
async def newcomer_of(world: World, vault: str, shown: asyncio.Future[LinkSecret]) -> AsyncIterator[Client]:
    opening = newcomer(world, "anna", vault, shown)
    client = await until_done(world, opening.__aenter__())
    try:
        yield client
    finally:
        await opening.__aexit__(None, None, None)
