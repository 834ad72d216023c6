"""The sweep of bytes without a record, and of uploads that nobody named."""

from __future__ import annotations

import re
import urllib.request
from io import BytesIO
from pathlib import Path

import pytest

from relay.blobs import PART_BYTES
from relay.http import blob_owner
from relay.http import sweep as sweeping
from relay.http.sweep import KEPT_SECONDS, FileSweep
from relay.wire.ids import BlobId
from tests.relay.http.support import World, world_in
from tests.support.s3 import S3Server, s3_server


async def stored(world: World) -> set[BlobId]:
    return {blob async for blob in world.running.relay.blobs.list()}


@pytest.mark.parametrize("at_once", [1, 3, 1000])
async def test_bytes_without_a_record_go_and_all_others_stay(
    world: World, monkeypatch: pytest.MonkeyPatch, at_once: int
) -> None:
    monkeypatch.setattr(sweeping, "MAX_LOOKED_FOR", at_once)
    monkeypatch.setattr(blob_owner, "PAGE", 2)
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
    now = 0.0
    sweep = FileSweep(relay.hub, relay.blobs, clock=lambda: now)
    assert await sweep.run() == (0, 5)
    now = KEPT_SECONDS
    assert await sweep.run() == (5, 0)
    assert await stored(world) == kept
    assert await sweep.run() == (0, 0)


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


def objects(storage: S3Server, bucket: str) -> list[str]:
    """What the bucket holds."""
    with urllib.request.urlopen(f"{storage.endpoint}/{bucket}?list-type=2", timeout=10) as answer:
        return re.findall(r"<Key>([^<]+)</Key>", answer.read().decode())


async def test_a_file_in_a_bucket_is_kept_in_parts_read_by_ranges_and_erased_when_its_time_is_over(
    tmp_path: Path,
) -> None:
    tus = {"Tus-Resumable": "1.0.0"}
    content = bytes(range(256)) * 8192 + b"beyond two parts" + bytes(PART_BYTES)
    with s3_server(tmp_path) as storage:
        bucket = storage.bucket()
        keys = {"s3_access_key_id": "id", "s3_secret_access_key": "secret"}
        async with world_in(tmp_path, s3_bucket=bucket, s3_endpoint=storage.endpoint, **keys) as world:
            engagement = await world.engagement("anna")
            headers = tus | await world.blob_access(engagement, "anna")
            length = {"Upload-Length": str(len(content))}
            async with world.http.post("/v1/blobs", headers=headers | length) as answer:
                place = answer.headers["Location"]
            part = {"Upload-Offset": "0", "Content-Type": "application/offset+octet-stream"}
            async with world.http.patch(place, data=BytesIO(content), headers=headers | part) as answer:
                assert answer.status == 204
            for start, end in (
                (0, 0),
                (PART_BYTES - 3, PART_BYTES + 3),
                (len(content) - 5, len(content) - 1),
            ):
                wanted = headers | {"Range": f"bytes={start}-{end}"}
                async with world.http.get(place, headers=wanted) as answer:
                    assert (answer.status, await answer.read()) == (206, content[start : end + 1])
            assert len(objects(storage, bucket)) == 1 + 3  # the first says whose they are
            hub = world.running.relay.hub
            (record,) = await hub.uploads.of_engagement(engagement)
            assert await hub.sweep.run(record.created_ms + 24 * 3600 * 1000) == 1
            assert objects(storage, bucket) == [".owner"]
            async with world.http.get(place, headers=headers) as answer:
                assert answer.status == 404
