"""Engagements: who is on the roster with which role, for how long entries are kept, and the end."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Final

from relay.core.records import pack_record, unpack_record
from relay.core.retention import check_retention_hours
from relay.errors import Ended, InvalidRequest
from relay.wire import fields as f
from relay.wire.frames import Participant
from relay.wire.ids import (
    EngagementId,
    PortalId,
    UserId,
    parse_engagement_id,
    parse_portal_id,
    parse_role,
    parse_user_id,
)
from relay.wire.limits import MAX_PARTICIPANTS

ACTIVE: Final = "active"
ENDED: Final = "ended"
_VERSION: Final = 1


@dataclass(frozen=True, slots=True, kw_only=True)
class EngagementRecord:
    """One engagement of one portal. Times in Unix seconds; `ended` is 0 while it is active."""

    id: EngagementId
    portal: PortalId
    created: int
    ended: int = 0
    retention_hours: int
    participants: tuple[Participant, ...]

    @property
    def status(self) -> str:
        return ENDED if self.ended else ACTIVE

    @property
    def users(self) -> frozenset[UserId]:
        return frozenset(participant.user for participant in self.participants)

    def serialize(self) -> bytes:
        """The record as bytes."""
        fields = (self.id, self.portal, self.created, self.ended, self.retention_hours, self.participants)
        return pack_record(_VERSION, fields)

    @classmethod
    def parse(cls, value: bytes) -> EngagementRecord:
        """The record in these bytes; raises `StoreCorrupt`."""
        engagement, portal, created, ended, hours, participants = unpack_record(value, _VERSION, _FIELDS)
        return cls(
            id=engagement,
            portal=portal,
            created=created,
            ended=ended,
            retention_hours=hours,
            participants=participants,
        )


_participant: Final = f.record(Participant, parse_user_id, parse_role)
_FIELDS: Final = (
    parse_engagement_id,
    parse_portal_id,
    f.positive,
    f.uint,
    f.positive,
    f.many(_participant, least=1, most=MAX_PARTICIPANTS),
)


def new_engagement(
    engagement: EngagementId,
    portal: PortalId,
    participants: Sequence[Participant],
    *,
    now: int,
    retention_hours: int | None = None,
) -> EngagementRecord:
    """An active engagement; raises `InvalidRequest` on a roster or a retention that may not be."""
    return EngagementRecord(
        id=engagement,
        portal=portal,
        created=now,
        retention_hours=check_retention_hours(retention_hours),
        participants=check_participants(participants),
    )


def check_participants(participants: Sequence[Participant]) -> tuple[Participant, ...]:
    """A roster: 1 to 32 people, each once; raises `InvalidRequest`."""
    if not 1 <= len(participants) <= MAX_PARTICIPANTS:
        raise InvalidRequest(f"an engagement has 1 to {MAX_PARTICIPANTS} participants")
    if len({participant.user for participant in participants}) != len(participants):
        raise InvalidRequest("a user is named twice")
    return tuple(participants)


def with_participants(record: EngagementRecord, participants: Sequence[Participant]) -> EngagementRecord:
    """The engagement with another roster; raises `Ended` or `InvalidRequest`."""
    if record.ended:
        raise Ended("the engagement has ended")
    return replace(record, participants=check_participants(participants))


def as_ended(record: EngagementRecord, now: int) -> EngagementRecord:
    """The engagement, ended; one that has ended stays as it is."""
    return record if record.ended else replace(record, ended=max(now, 1))
