"""Engagements: the portal API's service, and what the hub needs to know of them."""

from __future__ import annotations

import asyncio
import base64
from collections.abc import Callable, Iterable, Sequence
from typing import Final

from relay.core import engagements as rules
from relay.core.engagements import EngagementRecord
from relay.core.operations import CreateStream
from relay.errors import InvalidRequest, NotFound, RecordConflict, StoreUnavailable
from relay.hub import spaces
from relay.hub.cache import Cache
from relay.hub.commits import CommitQueue
from relay.store.interface import ABSENT, Directory
from relay.wire.frames import Participant
from relay.wire.ids import EngagementId, PortalId, UserId
from relay.wire.limits import INCARNATION_BYTES, MAX_ENGAGEMENTS_PER_USER

_CACHED: Final = 16_384
_ATTEMPTS: Final = 16
_ID_BYTES: Final = 16
_PAGE: Final = 256
# A user's past engagements are looked through no further than this.
_MOST_LISTED: Final = 4_096

Changed = Callable[[EngagementRecord, EngagementRecord], None]


class Engagements:
    """Creates, reads, changes and ends engagements. Another portal's do not exist (`NotFound`)."""

    def __init__(
        self,
        directory: Directory,
        commits: CommitQueue,
        *,
        clock: Callable[[], float],
        rng: Callable[[int], bytes],
        changed: Changed,
    ) -> None:
        self._directory = directory
        self._commits = commits
        self._clock = clock
        self._rng = rng
        self._changed = changed
        self._cache: Cache[EngagementId, EngagementRecord] = Cache(_CACHED)
        # Record and rosters are several writes: one change after the other keeps them together.
        self._changing = asyncio.Lock()

    async def create(
        self, portal: PortalId, participants: Sequence[Participant], *, retention_hours: int | None = None
    ) -> EngagementRecord:
        """A new active engagement. Raises `InvalidRequest` or `StoreError`."""
        random = base64.urlsafe_b64encode(self._rng(_ID_BYTES)).rstrip(b"=").decode("ascii")
        engagement = EngagementId(f"eng_{random}")
        record = rules.new_engagement(
            engagement, portal, participants, now=int(self._clock()), retention_hours=retention_hours
        )
        await self._check_room_for(portal, record.users)
        # A stream without engagement is out of everyone's reach; an engagement without stream would not work.
        await self._commits.submit(CreateStream(engagement, self._rng(INCARNATION_BYTES)))
        await self._directory.put_many(
            spaces.ROSTERS, {spaces.roster_key(portal, user, engagement): b"" for user in record.users}
        )
        await self._directory.put(spaces.ENGAGEMENTS, engagement, record.serialize(), expect=ABSENT)
        self._cache.put(engagement, record)
        self._changed(record, record)
        return record

    async def read(self, portal: PortalId, engagement: EngagementId) -> EngagementRecord:
        """One of the portal's engagements; raises `NotFound`."""
        record = await self.load(engagement)
        if record is None or record.portal != portal:
            raise NotFound("no such engagement")
        return record

    async def set_participants(
        self, portal: PortalId, engagement: EngagementId, participants: Sequence[Participant]
    ) -> EngagementRecord:
        """Another roster. Who is gone from it is cut off; raises `NotFound`, `Ended` or `InvalidRequest`."""
        checked = rules.check_participants(participants)
        async with self._changing:
            before = await self.read(portal, engagement)
            new_users = {participant.user for participant in checked} - before.users
            await self._check_room_for(portal, new_users)
            await self._directory.put_many(
                spaces.ROSTERS, {spaces.roster_key(portal, user, engagement): b"" for user in new_users}
            )
            return await self._change(portal, engagement, lambda r: rules.with_participants(r, checked))

    async def end(self, portal: PortalId, engagement: EngagementId) -> EngagementRecord:
        """End it for good: from now on nobody reaches its stream. Raises `NotFound`."""
        now = int(self._clock())
        async with self._changing:
            return await self._change(portal, engagement, lambda record: rules.as_ended(record, now))

    async def load(self, engagement: EngagementId) -> EngagementRecord | None:
        """An engagement of any portal."""

        async def load() -> EngagementRecord | None:
            record = await self._directory.get(spaces.ENGAGEMENTS, engagement)
            return EngagementRecord.parse(record.value) if record else None

        return await self._cache.read(engagement, load)

    async def reread(self, engagement: EngagementId) -> None:
        """Take over what another process has changed of an engagement."""
        before = await self.load(engagement)
        self._cache.drop(engagement)
        after = await self.load(engagement)
        if before is not None and after is not None:
            self._changed(before, after)

    async def load_for_user(
        self, engagement: EngagementId, portal: PortalId, user: UserId
    ) -> EngagementRecord:
        """An engagement that has this user on its roster; raises `NotFound`."""
        record = await self.load(engagement)
        if record is None or record.portal != portal or user not in record.users:
            raise NotFound("no such engagement")
        return record

    async def of_user(self, portal: PortalId, user: UserId) -> list[EngagementRecord]:
        """A user's engagements: active ones first, the newest first; at most 256."""
        prefix = spaces.roster_key(portal, user)
        found: list[EngagementRecord] = []
        after = ""
        while len(found) < _MOST_LISTED:
            page = await self._directory.scan(spaces.ROSTERS, prefix, after=after, limit=_PAGE)
            for key, _ in page:
                record = await self.load(EngagementId(key.removeprefix(prefix)))
                if record is not None and user in record.users:
                    found.append(record)
            if len(page) < _PAGE:
                break
            after = page[-1][0]
        found.sort(key=lambda record: (record.ended != 0, -record.created))
        return found[:MAX_ENGAGEMENTS_PER_USER]

    async def page(self, after: str) -> list[EngagementRecord]:
        """The engagements of all portals in the order of their ids, some at a time."""
        records = await self._directory.scan(spaces.ENGAGEMENTS, "", after=after, limit=_PAGE)
        return [EngagementRecord.parse(value) for _, value in records]

    async def _check_room_for(self, portal: PortalId, users: Iterable[UserId]) -> None:
        for user in users:
            active = [record for record in await self.of_user(portal, user) if not record.ended]
            if len(active) >= MAX_ENGAGEMENTS_PER_USER:
                raise InvalidRequest(f"a participant has {MAX_ENGAGEMENTS_PER_USER} active engagements")

    async def _change(
        self,
        portal: PortalId,
        engagement: EngagementId,
        change: Callable[[EngagementRecord], EngagementRecord],
    ) -> EngagementRecord:
        for _ in range(_ATTEMPTS):
            stored = await self._directory.get(spaces.ENGAGEMENTS, engagement)
            before = EngagementRecord.parse(stored.value) if stored else None
            if stored is None or before is None or before.portal != portal:
                raise NotFound("no such engagement")
            after = change(before)
            if after == before:
                return after
            try:
                await self._directory.put(
                    spaces.ENGAGEMENTS, engagement, after.serialize(), expect=stored.version
                )
            except RecordConflict:
                continue
            self._cache.put(engagement, after)
            for user in before.users - after.users:
                await self._directory.delete(spaces.ROSTERS, spaces.roster_key(portal, user, engagement))
            self._changed(before, after)
            return after
        raise StoreUnavailable("too many changes of one engagement at once")
