"""Sent, delivered, read: what a person sees of it, how often it is told, and how it is kept private."""

from __future__ import annotations

import asyncio

from client_sdk import Delivery, Item, Seen
from client_sdk.content import Receipt
from client_sdk.engine import sending
from relay.wire import EntryKind
from relay.wire import frames as fr
from tests.support.linking import ben_and_two_of_anna
from tests.support.world import Device, World, alarms


def appends(world: World, user: str) -> int:
    device = world.relay.device_of(user)
    return sum(
        sender == device and isinstance(frame, fr.Append) and frame.kind is EntryKind.MESSAGE
        for sender, frame in world.relay.received
    )


async def state(device: Device, item: Item) -> tuple[Delivery, list[str], list[str]]:
    found = await device.room.item(item.id)
    assert found is not None
    return (
        found.delivery,
        [str(person.user) for person in found.delivered_to],
        [str(person.user) for person in found.read_by],
    )


async def newest(device: Device) -> Item:
    return (await device.room.history())[0]


async def test_sent_delivered_read(world: World) -> None:
    async with world.pair() as (anna, ben):
        item = await anna.room.send("one")
        assert await state(anna, item) == (Delivery.WAITING, [], [])
        await world.settle()
        assert await state(anna, item) == (Delivery.DELIVERED, ["ben"], [])
        await ben.room.mark_read(await newest(ben))
        await world.settle()
        assert await state(anna, item) == (Delivery.READ, ["ben"], ["ben"])
        later = await anna.room.send("two")
        await world.settle()
        assert (await state(anna, later))[0] is not Delivery.READ
        assert (await state(anna, item))[0] is Delivery.READ


async def test_reading_is_told_rarely_and_cumulatively(world: World) -> None:
    async with world.pair() as (anna, ben):
        await world.pass_time(10)
        sent = [await anna.room.send(f"{number}") for number in range(20)]
        await world.pass_time(10)
        before = appends(world, "ben")
        for item in reversed(await ben.room.history()):
            await ben.room.mark_read(item)
            await world.settle()
        await ben.room.mark_read(await newest(ben))
        await world.pass_time(10)
        assert 1 <= appends(world, "ben") - before <= 2
        assert {(await state(anna, item))[0] for item in sent} == {Delivery.READ}
        assert ben.room.read_to == (await newest(ben)).seq


async def test_what_was_read_offline_is_told_later_also_after_a_restart(world: World) -> None:
    async with world.pair() as (anna, _ben):
        item = await anna.room.send("one")
        await world.pass_time(6)
    world.relay.lies.offline = True
    async with world.device("ben") as ben:
        await ben.room.mark_read(await newest(ben))
        await world.settle()
    world.relay.lies.offline = False
    async with world.device("ben"), world.device("anna") as anna:
        await world.pass_time(10)
        assert (await state(anna, item))[0] is Delivery.READ


async def test_one_who_keeps_it_private_tells_nothing_and_sees_nothing(world: World) -> None:
    async with world.pair() as (anna, ben):
        assert ben.client.read_receipts
        await ben.client.set_read_receipts(False)
        item = await anna.room.send("one")
        await world.pass_time(10)
        before = appends(world, "ben")
        await ben.room.mark_read(await newest(ben))
        answer = await ben.room.send("two")
        await world.pass_time(10)
        await anna.room.mark_read(await newest(anna))
        await world.pass_time(10)
        assert await state(anna, item) == (Delivery.DELIVERED, ["ben"], [])
        assert await state(ben, answer) == (Delivery.DELIVERED, ["anna"], [])
        assert appends(world, "ben") - before == 1  # what he said
    async with world.device("anna") as anna, world.device("ben") as ben:
        assert not ben.client.read_receipts
        await ben.client.set_read_receipts(True)
        await world.pass_time(10)
        # What was read while it was private stays untold; what he sees of Anna is hers to tell.
        assert (await state(anna, item))[0] is Delivery.DELIVERED
        assert (await state(ben, answer))[0] is Delivery.READ


async def test_reading_on_one_device_counts_for_the_user(world: World) -> None:
    async with world.pair():
        pass
    async with ben_and_two_of_anna(world) as (ben, one, two):
        item = await ben.room.send("to both")
        own = await one.room.send("from the first device")
        await world.pass_time(10)
        assert await state(ben, item) == (Delivery.DELIVERED, ["anna"], [])
        found = await two.room.item(item.id)
        assert found is not None
        await two.room.mark_read(found)
        await world.pass_time(10)
        assert await state(ben, item) == (Delivery.READ, ["anna"], ["anna"])
        assert one.room.read_to == found.seq
        # Neither of Anna's devices counts as somebody else for what she said.
        await ben.room.mark_read(await newest(ben))
        await world.pass_time(10)
        for device in (one, two):
            assert await state(device, own) == (Delivery.READ, ["ben"], ["ben"])
        assert alarms(ben, one, two) == []


async def test_nobody_has_read_what_they_do_not_have(world: World) -> None:
    async with world.pair() as (anna, ben):
        with ben.conversation.work("lie") as work:
            sending.queue(
                work,
                ben.conversation.context.account,
                Receipt(2**40),
                message_id=bytes(16),
                in_history=False,
            )
        ben.conversation.go_on()
        await world.settle()
        item = await anna.room.send("not read")
        await world.settle()
        assert (await state(anna, item))[0] is not Delivery.READ


async def test_changes_are_told_as_they_come(world: World) -> None:
    async with world.pair() as (anna, ben):
        seen: list[Seen] = []

        async def watch() -> None:
            changes = anna.room.receipts()
            while True:
                seen.append(await anext(changes))

        watching = asyncio.ensure_future(watch())
        item = await anna.room.send("one")
        await world.pass_time(6)
        await ben.room.mark_read(await newest(ben))
        await world.pass_time(6)
        watching.cancel()
        await asyncio.gather(watching, return_exceptions=True)
        placed = await anna.room.item(item.id)
        assert placed is not None
        assert placed.seq is not None
        assert {change.person.user for change in seen} == {"ben"}
        assert seen[-1].read == placed.seq <= seen[-1].delivered
        assert seen == sorted(seen, key=lambda change: (change.delivered, change.read))


async def test_what_another_device_has_told_meanwhile_is_not_told_again(world: World) -> None:
    async with world.pair():
        pass
    async with ben_and_two_of_anna(world) as (ben, one, two):
        await ben.room.send("first")
        await world.pass_time(10)
        await one.room.mark_read(await newest(one))
        await world.settle()
        await ben.room.send("second")
        await world.settle()
        await one.room.mark_read(await newest(one))  # due in five seconds
        await two.room.mark_read(await newest(two))  # at once
        await world.settle()
        assert one.conversation.standing.record.read_told == one.room.read_to
        before = len(world.relay.received)
        await world.pass_time(60)
        assert len(world.relay.received) - before < 20
