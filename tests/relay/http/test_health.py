"""Health: live is not ready."""

from __future__ import annotations

import asyncio
from pathlib import Path

import aiohttp
import pytest

from relay.blobs import BlobStoreFull, BlobStoreUnavailable
from relay.errors import RelayError, StoreUnavailable
from relay.http import health
from relay.http.health import Health
from relay.http.problems import Problem
from relay.http.server import drain
from relay.wire.ids import EngagementId
from tests.relay.http.support import World, world_in


async def get(world: World, path: str) -> tuple[int, str]:
    async with world.http.get(path) as answer:
        body = await answer.json(content_type=None)
        return answer.status, body.get("code", body["status"])


async def test_a_relay_that_serves_is_live_and_ready(world: World) -> None:
    assert await get(world, "/livez") == (200, "ok")
    assert await get(world, "/readyz") == (200, "ok")


async def test_one_that_drains_is_live_and_not_ready(world: World) -> None:
    await drain(world.running)
    assert await get(world, "/livez") == (200, "ok")
    assert await get(world, "/readyz") == (503, "draining")


async def test_readiness_fails_before_anybody_has_left(world: World) -> None:
    async with world.http.ws_connect("/v1/connect") as silent:
        draining = asyncio.create_task(drain(world.running))
        assert await get(world, "/readyz") == (503, "draining")
        await draining
        await silent.close()


async def test_one_that_cannot_store_entries_is_not_ready(world: World) -> None:
    await world.running.relay.streams.close()
    assert await get(world, "/readyz") == (503, "store_unavailable")
    assert await get(world, "/livez") == (200, "ok")


async def test_asking_leaves_nothing_in_the_store(world: World) -> None:
    assert await get(world, "/readyz") == (200, "ok")
    assert await world.running.relay.streams.view(EngagementId(f"eng_{'A' * 22}")) is None
    assert [blob async for blob in world.running.relay.blobs.list()] == []


async def test_without_room_for_uploads_it_still_serves(tmp_path: Path) -> None:
    async with world_in(tmp_path, reserved_disk_bytes=2**50) as world:
        assert await get(world, "/readyz") == (200, "ok")
        engagement = await world.engagement("anna")
        async with world.device("anna") as device:
            await device.create_group(engagement)
            tus = {"Tus-Resumable": "1.0.0", **await device.blob_access(engagement)}
        async with world.http.post("/v1/blobs", headers={**tus, "Upload-Length": "1"}) as answer:
            path = answer.headers["Location"]
        kind = {"Content-Type": "application/offset+octet-stream", "Upload-Offset": "0"}
        async with world.http.patch(path, data=b"x", headers=tus | kind) as answer:
            assert answer.status == 507
            assert (await answer.json(content_type=None))["code"] == "store_full"


async def test_one_that_cannot_store_blobs_is_not_ready(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def full(*_args: object, **_options: object) -> None:
        raise BlobStoreFull("no room is left for blobs")

    monkeypatch.setattr(world.running.relay.blobs, "_put", full)
    assert await get(world, "/readyz") == (503, "store_full")


@pytest.mark.parametrize("path", ["/livez", "/readyz"])
async def test_anyone_may_ask_and_head_works(world: World, path: str) -> None:
    async with world.http.head(path) as answer:
        assert answer.status == 200
    async with aiohttp.ClientSession(world.url) as stranger, stranger.get(path) as answer:
        assert answer.status == 200


class Checks:
    """A store that counts how often it is looked at."""

    def __init__(self) -> None:
        self.count = 0
        self.error: RelayError | None = None

    async def check(self) -> None:
        self.count += 1
        await asyncio.sleep(0)
        if self.error:
            raise self.error


async def test_many_who_ask_cause_one_look() -> None:
    checks = Checks()
    asked = Health(checks.check)
    await asyncio.gather(*(asked.readyz(None) for _ in range(100)))  # type: ignore[arg-type]  # it does not look at the request
    assert checks.count == 1


async def test_a_fault_is_remembered_for_a_moment_only(monkeypatch: pytest.MonkeyPatch) -> None:
    checks = Checks()
    checks.error = StoreUnavailable("x")
    asked = Health(checks.check)
    for _ in range(2):
        with pytest.raises(Problem):
            await asked.readyz(None)  # type: ignore[arg-type]  # it does not look at the request
    assert checks.count == 1
    checks.error = None
    monkeypatch.setattr(health, "REMEMBER_SECONDS", 0.0)
    assert (await asked.readyz(None)).status == 200  # type: ignore[arg-type]  # it does not look at the request


async def test_a_store_that_hangs_is_not_ready(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(health, "CHECK_SECONDS", 0.05)
    asked = Health(asyncio.Event().wait)  # type: ignore[arg-type]  # what it returns does not matter: it never does
    with pytest.raises(Problem) as caught:
        await asked.readyz(None)  # type: ignore[arg-type]  # it does not look at the request
    assert caught.value.code == "store_unavailable"


async def test_a_bucket_that_is_away_stops_no_messages(tmp_path: Path) -> None:
    """All nodes share it: were they not ready, nobody could connect, for want of files."""
    settings = {"s3_bucket": "coach-files", "s3_endpoint": "http://127.0.0.1:1", "s3_region": "eu-central-1"}
    keys = {"s3_access_key_id": "test", "s3_secret_access_key": "test"}
    async with world_in(tmp_path, **settings, **keys) as world:
        with pytest.raises(BlobStoreUnavailable):
            await world.running.relay.blobs.check()
        assert await get(world, "/readyz") == (200, "ok")
