"""Files through a real relay that keeps them in S3-compatible storage: sent, saved, erased; memory stays."""

from __future__ import annotations

import asyncio
import hashlib
import os
import re
import signal
from collections.abc import AsyncIterator, Iterator
from pathlib import Path

import obstore
import pytest
from obstore.store import S3Store

from client_sdk import Engagement, File
from tests.e2e.test_conversation import PATIENCE, client
from tests.support.real_relay import RealRelay
from tests.support.s3 import S3Server, s3_server

MEGABYTE = 1_000_000
SMALL, LARGE = 8 * MEGABYTE, 80 * MEGABYTE
GROWTH_KIB = 24 * 1024
"""A third of what the large file is larger by: more than an allocator needs, less than a copy of it."""


@pytest.fixture(scope="module")
def s3(tmp_path_factory: pytest.TempPathFactory) -> Iterator[S3Server]:
    with s3_server(tmp_path_factory.mktemp("s3")) as server:
        yield server


@pytest.fixture
def bucket(s3: S3Server) -> str:
    return s3.bucket()


@pytest.fixture
async def relay(s3: S3Server, bucket: str, tmp_path: Path) -> AsyncIterator[RealRelay]:
    location = s3.location(bucket)
    settings = {
        "COACH_RELAY_S3_BUCKET": bucket,
        "COACH_RELAY_S3_ENDPOINT": location.endpoint,
        "COACH_RELAY_S3_PREFIX": location.prefix,
        "COACH_RELAY_S3_ACCESS_KEY_ID": location.access_key_id,
        "COACH_RELAY_S3_SECRET_ACCESS_KEY": location.secret_access_key,
    }
    relay = RealRelay(tmp_path, settings=settings)
    await relay.start()
    yield relay
    await relay.kill()


def opened(s3: S3Server, bucket: str) -> S3Store:
    """The bucket as its owner sees it."""
    return S3Store(
        bucket,
        config={
            "endpoint": s3.endpoint,
            "access_key_id": "id",
            "secret_access_key": "secret",
            "region": "us-east-1",
        },
        client_options={"allow_http": True},
    )


def names_in(raw: S3Store) -> list[str]:
    """The parts of files; what says whose they are stays."""
    names = [meta["path"] for batch in obstore.list(raw) for meta in batch]
    return [name for name in names if not name.endswith("/.owner")]


def peak_kib(relay: RealRelay) -> int:
    """The most memory that the relay ever had."""
    found = re.search(r"VmHWM:\s+(\d+) kB", Path(f"/proc/{relay.pid}/status").read_text())
    assert found
    return int(found[1])


async def test_files_go_to_the_bucket_and_come_back_and_memory_stays(
    relay: RealRelay, s3: S3Server, bucket: str, tmp_path: Path
) -> None:
    raw = opened(s3, bucket)
    engagement = await relay.create_engagement(anna="coach", ben="client")
    async with (
        asyncio.timeout(3 * PATIENCE),
        client(relay, tmp_path, "anna") as anna,
        client(relay, tmp_path, "ben") as ben,
    ):
        room, theirs = await anna.engagement(engagement), await ben.engagement(engagement)
        await asyncio.gather(room.wait_joined(), theirs.wait_joined())
        peaks = []
        for size in (SMALL, LARGE):
            await passed(room, theirs, tmp_path, size)
            peaks.append(peak_kib(relay))
        assert peaks[1] - peaks[0] < GROWTH_KIB
        held = {path: bytes(obstore.get(raw, path).bytes()) for path in names_in(raw)}
        assert sum(map(len, held.values())) > SMALL + LARGE
        assert all(path.startswith("relay/blobs/") for path in held)
        assert not any(b"coaching journal" in content for content in held.values())
        assert not (relay.data / "blobs").exists()
    await relay.end_engagement(engagement)
    async with asyncio.timeout(PATIENCE):
        while names_in(raw):  # noqa: ASYNC110  erased after the answer, one blob after the other
            await asyncio.sleep(0.1)


async def passed(room: Engagement, theirs: Engagement, folder: Path, size: int) -> None:
    """Send a file of that size, save it on the other side, and compare."""
    source = folder / f"journal{size}.txt"
    line = b"coaching journal, day %d\n" % size
    source.write_bytes(line * (size // len(line)))
    await room.send_file(source)
    async for item in theirs.items():
        if isinstance(item, File) and item.name == source.name:
            saved = await item.save(folder / "inbox")
            with saved.open("rb") as got, source.open("rb") as sent:
                assert hashlib.file_digest(got, "sha256").digest() == (
                    hashlib.file_digest(sent, "sha256").digest()
                )
            return


async def test_it_goes_in_order_just_after_a_transfer_and_in_the_middle_of_one(
    relay: RealRelay, s3: S3Server, bucket: str, tmp_path: Path
) -> None:
    """The storage's threads neither hold the process back nor bring it down; what was cut off goes on."""
    raw = opened(s3, bucket)
    engagement = await relay.create_engagement(anna="coach", ben="client")
    async with (
        asyncio.timeout(3 * PATIENCE),
        client(relay, tmp_path, "anna") as anna,
        client(relay, tmp_path, "ben") as ben,
    ):
        room, theirs = await anna.engagement(engagement), await ben.engagement(engagement)
        await asyncio.gather(room.wait_joined(), theirs.wait_joined())
        await passed(room, theirs, tmp_path, SMALL)
        assert await sent_away(relay) == 0
        await relay.start()
        before = len(names_in(raw))
        passing = asyncio.create_task(passed(room, theirs, tmp_path, 3 * SMALL))
        while len(names_in(raw)) == before:  # noqa: ASYNC110  another process's first part
            await asyncio.sleep(0.02)
        assert await sent_away(relay) == 0
        await relay.start()
        await passing


async def sent_away(relay: RealRelay) -> int:
    """End it as an operator does; its exit code."""
    os.kill(relay.pid, signal.SIGTERM)
    return await relay.wait_ended()
