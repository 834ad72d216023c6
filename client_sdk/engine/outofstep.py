"""What to do when this device cannot follow the stream: rejoin and show a gap, or raise the alarm."""

from __future__ import annotations

from typing import Final

from client_sdk.delivery import SecurityAlarm, StreamForked, StreamSkipped
from client_sdk.engine import spaces
from client_sdk.engine.context import Context
from client_sdk.engine.offers import check_offer, read_offer
from client_sdk.engine.records import ConversationRecord, Phase
from client_sdk.engine.standing import Work
from client_sdk.errors import IdentityError
from client_sdk.identity import ConversationView
from client_sdk.mls import MLSError
from relay.wire.limits import DEFAULT_RETENTION_HOURS

REJOIN_AGAIN_SECONDS: Final = 600  # out of step twice within this is no accident: a person has to look

AWAY: Final = "This device was away for longer than messages are kept."
OUT_OF_STEP: Final = "This device could not follow a change that the others followed."


def missed(work: Work, seq: int) -> None:
    """The stream goes on at `seq`, and what is in between is not there any more."""
    if is_away(work.record, work.view, work.now):
        begin_rejoin(work, AWAY)
    else:
        # Nothing that this device has not read can be over yet: it was withheld.
        work.halt(StreamSkipped(expected=work.record.cursor + 1, got=seq))


def is_away(record: ConversationRecord, view: ConversationView | None, now: float) -> bool:
    """Whether this device was away for so long that what it has not read may be erased."""
    return now - record.current_at >= _retention_hours(view) * 3600


def _retention_hours(view: ConversationView | None) -> int:
    hours = None if view is None else view.info.policy.get("retention_hours")
    return hours if isinstance(hours, int) and hours > 0 else DEFAULT_RETENTION_HOURS


def doubt(work: Work, group_info: bytes) -> None:
    """A commit did not open here. It is void; but if others go on from it, the fault is ours."""
    work.tx.put(spaces.DOUBT, work.key, group_info)


def settled(work: Work) -> None:
    """The group is in an epoch that this device shares."""
    work.tx.delete(spaces.DOUBT, work.key)


def lost_step(work: Work, context: Context, seq: int) -> None:
    """Somebody speaks from an epoch that this device does not have.

    That anybody can do, so it counts only if there was a commit that did not open here although what it leads
    to keeps the rules of membership. Then this device rejoins, and twice in a row a person has to look.
    """
    doubted = work.tx.get(spaces.DOUBT, work.key)
    if doubted is None:
        return
    try:
        check_offer(work, context, read_offer(work, context, doubted))
    except SecurityAlarm as alarm:
        work.raise_alarm(alarm)
        return
    except (MLSError, IdentityError):
        return
    if work.now - work.record.rejoined_at < REJOIN_AGAIN_SECONDS:
        work.raise_alarm(StreamForked(seq=seq, own_epoch=work.record.highest_epoch))
    else:
        begin_rejoin(work, OUT_OF_STEP)


def begin_rejoin(work: Work, reason: str) -> None:
    """Give up the group state; the newest commit of the stream brings a new one."""
    work.change(phase=Phase.REJOINING, rejoin_reason=reason)
    work.group = work.view = work.log = None
