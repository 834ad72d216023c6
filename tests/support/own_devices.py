"""Linking and removing devices in a `World`, as two people's programs do it, and blobs without HTTP."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Awaitable
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, TypeVar

import pytest

from client_sdk import Client
from client_sdk.attachments import BlobGone
from client_sdk.devices import LinkSecret
from client_sdk.engine import Conversation, Files
from client_sdk.transport import Environment
from relay.wire.ids import BlobId
from tests.support.fake_relay import ORIGIN
from tests.support.fake_time import SeededRandom
from tests.support.world import Device, World

_T = TypeVar("_T")


@dataclass(slots=True)
class Depot:
    """The relay's blobs, in memory."""

    blobs: dict[str, bytes] = field(default_factory=dict, repr=False)
    uploads: int = 0
    holds: bool = False
    """Uploads never end."""
    spoils: bool = False
    """What is fetched is not what was uploaded."""

    def install(self, patch: pytest.MonkeyPatch) -> None:
        depot = self

        async def put(_files: Files, _via: Conversation, sealed: Path, _progress: Any, **_: Any) -> BlobId:
            if depot.holds:
                await asyncio.Event().wait()
            depot.uploads += 1
            blob = BlobId(f"{depot.uploads:021d}A")
            depot.blobs[blob] = sealed.read_bytes()
            return blob

        async def get(
            _files: Files, _via: Conversation, blob: BlobId, _size: int, spool: Path, _progress: Any
        ) -> None:
            if blob not in depot.blobs:
                raise BlobGone("gone")
            data = depot.blobs[blob]
            spool.write_bytes(data[:-1] + bytes([data[-1] ^ 1]) if depot.spoils else data)

        patch.setattr(Files, "put_blob", put)
        patch.setattr(Files, "get_blob", get)


async def until_done(world: World, work: Awaitable[_T], *, seconds: float = 120) -> _T:
    """Let time pass until something is done."""
    task = asyncio.ensure_future(work)
    passed = 0.0
    try:
        while not task.done() and passed < seconds:
            await world.pass_time(0.25)
            await asyncio.sleep(0.001)  # what runs in a thread
            passed += 0.25
        if not task.done():
            raise TimeoutError(f"not done within {seconds} s")
        return task.result()
    finally:
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)


@asynccontextmanager
async def newcomer(
    world: World, user: str, vault: str, shown: asyncio.Future[LinkSecret], name: str = ""
) -> AsyncIterator[Client]:
    """The program of a new device, from showing its words on."""
    environment = Environment(
        now=world.time.now,
        monotonic=world.time.monotonic,
        rng=SeededRandom(f"{user} {vault} new"),
        sleep=world.time.sleep,
    )
    async with Client.link(
        world.folder / f"{vault}.vault",
        relay=ORIGIN,
        token=world.relay.token_for(user),
        key=vault.encode().ljust(32, b"."),
        show=shown.set_result,
        device_name=name or vault,
        environment=environment,
        dial=world.relay.dial,
    ) as client:
        yield client


@asynccontextmanager
async def linked(world: World, by: Device, vault: str, *, may_link: bool = False) -> AsyncIterator[Device]:
    """Link a new device by one that runs, and let it run; its history is there."""
    shown: asyncio.Future[LinkSecret] = asyncio.get_running_loop().create_future()
    user = str(by.client.user)

    async def confirm() -> None:
        secret = await shown
        found = await by.client.devices.find(" ".join(secret.words))
        await by.client.devices.link(found, may_link=may_link)

    confirming = asyncio.ensure_future(confirm())
    opening = newcomer(world, user, vault, shown)
    try:
        client = await until_done(world, opening.__aenter__())
        try:
            await until_done(world, asyncio.wait_for(asyncio.shield(confirming), 30))
            await until_done(world, client.devices.wait_history())
            yield Device(client, await until_done(world, client.engagement(world.stream)))
        finally:
            await opening.__aexit__(None, None, None)
    finally:
        confirming.cancel()
        await asyncio.gather(confirming, return_exceptions=True)
