"""A portal's engagements in the order of their age, from an index beside the records."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from typing import Final

from relay.core.engagement_pages import (
    MAX_LOOKED_AT,
    Page,
    Query,
    engagement_of,
    index_suffix,
    make_cursor,
    read_cursor,
)
from relay.core.engagements import EngagementRecord
from relay.hub import notes, spaces
from relay.store.interface import Directory
from relay.wire.ids import EngagementId, PortalId

_PAGE: Final = 256
_INDEXED: Final = "engagement_index"  # that the engagements from before there was an index are in it

Load = Callable[[EngagementId], Awaitable[EngagementRecord | None]]


async def enter(directory: Directory, record: EngagementRecord) -> None:
    """Put an engagement into its portal's list."""
    await directory.put(spaces.LISTS, spaces.list_key(record.portal, index_suffix(record)), b"")


async def mark(directory: Directory, record: EngagementRecord) -> None:
    """Note whether an engagement counts as active."""
    key = spaces.active_key(record.portal, record.id)
    if record.ended:
        await directory.delete(spaces.ACTIVE, key)
    else:
        await directory.put(spaces.ACTIVE, key, b"")


async def count_active(directory: Directory, portal: PortalId) -> int:
    """How many active engagements a portal has."""
    return await directory.count(spaces.ACTIVE, spaces.active_key(portal))


async def complete(directory: Directory) -> None:
    """Enter the engagements that an earlier version made; once."""
    if await directory.get(spaces.MARKS, _INDEXED) is not None:
        return
    after = ""
    while page := await directory.scan(spaces.ENGAGEMENTS, "", after=after, limit=_PAGE):
        records = [EngagementRecord.parse(value) for _, value in page]
        await directory.put_many(
            spaces.LISTS, {spaces.list_key(one.portal, index_suffix(one)): b"" for one in records}
        )
        active = [one for one in records if not one.ended]
        await directory.put_many(
            spaces.ACTIVE, {spaces.active_key(one.portal, one.id): b"" for one in active}
        )
        after = page[-1][0]
    await directory.put(spaces.MARKS, _INDEXED, b"")


async def read_page(
    directory: Directory, load: Load, portal: PortalId, query: Query, *, cursor: str | None, limit: int
) -> Page:
    """The next engagements of a list, at most `limit`; raises `InvalidRequest` on another list's cursor."""
    if query.user is None:
        space, prefix = spaces.LISTS, spaces.list_key(portal)
    else:
        space, prefix = spaces.ROSTERS, spaces.roster_key(portal, query.user)
    suffix = read_cursor(query, cursor) if cursor is not None else ""
    found: list[EngagementRecord] = []
    looked_at = 0
    while len(found) < limit and looked_at < MAX_LOOKED_AT:
        start = prefix + suffix if suffix else ""
        page = await directory.scan(space, prefix, after=start, limit=limit - len(found))
        if not page:
            return Page(found, None)
        for key, _ in page:
            suffix = key.removeprefix(prefix)
            record = await load(engagement_of(suffix))
            if record is not None and record.portal == portal and query.takes(record):
                found.append(record)
        looked_at += len(page)
    return Page(found, make_cursor(query, suffix))


async def leave_note(directory: Directory, engagement: EngagementId) -> None:
    """Let the relay that runs know that an engagement is different."""
    await notes.leave(directory, notes.ENGAGEMENT, engagement)
