"""A real relay that is restored from a backup, and people whose devices changed since."""

from __future__ import annotations

import asyncio
import shutil
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack
from pathlib import Path

import pytest

from client_sdk import Client, Engagement
from client_sdk.errors import AccessRefused
from tests.e2e.own_devices import linked, opened, texts
from tests.faults.people import until_heard
from tests.support.real_relay import RealRelay

PATIENCE = 120


@pytest.fixture
async def relay(tmp_path: Path) -> AsyncIterator[RealRelay]:
    relay = RealRelay(tmp_path)
    await relay.start()
    yield relay
    await relay.kill()


async def set_back(relay: RealRelay, copy: Path) -> None:
    """What an operator does whose disk is gone."""
    await relay.kill()
    shutil.rmtree(relay.data)
    await relay.run("restore", str(copy), "--yes")
    await relay.start()


async def until_alike(count: int, *rooms: Engagement) -> list[str]:
    """Wait until all have so many texts in one order; the texts, in any order."""
    while True:
        found = [await texts(room) for room in rooms]
        if all(len(one) == count and one == found[0] for one in found):
            return sorted(found[0])
        await asyncio.sleep(0.05)


async def entered(
    stack: AsyncExitStack, relay: RealRelay, folder: Path, user: str, vault: str = ""
) -> Client:
    return await stack.enter_async_context(opened(relay, folder, user, vault))


async def test_a_device_that_was_linked_since_and_what_all_said(relay: RealRelay, tmp_path: Path) -> None:
    """The lost tail has commits and messages before and after them, by everybody."""
    engagement = await relay.create_engagement(anna="coach", ben="client")
    async with asyncio.timeout(PATIENCE), AsyncExitStack() as stack:
        anna = await entered(stack, relay, tmp_path, "anna")
        ben = await entered(stack, relay, tmp_path, "ben")
        rooms = [await anna.engagement(engagement), await ben.engagement(engagement)]
        for room in rooms:
            await room.wait_joined()
        await rooms[0].send("before the backup")
        await until_heard(rooms[1], "before the backup")
        await relay.run("backup", str(tmp_path / "backup"))
        await rooms[1].send("before the laptop")
        await until_heard(rooms[0], "before the laptop")
        laptop = await stack.enter_async_context(linked(relay, tmp_path, anna, "laptop"))
        rooms.append(await laptop.engagement(engagement))
        for name, room in zip(("anna", "ben", "laptop"), rooms, strict=True):
            await room.send(f"by {name}")
        await until_alike(5, *rooms)
        await set_back(relay, tmp_path / "backup")
        await rooms[2].send("by the laptop, afterwards")
        assert await until_alike(6, *rooms) == [
            "before the backup",
            "before the laptop",
            "by anna",
            "by ben",
            "by laptop",
            "by the laptop, afterwards",
        ]
        assert [room.alarm for room in rooms] == [None] * 3
        assert not any(room.repairing for room in rooms)


async def test_a_device_that_was_removed_since_stays_out(relay: RealRelay, tmp_path: Path) -> None:
    engagement = await relay.create_engagement(anna="coach", ben="client")
    async with asyncio.timeout(PATIENCE), AsyncExitStack() as stack:
        anna = await entered(stack, relay, tmp_path, "anna")
        ben = await entered(stack, relay, tmp_path, "ben")
        rooms = [await anna.engagement(engagement), await ben.engagement(engagement)]
        for room in rooms:
            await room.wait_joined()
        async with linked(relay, tmp_path, anna, "laptop") as laptop:
            lost = await laptop.engagement(engagement)
            await lost.send("from the laptop")
            await until_heard(rooms[1], "from the laptop")
            await relay.run("backup", str(tmp_path / "backup"))
        (device,) = [device for device in anna.devices.all if not device.is_this]
        await anna.devices.remove(device)
        await rooms[1].send("without the laptop")
        await until_heard(rooms[0], "without the laptop")
        await set_back(relay, tmp_path / "backup")
        await rooms[1].send("still without it")
        await until_heard(rooms[0], "still without it")
        await until_alike(3, *rooms)
        assert [room.alarm for room in rooms] == [None, None]
        async with opened(relay, tmp_path, "anna", "laptop") as thief:
            with pytest.raises(AccessRefused):
                await thief.wait_online()
            assert await texts(await thief.engagement(engagement)) == ["from the laptop"]


async def test_the_maker_of_a_lost_change_never_comes_back(relay: RealRelay, tmp_path: Path) -> None:
    """Ben has the change by which Anna let her laptop in: he gives it to the relay."""
    engagement = await relay.create_engagement(anna="coach", ben="client")
    async with asyncio.timeout(PATIENCE), AsyncExitStack() as stack:
        ben = await entered(stack, relay, tmp_path, "ben")
        async with opened(relay, tmp_path, "anna") as anna:
            for client in (anna, ben):
                await (await client.engagement(engagement)).wait_joined()
            await relay.run("backup", str(tmp_path / "backup"))
            async with linked(relay, tmp_path, anna, "laptop") as laptop:
                room = await laptop.engagement(engagement)
                await room.send("one")
                await until_heard(await ben.engagement(engagement), "one")
        await set_back(relay, tmp_path / "backup")
        laptop = await entered(stack, relay, tmp_path, "anna", "laptop")
        rooms = [await ben.engagement(engagement), await laptop.engagement(engagement)]
        await rooms[0].send("two")
        assert await until_alike(2, *rooms) == ["one", "two"]
        assert [room.alarm for room in rooms] == [None, None]
