"""What the relay's answers about our entries mean, and when to try again."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Final

from client_sdk.delivery import Action, Outbox
from client_sdk.engine import amending, journal
from client_sdk.engine.context import Context
from client_sdk.engine.standing import Work
from relay.wire import EntryKind
from relay.wire import frames as fr
from relay.wire.errors import ErrorCode

FIRST_RETRY_SECONDS: Final = 1.0
LAST_RETRY_SECONDS: Final = 30.0
_MOST_DOUBLINGS: Final = 5
NEVER_SENT: Final = (
    "A message of yours was refused by the relay: nobody else has it, and it will not be sent. "
    "Say it again if you can."
)


@dataclass(slots=True)
class Retry:
    """When to send again what the relay could not take just now; times are monotonic."""

    at: float = 0.0
    failures: int = 0

    def later(self, now: float) -> None:
        """It failed: wait, longer each time."""
        delay = min(LAST_RETRY_SECONDS, FIRST_RETRY_SECONDS * 2 ** min(self.failures, _MOST_DOUBLINGS))
        self.failures += 1
        self.at = max(self.at, now + delay)

    def succeeded(self) -> None:
        """It worked."""
        self.at, self.failures = 0.0, 0

    def wait(self, now: float) -> float:
        """Seconds until it may be tried."""
        return max(0.0, self.at - now)


_NOT_YET: Final = (ErrorCode.NOT_MEMBER, ErrorCode.NOT_ON_ROSTER, ErrorCode.TOO_MANY_DEVICES)


def refused(box: Outbox, frame: fr.Refused, *, repairs: bool = False) -> tuple[Outbox, Action]:
    """The outbox after a refusal, and what to do; raises `SecurityAlarm`.

    A relay that was set back (`repairs`) may take a commit once it has got back what it lost besides.
    """
    code = ErrorCode(frame.code) if frame.code in set(ErrorCode) else ErrorCode.INTERNAL
    if repairs and code in _NOT_YET:
        code = ErrorCode.INTERNAL
    in_flight = box.in_flight
    about = next((item for item in in_flight if item.counter == frame.counter), None)
    if code is ErrorCode.STALE and about is not None and frame.last_commit <= about.after_commit:
        # No later commit, no reason to believe that it was not stored: encrypted anew it might be said twice.
        code = ErrorCode.INTERNAL
    box, action = box.refused(frame.counter, code)
    if action is Action.SEND_AGAIN and about is not None and about is in_flight[0]:
        # Nothing of ours stands before it, so sending it at once again would be refused at once again.
        action = Action.WAIT
    return box, action


def withdraw(work: Work, box: Outbox, code: str, context: Context) -> None:
    """Store what a final refusal leaves; a message that can never be sent leaves a notice."""
    messages = {item.id for item in work.box.items if item.kind is EntryKind.MESSAGE}
    gone = messages - {item.id for item in box.items}
    work.box = box
    pending = work.pending
    if pending is not None and all(item.id != pending.id for item in box.items):
        work.set_pending(None)
    for item_id in gone:
        work.drop_waiting(item_id)
        amending.withdraw(work, item_id)
        journal.keep_notice(work, journal.GAP, NEVER_SENT, work.record.cursor, context.new_id(), code=code)


def without(box: Outbox, item_id: bytes) -> Outbox:
    """The outbox without a commit that is not going to happen."""
    return replace(box, items=tuple(item for item in box.items if item.id != item_id))
