"""A history on its way to a new device: whoever is cut off goes on at the byte where it was."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterator
from contextlib import AsyncExitStack
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, BinaryIO

import pytest

from client_sdk import Client
from client_sdk.attachments import Download, Upload, downloading, uploading
from client_sdk.attachments.pieces import run_to_end
from client_sdk.devices import LinkSecret
from relay.wire.ids import BlobId
from tests.e2e.own_devices import linking, newcomer, opened, texts
from tests.support.real_relay import RealRelay

pytestmark = pytest.mark.timeout(300)

PIECE = 64 * 1024
SAID = [f"{number}: {'so it was said, and more than once. ' * 200}" for number in range(40)]


@dataclass(slots=True)
class Line:
    """What goes over the line between the devices and the relay, in pieces, as long as it is let through."""

    up: list[tuple[str, int, bytes]] = field(default_factory=list)
    """The upload, the offset and the sealed bytes of each piece that the relay took."""
    down: list[int] = field(default_factory=list)
    """Where each download began."""
    lets_up: int | None = None
    lets_down: int | None = None
    held: asyncio.Event = field(default_factory=asyncio.Event)
    """Something waits for ever now."""

    async def hold(self) -> None:
        self.held.set()
        await asyncio.Event().wait()

    def install(self, patch: pytest.MonkeyPatch) -> None:
        line = self
        put, attempt = Upload._patch, Download._attempt

        async def patched(upload: Upload, blob: BlobId, offset: int, size: int) -> int:
            if line.lets_up is not None and len(line.up) >= line.lets_up:
                await line.hold()
            taken = await put(upload, blob, offset, size)
            line.up.append((blob, offset, upload._read(offset, taken - offset)))
            return taken

        async def attempted(download: Download, spool: BinaryIO, *rest: Any) -> None:
            line.down.append(spool.tell())
            await attempt(download, spool, *rest)

        async def written(work: Callable[[], Any]) -> Any:
            if line.lets_down is not None:
                if not line.lets_down:
                    await line.hold()
                line.lets_down -= 1
            return await run_to_end(work)

        patch.setattr(Upload, "_patch", patched)
        patch.setattr(Download, "_attempt", attempted)
        patch.setattr(downloading, "run_to_end", written)
        patch.setattr(downloading, "BLOCK_BYTES", PIECE)
        patch.setattr(uploading, "FIRST_PIECE", PIECE)
        patch.setattr(uploading, "LARGEST_PIECE", PIECE)


@pytest.fixture
def line(monkeypatch: pytest.MonkeyPatch) -> Line:
    line = Line()
    line.install(monkeypatch)
    return line


@pytest.fixture
async def stream(relay: RealRelay, tmp_path: Path) -> str:
    """Anna and Ben have talked a lot; Anna's program has ended."""
    stream = await relay.create_engagement(anna="coach", ben="client")
    async with opened(relay, tmp_path, "anna") as anna, opened(relay, tmp_path, "ben") as ben:
        room = await anna.engagement(stream)
        await ben.engagement(stream)
        await room.wait_joined()
        for said in SAID:
            await room.send(said)
        await room.wait_sent()
    return stream


@pytest.fixture
async def shown() -> asyncio.Future[LinkSecret]:
    return asyncio.get_running_loop().create_future()


async def cut_off_while_uploading(
    relay: RealRelay, folder: Path, line: Line, stack: AsyncExitStack, shown: asyncio.Future[LinkSecret]
) -> Client:
    """The program of the linking device ends after two pieces; the new device waits."""
    line.lets_up = 2
    async with opened(relay, folder, "anna") as anna, linking(anna, shown):
        laptop = await stack.enter_async_context(newcomer(relay, folder, "anna", "laptop", shown))
        await line.held.wait()
    line.lets_up = None
    assert not laptop.devices.history_is_here
    return laptop


async def test_the_linking_device_goes_on_with_its_upload(
    relay: RealRelay, tmp_path: Path, stream: str, line: Line, shown: asyncio.Future[LinkSecret]
) -> None:
    async with AsyncExitStack() as stack:
        laptop = await cut_off_while_uploading(relay, tmp_path, line, stack, shown)
        (sealed,) = tmp_path.glob("**/link-*")
        size = sealed.stat().st_size
        async with opened(relay, tmp_path, "anna"):
            await laptop.devices.wait_history()
        assert await texts(await laptop.engagement(stream)) == SAID
    assert len({blob for blob, _, _ in line.up}) == 1, "one upload"
    uploaded = [(offset, len(piece)) for _, offset, piece in line.up]
    assert uploaded == list(pieces_of(size)), "each sealed byte once"
    assert not list(tmp_path.glob("**/link-*")), "the sealed copy goes when it is not needed any more"


async def test_without_its_sealed_copy_it_seals_and_uploads_anew(
    relay: RealRelay, tmp_path: Path, stream: str, line: Line, shown: asyncio.Future[LinkSecret]
) -> None:
    async with AsyncExitStack() as stack:
        laptop = await cut_off_while_uploading(relay, tmp_path, line, stack, shown)
        for sealed in tmp_path.glob("**/link-*"):
            sealed.unlink()
        async with opened(relay, tmp_path, "anna"):
            await laptop.devices.wait_history()
        assert await texts(await laptop.engagement(stream)) == SAID
    assert len({blob for blob, _, _ in line.up}) == 2


async def test_the_new_device_goes_on_with_its_download(
    relay: RealRelay, tmp_path: Path, stream: str, line: Line, shown: asyncio.Future[LinkSecret]
) -> None:
    line.lets_down = 2
    async with opened(relay, tmp_path, "anna") as anna, linking(anna, shown):
        async with newcomer(relay, tmp_path, "anna", "laptop", shown):
            await line.held.wait()
        (fetched,) = tmp_path.glob("**/in-link-*")
        here = fetched.stat().st_size
        assert here > 0
        line.lets_down = None
        async with opened(relay, tmp_path, "anna", "laptop") as laptop:
            await laptop.devices.wait_history()
            assert await texts(await laptop.engagement(stream)) == SAID
    assert line.down == [0, here], "it went on where it was"
    assert len({blob for blob, _, _ in line.up}) == 1
    assert not list(tmp_path.glob("**/in-link-*"))


def pieces_of(size: int) -> Iterator[tuple[int, int]]:
    for offset in range(0, size, PIECE):
        yield offset, min(PIECE, size - offset)
