"""Archives in the Directory: sealed parts that belong to an engagement and a user, and end with it."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Final
from weakref import WeakValueDictionary

from relay.core.archives import ArchiveRecord, Series, add_part, without_series
from relay.core.engagements import EngagementRecord
from relay.errors import Ended, InvalidRequest, NotFound, RecordConflict, StoreUnavailable
from relay.hub import spaces
from relay.hub.session import Session
from relay.store.interface import ABSENT, Directory
from relay.wire import frames as fr
from relay.wire.ids import EngagementId, UserId
from relay.wire.limits import ARCHIVE_ANSWER_BYTES, MAX_ARCHIVE_PARTS_READ

if TYPE_CHECKING:
    from relay.hub.hub import Hub

_ATTEMPTS: Final = 16
_PAGE: Final = 16  # parts read at once: as many of the largest fill a few answers


class Archives:
    """Answers the frames about archives. Every device of the user may read; only members of the stream write:
    whoever has nothing but an access token can neither fill an archive nor erase one."""

    def __init__(self, hub: Hub) -> None:
        self._hub = hub
        self._directory: Directory = hub.directory
        self._locks: WeakValueDictionary[str, asyncio.Lock] = WeakValueDictionary()  # one a user's archive

    async def put(self, session: Session, frame: fr.PutArchive) -> None:
        """Store the next part of a series; the answer says how many there are, taken or not."""
        await self._check_member(session, frame.stream)
        series = Series(frame.series)
        async with self._changing(frame.stream, session.user):
            parts = await self._put(session, frame, series)
        await self._erase_if_ended(frame.stream)
        session.send(fr.ArchiveStored(frame.request, parts))

    async def _put(self, session: Session, frame: fr.PutArchive, series: Series) -> int:
        key = spaces.archive_key(frame.stream, session.user)
        for _ in range(_ATTEMPTS):
            stored = await self._directory.get(spaces.ARCHIVES, key)
            before = ArchiveRecord.parse(stored.value) if stored else ArchiveRecord()
            try:
                after = add_part(before, series, frame.number, len(frame.part))
            except InvalidRequest:
                return before.parts(series)
            part = spaces.archive_part_key(frame.stream, session.user, series, frame.number)
            await self._directory.put(spaces.ARCHIVE_PARTS, part, frame.part)
            try:
                version = stored.version if stored else ABSENT
                await self._directory.put(spaces.ARCHIVES, key, after.serialize(), expect=version)
            except RecordConflict:
                continue
            return frame.number
        raise StoreUnavailable("too many changes of one archive at once")

    async def series(self, session: Session, frame: fr.ListArchive) -> None:
        """The series of the user in an engagement."""
        await self._hub.rooms.enter(frame.stream, session.portal, session.user)
        record = await self._record(frame.stream, session.user)
        series = tuple(fr.ArchiveSeries(name, parts) for name, (parts, _) in record.series.items())
        session.send(fr.ArchiveListed(frame.request, series))

    async def read(self, session: Session, frame: fr.ReadArchive) -> None:
        """Parts of a series in their order, as many as one answer holds."""
        await self._hub.rooms.enter(frame.stream, session.portal, session.user)
        record = await self._record(frame.stream, session.user)
        series = Series(frame.series)
        found: list[bytes] = []
        size, last = 0, record.parts(series)
        while frame.after + len(found) < last and len(found) < MAX_ARCHIVE_PARTS_READ:
            page = await self._page(frame.stream, session.user, series, frame.after + len(found))
            if not page:
                break
            for part in page[: last - frame.after - len(found)]:
                size += len(part)
                if found and (size > ARCHIVE_ANSWER_BYTES or len(found) == MAX_ARCHIVE_PARTS_READ):
                    return session.send(fr.ArchiveParts(frame.request, tuple(found)))
                found.append(part)
        return session.send(fr.ArchiveParts(frame.request, tuple(found)))

    async def erase(self, session: Session, frame: fr.EraseArchive) -> None:
        """Erase a series, or everything that the user keeps in an engagement."""
        await self._check_member(session, frame.stream)
        key = spaces.archive_key(frame.stream, session.user)
        async with self._changing(frame.stream, session.user):
            for series in await self._erase(key, frame.series):
                prefix = spaces.archive_part_key(frame.stream, session.user, series)
                await self._take_all(spaces.ARCHIVE_PARTS, prefix)
        session.send(fr.ArchiveStored(frame.request, 0))

    async def _erase(self, key: str, name: bytes | None) -> list[Series]:
        """Take a series, or all, from the record; which ones."""
        for _ in range(_ATTEMPTS):
            stored = await self._directory.get(spaces.ARCHIVES, key)
            record = ArchiveRecord.parse(stored.value) if stored else ArchiveRecord()
            gone = list(record.series) if name is None else [Series(name)]
            for series in gone:
                record = without_series(record, series)
            try:
                version = stored.version if stored else ABSENT
                await self._directory.put(spaces.ARCHIVES, key, record.serialize(), expect=version)
            except RecordConflict:
                continue  # another device writes at another node
            return gone
        raise StoreUnavailable("too many changes of one archive at once")

    def _changing(self, engagement: EngagementId, user: UserId) -> asyncio.Lock:
        """One change of an archive after the other; those of others go on meanwhile."""
        return self._locks.setdefault(spaces.archive_key(engagement, user), asyncio.Lock())

    async def _erase_if_ended(self, engagement: EngagementId) -> None:
        """Raise `Ended` if that came meanwhile: the engagement may have been erased before the part came."""
        stored = await self._directory.get(spaces.ENGAGEMENTS, engagement)
        if stored is None or EngagementRecord.parse(stored.value).ended:
            await self.erase_engagement(engagement)
            raise Ended("the engagement has ended")

    async def erase_engagement(self, engagement: EngagementId) -> None:
        """The engagement has ended: nobody's archive of it stays."""
        for space in (spaces.ARCHIVES, spaces.ARCHIVE_PARTS):
            await self._take_all(space, f"{engagement}/")

    async def _take_all(self, space: str, prefix: str) -> None:
        while await self._directory.take(space, prefix):
            continue

    async def _record(self, engagement: EngagementId, user: UserId) -> ArchiveRecord:
        stored = await self._directory.get(spaces.ARCHIVES, spaces.archive_key(engagement, user))
        return ArchiveRecord.parse(stored.value) if stored else ArchiveRecord()

    async def _page(self, engagement: EngagementId, user: UserId, series: Series, after: int) -> list[bytes]:
        prefix = spaces.archive_part_key(engagement, user, series)
        start = spaces.archive_part_key(engagement, user, series, after) if after else ""
        found = await self._directory.scan(spaces.ARCHIVE_PARTS, prefix, after=start, limit=_PAGE)
        return [part for _, part in found]

    async def _check_member(self, session: Session, engagement: EngagementId) -> None:
        room = await self._hub.rooms.enter(engagement, session.portal, session.user)
        if session.device not in room.joined:
            raise NotFound("only a member device writes")
