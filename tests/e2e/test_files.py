"""A file whose sender is interrupted in the middle of the upload."""

from __future__ import annotations

import asyncio
import hashlib
from pathlib import Path

import pytest

from client_sdk import Client, File, WaitReason
from client_sdk.attachments import BlobGone, Phase, Progress
from tests.e2e.test_conversation import PATIENCE, client
from tests.support.real_relay import RealRelay

SIZE = 12_000_000


class Interrupted(Exception):
    """The program is ended here."""


async def test_an_upload_goes_on_after_a_restart(relay: RealRelay, tmp_path: Path) -> None:
    engagement = await relay.create_engagement(anna="coach", ben="client")
    source = tmp_path / "journal.txt"
    source.write_bytes(b"".join(b"day %d\n" % n for n in range(SIZE // 8)))
    async with asyncio.timeout(2 * PATIENCE), client(relay, tmp_path, "ben") as ben:
        theirs = await ben.engagement(engagement)
        sent = await send_until_half(relay, tmp_path, engagement, source)
        moves: list[Progress] = []
        async with Client.open(
            tmp_path / "anna.vault",
            key=b"anna".ljust(32, b"."),
            relay=relay.url,
            token=relay.token_for("anna"),
            on_progress=moves.append,
        ) as anna:
            room = await anna.engagement(engagement)
            assert [waiting.id for waiting in room.outbox] == [sent]
            assert room.outbox[0].reason in (WaitReason.UPLOADING, WaitReason.OFFLINE, WaitReason.CATCHING_UP)
            await room.wait_sent()
            assert moves[0].done > 0, "it went on where it had stopped"
            (shown,) = [item for item in await room.history() if isinstance(item, File)]
            assert shown.id == sent
        async for item in theirs.items():
            if isinstance(item, File):
                saved = await item.save(tmp_path, overwrite=False)
                assert saved.name == "journal (2).txt"
                assert digest(saved) == digest(source)
                break
        assert not list((tmp_path / "anna.vault.files").iterdir())
        assert not list((tmp_path / "ben.vault.files").iterdir())
        held = b"".join(path.read_bytes() for path in relay.data.rglob("*") if path.is_file())
        assert b"day 1000" not in held
        assert b"journal" not in held


async def send_until_half(relay: RealRelay, folder: Path, engagement: str, source: Path) -> bytes:
    """Begin to send, and end the program when half of it is uploaded; the message's id."""
    half = asyncio.Event()

    def watch(progress: Progress) -> None:
        if progress.phase is Phase.UPLOAD and progress.done * 2 > progress.total:
            half.set()

    async with client(relay, folder, "anna") as anna:
        room = await anna.engagement(engagement)
        await room.wait_joined()
        sent = await room.send_file(source, progress=watch)
        await half.wait()
    return sent


async def test_what_was_taken_back_is_gone_from_the_relay(relay: RealRelay, tmp_path: Path) -> None:
    engagement = await relay.create_engagement(anna="coach", ben="client")
    source = tmp_path / "notes.txt"
    source.write_bytes(b"not for you " * 10_000)
    async with (
        asyncio.timeout(2 * PATIENCE),
        client(relay, tmp_path, "anna") as anna,
        client(relay, tmp_path, "ben") as ben,
    ):
        room, theirs = await anna.engagement(engagement), await ben.engagement(engagement)
        await room.wait_joined()
        sent = await room.send_file(source)
        await room.wait_sent()
        file = await anext(item async for item in theirs.items() if isinstance(item, File))
        assert sealed_at(relay)
        await room.retract(sent)
        while sealed_at(relay):  # noqa: ASYNC110 - the relay tells nobody that it has erased something
            await asyncio.sleep(0.01)
        with pytest.raises(BlobGone):
            await file.save(tmp_path / "inbox")


def sealed_at(relay: RealRelay) -> list[Path]:
    """The relay's files that are larger than a record."""
    files = (path for path in (relay.data / "blobs").rglob("*") if path.is_file())
    return [path for path in files if path.name != ".owner"]


@pytest.mark.parametrize("size", [0, 1])
async def test_tiny_files(relay: RealRelay, tmp_path: Path, size: int) -> None:
    engagement = await relay.create_engagement(anna="coach", ben="client")
    source = tmp_path / "tiny"
    source.write_bytes(b"x" * size)
    async with (
        asyncio.timeout(PATIENCE),
        client(relay, tmp_path, "anna") as anna,
        client(relay, tmp_path, "ben") as ben,
    ):
        room, theirs = await anna.engagement(engagement), await ben.engagement(engagement)
        await room.send_file(source)
        async for item in theirs.items():
            if isinstance(item, File):
                assert (await item.save(tmp_path / ".")).read_bytes() == b"x" * size
                break


def digest(path: Path) -> bytes:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").digest()
