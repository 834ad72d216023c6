"""Erasing bytes that no record names: what a crash between a record's end and its blob's left behind."""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import Callable
from typing import Final, NamedTuple

from relay.blobs import BlobsOfAnother, BlobStore
from relay.errors import RelayError
from relay.http.blob_owner import check_owner, without_record
from relay.http.logs import log
from relay.hub import Hub
from relay.wire.ids import BlobId

SWEEP_SECONDS: Final = 3600.0  # such bytes are rare and cost only room
KEPT_SECONDS: Final = 24 * 3600.0
"""How long a file has to be without a record, at every look: if the records were set back to an old copy, by
mistake or to practise, a person has that long to notice.
"""
MAX_LOOKED_FOR: Final = 10_000  # blobs whose records are looked for in one pass: about 2 MB
MAX_WAITING: Final = 100_000  # blobs without a record that are known at once; others come later
_OTHERWISE: Final = "the sealed files belong to other records: none is erased; a new start says more"


class Swept(NamedTuple):
    """How many files went, and how many have no record and will."""

    erased: int
    waiting: int


class FileSweep:
    """Erases blobs that have had no record for `KEPT_SECONDS` by `clock`, which is steady."""

    def __init__(self, hub: Hub, blobs: BlobStore, *, clock: Callable[[], float] = time.monotonic) -> None:
        self._hub = hub
        self._blobs = blobs
        self._clock = clock
        self._since: dict[BlobId, float] = {}

    async def run(self) -> Swept:
        """Sweep once; raises `StoreError`, and `BlobsOfAnother` if the files are not these records'.

        A record is there before its blob's first byte: one not found after its blob was listed is gone.
        """
        await check_owner(self._hub.directory, self._blobs, _OTHERWISE)
        found: dict[BlobId, float] = {}
        erased = 0
        wanted: set[BlobId] = set()
        async for blob in self._blobs.list():
            wanted.add(blob)
            if len(wanted) >= MAX_LOOKED_FOR:
                erased += await self._look(wanted, found)
                wanted = set()
        erased += await self._look(wanted, found)
        self._since = found
        return Swept(erased, len(found))

    async def _look(self, wanted: set[BlobId], found: dict[BlobId, float]) -> int:
        """Erase those whose time is over, and add to `found` since when the others have no record."""
        now, erased = self._clock(), 0
        for blob in await without_record(self._hub.directory, wanted):
            since = self._since.get(blob, now)
            if now - since >= KEPT_SECONDS:
                await self._blobs.delete(blob)
                erased += 1
            elif len(found) < MAX_WAITING:
                found[blob] = since
        return erased


async def sweep_forever(hub: Hub, blobs: BlobStore) -> None:
    """Sweep at the start and then every hour, until cancelled."""
    sweep = FileSweep(hub, blobs)
    while True:
        try:
            swept = await sweep.run()
            log(logging.INFO, "swept", count=swept.erased)
            if swept.waiting:
                log(logging.WARNING, "files without a record are erased after a day", count=swept.waiting)
        except BlobsOfAnother:
            log(logging.ERROR, _OTHERWISE)
        except RelayError as error:
            log(logging.WARNING, "sweep failed", error=error)
        await asyncio.sleep(SWEEP_SECONDS)
