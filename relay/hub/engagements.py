"""Engagements: the portal API's service, and what the hub needs to know of them."""

from __future__ import annotations

import asyncio
import base64
import contextlib
from collections.abc import Callable, Iterable, Sequence
from typing import Any, Final

from relay.core import engagements as rules
from relay.core.engagement_pages import DEFAULT_PAGE, Page, Query
from relay.core.engagements import EngagementRecord
from relay.core.operations import CreateStream
from relay.core.quotas import NO_QUOTAS, Quotas
from relay.errors import InvalidRequest, NotFound, RecordConflict, StoreUnavailable
from relay.hub import engagement_lists as lists
from relay.hub import spaces
from relay.hub.cache import Cache
from relay.hub.idempotency import Idempotency
from relay.hub.lanes import CommitLanes
from relay.hub.leases import Leases
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
        commits: CommitLanes,
        leases: Leases,
        *,
        clock: Callable[[], float],
        rng: Callable[[int], bytes],
        changed: Changed,
        tell: Changed,
    ) -> None:
        self._directory = directory
        self._commits = commits
        self._clock = clock
        self._rng = rng
        self._leases = leases
        self._changed = changed
        self._tell = tell
        self._cache: Cache[EngagementId, EngagementRecord] = Cache(_CACHED)
        # Record and rosters are several writes: one change after the other keeps them together.
        self._changing = asyncio.Lock()
        self._creating = asyncio.Lock()  # where a quota counts what there is
        self.idempotency = Idempotency(directory, clock=clock)

    async def start(self) -> None:
        """Bring the lists up to date; raises `StoreError`."""
        await lists.complete(self._directory)

    async def create(
        self,
        portal: PortalId,
        participants: Sequence[Participant],
        *,
        retention_hours: int | None = None,
        quotas: Quotas = NO_QUOTAS,
        key: str | None = None,
    ) -> EngagementRecord:
        """A new active engagement, or with `key` the one that this Idempotency-Key made before.

        Raises `InvalidRequest`, `QuotaExceeded`, `IdempotencyKeyReused`, `RateLimited` or `StoreError`.
        """
        random = base64.urlsafe_b64encode(self._rng(_ID_BYTES)).rstrip(b"=").decode("ascii")
        draft = rules.new_engagement(
            EngagementId(f"eng_{random}"),
            portal,
            participants,
            now=int(self._clock()),
            retention_hours=retention_hours,
        )
        if key is None:
            await self._insert(draft, quotas)
            return draft
        return await self.idempotency.create(draft, key, lambda record: self._insert(record, quotas))

    async def _insert(self, record: EngagementRecord, quotas: Quotas) -> None:
        """Make what a record says; nothing, where that was done."""
        if await self.load(record.id) is not None:
            return
        portal, engagement = record.portal, record.id
        async with self._creating if quotas.engagements else contextlib.nullcontext():
            if quotas.engagements:
                used = await self.count_active(portal)
                quotas.check("engagements", used=used)
            await self._check_room_for(portal, record.users)
            # A stream without engagement is out of everyone's reach; an engagement without stream would not
            # work.
            await self._commits.submit(CreateStream(engagement, self._rng(INCARNATION_BYTES)))
            await self._directory.put_many(
                spaces.ROSTERS, {spaces.roster_key(portal, user, engagement): b"" for user in record.users}
            )
            await lists.enter(self._directory, record)
            with contextlib.suppress(RecordConflict):  # another node does the same for a repeated request
                await self._directory.put(spaces.ENGAGEMENTS, engagement, record.serialize(), expect=ABSENT)
            await lists.mark(self._directory, record)
        self._cache.put(engagement, record)
        self._changed(record, record)
        self._tell(record, record)

    async def count_active(self, portal: PortalId) -> int:
        """How many of a portal's engagements are active."""
        return await lists.count_active(self._directory, portal)

    async def list_page(
        self, portal: PortalId, query: Query, *, cursor: str | None = None, limit: int = DEFAULT_PAGE
    ) -> Page:
        """The portal's engagements, a page at a time; raises `InvalidRequest` on a cursor that is none."""
        return await lists.read_page(self._directory, self.load, portal, query, cursor=cursor, limit=limit)

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
        async with self._changing, self._leases.held(engagement):
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
        async with self._changing, self._leases.held(engagement):
            return await self._change(portal, engagement, lambda record: rules.as_ended(record, now))

    async def load(self, engagement: EngagementId) -> EngagementRecord | None:
        """An engagement of any portal."""

        async def load() -> EngagementRecord | None:
            record = await self._directory.get(spaces.ENGAGEMENTS, engagement)
            return EngagementRecord.parse(record.value) if record else None

        return await self._cache.read(engagement, load)

    async def portal_of(self, engagement: EngagementId) -> PortalId | None:
        """Whose an engagement is."""
        record = await self.load(engagement)
        return record.portal if record else None

    @property
    def caches(self) -> tuple[Cache[Any, Any], ...]:
        """What is kept in memory."""
        return (self._cache,)

    async def noted(self, engagement: EngagementId) -> None:
        """Take over what the CLI has changed of an engagement, and tell other nodes."""
        before = await self.load(engagement)
        self._cache.drop(engagement)
        after = await self.load(engagement)
        if before is not None and after is not None:
            self._changed(before, after)
            self._tell(before, after)

    async def reread(self, before: EngagementRecord) -> None:
        """Take over what another node has changed of an engagement."""
        self._cache.drop(before.id)
        after = await self.load(before.id)
        if after is not None:
            self._changed(before, after)

    async def compare(self, known: EngagementRecord) -> None:
        """Take over what another node may have changed without our hearing of it."""
        after = await self.load(known.id)
        if after is not None and after != known:
            self._changed(known, after)

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
            if after.ended:  # first: a crash in between must not count it for ever
                await lists.mark(self._directory, after)
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
            self._tell(before, after)
            return after
        raise StoreUnavailable("too many changes of one engagement at once")
