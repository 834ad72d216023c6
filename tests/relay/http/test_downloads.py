"""Downloads: the whole, one range, and what is not there."""

from __future__ import annotations

import asyncio
import os
import random
from collections.abc import AsyncIterator, Mapping

import aiohttp
import pytest

from relay.blobs import PART_BYTES
from relay.http import downloads
from relay.wire.ids import BlobId, EngagementId
from tests.relay.http.support import World

CONTENT = random.Random(7).randbytes(PART_BYTES + 5000)
SIZE = len(CONTENT)


class Stored:
    """A finished blob, and who may have it."""

    def __init__(self, world: World, engagement: EngagementId, access: dict[str, str], blob: BlobId) -> None:
        self.world = world
        self.engagement = engagement
        self.access = access
        self.blob = blob
        self.path = f"/v1/blobs/{blob}"
        self.etag = f'"{blob}"'

    async def get(self, **headers: str) -> tuple[int, bytes, Mapping[str, str]]:
        named = {name.replace("_", "-"): value for name, value in headers.items()}
        async with self.world.http.get(self.path, headers=self.access | named) as answer:
            return answer.status, await answer.read(), answer.headers


@pytest.fixture
async def stored(world: World) -> Stored:
    engagement = await world.engagement("anna", "ben")
    relay = world.running.relay
    record = await relay.hub.uploads.begin(engagement, SIZE)
    await relay.blobs.append(record.blob, CONTENT, offset=0)
    await relay.hub.uploads.finish(engagement, record.blob)
    return Stored(world, engagement, await world.blob_access(engagement, "ben"), record.blob)


async def test_the_whole(stored: Stored) -> None:
    status, body, headers = await stored.get()
    assert (status, body) == (200, CONTENT)
    assert headers["Content-Length"] == str(SIZE)
    assert headers["Content-Type"] == "application/octet-stream"
    assert headers["Content-Disposition"] == "attachment"
    assert headers["Accept-Ranges"] == "bytes"
    assert headers["ETag"] == stored.etag
    assert headers["Cache-Control"] == "no-store"


@pytest.mark.parametrize(
    ("wanted", "start", "end"),
    [
        ("bytes=0-0", 0, 1),
        ("bytes=100-", 100, SIZE),
        ("bytes=-7", SIZE - 7, SIZE),
        (f"bytes={PART_BYTES - 3}-{PART_BYTES + 2}", PART_BYTES - 3, PART_BYTES + 3),
        (f"bytes=5-{SIZE * 9}", 5, SIZE),
    ],
)
async def test_a_range(stored: Stored, wanted: str, start: int, end: int) -> None:
    status, body, headers = await stored.get(Range=wanted)
    assert (status, body) == (206, CONTENT[start:end])
    assert headers["Content-Range"] == f"bytes {start}-{end - 1}/{SIZE}"
    assert headers["Content-Length"] == str(end - start)


async def test_a_download_goes_on_where_it_was_cut(stored: Stored) -> None:
    _status, begin, headers = await stored.get(Range="bytes=0-99999")
    status, rest, _headers = await stored.get(Range="bytes=100000-", If_Range=headers["ETag"])
    assert status == 206
    assert begin + rest == CONTENT


@pytest.mark.parametrize("wanted", [f"bytes={SIZE}-", f"bytes={SIZE + 1}-{SIZE + 2}", "bytes=-0"])
async def test_a_range_past_the_end(stored: Stored, wanted: str) -> None:
    status, body, headers = await stored.get(Range=wanted)
    assert status == 416
    assert headers["Content-Range"] == f"bytes */{SIZE}"
    assert b"range_not_satisfiable" in body


@pytest.mark.parametrize(
    "headers",
    [
        {"Range": "bytes=0-1,5-6"},
        {"Range": "lines=1-2"},
        {"Range": "bytes=5-1"},
        {"Range": "bytes=0-0", "If_Range": '"another"'},
        {"Range": "bytes=0-0", "If_Range": "W/x"},
        {"Range": "bytes=0-0", "If_Range": "Sat, 21 Nov 2026 09:00:00 GMT"},
    ],
    ids=str,
)
async def test_what_is_no_range_of_this_blob_gives_the_whole(stored: Stored, headers: dict[str, str]) -> None:
    status, body, _headers = await stored.get(**headers)
    assert (status, body) == (200, CONTENT)


async def test_an_unfinished_upload_is_not_there(stored: Stored) -> None:
    relay = stored.world.running.relay
    record = await relay.hub.uploads.begin(stored.engagement, 10)
    await relay.blobs.append(record.blob, b"12345", offset=0)
    async with stored.world.http.get(f"/v1/blobs/{record.blob}", headers=stored.access) as answer:
        assert answer.status == 404


async def test_lost_bytes_break_off_and_never_look_whole(stored: Stored) -> None:
    part = stored.world.running.relay.settings.blob_dir / stored.blob / "000001"
    os.truncate(part, 10)
    async with stored.world.http.get(stored.path, headers=stored.access) as answer:
        assert answer.headers["Content-Length"] == str(SIZE)
        with pytest.raises(aiohttp.ClientPayloadError):
            await answer.read()
    async with stored.world.http.get("/livez") as answer:
        assert answer.status == 200


async def test_a_peer_that_takes_nothing_is_cut(stored: Stored, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(downloads, "STALL_SECONDS", 0.2)
    relay = stored.world.running.relay
    record = await relay.hub.uploads.begin(stored.engagement, 16 * PART_BYTES)
    await relay.blobs.append(record.blob, bytes(16 * PART_BYTES), offset=0)
    await relay.hub.uploads.finish(stored.engagement, record.blob)
    host, port = stored.world.url.removeprefix("http://").split(":")
    reader, writer = await asyncio.open_connection(host, int(port), limit=1024)
    token = stored.access["Authorization"]
    writer.write(
        f"GET /v1/blobs/{record.blob} HTTP/1.1\r\nHost: x\r\nAuthorization: {token}\r\n\r\n".encode()
    )
    await reader.readuntil(b"\r\n\r\n")
    async with asyncio.timeout(30):
        await stored.world.running.app.downloads.wait_idle()
    received = 0
    async with asyncio.timeout(30):
        while piece := await reader.read(2**20):
            received += len(piece)
    assert received < 16 * PART_BYTES
    writer.close()


async def test_downloads_at_once_are_bounded(stored: Stored, monkeypatch: pytest.MonkeyPatch) -> None:
    going_on = asyncio.Event()
    blobs = stored.world.running.relay.blobs
    read = blobs.read

    async def held(blob: BlobId, /, *, start: int, end: int) -> AsyncIterator[bytes]:
        await going_on.wait()
        async for piece in read(blob, start=start, end=end):
            yield piece

    monkeypatch.setattr(blobs, "read", held)
    most = downloads.MAX_DOWNLOADS_A_DEVICE
    held_ones = [asyncio.create_task(stored.get()) for _ in range(most + 1)]
    done, _pending = await asyncio.wait(held_ones, return_when=asyncio.FIRST_COMPLETED)
    assert [task.result()[0] for task in done] == [429]
    going_on.set()
    statuses = sorted(status for status, _body, _headers in await asyncio.gather(*held_ones))
    assert statuses == [200] * most + [429]
    assert (await stored.get())[0] == 200
