"""How many bytes of sealed files each portal has: counted once, when a quota first asks, then kept up.

What counts is the size that an upload announces, from its beginning to its erasure: so uploads at once cannot
outrun the quota.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Awaitable, Callable
from typing import Final

from relay.core.uploads import UploadRecord
from relay.hub import spaces
from relay.store.interface import Directory
from relay.wire.ids import EngagementId, PortalId

_PAGE: Final = 256
Tell = Callable[[PortalId, int], None]
PortalOf = Callable[[EngagementId], Awaitable[PortalId | None]]


class StoredBytes:
    """Counts. Whoever changes uploads does so under a lock of theirs, and tells."""

    def __init__(self, directory: Directory, portal_of: PortalOf, tell: Tell) -> None:
        self._directory = directory
        self._portal_of = portal_of
        self._tell = tell
        self._totals: Counter[PortalId] | None = None

    async def of(self, portal: PortalId) -> int:
        """A portal's bytes."""
        if self._totals is None:
            self._totals = await self._count()
        return self._totals[portal]

    async def added(self, record: UploadRecord) -> None:
        """An upload has begun."""
        await self._change(record, record.size)

    async def removed(self, record: UploadRecord) -> None:
        """An upload is gone."""
        await self._change(record, -record.size)

    def heard(self, portal: PortalId, size: int) -> None:
        """Another node has taken or erased so many bytes."""
        if self._totals is not None:
            self._totals[portal] += size

    def forget(self) -> None:
        """News may have been missed: count anew when a quota asks."""
        self._totals = None

    async def _change(self, record: UploadRecord, size: int) -> None:
        portal = await self._portal_of(record.engagement)
        if portal is not None:
            self._tell(portal, size)
            self.heard(portal, size)

    async def _count(self) -> Counter[PortalId]:
        totals: Counter[PortalId] = Counter()
        after = ""
        while page := await self._directory.scan(spaces.UPLOADS, "", after=after, limit=_PAGE):
            for record in [UploadRecord.parse(value) for _, value in page]:
                portal = await self._portal_of(record.engagement)
                if portal is not None:
                    totals[portal] += record.size
            after = page[-1][0]
        return totals
