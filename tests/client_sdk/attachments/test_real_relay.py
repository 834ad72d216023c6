"""Sealed files over the relay as it is: cut, restarted, and fetched by the other side."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import aiohttp
import pytest

from client_sdk.attachments import (
    BlobGone,
    Download,
    Progress,
    SealedFile,
    Upload,
    UploadState,
    open_sealed,
    seal_to_spool,
)
from client_sdk.attachments.uploading import FIRST_PIECE
from relay.http.server import serving
from relay.wire.ids import BlobId, EngagementId
from tests.relay.http.support import World, settings_in, world_in

DATA = bytes(n * n % 253 for n in range(5000)) * 1000


class Access:
    """What an engine gives a transfer: the relay's address and a token; the first token is stale."""

    def __init__(self, world: World, engagement: EngagementId, user: str) -> None:
        self.world, self.engagement, self.user = world, engagement, user
        self.given = 0

    async def __call__(self) -> tuple[str, str]:
        self.given += 1
        if self.given == 1:
            return self.world.url, "x" * 40
        header = await self.world.blob_access(self.engagement, self.user)
        return self.world.url, header["Authorization"].removeprefix("Bearer ")


@asynccontextmanager
async def restarted(world: World, folder: Path) -> AsyncIterator[World]:
    async with (
        serving(settings_in(folder)) as running,
        aiohttp.ClientSession(running.url) as http,
    ):
        yield World(running.url, http, world.keys, running)


async def sealed(folder: Path) -> tuple[Path, SealedFile]:
    (folder / "plan.pdf").write_bytes(DATA)
    return folder / "spool", await seal_to_spool(folder / "plan.pdf", folder / "spool")


async def interrupted(upload: Upload, started: asyncio.Event) -> None:
    task = asyncio.create_task(upload.run())
    await started.wait()
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task


async def test_a_file_goes_over_in_spite_of_a_restart_and_is_opened_by_the_other_side(tmp_path: Path) -> None:
    spool, facts = await sealed(tmp_path)
    kept: list[bytes] = []
    told: list[Progress] = []
    moving = asyncio.Event()

    async def remember(state: UploadState) -> None:
        kept.append(state.serialize())

    def tell(progress: Progress) -> None:
        told.append(progress)
        if progress.done:
            moving.set()

    async with world_in(tmp_path) as world, aiohttp.ClientSession() as http:
        engagement = await world.engagement("anna", "ben")
        access = Access(world, engagement, "anna")
        upload = Upload(spool, session=http, access=access, remember=remember, progress=tell)
        await interrupted(upload, moving)
        assert access.given == 2
    async with restarted(world, tmp_path) as world, aiohttp.ClientSession() as http:
        told.clear()
        state = UploadState.parse(kept[-1])
        access = Access(world, engagement, "anna")
        blob = await Upload(spool, session=http, access=access, state=state, progress=tell).run()
        assert blob == state.blob
        assert FIRST_PIECE <= told[0].done < facts.sealed_size
        async with world.device("anna") as device:
            await device.create_group(engagement)
            await device.append(engagement, 2, [blob])

        arrived = tmp_path / "arrived"
        access = Access(world, engagement, "ben")
        await Download(blob, facts.sealed_size, arrived, session=http, access=access).run()
        target = await open_sealed(arrived, facts, tmp_path, name="plan.pdf")
        assert target == tmp_path / "plan (2).pdf"
        assert target.read_bytes() == DATA


async def test_a_file_of_another_engagement_is_not_there(tmp_path: Path) -> None:
    spool, facts = await sealed(tmp_path)
    async with world_in(tmp_path) as world, aiohttp.ClientSession() as http:
        ours, theirs = await world.engagement("anna", "ben"), await world.engagement("carla", "dan")
        blob = await Upload(spool, session=http, access=Access(world, ours, "anna")).run()
        for wanted, engagement, user in ((blob, theirs, "carla"), (BlobId("A" * 22), ours, "ben")):
            access = Access(world, engagement, user)
            with pytest.raises(BlobGone):
                await Download(wanted, facts.sealed_size, tmp_path / "x", session=http, access=access).run()
