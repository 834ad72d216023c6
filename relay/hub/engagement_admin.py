"""Engagements for the operator: of every portal, beside a relay that runs or without one."""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable
from typing import Final

from relay.core import engagements as rules
from relay.core.engagement_pages import MAX_PAGE, Query
from relay.core.engagements import EngagementRecord
from relay.errors import NotFound, RecordConflict, StoreUnavailable
from relay.hub import engagement_lists as lists
from relay.hub import spaces
from relay.store.interface import Directory
from relay.wire.ids import EngagementId, PortalId

_ATTEMPTS: Final = 16


class EngagementAdmin:
    """Lists, shows and ends engagements."""

    def __init__(self, directory: Directory, *, clock: Callable[[], float]) -> None:
        self._directory = directory
        self._clock = clock

    async def start(self) -> None:
        """Bring the lists up to date; raises `StoreError`."""
        await lists.complete(self._directory)

    async def all(self, portal: PortalId, query: Query) -> AsyncIterator[EngagementRecord]:
        """A portal's engagements, the oldest first."""
        cursor: str | None = None
        while True:
            page = await lists.read_page(
                self._directory, self._load, portal, query, cursor=cursor, limit=MAX_PAGE
            )
            for record in page.engagements:
                yield record
            cursor = page.next
            if cursor is None:
                return

    async def read(self, engagement: EngagementId) -> EngagementRecord:
        """An engagement; raises `NotFound`."""
        record = await self._load(engagement)
        if record is None:
            raise NotFound("there is no such engagement")
        return record

    async def end(self, engagement: EngagementId) -> EngagementRecord:
        """End it for good; a relay that runs erases it within seconds, another when it starts.

        Raises `NotFound`.
        """
        for _ in range(_ATTEMPTS):
            stored = await self._directory.get(spaces.ENGAGEMENTS, engagement)
            if stored is None:
                raise NotFound("there is no such engagement")
            after = rules.as_ended(EngagementRecord.parse(stored.value), int(self._clock()))
            await lists.mark(self._directory, after)
            try:
                await self._directory.put(
                    spaces.ENGAGEMENTS, engagement, after.serialize(), expect=stored.version
                )
            except RecordConflict:
                continue
            await lists.leave_note(self._directory, engagement)
            return after
        raise StoreUnavailable("too many changes of one engagement at once")

    async def _load(self, engagement: EngagementId) -> EngagementRecord | None:
        stored = await self._directory.get(spaces.ENGAGEMENTS, engagement)
        return EngagementRecord.parse(stored.value) if stored else None
