"""tus checksum and termination: what is damaged on the way is not stored, what is given up is gone."""

from __future__ import annotations

import asyncio
import base64
import contextlib
import hashlib
from collections.abc import AsyncIterator
from io import BytesIO
from typing import Any

import aiohttp
import pytest
from tusclient.client import TusClient

from relay.blobs import PART_BYTES
from relay.http import checksums
from relay.wire import frames as fr
from relay.wire.ids import BlobId, PortalId
from tests.relay.http.support import OTHER, PORTAL, World

TUS = {"Tus-Resumable": "1.0.0"}
PATCH = {**TUS, "Content-Type": "application/offset+octet-stream"}


def checksum(data: bytes, algorithm: str = "sha1") -> dict[str, str]:
    digest = base64.b64encode(hashlib.new(algorithm, data).digest()).decode()
    return {"Upload-Checksum": f"{algorithm} {digest}"}


class Uploads:
    """One device's uploads."""

    def __init__(self, world: World, access: dict[str, str]) -> None:
        self.world = world
        self.access = access

    async def create(self, size: int) -> str:
        headers = {**TUS, **self.access, "Upload-Length": str(size)}
        async with self.world.http.post("/v1/blobs", headers=headers) as answer:
            assert answer.status == 201, await answer.text()
            return answer.headers["Location"]

    async def patch(self, path: str, offset: int, data: Any, **headers: str) -> int:
        everything = {**PATCH, **self.access, "Upload-Offset": str(offset), **headers}
        body = BytesIO(data) if isinstance(data, bytes) else data
        async with self.world.http.patch(path, data=body, headers=everything) as answer:
            text = await answer.text()
            assert answer.status < 400 or answer.headers["Tus-Resumable"] == "1.0.0", text
            return answer.status

    async def offset(self, path: str) -> int | None:
        """How much is stored; None if there is no such upload."""
        async with self.world.http.head(path, headers={**TUS, **self.access}) as answer:
            return int(answer.headers["Upload-Offset"]) if answer.status == 200 else None

    async def delete(self, path: str, **headers: str) -> tuple[int, str]:
        async with self.world.http.delete(path, headers={**TUS, **self.access, **headers}) as answer:
            return answer.status, await answer.text()

    async def size(self, path: str) -> int:
        return await self.world.running.relay.blobs.size(BlobId(path.rpartition("/")[2]))


@pytest.fixture
async def uploads(world: World) -> Uploads:
    return Uploads(world, await world.blob_access(await world.engagement("anna", "ben"), "anna"))


# -- checksum ----------------------------------------------------------------------------------------


@pytest.mark.parametrize("algorithm", ["sha1", "sha256"])
async def test_what_has_its_checksum_is_stored(uploads: Uploads, algorithm: str) -> None:
    path = await uploads.create(10)
    assert await uploads.patch(path, 0, b"12345", **checksum(b"12345", algorithm)) == 204
    assert await uploads.patch(path, 5, b"67890", **checksum(b"67890", algorithm)) == 204
    assert await uploads.offset(path) == 10


async def test_what_was_damaged_is_not_stored_and_may_be_sent_again(uploads: Uploads) -> None:
    path = await uploads.create(10)
    assert await uploads.patch(path, 0, b"12345") == 204
    headers = {**PATCH, **uploads.access, "Upload-Offset": "5", **checksum(b"67890")}
    async with uploads.world.http.patch(path, data=BytesIO(b"67891"), headers=headers) as answer:
        assert answer.status == 460
        told = await answer.json(content_type="application/problem+json")
        assert (told["code"], told["title"]) == ("checksum_mismatch", "Checksum Mismatch")
    assert await uploads.offset(path) == await uploads.size(path) == 5
    assert await uploads.patch(path, 5, b"67890", **checksum(b"67890")) == 204


async def test_no_part_of_it_is_stored_before_all_of_it_came(uploads: Uploads) -> None:
    data = b"x" * (PART_BYTES + 5)
    path = await uploads.create(len(data))
    assert await uploads.patch(path, 0, data, **checksum(b"other")) == 460
    assert await uploads.size(path) == 0
    assert await uploads.patch(path, 0, data, **checksum(data)) == 204
    assert await uploads.size(path) == len(data)


async def test_what_breaks_off_is_not_stored(uploads: Uploads) -> None:
    path = await uploads.create(10)
    host, port = uploads.world.url.removeprefix("http://").split(":")
    _, writer = await asyncio.open_connection(host, int(port))
    headers = {**PATCH, **uploads.access, **checksum(b"12345"), "Upload-Offset": "0", "Content-Length": "5"}
    head = "".join(f"{name}: {value}\r\n" for name, value in headers.items())
    writer.write(f"PATCH {path} HTTP/1.1\r\nHost: {host}\r\n{head}\r\n123".encode())
    await writer.drain()
    writer.close()
    await writer.wait_closed()
    assert await uploads.offset(path) == 0


@pytest.mark.parametrize(
    "value",
    [
        "",
        "sha1",
        "sha1 ",
        "md5 " + base64.b64encode(bytes(16)).decode(),
        "SHA1 " + base64.b64encode(bytes(20)).decode(),
        "sha512 " + base64.b64encode(bytes(64)).decode(),
        "sha1 " + base64.b64encode(bytes(19)).decode(),
        "sha1 " + base64.b64encode(bytes(32)).decode(),
        "sha256 " + base64.b64encode(bytes(20)).decode(),
        "sha1 not base64!",
        "sha1  " + base64.b64encode(bytes(20)).decode(),
    ],
)
async def test_a_checksum_of_another_form_is_refused(uploads: Uploads, value: str) -> None:
    path = await uploads.create(5)
    assert await uploads.patch(path, 0, b"12345", **{"Upload-Checksum": value}) == 400
    assert await uploads.offset(path) == 0


async def test_with_a_checksum_a_request_is_bounded(
    uploads: Uploads, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(checksums, "MAX_CHECKED_BYTES", 4)
    path = await uploads.create(5)
    assert await uploads.patch(path, 0, b"12345", **checksum(b"12345")) == 413

    async def pieces() -> AsyncIterator[bytes]:
        yield b"12345"

    assert await uploads.patch(path, 0, pieces(), **checksum(b"12345")) == 413, "it must tell its length"
    assert await uploads.patch(path, 0, b"1234", **checksum(b"1234")) == 204


async def test_tuspy_sends_checksums(uploads: Uploads) -> None:
    client = TusClient(f"{uploads.world.url}/v1/blobs", headers=uploads.access)
    upload = client.uploader(file_stream=BytesIO(b"z" * 3_000_000), chunk_size=10**6, upload_checksum=True)
    await asyncio.to_thread(upload.upload)
    assert await uploads.offset(str(upload.url).removeprefix(uploads.world.url)) == 3_000_000


# -- termination ---------------------------------------------------------------------------------------


@pytest.mark.parametrize("sent", [b"", b"123", b"1234567890"])
async def test_an_upload_that_is_given_up_is_gone(uploads: Uploads, sent: bytes) -> None:
    path = await uploads.create(10)
    if sent:
        assert await uploads.patch(path, 0, sent) == 204
    assert await uploads.delete(path) == (204, "")
    assert await uploads.offset(path) is None
    assert await uploads.size(path) == 0
    assert await uploads.patch(path, len(sent), b"x") == 404
    assert (await uploads.delete(path))[0] == 404


async def test_only_the_device_that_began_it_may(world: World) -> None:
    engagement = await world.engagement("anna", "ben")
    other = await world.engagement("mallory")
    elsewhere = await world.engagement("anna", portal=OTHER)
    async with world.device("anna") as anna:
        mine = Uploads(world, await anna.blob_access(engagement))
        path = await mine.create(5)
        missing = f"/v1/blobs/{'A' * 22}"
        strangers = [
            await world.blob_access(engagement, "ben"),
            await world.blob_access(engagement, "anna"),  # another device of hers
            await world.blob_access(other, "mallory"),
            await world.blob_access(elsewhere, "anna", portal=OTHER),
        ]
        for access in strangers:
            stranger = Uploads(world, access)
            assert await stranger.delete(path) == await stranger.delete(missing)
            assert (await stranger.delete(path))[0] == 404
        for token in ("", "Bearer x"):
            assert (await mine.delete(path, Authorization=token))[0] == 401
        assert await mine.offset(path) == 0
        assert (await mine.delete(path))[0] == 204


async def test_what_was_said_stays_said(world: World) -> None:
    engagement = await world.engagement("anna", "ben")
    async with world.device("anna") as anna:
        uploads = Uploads(world, await anna.blob_access(engagement))
        path = await uploads.create(4)
        await uploads.patch(path, 0, b"1234")
        await anna.create_group(engagement)
        blob = BlobId(path.rpartition("/")[2])
        assert isinstance(await anna.append(engagement, 2, [blob]), fr.Appended)
        status, told = await uploads.delete(path)
        assert (status, "upload_named" in told) == (409, True)
        assert await uploads.size(path) == 4


async def test_what_was_taken_back_goes_if_its_own_device_says_so(world: World) -> None:
    engagement = await world.engagement("anna", "ben")
    async with world.device("anna") as anna, world.device("anna") as laptop, world.device("ben") as ben:
        hers = Uploads(world, await anna.blob_access(engagement))
        path = await hers.create(4)
        await hers.patch(path, 0, b"1234")
        await anna.create_group(engagement)
        assert isinstance(await anna.append(engagement, 2, [BlobId(path.rpartition("/")[2])]), fr.Appended)
        for other in (laptop, ben):
            theirs = Uploads(world, await other.blob_access(engagement))
            assert (await theirs.delete(path + "?retracted=1"))[0] == 404
        for not_said in ("?retracted=0", "?retracted", "?retract=1"):
            assert (await hers.delete(path + not_said))[0] == 409
        assert await hers.size(path) == 4
        assert (await hers.delete(path + "?retracted=1"))[0] == 204
        assert await hers.size(path) == 0
        assert (await hers.delete(path + "?retracted=1"))[0] == 404
        assert await world.running.relay.hub.uploads.stored_bytes(PortalId(PORTAL)) == 0


async def test_an_upload_under_way_is_given_up(uploads: Uploads) -> None:
    path = await uploads.create(10)
    never = asyncio.Event()

    async def slow() -> AsyncIterator[bytes]:
        yield b"12345"
        await never.wait()

    sending = asyncio.create_task(uploads.patch(path, 0, slow()))
    await asyncio.sleep(0)
    assert (await uploads.delete(path))[0] == 204
    never.set()
    with contextlib.suppress(aiohttp.ClientError):  # it may be cut while it sends
        assert await sending in (404, 409)
    assert await uploads.offset(path) is None
    assert await uploads.size(path) == 0


async def test_a_client_that_cannot_send_delete_says_so(uploads: Uploads) -> None:
    path = await uploads.create(5)
    for method, status in (("GET", 405), ("delete", 204)):
        headers = {**TUS, **uploads.access, "X-HTTP-Method-Override": method}
        async with uploads.world.http.post(path, headers=headers) as answer:
            assert answer.status == status
    assert await uploads.offset(path) is None


async def test_termination_is_of_this_version_too(uploads: Uploads) -> None:
    path = await uploads.create(5)
    assert (await uploads.delete(path, **{"Tus-Resumable": "0.9"}))[0] == 412
    assert (await uploads.delete("/v1/blobs/x"))[0] == 404
    assert await uploads.offset(path) == 0


async def test_the_extensions_are_told(world: World) -> None:
    async with world.http.options("/v1/blobs") as answer:
        assert {"checksum", "termination"} <= set(answer.headers["Tus-Extension"].split(","))
        assert answer.headers["Tus-Checksum-Algorithm"] == "sha1,sha256"
