"""A person's decisions: whom they verified, whom they let in, and how to go on after an alarm."""

from __future__ import annotations

from typing import Final

from client_sdk.delivery import (
    ClonedDevice,
    EpochRolledBack,
    IdentityChanged,
    RelayContradiction,
    SecurityAlarm,
    StreamForked,
    StreamReplaced,
    StreamRolledBack,
    StreamSkipped,
)
from client_sdk.engine import keeping, trusting
from client_sdk.engine.conversation import Conversation
from client_sdk.engine.outofstep import begin_rejoin
from client_sdk.engine.people import Person
from client_sdk.engine.records import Phase
from client_sdk.engine.standing import Work
from client_sdk.errors import UsageError
from client_sdk.identity import TrustState
from relay.wire.ids import UserId

WENT_ON: Final = "You decided to go on after an alarm: {}"
NEW_STREAM: Final = (StreamRolledBack, StreamReplaced, ClonedDevice)
"""After these the stream that this device knew does not exist any more."""
BROKEN_STREAM: Final = (StreamForked, StreamSkipped, RelayContradiction, EpochRolledBack)
"""After these this device cannot tell what it missed: it rejoins and shows the gap."""


def verify(conversation: Conversation, person: Person) -> None:
    """The person's safety number was compared; raises `UsageError` if it is another one by now."""
    if person.identity_key is None:
        raise UsageError("This person has not joined yet: there is nothing to compare.")
    with conversation.work("verify") as work:
        claimed = trusting.claimed_identity(work.tx, person.user)
        if claimed is not None and claimed.identity_key == person.identity_key:
            trusting.decide_identity(work.tx, person.user, accept=True, compared=True, now_ms=work.now_ms)
        else:
            _verify(work, person, person.identity_key)
    settle_identity(conversation, person.user)


def _verify(work: Work, person: Person, identity_key: bytes) -> None:
    record = trusting.trust_of(work.tx, person.user)
    if record is None:
        raise UsageError("This person has not joined yet: there is nothing to compare.")
    trusting.put_trust(work.tx, record.verified(identity_key, now_ms=work.now_ms))


def accept_identity(conversation: Conversation, person: Person) -> None:
    """The person's new key is used without having been compared; raises `UsageError` if there is none."""
    with conversation.work("accept") as work:
        claimed = trusting.claimed_identity(work.tx, person.user)
        if claimed is None:
            _accept_changed(work, person.user)
        elif claimed.identity_key == person.identity_key:
            trusting.decide_identity(work.tx, person.user, accept=True, now_ms=work.now_ms)
        else:
            raise UsageError("Another key than the one that was shown has come meanwhile. Look again.")
    settle_identity(conversation, person.user)


def settle_identity(conversation: Conversation, user: UserId) -> None:
    """A person has decided about this user's key: an alarm about it is over, and sending goes on."""
    alarm = conversation.alarm
    if isinstance(alarm, IdentityChanged) and alarm.user in ("", user):
        with conversation.work("settle") as work:
            work.change(alarm=b"")
        conversation.reopen()
    else:
        conversation.go_on()


def admit(conversation: Conversation, user: UserId) -> None:
    """Somebody further may come in."""
    with conversation.work("admit") as work:
        work.change(admitted=tuple(sorted({*work.record.admitted, user})))
    conversation.go_on()


def resolve(conversation: Conversation, alarm: SecurityAlarm) -> None:
    """Go on after this alarm; raises `UsageError` if it is not the one that is shown."""
    shown = conversation.alarm
    if shown is None or (shown.code, dict(shown.evidence)) != (alarm.code, dict(alarm.evidence)):
        raise UsageError("This is not the alarm that waits for a decision. Look at room.alarm again.")
    with conversation.work("resolve") as work:
        _settle(work, shown)
        work.change(alarm=b"")
    conversation.reopen()


def _settle(work: Work, alarm: SecurityAlarm) -> None:
    if isinstance(alarm, IdentityChanged):
        _accept_identity(work, alarm.user)
    elif isinstance(alarm, NEW_STREAM):
        keeping.forget_stream(work)
        work.change(incarnation=b"", cursor=0, last_commit=0, starts_over=True)
        _rejoin(work, alarm)
    elif isinstance(alarm, BROKEN_STREAM):
        if isinstance(alarm, EpochRolledBack):
            # The person takes the group as it is; who was seen to leave has to leave it all the same.
            work.change(overtaken=True, branch=-1, floor=-1)
        _rejoin(work, alarm)


def _rejoin(work: Work, alarm: SecurityAlarm) -> None:
    if work.record.phase is not Phase.OUTSIDE:
        begin_rejoin(work, WENT_ON.format(alarm.what))


def _accept_identity(work: Work, user: str) -> None:
    """Go on with whom the conversation has: with a key that came in, and without one that has not."""
    if trusting.claimed_identity(work.tx, user) is not None:
        trusting.decide_identity(work.tx, user, accept=False, now_ms=work.now_ms)
        return
    record = trusting.trust_of(work.tx, user)
    if record is not None and record.state is TrustState.CHANGED:
        trusting.put_trust(work.tx, record.change_accepted(now_ms=work.now_ms))


def _accept_changed(work: Work, user: str) -> None:
    record = trusting.trust_of(work.tx, user)
    if record is None:
        raise UsageError("This person has not joined yet: there is nothing to accept.")
    trusting.put_trust(work.tx, record.change_accepted(now_ms=work.now_ms))
