"""Several devices of one person: let in by their signed list alone, and removed by it."""

from __future__ import annotations

from client_sdk import Delivery, Text
from relay.wire import Bundle, EntryKind
from tests.support.linking import link_device, revoke_device
from tests.support.world import Device, World, alarms


async def say(world: World, device: Device, text: str) -> None:
    await device.room.send(text)
    await world.settle()


async def meet(world: World) -> None:
    async with world.pair() as (anna, ben):
        await say(world, anna, "from the first device")
        assert await ben.texts() == ["from the first device"]


async def test_a_second_device_is_let_in_by_its_list_alone(world: World) -> None:
    await meet(world)
    link_device(world.folder, "anna", "anna-2")
    async with (
        world.device("ben") as ben,
        world.device("anna") as one,
        world.device("anna", vault="anna-2") as two,
    ):
        await world.pass_time(10)
        assert two.conversation.is_member
        await say(world, two, "from the second")
        await say(world, ben, "to both")
        await say(world, one, "from the first again")
        said = ["from the second", "to both", "from the first again"]
        assert (await one.texts())[-3:] == (await ben.texts())[-3:] == await two.texts() == said
        assert [str(person) for person in ben.room.people] == ["Anna (coach), not yet verified"]
        received = [item for item in await two.received() if isinstance(item, Text)]
        assert [(item.sender.user, item.mine) for item in received] == [("ben", False), ("anna", True)]
        assert alarms(ben, one, two) == []


async def test_another_device_of_ones_own_does_not_make_it_delivered(world: World) -> None:
    await meet(world)
    link_device(world.folder, "anna", "anna-2")
    async with world.device("ben"), world.device("anna"), world.device("anna", vault="anna-2"):
        await world.pass_time(10)
    async with world.device("anna") as one, world.device("anna", vault="anna-2") as two:
        await say(world, one, "while Ben is away")
        await world.pass_time(10)
        assert (await two.texts()) == ["while Ben is away"]
        assert (await one.room.history())[0].delivery is Delivery.SENT
        async with world.device("ben"):
            await world.pass_time(10)
            assert (await one.room.history())[0].delivery is Delivery.DELIVERED


async def test_a_revoked_device_is_removed_before_anything_more_is_said(world: World) -> None:
    await meet(world)
    link_device(world.folder, "anna", "anna-2")
    async with world.device("ben"), world.device("anna"), world.device("anna", vault="anna-2"):
        await world.pass_time(10)
    revoke_device(world.folder, "anna", "anna-2")
    async with world.device("anna", vault="anna-2") as two:
        await world.settle()
        async with world.device("ben") as ben, world.device("anna") as one:
            await ben.room.send("not for the lost device")
            await world.pass_time(10)
            await say(world, one, "neither is this")
            assert (await one.texts())[-2:] == ["not for the lost device", "neither is this"]
            removing = [
                entry.seq
                for entry in world.relay.streams[world.stream].log.entries
                if entry.kind is EntryKind.COMMIT and Bundle.parse(entry.body).removes
            ]
            assert len(removing) == 1
            texts = await two.texts()
            assert "neither is this" not in texts
            view = ben.conversation.standing.view
            assert view is not None
            assert len(view.leaves) == 2
            assert alarms(ben, one) == []
