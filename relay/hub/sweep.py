"""The sweep: what is over its age goes; what an end left unfinished is finished. Safe to run at any time."""

from __future__ import annotations

import asyncio
import logging
from collections import Counter
from collections.abc import Sequence
from typing import Final, NamedTuple

from relay.core.engagements import EngagementRecord
from relay.core.operations import EndStream
from relay.core.retention import expire
from relay.core.uploads import is_due
from relay.errors import RelayError
from relay.hub.archives import Archives
from relay.hub.engagements import Engagements
from relay.hub.lanes import CommitLanes
from relay.hub.settings import EraseBlob
from relay.hub.uploads import Uploads
from relay.store.interface import StreamStore
from relay.wire.ids import BlobId, EngagementId

_log: Final = logging.getLogger("relay.hub")


class DueBlob(NamedTuple):
    """A blob whose time is over."""

    engagement: EngagementId
    blob: BlobId


class Sweep:
    """Erases. `erase_blob` removes a blob's bytes; without it due blobs are only named."""

    def __init__(
        self,
        streams: StreamStore,
        commits: CommitLanes,
        engagements: Engagements,
        uploads: Uploads,
        archives: Archives,
        erase_blob: EraseBlob | None,
    ) -> None:
        self._streams = streams
        self._commits = commits
        self._engagements = engagements
        self._uploads = uploads
        self._archives = archives
        self._erase_blob = erase_blob

    async def run(self, now_ms: int) -> int:
        """Sweep everything once; how many blobs went.

        An engagement that cannot be swept keeps no other one waiting: the next time it is tried again.
        """
        after = ""
        erased = engagements = 0
        faults: Counter[str] = Counter()
        while page := await self._engagements.page(after):
            erased += sum(await asyncio.gather(*[self._try(record, now_ms, faults) for record in page]))
            engagements += len(page)
            after = page[-1].id
        for code, count in faults.items():
            _log.warning("sweep incomplete", extra={"code": code, "count": count})
        _log.info("sweep done", extra={"engagements": engagements, "blobs": erased})
        return erased

    async def _try(self, record: EngagementRecord, now_ms: int, faults: Counter[str]) -> int:
        try:
            return await self.sweep(record, now_ms)
        except RelayError as error:
            faults[str(error.code)] += 1
            return 0

    async def sweep(self, record: EngagementRecord, now_ms: int) -> int:
        """Sweep one engagement; how many of its blobs went."""
        if not record.ended:
            await self._commits.submit(expire(record.id, now_ms, record.retention_hours))
        elif await self._streams.view(record.id) is not None:
            await self._archives.erase_engagement(record.id)
            await self._commits.submit(EndStream(record.id))
        due = await self.due_blobs(record, now_ms)
        if self._erase_blob is None:
            return 0
        for engagement, blob in due:
            await self._erase_blob(blob)
            await self._uploads.forget(engagement, blob)
        return len(due)

    async def due_blobs(self, record: EngagementRecord, now_ms: int) -> Sequence[DueBlob]:
        """The blobs of an engagement whose time is over."""
        due: list[DueBlob] = []
        ended, hours = bool(record.ended), record.retention_hours
        after = ""
        while page := await self._uploads.of_engagement(record.id, after):
            due.extend(
                DueBlob(record.id, upload.blob)
                for upload in page
                if is_due(upload, now_ms=now_ms, ended=ended, retention_hours=hours)
            )
            after = page[-1].blob
        return due
