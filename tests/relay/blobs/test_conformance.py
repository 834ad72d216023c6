"""One suite for every `BlobStore`: what holds in a directory holds in object storage."""

from __future__ import annotations

import random
from collections.abc import AsyncIterator, Awaitable, Callable
from pathlib import Path

import pytest
from obstore.store import LocalStore, MemoryStore

from relay.blobs import (
    PART_BYTES,
    BlobCorrupt,
    BlobOffsetConflict,
    BlobStore,
    DirectoryBlobs,
    ObjectBlobs,
    S3Blobs,
)
from relay.wire.ids import BlobId
from tests.support.s3 import S3Server

A = BlobId("AAAAAAAAAAAAAAAAAAAAAA")
B = BlobId("-_BBBBBBBBBBBBBBBBBBBg")

Break = Callable[[str], Awaitable[None]]


@pytest.fixture(params=["memory", "local", "directory", "s3"])
def store(request: pytest.FixtureRequest, tmp_path: Path) -> BlobStore:
    """The same suite over obstore's own stores, over the durable directory, and over a real S3 server."""
    match request.param:
        case "s3":
            server: S3Server = request.getfixturevalue("s3")
            return S3Blobs(server.location(server.bucket()))
        case "memory":
            return ObjectBlobs(MemoryStore())
        case "local":
            return ObjectBlobs(LocalStore(tmp_path / "blobs", mkdir=True, automatic_cleanup=True))
        case _:
            return DirectoryBlobs(tmp_path / "blobs")


def some_bytes(count: int, seed: int = 1) -> bytes:
    return random.Random(seed).randbytes(count)


async def joined(pieces: AsyncIterator[bytes]) -> bytes:
    return b"".join([piece async for piece in pieces])


async def listed(store: BlobStore) -> set[BlobId]:
    return {blob async for blob in store.list()}


async def test_an_unknown_blob_is_empty(store: BlobStore) -> None:
    assert await store.size(A) == 0
    assert await listed(store) == set()
    assert await joined(store.read(A, start=0, end=0)) == b""


async def test_what_is_appended_is_read_back(store: BlobStore) -> None:
    assert await store.append(A, b"sealed ", offset=0) == 7
    assert await store.append(A, b"bytes", offset=7) == 12
    assert await store.size(A) == 12
    assert await joined(store.read(A, start=0, end=12)) == b"sealed bytes"
    assert await listed(store) == {A}


@pytest.mark.parametrize(
    "sizes",
    [
        [PART_BYTES],
        [PART_BYTES - 1, 1, 1],
        [PART_BYTES - 1, 2],
        [PART_BYTES + 1],
        [1, 2 * PART_BYTES, PART_BYTES - 2, 3],
    ],
)
async def test_appends_cross_the_bounds_of_parts(store: BlobStore, sizes: list[int]) -> None:
    content = some_bytes(sum(sizes))
    offset = 0
    for size in sizes:
        offset = await store.append(A, content[offset : offset + size], offset=offset)
        assert await store.size(A) == offset
    assert await joined(store.read(A, start=0, end=offset)) == content


@pytest.mark.parametrize(
    ("start", "end"),
    [
        (0, 1),
        (PART_BYTES - 1, PART_BYTES),
        (PART_BYTES - 1, PART_BYTES + 1),
        (PART_BYTES, PART_BYTES + 1),
        (5, 2 * PART_BYTES + 5),
        (2 * PART_BYTES + 9, 2 * PART_BYTES + 10),
    ],
)
async def test_any_range_is_read_exactly(store: BlobStore, start: int, end: int) -> None:
    content = some_bytes(2 * PART_BYTES + 10)
    await store.append(A, content, offset=0)
    assert await joined(store.read(A, start=start, end=end)) == content[start:end]


async def test_pieces_stay_small_however_large_the_blob(store: BlobStore) -> None:
    await store.append(A, bytes(2 * PART_BYTES), offset=0)
    assert max([len(piece) async for piece in store.read(A, start=0, end=2 * PART_BYTES)]) <= PART_BYTES


@pytest.mark.parametrize("offset", [0, 4, 6, PART_BYTES, PART_BYTES + 5, 5 * PART_BYTES])
async def test_an_append_elsewhere_than_the_end_changes_nothing(store: BlobStore, offset: int) -> None:
    await store.append(A, b"12345", offset=0)
    with pytest.raises(BlobOffsetConflict):
        await store.append(A, b"x", offset=offset)
    assert await store.size(A) == 5
    assert await joined(store.read(A, start=0, end=5)) == b"12345"


@pytest.mark.parametrize("offset", [0, PART_BYTES - 1, 2 * PART_BYTES])
async def test_a_full_part_is_not_written_again(store: BlobStore, offset: int) -> None:
    content = some_bytes(PART_BYTES)
    await store.append(A, content, offset=0)
    with pytest.raises(BlobOffsetConflict):
        await store.append(A, b"x", offset=offset)
    assert await joined(store.read(A, start=0, end=PART_BYTES)) == content


async def test_an_empty_append_does_nothing(store: BlobStore) -> None:
    assert await store.append(A, b"", offset=0) == 0
    assert await listed(store) == set()


async def test_reading_past_the_end_is_an_error_not_a_short_answer(store: BlobStore) -> None:
    await store.append(A, b"12345", offset=0)
    with pytest.raises(BlobCorrupt):
        await joined(store.read(A, start=0, end=6))
    with pytest.raises(BlobCorrupt):
        await joined(store.read(A, start=PART_BYTES, end=PART_BYTES + 1))
    with pytest.raises(BlobCorrupt):
        await joined(store.read(B, start=0, end=1))


async def test_blobs_do_not_touch_each_other(store: BlobStore) -> None:
    await store.append(A, b"first", offset=0)
    await store.append(B, b"second", offset=0)
    assert await listed(store) == {A, B}
    await store.delete(A)
    assert await listed(store) == {B}
    assert await store.size(A) == 0
    assert await joined(store.read(B, start=0, end=6)) == b"second"


async def test_blobs_may_be_erased_while_they_are_listed(store: BlobStore) -> None:
    names = {BlobId(f"{index:021d}A") for index in range(120)}
    for name in names:
        await store.append(name, b"x", offset=0)
    seen = set()
    async for blob in store.list():
        seen.add(blob)
        await store.delete(blob)
    assert seen == names
    assert await listed(store) == set()


async def test_erasing_is_whole_and_may_be_repeated(store: BlobStore) -> None:
    await store.append(A, bytes(PART_BYTES + 1), offset=0)
    await store.delete(A)
    await store.delete(A)
    assert await store.size(A) == 0
    assert await store.append(A, b"new", offset=0) == 3
    assert await joined(store.read(A, start=0, end=3)) == b"new"


async def test_the_check_leaves_nothing_behind(store: BlobStore) -> None:
    await store.check()
    assert await listed(store) == set()
