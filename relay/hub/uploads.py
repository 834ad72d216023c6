"""Uploads in the Directory: begun, finished, named by an entry, due to go."""

from __future__ import annotations

import asyncio
import base64
from collections.abc import Callable, Sequence
from typing import Final

from relay.core import uploads as rules
from relay.core.portals import PortalRecord
from relay.core.uploads import UploadRecord
from relay.errors import NotFound, RateLimited, RecordConflict, StoreUnavailable
from relay.hub import spaces
from relay.hub.stored_bytes import PortalOf, StoredBytes, Tell
from relay.store.interface import ABSENT, Directory
from relay.wire.ids import BlobId, DeviceId, EngagementId, PortalId

_ATTEMPTS: Final = 16
_ID_BYTES: Final = 16
_PAGE: Final = 256
# One conversation's attachments at the relay at one time.
MAX_UPLOADS: Final = 4_096


class Uploads:
    """The records of blobs; their bytes are the blob store's."""

    def __init__(
        self,
        directory: Directory,
        portal_of: PortalOf,
        *,
        clock: Callable[[], float],
        rng: Callable[[int], bytes],
        tell: Tell,
    ) -> None:
        self._directory = directory
        self._clock = clock
        self._rng = rng
        self._stored = StoredBytes(directory, portal_of, tell)
        self._changing = asyncio.Lock()  # an upload's record and its portal's count change together

    # For the HTTP side

    async def begin(
        self,
        engagement: EngagementId,
        size: int,
        *,
        owner: DeviceId | None = None,
        portal: PortalRecord | None = None,
    ) -> UploadRecord:
        """A new upload of a device; raises `InvalidRequest`, `RateLimited` or `QuotaExceeded`."""
        if await self._directory.count(spaces.UPLOADS, spaces.upload_key(engagement)) >= MAX_UPLOADS:
            raise RateLimited("too many attachments are held")
        blob = BlobId(base64.urlsafe_b64encode(self._rng(_ID_BYTES)).rstrip(b"=").decode("ascii"))
        record = rules.new_upload(blob, engagement, size, int(self._clock() * 1000), owner)
        key = spaces.upload_key(engagement, blob)
        async with self._changing:
            if portal is not None and portal.quotas.stored_bytes:
                used = await self._stored.of(portal.id)
                portal.quotas.check("stored_bytes", used=used, more=size)
            await self._directory.put(spaces.UPLOADS, key, record.serialize(), expect=ABSENT)
            await self._stored.added(record)
        return record

    async def stored_bytes(self, portal: PortalId) -> int:
        """What a portal's sealed files take, as they were announced."""
        async with self._changing:
            return await self._stored.of(portal)

    async def read(self, engagement: EngagementId, blob: BlobId) -> UploadRecord:
        """An upload of this engagement; raises `NotFound`."""
        record = await self._directory.get(spaces.UPLOADS, spaces.upload_key(engagement, blob))
        if record is None:
            raise NotFound("no such blob")
        return UploadRecord.parse(record.value)

    async def finish(self, engagement: EngagementId, blob: BlobId) -> UploadRecord:
        """Note that all bytes are stored; raises `NotFound`."""
        return await self._change(engagement, blob, rules.finish_upload)

    async def forget(self, engagement: EngagementId, blob: BlobId) -> None:
        """Remove the record of a blob whose bytes are erased."""
        key = spaces.upload_key(engagement, blob)
        async with self._changing:
            stored = await self._directory.get(spaces.UPLOADS, key)
            await self._directory.delete(spaces.UPLOADS, key)
            if stored is not None:
                await self._stored.removed(UploadRecord.parse(stored.value))

    async def terminate(
        self, engagement: EngagementId, blob: BlobId, device: DeviceId, *, retracted: bool = False
    ) -> None:
        """Remove the record of an upload that its own device gives up or takes back, before its bytes.

        Raises `NotFound`, for another device's too, or `UploadNamed`.
        """
        key = spaces.upload_key(engagement, blob)
        async with self._changing:
            stored = await self._directory.get(spaces.UPLOADS, key)
            if stored is None:
                raise NotFound("no such blob")
            record = UploadRecord.parse(stored.value)
            rules.check_terminable(record, device, retracted=retracted)
            await self._directory.delete(spaces.UPLOADS, key, expect=stored.version)
            await self._stored.removed(record)

    # For other nodes

    def heard(self, portal: PortalId, size: int) -> None:
        """Another node has taken or erased so many bytes of a portal's."""
        self._stored.heard(portal, size)

    def missed(self) -> None:
        """News of other nodes may have been missed."""
        self._stored.forget()

    # For appends

    async def claim(self, engagement: EngagementId, blobs: Sequence[BlobId], now_ms: int) -> bool:
        """Whether all are finished uploads of this engagement; then they are kept from now on."""
        try:
            for blob in blobs:
                if not (await self.read(engagement, blob)).finished:
                    return False
            for blob in blobs:
                await self._change(engagement, blob, lambda record: rules.claim_upload(record, now_ms))
        except NotFound:
            return False
        return True

    # For the sweep

    async def of_engagement(self, engagement: EngagementId, after: str = "") -> list[UploadRecord]:
        """The uploads of an engagement, some at a time: `after` is the last blob id of those before."""
        prefix = spaces.upload_key(engagement)
        start = prefix + after if after else ""
        records = await self._directory.scan(spaces.UPLOADS, prefix, after=start, limit=_PAGE)
        return [UploadRecord.parse(value) for _, value in records]

    async def _change(
        self, engagement: EngagementId, blob: BlobId, change: Callable[[UploadRecord], UploadRecord]
    ) -> UploadRecord:
        key = spaces.upload_key(engagement, blob)
        for _ in range(_ATTEMPTS):
            stored = await self._directory.get(spaces.UPLOADS, key)
            if stored is None:
                raise NotFound("no such blob")
            before = UploadRecord.parse(stored.value)
            after = change(before)
            if after == before:
                return after
            try:
                await self._directory.put(spaces.UPLOADS, key, after.serialize(), expect=stored.version)
            except RecordConflict:
                continue
            return after
        raise StoreUnavailable("too many changes of one upload at once")
