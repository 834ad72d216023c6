"""A relay, people with the browser's engine in Node, and people with the Python SDK."""

from __future__ import annotations

import asyncio
import secrets
import shutil
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from pathlib import Path
from typing import Final

from client_sdk import Client
from client_sdk.engagement import Engagement
from client_sdk.engine.items import TextItem
from tests.browser.chromium import PACKAGE
from tests.browser.peers import Peers, Room, build
from tests.support.real_relay import RealRelay

PATIENCE: Final = 150
_LOOK_SECONDS: Final = 0.02


def missing() -> str | None:
    """Why there are no such people here, or None."""
    if shutil.which("node") is None or not (PACKAGE / "node_modules").exists():
        return "node, or what the browser's SDK is built of, is not installed: make browser"
    return None


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


@asynccontextmanager
async def peopled(folder: Path) -> AsyncIterator[World]:
    """Everything that a story needs, and its end."""
    relay = RealRelay(folder)
    await relay.start()
    peers = Peers(await build(folder / "peer"), relay.token_for)
    await peers.start()
    try:
        yield World(relay, peers, folder)
    finally:
        await peers.stop()
        await relay.kill()


async def back_up(world: World, folder: Path) -> Path:
    """A copy of what the relay has now."""
    await world.relay.run("backup", str(folder))
    return folder


async def set_back(world: World, copy: Path) -> None:
    """What an operator does whose disk is gone."""
    await world.relay.kill()
    shutil.rmtree(world.relay.data)
    await world.relay.run("restore", str(copy), "--yes")
    await world.relay.start()


async def until(holds: Callable[[], Awaitable[bool]]) -> None:
    """Look until it holds; whoever waits bounds the time."""
    while not await holds():  # noqa: ASYNC110  it is the state of another process
        await asyncio.sleep(_LOOK_SECONDS)


async def texts(room: Engagement) -> list[str]:
    """What was said, the oldest first."""
    return [item.text for item in reversed(await room.history(limit=500)) if isinstance(item, TextItem)]


async def say(room: Room, text: str) -> str:
    """Say it; the id of the message."""
    return await room.send(text, secrets.token_hex(16))


async def python_has(room: Engagement, text: str) -> None:
    """Wait until it is there."""

    async def holds() -> bool:
        return text in await texts(room)

    await until(holds)


async def has(room: Room, text: str) -> None:
    """Wait until it is there."""

    async def holds() -> bool:
        return text in await room.texts()

    await until(holds)
