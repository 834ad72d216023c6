"""The sweep of bytes without a record, and of uploads that nobody named."""

from __future__ import annotations

import pytest

from relay.http import sweep as sweeping
from relay.http.sweep import sweep
from relay.wire.ids import BlobId
from tests.relay.http.support import World


async def stored(world: World) -> set[BlobId]:
    return {blob async for blob in world.running.relay.blobs.list()}


@pytest.mark.parametrize("at_once", [1, 3, 1000])
async def test_bytes_without_a_record_go_and_all_others_stay(
    world: World, monkeypatch: pytest.MonkeyPatch, at_once: int
) -> None:
    monkeypatch.setattr(sweeping, "MAX_LOOKED_FOR", at_once)
    monkeypatch.setattr(sweeping, "_PAGE", 2)
    relay = world.running.relay
    kept = set()
    for users in ("anna", "ben", "carla"):
        engagement = await world.engagement(users)
        for _ in range(3):
            record = await relay.hub.uploads.begin(engagement, 5)
            await relay.blobs.append(record.blob, b"123", offset=0)
            kept.add(record.blob)
    lost = [BlobId(f"{index:021d}A") for index in range(5)]
    for blob in lost:
        await relay.blobs.append(blob, b"123", offset=0)
    assert await sweep(relay.hub, relay.blobs) == 5
    assert await stored(world) == kept
    assert await sweep(relay.hub, relay.blobs) == 0


async def test_an_upload_that_nobody_named_goes_after_a_day(world: World) -> None:
    engagement = await world.engagement("anna")
    relay = world.running.relay
    record = await relay.hub.uploads.begin(engagement, 3)
    await relay.blobs.append(record.blob, b"123", offset=0)
    await relay.hub.uploads.finish(engagement, record.blob)
    day = 24 * 3600 * 1000
    assert await relay.hub.sweep.run(record.created_ms + day - 1) == 0
    assert await stored(world) == {record.blob}
    assert await relay.hub.sweep.run(record.created_ms + day) == 1
    assert await stored(world) == set()
