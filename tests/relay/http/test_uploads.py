"""Uploads by tus 1.0.0: with a client that others wrote, and by hand where it never goes."""

from __future__ import annotations

import asyncio
import random
import socket
import struct
from collections.abc import AsyncIterator
from email.utils import parsedate_to_datetime
from io import BytesIO
from pathlib import Path
from typing import Any

import pytest
from tusclient.client import TusClient
from tusclient.exceptions import TusCommunicationError, TusUploadFailed

from relay.blobs import PART_BYTES, BlobStoreFull
from relay.http import turns
from relay.wire import frames as fr
from relay.wire.ids import BlobId, EngagementId
from tests.relay.http.support import World, world_in

TUS = {"Tus-Resumable": "1.0.0"}
PATCH = {**TUS, "Content-Type": "application/offset+octet-stream"}
MIB = 1024 * 1024


def some_bytes(count: int) -> bytes:
    return random.Random(count).randbytes(count)


class Uploader:
    """One device's uploads to one engagement, by hand."""

    def __init__(self, world: World, engagement: EngagementId, access: dict[str, str]) -> None:
        self.world = world
        self.engagement = engagement
        self.access = access

    async def create(self, size: int) -> str:
        headers = {**TUS, **self.access, "Upload-Length": str(size)}
        async with self.world.http.post("/v1/blobs", headers=headers) as answer:
            assert answer.status == 201, await answer.text()
            return answer.headers["Location"]

    async def offset(self, path: str) -> int:
        async with self.world.http.head(path, headers={**TUS, **self.access}) as answer:
            assert answer.status == 200
            return int(answer.headers["Upload-Offset"])

    async def patch(self, path: str, offset: int, data: Any, **headers: str) -> tuple[int, dict[str, str]]:
        all_headers = {**PATCH, **self.access, "Upload-Offset": str(offset), **headers}
        body = BytesIO(data) if isinstance(data, bytes) else data
        async with self.world.http.patch(path, data=body, headers=all_headers) as answer:
            await answer.read()
            return answer.status, dict(answer.headers)

    async def stored(self, path: str, size: int) -> bytes:
        blobs = self.world.running.relay.blobs
        return b"".join(
            [piece async for piece in blobs.read(BlobId(path.rpartition("/")[2]), start=0, end=size)]
        )


@pytest.fixture
async def uploader(world: World) -> Uploader:
    engagement = await world.engagement("anna", "ben")
    return Uploader(world, engagement, await world.blob_access(engagement, "anna"))


# -- with tuspy --------------------------------------------------------------------------------------


def tus_client(uploader: Uploader) -> TusClient:
    return TusClient(f"{uploader.world.url}/v1/blobs", headers=uploader.access)


@pytest.mark.parametrize("chunk", [MIB, 3 * MIB, 100 * MIB])
async def test_tuspy_uploads(uploader: Uploader, chunk: int) -> None:
    content = some_bytes(5 * MIB + 17)
    upload = tus_client(uploader).uploader(
        file_stream=BytesIO(content), chunk_size=chunk, metadata={"filename": "a name that nobody keeps"}
    )
    await asyncio.to_thread(upload.upload)
    path = str(upload.url).removeprefix(uploader.world.url)
    assert await uploader.offset(path) == len(content)
    assert await uploader.stored(path, len(content)) == content


async def test_tuspy_resumes_after_a_cut(uploader: Uploader) -> None:
    content = some_bytes(6 * MIB)
    client = tus_client(uploader)
    first = client.uploader(file_stream=BytesIO(content), chunk_size=MIB)
    await asyncio.to_thread(first.upload, stop_at=2 * MIB)
    second = await asyncio.to_thread(
        lambda: client.uploader(file_stream=BytesIO(content), chunk_size=MIB, url=first.url)
    )
    assert second.offset == 2 * MIB
    await asyncio.to_thread(second.upload)
    path = str(first.url).removeprefix(uploader.world.url)
    assert await uploader.stored(path, len(content)) == content


async def test_tuspy_is_told_when_it_may_not(uploader: Uploader) -> None:
    client = TusClient(f"{uploader.world.url}/v1/blobs", headers={"Authorization": "Bearer wrong"})
    with pytest.raises(TusCommunicationError) as caught:
        await asyncio.to_thread(client.uploader(file_stream=BytesIO(b"x")).upload)
    assert caught.value.status_code == 401
    path = await uploader.create(3)
    stranger = tus_client(uploader).uploader(file_stream=BytesIO(b"xyz"))
    stranger.set_url(f"{uploader.world.url}{path}")
    stranger.offset = 2
    with pytest.raises(TusUploadFailed) as failed:
        await asyncio.to_thread(stranger.upload)
    assert failed.value.status_code == 409


# -- the protocol by hand ------------------------------------------------------------------------------


async def test_options_needs_nobody(world: World) -> None:
    for path in ("/v1/blobs", f"/v1/blobs/{'A' * 22}"):
        async with world.http.options(path) as answer:
            assert answer.status == 204
            assert answer.headers["Tus-Resumable"] == "1.0.0"
            assert answer.headers["Tus-Version"] == "1.0.0"
            assert answer.headers["Tus-Extension"] == "creation,expiration,checksum,termination"
            assert answer.headers["Tus-Max-Size"] == str(2**31)


async def test_a_new_upload_says_when_it_expires(uploader: Uploader) -> None:
    headers = {**TUS, **uploader.access, "Upload-Length": "10"}
    async with uploader.world.http.post("/v1/blobs", headers=headers) as answer:
        path = answer.headers["Location"]
        expires = answer.headers["Upload-Expires"]
        sent = parsedate_to_datetime(answer.headers["Date"])
    assert 86_390 <= (parsedate_to_datetime(expires) - sent).total_seconds() <= 86_400
    async with uploader.world.http.head(path, headers={**TUS, **uploader.access}) as answer:
        assert answer.headers["Upload-Offset"] == "0"
        assert answer.headers["Upload-Length"] == "10"
        assert answer.headers["Upload-Expires"] == expires
        assert answer.headers["Cache-Control"] == "no-store"
    status, answered = await uploader.patch(path, 0, b"12345")
    assert (status, answered["Upload-Offset"], answered["Upload-Expires"]) == (204, "5", expires)


async def test_once_an_entry_names_it_it_shares_the_entries_age(world: World) -> None:
    engagement = await world.engagement("anna", "ben")
    async with world.device("anna") as device:
        uploader = Uploader(world, engagement, await device.blob_access(engagement))
        path = await uploader.create(4)
        await uploader.patch(path, 0, b"1234")
        await device.create_group(engagement)
        blob = BlobId(path.rpartition("/")[2])
        assert isinstance(await device.append(engagement, 2, [blob]), fr.Appended)
        async with world.http.head(path, headers={**TUS, **uploader.access}) as answer:
            assert answer.headers["Upload-Offset"] == "4"
            assert "Upload-Expires" not in answer.headers


async def test_an_unfinished_upload_cannot_be_named(world: World) -> None:
    engagement = await world.engagement("anna", "ben")
    async with world.device("anna") as device:
        uploader = Uploader(world, engagement, await device.blob_access(engagement))
        path = await uploader.create(4)
        await uploader.patch(path, 0, b"123")
        await device.create_group(engagement)
        blob = BlobId(path.rpartition("/")[2])
        assert (await device.append(engagement, 2, [blob])).code == "blob_not_found"
        await uploader.patch(path, 3, b"4")
        assert isinstance(await device.append(engagement, 2, [blob]), fr.Appended)


@pytest.mark.parametrize("version", [None, "", "0.2.2", "1.0", "2.0.0"])
@pytest.mark.parametrize("method", ["POST", "HEAD", "PATCH"])
async def test_another_version_is_refused(uploader: Uploader, method: str, version: str | None) -> None:
    path = "/v1/blobs" if method == "POST" else await uploader.create(1)
    headers = {**uploader.access, "Upload-Length": "1", "Upload-Offset": "0"}
    if version is not None:
        headers["Tus-Resumable"] = version
    async with uploader.world.http.request(method, path, headers=headers) as answer:
        assert answer.status == 412
        assert answer.headers["Tus-Version"] == "1.0.0"


@pytest.mark.parametrize("length", [None, " ", "-1", "+1", "1.0", "x", "１", "0", "9" * 16, "0x1", "1, 1"])
async def test_a_length_that_is_none_is_refused(uploader: Uploader, length: str | None) -> None:
    headers = {**TUS, **uploader.access} | ({} if length is None else {"Upload-Length": length})
    async with uploader.world.http.post("/v1/blobs", headers=headers) as answer:
        assert answer.status == 400


@pytest.mark.parametrize("size", [2**31 + 1, 2**40])
async def test_a_file_over_the_bound_is_refused(uploader: Uploader, size: int) -> None:
    headers = {**TUS, **uploader.access, "Upload-Length": str(size)}
    async with uploader.world.http.post("/v1/blobs", headers=headers) as answer:
        assert answer.status == 413
        assert answer.headers["Tus-Resumable"] == "1.0.0"


async def test_the_operator_may_lower_the_bound(tmp_path: Path) -> None:
    async with world_in(tmp_path, max_upload_bytes=1024) as world:
        engagement = await world.engagement("anna")
        access = await world.blob_access(engagement, "anna")
        await Uploader(world, engagement, access).create(1024)
        async with world.http.post("/v1/blobs", headers={**TUS, **access, "Upload-Length": "1025"}) as answer:
            assert answer.status == 413
        async with world.http.options("/v1/blobs") as answer:
            assert answer.headers["Tus-Max-Size"] == "1024"


@pytest.mark.parametrize("offset", [0, 4, 6, 10, 10**14])
async def test_another_offset_is_a_conflict_and_stores_nothing(uploader: Uploader, offset: int) -> None:
    path = await uploader.create(10)
    await uploader.patch(path, 0, b"12345")
    status, headers = await uploader.patch(path, offset, b"678")
    assert status == 409
    assert headers["Upload-Offset"] == "5"
    assert await uploader.offset(path) == 5


@pytest.mark.parametrize("offset", ["", "-1", "x", "0.0", "9" * 16])
async def test_an_offset_that_is_none_is_refused(uploader: Uploader, offset: str) -> None:
    path = await uploader.create(10)
    status, _headers = await uploader.patch(path, 0, b"12345", **{"Upload-Offset": offset or " "})
    assert status == 400
    assert await uploader.offset(path) == 0


@pytest.mark.parametrize("kind", ["application/octet-stream", "text/plain", ""])
async def test_another_content_type_is_refused(uploader: Uploader, kind: str) -> None:
    path = await uploader.create(10)
    assert (await uploader.patch(path, 0, b"12345", **{"Content-Type": kind}))[0] == 415
    assert await uploader.offset(path) == 0


async def test_bytes_beyond_the_length_are_refused(uploader: Uploader) -> None:
    path = await uploader.create(5)
    assert (await uploader.patch(path, 0, b"123456"))[0] == 413
    assert await uploader.offset(path) == 0

    async def pieces() -> AsyncIterator[bytes]:
        yield b"123"
        yield b"456"

    assert (await uploader.patch(path, 0, pieces()))[0] == 413
    assert await uploader.offset(path) <= 5
    rest = await uploader.offset(path)
    assert (await uploader.patch(path, rest, b"12345"[rest:]))[0] == 204
    assert await uploader.stored(path, 5) == b"12345"


async def test_nothing_follows_the_end(uploader: Uploader) -> None:
    path = await uploader.create(5)
    assert (await uploader.patch(path, 0, b"12345"))[0] == 204
    assert (await uploader.patch(path, 5, b"6"))[0] == 413
    assert (await uploader.patch(path, 5, b""))[0] == 204
    assert await uploader.stored(path, 5) == b"12345"


async def test_patch_by_another_method(uploader: Uploader) -> None:
    path = await uploader.create(3)
    headers = {**PATCH, **uploader.access, "Upload-Offset": "0"}
    async with uploader.world.http.post(path, data=b"abc", headers=headers) as answer:
        assert answer.status == 405
        assert "PATCH" in answer.headers["Allow"]
    headers["X-HTTP-Method-Override"] = "PATCH"
    async with uploader.world.http.post(path, data=b"abc", headers=headers) as answer:
        assert answer.status == 204
    assert await uploader.stored(path, 3) == b"abc"


# -- cuts, and two at once -------------------------------------------------------------------------------


class HalfPatch:
    """A PATCH by a raw connection, which stays open after a part of its body."""

    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.reader = reader
        self.writer = writer

    @classmethod
    async def send(cls, uploader: Uploader, path: str, data: bytes, *, promised: int) -> HalfPatch:
        host, port = uploader.world.url.removeprefix("http://").split(":")
        reader, writer = await asyncio.open_connection(host, int(port))
        headers = {
            **PATCH,
            **uploader.access,
            "Host": host,
            "Upload-Offset": "0",
            "Content-Length": str(promised),
        }
        head = "".join(f"{name}: {value}\r\n" for name, value in headers.items())
        writer.write(f"PATCH {path} HTTP/1.1\r\n{head}\r\n".encode() + data)
        await writer.drain()
        return cls(reader, writer)

    async def status(self) -> int:
        async with asyncio.timeout(30):
            return int((await self.reader.readline()).split()[1])

    def reset(self) -> None:
        """Break off as a lost network does: without a word of farewell."""
        transport = self.writer.transport
        transport.get_extra_info("socket").setsockopt(
            socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0)
        )
        transport.abort()


async def until_offset(uploader: Uploader, path: str, wanted: int) -> None:
    """Wait until so many bytes are durable, without taking the turn from whoever writes."""
    blob = BlobId(path.rpartition("/")[2])
    async with asyncio.timeout(30):
        while await uploader.world.running.relay.blobs.size(blob) < wanted:
            pass


@pytest.mark.parametrize("politely", [False, True])
async def test_what_came_before_a_cut_is_kept_to_the_byte(uploader: Uploader, politely: bool) -> None:
    content = some_bytes(3 * MIB)
    path = await uploader.create(len(content))
    half = await HalfPatch.send(uploader, path, content[: 2 * MIB + 1234], promised=len(content))
    await until_offset(uploader, path, 2 * MIB)
    if politely:
        half.writer.close()
    else:
        half.reset()
    await until_offset(uploader, path, 2 * MIB + 1234)
    offset = await uploader.offset(path)
    assert offset == 2 * MIB + 1234
    assert (await uploader.patch(path, offset, content[offset:]))[0] == 204
    assert await uploader.stored(path, len(content)) == content


async def test_a_newer_request_takes_over_from_one_that_hangs(uploader: Uploader) -> None:
    content = some_bytes(3 * MIB)
    path = await uploader.create(len(content))
    hanging = await HalfPatch.send(uploader, path, content[: 2 * MIB + 99], promised=len(content))
    await until_offset(uploader, path, 2 * MIB)
    offset = await uploader.offset(path)  # the hanging one is interrupted and stores what it had
    assert offset == 2 * MIB + 99
    assert await hanging.status() == 409
    assert (await uploader.patch(path, offset, content[offset:]))[0] == 204
    assert await uploader.stored(path, len(content)) == content
    hanging.writer.close()


async def test_two_at_once_write_every_byte_once(uploader: Uploader) -> None:
    content = some_bytes(2 * MIB)
    path = await uploader.create(len(content))
    results = await asyncio.gather(*(uploader.patch(path, 0, content) for _ in range(3)))
    assert {status for status, _headers in results} <= {204, 409}
    offset = await uploader.offset(path)
    if offset < len(content):
        assert (await uploader.patch(path, offset, content[offset:]))[0] == 204
    assert await uploader.stored(path, len(content)) == content


async def test_a_request_that_sends_nothing_is_ended_and_its_bytes_kept(
    uploader: Uploader, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(turns, "IDLE_SECONDS", 0.2)
    path = await uploader.create(100)
    silent = await HalfPatch.send(uploader, path, b"12345", promised=100)
    assert await silent.status() == 408
    assert await uploader.offset(path) == 5
    silent.writer.close()


async def test_a_request_does_not_wait_for_ever_for_one_that_writes(
    uploader: Uploader, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(turns, "TURN_SECONDS", 0.1)
    blobs = uploader.world.running.relay.blobs
    append = blobs.append
    writing, going_on = asyncio.Event(), asyncio.Event()

    async def slow(blob: BlobId, data: bytes, /, *, offset: int) -> int:
        writing.set()
        await going_on.wait()
        return await append(blob, data, offset=offset)

    monkeypatch.setattr(blobs, "append", slow)
    path = await uploader.create(5)
    first = asyncio.create_task(uploader.patch(path, 0, b"12345"))
    await writing.wait()
    status, headers = await uploader.patch(path, 0, b"12345")
    assert status == 423
    assert headers["Retry-After"]
    going_on.set()
    assert (await first)[0] == 204
    assert await uploader.offset(path) == 5


async def test_a_body_that_is_no_http_is_a_fault_of_the_peer(uploader: Uploader) -> None:
    path = await uploader.create(100)
    host, port = uploader.world.url.removeprefix("http://").split(":")
    reader, writer = await asyncio.open_connection(host, int(port))
    headers = {**PATCH, **uploader.access, "Host": host, "Upload-Offset": "0", "Transfer-Encoding": "chunked"}
    head = "".join(f"{name}: {value}\r\n" for name, value in headers.items())
    writer.write(f"PATCH {path} HTTP/1.1\r\n{head}\r\n5\r\n12345\r\n".encode())
    await writer.drain()
    writer.write(b"what is this?\r\n")
    async with asyncio.timeout(30):
        assert (await reader.readline()).split()[1] == b"400"
    writer.close()
    assert await uploader.offset(path) in (0, 5)


async def test_uploads_at_once_are_bounded(uploader: Uploader) -> None:
    hanging = [
        await HalfPatch.send(uploader, await uploader.create(MIB + 1), b"x", promised=MIB + 1)
        for _ in range(4)
    ]
    path = await uploader.create(1)
    async with asyncio.timeout(30):
        while (await uploader.patch(path, 0, b""))[0] != 429:
            pass
    for half in hanging:
        half.reset()
    async with asyncio.timeout(30):
        while (await uploader.patch(path, await uploader.offset(path), b""))[0] != 204:
            pass


async def test_a_full_disk_is_said_and_nothing_lost(
    uploader: Uploader, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = await uploader.create(10)
    assert (await uploader.patch(path, 0, b"12345"))[0] == 204

    async def full(*_args: object, **_options: object) -> int:
        raise BlobStoreFull("no room is left for blobs")

    with monkeypatch.context() as patched:
        patched.setattr(uploader.world.running.relay.blobs, "append", full)
        assert (await uploader.patch(path, 5, b"67890"))[0] == 507
    assert await uploader.offset(path) == 5
    assert (await uploader.patch(path, 5, b"67890"))[0] == 204


async def test_an_end_while_it_runs_leaves_no_bytes(uploader: Uploader) -> None:
    path = await uploader.create(PART_BYTES * 2)
    hanging = await HalfPatch.send(uploader, path, some_bytes(PART_BYTES + 5), promised=PART_BYTES * 2)
    await until_offset(uploader, path, PART_BYTES)
    hub = uploader.world.running.relay.hub
    await hub.engagements.end(uploader.world.keys["growth"].record.id, uploader.engagement)
    await hub.settle()
    hanging.reset()
    blobs = uploader.world.running.relay.blobs
    async with asyncio.timeout(30):
        while [blob async for blob in blobs.list()]:
            pass


async def test_a_crash_before_the_record_was_finished_is_made_good(uploader: Uploader) -> None:
    path = await uploader.create(5)
    blob = BlobId(path.rpartition("/")[2])
    await uploader.world.running.relay.blobs.append(blob, b"12345", offset=0)
    uploads = uploader.world.running.relay.hub.uploads
    assert not (await uploads.read(uploader.engagement, blob)).finished
    assert await uploader.offset(path) == 5
    assert (await uploads.read(uploader.engagement, blob)).finished


async def test_memory_does_not_grow_with_the_file(
    uploader: Uploader, monkeypatch: pytest.MonkeyPatch
) -> None:
    largest = 0
    blobs = uploader.world.running.relay.blobs
    append = blobs.append

    async def watched(blob: BlobId, data: bytes, /, *, offset: int) -> int:
        nonlocal largest
        largest = max(largest, len(data))
        return await append(blob, data, offset=offset)

    monkeypatch.setattr(blobs, "append", watched)
    content = some_bytes(20 * MIB)
    path = await uploader.create(len(content))
    assert (await uploader.patch(path, 0, content))[0] == 204
    assert largest <= PART_BYTES
    assert await uploader.stored(path, len(content)) == content
