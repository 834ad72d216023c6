"""Erasing bytes that no record names: what a crash between a record's end and its blob's left behind."""

from __future__ import annotations

import asyncio
import logging
from typing import Final

from relay.blobs import BlobStore
from relay.errors import RelayError
from relay.http.logs import log
from relay.hub import Hub
from relay.hub.spaces import UPLOADS
from relay.wire.ids import BlobId

SWEEP_SECONDS: Final = 3600.0  # such bytes are rare and cost only room
MAX_LOOKED_FOR: Final = 10_000  # blobs whose records are looked for in one pass: about 2 MB
_PAGE: Final = 256


async def sweep(hub: Hub, blobs: BlobStore) -> int:
    """Erase every blob without a record; returns how many there were.

    A record is there before its blob's first byte: one not found after its blob was listed is gone.
    """
    count = 0
    wanted: set[BlobId] = set()
    async for blob in blobs.list():
        wanted.add(blob)
        if len(wanted) >= MAX_LOOKED_FOR:
            count += await _erase_unnamed(hub, blobs, wanted)
            wanted = set()
    return count + await _erase_unnamed(hub, blobs, wanted)


async def _erase_unnamed(hub: Hub, blobs: BlobStore, wanted: set[BlobId]) -> int:
    after = ""
    while wanted:
        page = await hub.directory.scan(UPLOADS, "", after=after, limit=_PAGE)
        wanted -= {BlobId(key.rpartition("/")[2]) for key, _record in page}
        if len(page) < _PAGE:
            break
        after = page[-1][0]
    for blob in wanted:
        await blobs.delete(blob)
    return len(wanted)


async def sweep_forever(hub: Hub, blobs: BlobStore) -> None:
    """Sweep at the start and then every hour, until cancelled."""
    while True:
        try:
            log(logging.INFO, "swept", count=await sweep(hub, blobs))
        except RelayError as error:
            log(logging.WARNING, "sweep failed", error=error)
        await asyncio.sleep(SWEEP_SECONDS)
