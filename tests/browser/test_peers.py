"""The browser's engine and the Python SDK in one conversation: coming back, moving to a stronger suite, disorder."""

from __future__ import annotations

import asyncio
import secrets
import shutil
from collections.abc import AsyncIterator
from contextlib import AbstractAsyncContextManager
from pathlib import Path

import pytest
import pytest_asyncio

from client_sdk import Client
from client_sdk.engagement import Engagement
from client_sdk.engine.items import TextItem
from relay.core.operations import ExpireEntries
from relay.store.sqlite.streams import SqliteStreamStore
from relay.wire.ids import EngagementId
from tests.browser.chromium import PACKAGE
from tests.browser.peers import Peers, Room, build
from tests.support.real_relay import RealRelay
from tests.support.suites import Versions

PATIENCE = 60

pytestmark = [
    pytest.mark.asyncio(loop_scope="module"),
    pytest.mark.skipif(
        shutil.which("node") is None or not (PACKAGE / "node_modules").exists(),
        reason="node, or what the browser's SDK is built of, is not installed: make browser",
    ),
]


class World:
    """A relay, people with the browser's engine, and people with the Python SDK."""

    def __init__(self, relay: RealRelay, peers: Peers, vaults: Path) -> None:
        self.relay, self.peers, self.vaults = relay, peers, vaults

    def python(self, user: str) -> AbstractAsyncContextManager[Client]:
        return Client.open(
            self.vaults / f"{user}.vault",
            key=user.encode().ljust(32, b"."),
            relay=self.relay.url,
            token=self.relay.token_for(user),
            name=user.capitalize(),
        )

    async def room(self, user: str, engagement: str, *, old: bool = False) -> Room:
        await self.peers.open(user, self.relay.url, old=old)
        await self.peers.call(user, "open", engagement)
        return Room(self.peers, user, engagement)


@pytest_asyncio.fixture(loop_scope="module", scope="module")
async def world(tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[World]:
    folder = tmp_path_factory.mktemp("world")
    relay = RealRelay(folder)
    await relay.start()
    peers = Peers(await build(folder / "peer"), relay.token_for)
    await peers.start()
    yield World(relay, peers, folder)
    await peers.stop()
    await relay.kill()


async def texts(room: Engagement) -> list[str]:
    return [item.text for item in reversed(await room.history(limit=500)) if isinstance(item, TextItem)]


async def say(room: Room, text: str) -> str:
    return await room.send(text, secrets.token_hex(16))


async def python_has(room: Engagement, text: str) -> None:
    while text not in await texts(room):
        await asyncio.sleep(0.02)


async def has(room: Room, text: str) -> None:
    while text not in await room.texts():
        await asyncio.sleep(0.02)


async def test_who_was_away_for_too_long_comes_back_with_a_visible_gap(world: World) -> None:
    engagement = await world.relay.create_engagement(anna="coach", ben="client")
    async with asyncio.timeout(PATIENCE), world.python("anna") as anna:
        room = await anna.engagement(engagement)
        ben = await world.room("ben", engagement)
        await room.wait_joined()
        said = await say(ben, "before")
        await python_has(room, "before")
        await ben.until(lambda: is_in(ben, said, "delivered"))
        await say(ben, "perhaps not heard")
        await python_has(room, "perhaps not heard")
        await world.peers.ask("close", name="ben")
        await room.send("in between")
        await room.wait_sent()
        await forget(world.relay, engagement)
        await world.peers.ask("shift", ms=31 * 86_400_000)
        ben = await world.room("ben", engagement)
        await ben.until(lambda: gap_in(ben))
        await world.peers.ask("shift", ms=-31 * 86_400_000)
        assert await ben.gaps() == ["This device was away for longer than messages are kept."]
        await room.send("after")
        await has(ben, "after")
        await say(ben, "I am back")
        await python_has(room, "I am back")
        heard = ["before", "perhaps not heard", "after", "I am back"]
        assert sorted(await ben.texts()) == sorted(heard)
        assert [text for text in await texts(room) if text != "in between"] == await ben.texts()
        assert (await ben.state())["alarm"] is None
        assert room.alarm is None
        await world.peers.ask("close", name="ben")


async def is_in(room: Room, item: str, state: str) -> bool:
    found = await room.call("item", item)
    return found is not None and found["state"] == state


async def gap_in(room: Room) -> bool:
    return bool(await room.gaps())


async def forget(relay: RealRelay, engagement: str) -> None:
    """The relay's store as it is when the retention is over: the newest commit alone is left."""
    await relay.stop()
    store = SqliteStreamStore.open(relay.data)
    try:
        await store.commit([ExpireEntries(EngagementId(engagement), 2**52, 0)])
    finally:
        await store.close()
    await relay.start()


async def test_a_person_goes_on_after_something_was_withheld(world: World) -> None:
    engagement = await world.relay.create_engagement(carl="coach", dora="client")
    async with asyncio.timeout(PATIENCE), world.python("carl") as carl:
        room = await carl.engagement(engagement)
        dora = await world.room("dora", engagement)
        await room.wait_joined()
        await say(dora, "before")
        await python_has(room, "before")
        await world.peers.ask("close", name="dora")
        await room.send("withheld")
        await room.wait_sent()
        await forget(world.relay, engagement)
        dora = await world.room("dora", engagement)
        await dora.until(lambda: alarmed(dora))
        alarm = (await dora.state())["alarm"]
        assert alarm["code"] == "stream_skipped"
        assert "The relay left out a part of the conversation" in alarm["message"]
        with pytest.raises(Exception, match="stream_skipped"):
            await say(dora, "not now")
        await dora.call("goOn")
        await dora.until(lambda: gap_in(dora))
        await say(dora, "all the same")
        await python_has(room, "all the same")
        assert (await dora.gaps())[0].startswith("You decided to go on after an alarm.")
        await world.peers.ask("close", name="dora")


async def alarmed(room: Room) -> bool:
    return (await room.state())["alarm"] is not None


async def test_a_conversation_moves_to_a_stronger_suite_when_all_can(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Once by the browser's engine, once by the Python SDK, whichever is first; both follow."""
    versions = Versions(monkeypatch, "eva", "gus")
    for python, peer in (("eva", "finn"), ("gus", "hana")):
        engagement = await world.relay.create_engagement(**{python: "coach", peer: "client"})
        async with asyncio.timeout(PATIENCE):
            async with world.python(python) as client:
                room = await client.engagement(engagement)
                other = await world.room(peer, engagement, old=True)
                await room.wait_joined()
                await say(other, "one")
                await python_has(room, "one")
                assert "not yet" in (await other.state())["protection"]
            await world.peers.ask("close", name=peer)
            if python == "eva":
                versions.update([python])
            other = await world.room(peer, engagement)
            if python == "gus":
                versions.update([python])
            async with world.python(python) as client:
                room = await client.engagement(engagement)
                await other.until(lambda: moved(other))
                await room.wait_until(lambda: room.protection.name == "FROM_NOW_ON")
                await say(other, "two")
                await python_has(room, "two")
                await room.send("three")
                await has(other, "three")
                assert await texts(room) == await other.texts() == ["one", "two", "three"]
                assert (await other.state())["alarm"] is None
                assert room.alarm is None
                assert await other.gaps() == []
            await world.peers.ask("close", name=peer)


async def moved(room: Room) -> bool:
    return "before everybody had updated" in (await room.state())["protection"]
