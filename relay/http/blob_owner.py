"""Whose the sealed files are. Records that do not know them must never decide that they go: empty records, or
those of another relay, come by one wrong line of configuration. So records and files carry the same name.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
import secrets
from typing import Final

from relay.blobs import BlobsOfAnother, BlobStore
from relay.config import Settings
from relay.errors import RecordConflict, StoreError, StoreUnavailable
from relay.http.logs import log
from relay.hub.spaces import MARKS, UPLOADS
from relay.store import Directory
from relay.store.interface import ABSENT
from relay.wire.ids import BlobId

MARK: Final = "files"  # the record of this name, in each copy of the records: `backup` and `migrate` take it
BEGIN_SECONDS: Final = 5.0  # messages do not wait for a bucket that hangs
MAX_LOOKED_AT: Final = 256  # files: their ids are random, so any of them speak for all
PAGE: Final = 256
_NAME_BYTES: Final = 16


async def begin_with(directory: Directory, blobs: BlobStore, settings: Settings) -> None:
    """`check_owner` before a relay serves. A place that is away is asked again before anything is erased."""
    try:
        async with asyncio.timeout(BEGIN_SECONDS):
            await check_owner(directory, blobs, advice(settings))
    except BlobsOfAnother:
        raise
    except (StoreError, TimeoutError) as error:
        log(logging.WARNING, "whose the sealed files are cannot be seen now", error=error)


async def check_owner(directory: Directory, blobs: BlobStore, otherwise: str) -> None:
    """Raise `BlobsOfAnother`, which says `otherwise`, unless records and files belong together.

    A place without files, and files that these records mostly know, become theirs.
    """
    stored = await directory.get(MARKS, MARK)
    ours, theirs = stored.value if stored else b"", await blobs.owner()
    if ours and ours == theirs:
        return
    if (ours and theirs) or not await _are_known(directory, blobs, empty=not theirs):
        raise BlobsOfAnother(otherwise)
    name = await _named(directory, ours or theirs or secrets.token_hex(_NAME_BYTES).encode("ascii"))
    if name != theirs:
        await blobs.belong_to(name)


async def _named(directory: Directory, name: bytes) -> bytes:
    """The name that the records have from now on: this one, unless another node was faster."""
    with contextlib.suppress(RecordConflict):
        await directory.put(MARKS, MARK, name, expect=ABSENT)
    stored = await directory.get(MARKS, MARK)
    if stored is None:
        raise StoreUnavailable("the name of the records cannot be stored")
    return stored.value


async def _are_known(directory: Directory, blobs: BlobStore, *, empty: bool) -> bool:
    """Whether there are records of most files; `empty` is what is true where there are none."""
    found: set[BlobId] = set()
    async for blob in blobs.list():
        found.add(blob)
        if len(found) == MAX_LOOKED_AT:
            break
    return empty if not found else 2 * len(await without_record(directory, found)) <= len(found)


async def without_record(directory: Directory, blobs: set[BlobId]) -> set[BlobId]:
    """Those of some files that no record names. Raises `StoreError`."""
    left, after = set(blobs), ""
    while left:
        page = await directory.scan(UPLOADS, "", after=after, limit=PAGE)
        left -= {BlobId(key.rpartition("/")[2]) for key, _record in page}
        if len(page) < PAGE:
            break
        after = page[-1][0]
    return left


def advice(settings: Settings) -> str:
    """What an operator is told whose files are another's."""
    if settings.s3_bucket:
        under = f" under {settings.s3_prefix}" if settings.s3_prefix else ""
        where = f"the bucket {settings.s3_bucket}{under}"
        anew = "a new relay needs an s3_prefix of its own"
    else:
        where, anew = str(settings.blob_dir), "a new relay needs a folder without files: move it away"
    records = "redis_url" if settings.redis_url else "data_dir"
    return (
        f"the sealed files in {where} belong to other records than those that {records} leads to, and none "
        f"was touched; correct {records}, or restore the records that belong to them; {anew}"
    )
