"""How long things are kept (PROTOCOL 4): times here are Unix milliseconds, ages whole hours."""

from __future__ import annotations

from typing import Final

from relay.core.counters import WINDOW_MS
from relay.core.operations import ExpireEntries
from relay.errors import InvalidRequest
from relay.wire.ids import EngagementId
from relay.wire.limits import DEFAULT_RETENTION_HOURS, MAX_RETENTION_HOURS

HOUR_MS: Final = 3600 * 1000


def check_retention_hours(hours: int | None) -> int:
    """The policy's age in hours, the default for None; raises `InvalidRequest` outside 1 hour to 180 days."""
    if hours is None:
        return DEFAULT_RETENTION_HOURS
    if not 1 <= hours <= MAX_RETENTION_HOURS:
        raise InvalidRequest("retention is from one hour to 180 days")
    return hours


def expires_before(now_ms: int, retention_hours: int) -> int:
    """Entries appended before this time are due: their age, rounded up to the hour, is over.

    All of one hour become due together, so that the moment of an erasure tells no moment of writing.
    """
    return (now_ms // HOUR_MS - retention_hours) * HOUR_MS


def expire(stream: EngagementId, now_ms: int, retention_hours: int) -> ExpireEntries:
    """The erasure that is due in a stream now."""
    return ExpireEntries(stream, expires_before(now_ms, retention_hours), now_ms - WINDOW_MS)
