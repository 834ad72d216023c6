"""Blobs in any object store: each blob is a run of parts, so an upload grows without ever being rewritten."""

from __future__ import annotations

import errno
from collections.abc import AsyncIterator, Iterator, Sequence
from contextlib import contextmanager, suppress
from typing import TYPE_CHECKING, Final

import obstore
from obstore.exceptions import BaseError

from relay.blobs.errors import BlobCorrupt, BlobOffsetConflict, BlobStoreFull, BlobStoreUnavailable
from relay.wire.errors import WireError
from relay.wire.ids import BlobId, parse_blob_id

if TYPE_CHECKING:
    from obstore.store import ObjectStore

PART_BYTES: Final = 2 * 1024 * 1024
"""The size of every part but a blob's last: what one upload holds in memory, and what a small append rewrites
at most.
"""

READ_BYTES: Final = 256 * 1024
"""The least that one piece of a download carries; larger pieces gain nothing."""

DELETE_BATCH: Final = 1000
"""Objects erased by one request, where the store can: what S3 allows, 2 GB."""

_PROBE: Final = BlobId(".probe")
OWNER: Final = ".owner"
"""The object that says whose the blobs are: no blob's id, so that no version takes it for one."""
MAX_OWNER_BYTES: Final = 64

_NO_ROOM: Final = (errno.ENOSPC, errno.EDQUOT)


class ObjectBlobs:
    """A `BlobStore` over an `obstore` store whose put is atomic and durable, as S3's is.

    Part n of a blob is the object `<blob id>/<n>` and holds bytes n * PART_BYTES up to the next multiple.
    Only the last part may be short; growing it replaces it whole, so a crash leaves the old or the new one.
    """

    def __init__(self, store: ObjectStore, /) -> None:
        self._store = store

    async def size(self, blob: BlobId, /) -> int:
        with translated():
            parts = {
                meta["path"].rpartition("/")[2]: meta["size"]
                async for batch in obstore.list(self._store, prefix=blob)
                for meta in batch
            }
        names = [_part_name(index) for index in range(len(parts))]
        if set(names) != set(parts) or any(parts[name] != PART_BYTES for name in names[:-1]):
            raise BlobCorrupt("a part of a blob is missing or short")
        return sum(parts.values())

    async def append(self, blob: BlobId, data: bytes, /, *, offset: int) -> int:
        rest = memoryview(data)
        while rest:
            index, within = divmod(offset, PART_BYTES)
            taken, rest = rest[: PART_BYTES - within], rest[PART_BYTES - within :]
            begin = await self._end_of(blob, index, within)
            await self._put(_key(blob, index), begin + taken)
            offset += len(taken)
        return offset

    async def read(self, blob: BlobId, /, *, start: int, end: int) -> AsyncIterator[bytes]:
        while start < end:
            index, within = divmod(start, PART_BYTES)
            until = min(end - start + within, PART_BYTES)
            async for piece in self._read_part(_key(blob, index), within, until):
                start += len(piece)
                yield piece

    async def delete(self, blob: BlobId, /) -> None:
        with translated():
            async for batch in obstore.list(self._store, prefix=blob, chunk_size=DELETE_BATCH):
                await self._delete_objects([meta["path"] for meta in batch])

    async def list(self) -> AsyncIterator[BlobId]:
        last = ""
        with translated():
            async for batch in obstore.list(self._store):
                for blob in (meta["path"].partition("/")[0] for meta in batch):
                    if blob != last and is_blob_id(blob):  # what else is there is not ours
                        yield BlobId(blob)
                    last = blob

    async def owner(self) -> bytes:
        size = min(await self._object_size(OWNER), MAX_OWNER_BYTES)
        if size == 0:
            return b""
        with translated():
            return bytes(await obstore.get_range_async(self._store, OWNER, start=0, end=size))

    async def belong_to(self, owner: bytes, /) -> None:
        await self._put(OWNER, owner)

    async def check(self) -> None:
        await self._put(_key(_PROBE, 0), b"probe")
        await self.delete(_PROBE)

    async def _put(self, key: str, data: bytes) -> None:
        with translated():
            await obstore.put_async(self._store, key, data, use_multipart=False)

    async def _end_of(self, blob: BlobId, index: int, within: int) -> bytes:
        """Return the bytes of part `index`: there must be `within` of them, and the part before is full."""
        if within == 0 and index > 0 and await self._object_size(_key(blob, index - 1)) != PART_BYTES:
            raise BlobOffsetConflict("the bytes do not begin where the blob ends")
        if await self._object_size(_key(blob, index)) != within:
            raise BlobOffsetConflict("the bytes do not begin where the blob ends")
        if within == 0:
            return b""
        with translated():
            return bytes(await obstore.get_range_async(self._store, _key(blob, index), start=0, end=within))

    async def _object_size(self, key: str) -> int:
        with translated():
            try:
                return (await obstore.head_async(self._store, key))["size"]
            except FileNotFoundError:
                return 0

    async def _read_part(self, key: str, start: int, end: int) -> AsyncIterator[bytes]:
        if await self._object_size(key) < end:
            raise BlobCorrupt("a part of a blob is missing or short")
        with translated():
            result = await obstore.get_async(self._store, key, options={"range": (start, end)})
            async for piece in result.stream(min_chunk_size=READ_BYTES):
                yield bytes(piece)

    async def _delete_objects(self, keys: Sequence[str]) -> None:
        for key in keys:
            with suppress(FileNotFoundError):  # another sweep was faster
                await obstore.delete_async(self._store, key)


def is_blob_id(name: str, /) -> bool:
    """Whether a folder of this name holds a blob's parts."""
    try:
        parse_blob_id(name)
    except WireError:
        return False
    return True


def _part_name(index: int) -> str:
    return f"{index:06d}"


def _key(blob: BlobId, index: int) -> str:
    return f"{blob}/{_part_name(index)}"


@contextmanager
def translated() -> Iterator[None]:
    """Give the library's errors our names; its words, which may hold paths, stay in `__cause__`."""
    try:
        yield
    except (BaseError, OSError) as error:
        if getattr(error, "errno", None) in _NO_ROOM or any(f"os error {n})" in str(error) for n in _NO_ROOM):
            raise BlobStoreFull("no room is left for blobs") from error
        raise BlobStoreUnavailable("the blob store does not answer") from error
