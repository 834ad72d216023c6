"""The drill: a backup under load, the relay killed, its disk gone, the backup restored: nothing is lost."""

from __future__ import annotations

import asyncio
import contextlib
import shutil
from collections.abc import Awaitable, Callable
from contextlib import AsyncExitStack
from pathlib import Path

from client_sdk import Engagement
from tests.faults.people import client_of, pair, texts, until_heard
from tests.support.real_relay import RealRelay

PATIENCE = 150


async def set_back(relay: RealRelay, copy: Path) -> None:
    """What an operator does whose disk is gone."""
    await relay.kill()
    shutil.rmtree(relay.data)
    await relay.run("restore", str(copy), "--yes")
    await relay.start()


async def until(holds: Callable[[], Awaitable[bool]]) -> None:
    """Wait for what nobody is told of."""
    while not await holds():  # noqa: ASYNC110
        await asyncio.sleep(0.05)


async def all_have(count: int, *rooms: Engagement) -> bool:
    """Whether everybody has so many texts, and all of them in one order."""
    found = [await texts(room) for room in rooms]
    return all(len(one) == count and one == found[0] for one in found)


async def test_backup_under_load_then_restore(relay: RealRelay, tmp_path: Path) -> None:
    engagement = await relay.create_engagement(anna="coach", ben="client")
    said: list[str] = []
    stop = asyncio.Event()

    async def talk(name: str, room: Engagement) -> None:
        while not stop.is_set():
            text = f"{name} {len(said)}"
            said.append(text)
            await room.send(text)
            await asyncio.sleep(0.01)

    async with asyncio.timeout(PATIENCE), pair(relay, tmp_path, engagement) as (anna, ben):
        talking = [asyncio.create_task(talk(*one)) for one in (("anna", anna), ("ben", ben))]
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(0.5):
                await stop.wait()
        await relay.run("backup", str(tmp_path / "backup"))
        before = len(said)
        await until(lambda: _said(said, before + 40))
        await set_back(relay, tmp_path / "backup")
        await until(lambda: _said(said, before + 60))
        stop.set()
        await asyncio.gather(*talking)
        await anna.wait_sent()
        await ben.wait_sent()
        await until(lambda: all_have(len(said), anna, ben))
        assert sorted(await texts(anna)) == sorted(said), "each message once"
        assert anna.alarm is None
        assert ben.alarm is None
        assert not anna.repairing
        await anna.send("after the drill")
        await until_heard(ben, "after the drill")


async def _said(said: list[str], count: int) -> bool:
    return len(said) >= count


async def test_who_was_away_brings_the_rest_back_later(relay: RealRelay, tmp_path: Path) -> None:
    engagement = await relay.create_engagement(anna="coach", ben="client")
    async with asyncio.timeout(PATIENCE):
        async with pair(relay, tmp_path, engagement) as (anna, ben):
            await anna.send("one")
            await until_heard(ben, "one")
            await relay.run("backup", str(tmp_path / "backup"))
            await ben.send("two")
            await until_heard(anna, "two")
            await anna.send("three")
            await until_heard(ben, "three")
            await anna.wait_sent()
            await ben.wait_sent()
        await set_back(relay, tmp_path / "backup")
        async with client_of(relay, tmp_path, "anna") as client:
            room = await client.engagement(engagement)
            await room.wait_caught_up()
            await room.send("four")
            await room.wait_sent()
        async with AsyncExitStack() as stack:
            rooms = []
            for user in ("ben", "anna"):
                client = await stack.enter_async_context(client_of(relay, tmp_path, user))
                rooms.append(await client.engagement(engagement))
            await until(lambda: all_have(4, *rooms))
            assert sorted(await texts(rooms[0])) == ["four", "one", "three", "two"]
            assert [room.alarm for room in rooms] == [None, None]


async def test_restored_twice(relay: RealRelay, tmp_path: Path) -> None:
    engagement = await relay.create_engagement(anna="coach", ben="client")
    async with asyncio.timeout(PATIENCE), pair(relay, tmp_path, engagement) as (anna, ben):
        await anna.send("one")
        await until_heard(ben, "one")
        await relay.run("backup", str(tmp_path / "backup"))
        for text in ("two", "three"):
            await ben.send(text)
            await until_heard(anna, text)
            await set_back(relay, tmp_path / "backup")
        await anna.send("four")
        await until(lambda: all_have(4, anna, ben))
        assert anna.alarm is None
        assert ben.alarm is None


async def test_a_relay_that_hides_that_it_was_set_back_is_an_alarm(relay: RealRelay, tmp_path: Path) -> None:
    """The copy is put in place by hand, so that the streams go on as if nothing had been."""
    engagement = await relay.create_engagement(anna="coach", ben="client")
    async with asyncio.timeout(PATIENCE), pair(relay, tmp_path, engagement) as (anna, ben):
        await relay.run("backup", str(tmp_path / "backup"))
        await anna.send("one")
        await until_heard(ben, "one")
        await relay.kill()
        for name in ("streams.db", "directory.db"):
            for file in relay.data.glob(f"{name}*"):
                file.unlink()
            shutil.copyfile(tmp_path / "backup" / name, relay.data / name)
        await relay.start()
        await until(lambda: _alarmed(anna, ben))
        assert {anna.alarm.code if anna.alarm else "", ben.alarm.code if ben.alarm else ""} == {
            "stream_rolled_back"
        }


async def _alarmed(*rooms: Engagement) -> bool:
    return all(room.alarm is not None for room in rooms)
