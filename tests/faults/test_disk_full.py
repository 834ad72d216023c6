"""A disk that is really full: nothing is acknowledged that is not stored, what is stored stays readable, and
all goes on by itself when there is room again."""

from __future__ import annotations

import asyncio
import contextlib
import io
import resource
import shutil
import subprocess
from collections.abc import AsyncIterator, Iterator
from pathlib import Path
from typing import Protocol

import aiohttp
import pytest
from nacl.signing import SigningKey

from relay.wire import frames as fr
from relay.wire.ids import EngagementId, device_id
from tests.support.real_relay import RealRelay
from tests.support.wire_client import WireClient, WirePortal

DISK_BYTES = 8 * 2**20
ROOM_LEFT = 512 * 1024
FILE_LIMIT = 512 * 1024
BODY_BYTES = 32 * 1024
NO_RESERVE = {"COACH_RELAY_RESERVED_DISK_BYTES": "0"}
TUS = {"Tus-Resumable": "1.0.0"}


class Disk(Protocol):
    """A disk that a test can fill and empty again."""

    @property
    def folder(self) -> Path: ...

    def fill(self, relay: RealRelay) -> None: ...

    def empty(self, relay: RealRelay) -> None: ...


class LimitedFiles:
    """The kernel lets the relay's files grow no further (EFBIG); works without any privilege."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder

    def fill(self, relay: RealRelay) -> None:
        _, hard = resource.prlimit(relay.pid, resource.RLIMIT_FSIZE)
        resource.prlimit(relay.pid, resource.RLIMIT_FSIZE, (FILE_LIMIT, hard))

    def empty(self, relay: RealRelay) -> None:
        _, hard = resource.prlimit(relay.pid, resource.RLIMIT_FSIZE)
        resource.prlimit(relay.pid, resource.RLIMIT_FSIZE, (hard, hard))


class SmallDisk:
    """A file system of its own with little room (ENOSPC)."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self._ballast = folder / "ballast"

    def fill(self, relay: RealRelay) -> None:
        self._ballast.write_bytes(bytes(max(0, shutil.disk_usage(self.folder).free - ROOM_LEFT)))

    def empty(self, relay: RealRelay) -> None:
        self._ballast.unlink()


@contextlib.contextmanager
def small_disk(folder: Path) -> Iterator[SmallDisk]:
    folder.mkdir()
    mount = ["mount", "-t", "tmpfs", "-o", f"size={DISK_BYTES}", "tmpfs", str(folder)]
    try:
        mounted = subprocess.run(mount, capture_output=True, check=False).returncode == 0
    except FileNotFoundError:
        mounted = False
    if not mounted:
        pytest.skip("mounting a small disk needs root; the limit on file sizes is tried in any case")
    try:
        yield SmallDisk(folder)
    finally:
        subprocess.run(["umount", "--lazy", str(folder)], check=True)


@pytest.fixture(params=["limited files", "small disk"])
def disk(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Disk]:
    if request.param == "limited files":
        yield LimitedFiles(tmp_path)
    else:
        with small_disk(tmp_path / "disk") as disk:
            yield disk


@pytest.fixture
async def relay(disk: Disk) -> AsyncIterator[RealRelay]:
    relay = RealRelay(disk.folder, settings=NO_RESERVE)
    await relay.start()
    yield relay
    await relay.kill()


def body(counter: int, size: int = BODY_BYTES) -> bytes:
    return b"%d " % counter + bytes(size)


async def readiness(relay: RealRelay, path: str = "/readyz") -> tuple[int, str]:
    async with aiohttp.ClientSession(relay.url) as http, http.get(path) as answer:
        return answer.status, (await answer.json()).get("code", "")


async def wait_ready(relay: RealRelay) -> None:
    """Until it says so again: it looks at most once a second."""
    async with asyncio.timeout(150):
        while (await readiness(relay))[0] != 200:
            pass


async def append_until_refused(
    writer: WireClient, stream: EngagementId, bodies: dict[int, bytes], size: int
) -> tuple[bytes, str]:
    """Append one after the other; what was refused, and why. What was acknowledged is added to `bodies`."""
    while True:
        counter = max(bodies) + 1
        answer = await writer.append(stream, counter, body(counter, size))
        if isinstance(answer, fr.Refused):
            assert answer.counter == counter
            return body(counter, size), answer.code
        assert [tuple(result) for result in answer.results] == [(counter, counter)]
        bodies[counter] = body(counter, size)


async def test_messages(relay: RealRelay, disk: Disk) -> None:
    portal = WirePortal(relay.portal)
    stream = EngagementId(await relay.create_engagement(anna="coach", ben="client", cara="supervisor"))
    ben_key, cara_key = SigningKey.generate(), SigningKey.generate()
    async with WireClient.connect(relay.url, portal, "cara", cara_key):
        pass  # its device is known; it comes back when the disk is full
    async with (
        WireClient.connect(relay.url, portal, "anna") as anna,
        WireClient.connect(relay.url, portal, "ben", ben_key) as ben,
    ):
        await anna.create_group(stream, (ben.id, device_id(bytes(cara_key.verify_key))))
        await ben.open(stream)
        assert isinstance(await anna.append(stream, 2, body(2)), fr.Appended)
        bodies = {2: body(2)}

        disk.fill(relay)
        _, code = await append_until_refused(anna, stream, bodies, BODY_BYTES)
        assert code == "store_full"
        assert len(bodies) > 1, "there was room for something"
        wanted, code = await append_until_refused(anna, stream, bodies, 1)
        assert code == "store_full", "there is no room for the smallest"
        refused = max(bodies) + 1
        assert (await readiness(relay)) == (503, "store_full")
        assert (await readiness(relay, "/livez"))[0] == 200
        again = await anna.append(stream, refused, wanted)
        assert isinstance(again, fr.Refused)
        assert again.code == "store_full", "still nothing is acknowledged"

        async with WireClient.connect(relay.url, portal, "cara", cara_key) as cara:
            held = await cara.read(stream, after=0, until=refused - 1)
            assert [entry.seq for entry in held] == list(range(1, refused))
            assert [entry.body for entry in held[1:]] == list(bodies.values())

        disk.empty(relay)
        answer = await anna.append(stream, refused, wanted)
        assert isinstance(answer, fr.Appended), "the same bytes are taken, with no restart"
        assert [tuple(result) for result in answer.results] == [(refused, refused)], "no position was skipped"
        await wait_ready(relay)
        shown = [entry for frame in [await ben.wait_for(fr.Entries)] for entry in frame.entries]
        while shown[-1].seq < refused:
            shown += (await ben.wait_for(fr.Entries)).entries
        assert [entry.seq for entry in shown] == list(range(1, refused + 1)), (
            "nobody was shown what was refused"
        )

    await relay.kill()
    await relay.start()
    async with WireClient.connect(relay.url, portal, "ben", ben_key) as ben:
        held = await ben.read(stream, after=0, until=refused)
        assert [entry.body for entry in held[1:]] == [*bodies.values(), wanted]


async def test_files(relay: RealRelay, disk: Disk) -> None:
    portal = WirePortal(relay.portal)
    stream = EngagementId(await relay.create_engagement(anna="coach", ben="client"))
    content = bytes(range(256)) * 8 * 1024
    async with (
        WireClient.connect(relay.url, portal, "anna") as anna,
        aiohttp.ClientSession(relay.url) as http,
    ):
        await anna.send(fr.RequestBlobAccess(1, stream))
        access = await anna.wait_for(fr.BlobAccess)
        headers = {**TUS, "Authorization": f"Bearer {access.token}"}
        async with http.post("/v1/blobs", headers={**headers, "Upload-Length": str(len(content))}) as answer:
            assert answer.status == 201
            path = answer.headers["Location"]

        async def stored() -> int:
            async with http.head(path, headers=headers) as answer:
                assert answer.status == 200
                return int(answer.headers["Upload-Offset"])

        async def upload() -> tuple[int, str]:
            offset = await stored()
            kind = {"Content-Type": "application/offset+octet-stream", "Upload-Offset": str(offset)}
            async with http.patch(path, headers=headers | kind, data=io.BytesIO(content[offset:])) as answer:
                return answer.status, "" if answer.status == 204 else (await answer.json())["code"]

        disk.fill(relay)
        status, code = await upload()
        expected = (507, "store_full") if isinstance(disk, SmallDisk) else (503, "store_unavailable")
        assert (status, code) == expected
        assert await stored() < len(content)
        disk.empty(relay)
        assert await upload() == (204, "")
        async with http.get(path, headers=headers) as answer:
            assert await answer.read() == content
