"""Steps of a negotiation that caller and callee share."""

# ruff: noqa: ARG001  every step has the table's signature

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import Any, Final, TypeAlias

from client_sdk.calls.errors import CallTampered
from client_sdk.calls.messages import Answer, Candidate, Hangup, Message, Offer
from client_sdk.calls.sdp import read_description
from client_sdk.calls.states import (
    CONNECT_SECONDS,
    FAREWELLS,
    MAX_CANDIDATES,
    MAX_REPLIES,
    RESEND_SECONDS,
    AddCandidate,
    Attempt,
    CallEnd,
    CloseMedia,
    EndedElsewhere,
    HungUp,
    MediaUp,
    Negotiation,
    Outcome,
    Phase,
    Received,
    Role,
    Send,
    Step,
    Tick,
)
from client_sdk.identity.words import CallBinding, call_words

Handler: TypeAlias = Callable[[Negotiation, Any, float], Step]

OUTCOMES: Final = {
    "missed": Outcome.MISSED,
    "declined": Outcome.DECLINED,
    "cancelled": Outcome.CANCELLED,
    "glare": Outcome.CANCELLED,
    "tampered": Outcome.FAILED,
    "failed": Outcome.FAILED,
}
"""What a hang-up's reason means for a call that was never connected; any other: cancelled."""


def say(state: Negotiation, message: Message, now: float) -> Step:
    """Send ``message`` and send it again until something answers it."""
    state = replace(state, pending=message, sent=1, resend_at=now + RESEND_SECONDS[0])
    return state, (Send(message),)


def say_again(state: Negotiation, now: float) -> Step:
    """The pending message once more."""
    if state.pending is None:
        return state, ()
    if state.phase is Phase.ENDED and state.sent >= FAREWELLS:
        return silent(state), ()
    wait = RESEND_SECONDS[min(state.sent, len(RESEND_SECONDS) - 1)]
    return replace(state, sent=state.sent + 1, resend_at=now + wait), (Send(state.pending),)


def silent(state: Negotiation) -> Negotiation:
    """Nothing is waiting for an answer."""
    return replace(state, pending=None, sent=0, resend_at=None)


def end(
    state: Negotiation,
    outcome: Outcome,
    reason: str,
    now: float,
    *,
    farewell: Message | None = None,
    alarm: CallTampered | None = None,
    device: bytes | None = None,
) -> Step:
    """End the call; one that was ever connected was answered, whatever ended it."""
    seconds = 0 if state.connected_at is None else int(now - state.connected_at)
    if state.connected_at is not None and alarm is None:
        outcome = Outcome.ANSWERED
    if device is None and outcome is Outcome.ANSWERED:
        device = state.facts.own_device if state.facts.role is Role.CALLEE else state.peer_device
    finish = CallEnd(outcome=outcome, seconds=seconds, reason=reason, alarm=alarm, device=device)
    state = replace(silent(state), phase=Phase.ENDED, end=finish, deadline=None, candidates=())
    if farewell is None:
        return state, (CloseMedia(),)
    state, said = say(state, farewell, now)
    return state, (*said, CloseMedia())


def hung_up(state: Negotiation, event: HungUp, now: float) -> Step:
    """The person ends the call."""
    reason = "cancelled" if state.connected_at is None else "hung_up"
    return end(state, Outcome.CANCELLED, "hung_up", now, farewell=Hangup(reason))


def dropped(state: Negotiation, event: HungUp, now: float) -> Step:
    """The person ends what has not begun."""
    return end(state, Outcome.CANCELLED, "hung_up", now)


def hung_up_by_peer(state: Negotiation, event: Received, now: float) -> Step:
    """The other device of the call ends it, or stops ringing."""
    if not isinstance(event.message, Hangup) or not is_peer(state, event):
        return state, ()
    reason = event.message.reason
    return end(state, OUTCOMES.get(reason, Outcome.CANCELLED), f"peer_{reason}", now)


def ended_elsewhere(state: Negotiation, event: EndedElsewhere, now: float) -> Step:
    """The conversation says that it is over."""
    return end(state, event.outcome, "elsewhere", now, device=event.device)


def begin_attempt(state: Negotiation, number: int, now: float) -> Negotiation:
    """Forget the older attempt; a call that was connected gets the full time again."""
    fresh = state.phase is not Phase.CONNECTING
    return replace(
        silent(state),
        phase=Phase.CONNECTING,
        attempt=Attempt(number=number),
        tries=state.tries + 1,
        deadline=now + CONNECT_SECONDS if fresh else state.deadline,
    )


def media_up(state: Negotiation, event: MediaUp, now: float) -> Step:
    """The connection carries media: of the newest attempt, it counts."""
    if state.attempt is None or event.attempt != state.attempt.number:
        return state, ()
    state = replace(state, attempt=replace(state.attempt, media_up=True))
    return connected_if_complete(state, now), ()


def connected_if_complete(state: Negotiation, now: float) -> Negotiation:
    """Connected is: media flows and the words are known."""
    attempt = state.attempt
    if attempt is None or not attempt.media_up or attempt.words is None:
        return state
    since = now if state.connected_at is None else state.connected_at
    return replace(state, phase=Phase.CONNECTED, deadline=None, tries=0, connected_at=since)


def take_candidate(state: Negotiation, event: Received, now: float) -> Step:
    """Use a trickled candidate, or keep it until its description has come."""
    candidate = event.message
    if not isinstance(candidate, Candidate) or not is_peer(state, event):
        return state, ()
    attempt = state.attempt or Attempt(number=0)
    used = attempt.candidates if candidate.attempt == attempt.number else 0
    if candidate.attempt == attempt.number and attempt.theirs is not None and used < MAX_CANDIDATES:
        return replace(state, attempt=replace(attempt, candidates=used + 1)), (AddCandidate(candidate),)
    if candidate.attempt < attempt.number or used + len(state.candidates) >= MAX_CANDIDATES:
        return state, ()
    return replace(state, candidates=(*state.candidates, candidate)), ()


def kept_candidates(state: Negotiation) -> Step:
    """Hand over what was kept for the newest attempt, whose description has come."""
    if state.attempt is None:
        return state, ()
    ready = tuple(AddCandidate(c) for c in state.candidates if c.attempt == state.attempt.number)
    later = tuple(c for c in state.candidates if c.attempt > state.attempt.number)
    return replace(state, candidates=later, attempt=replace(state.attempt, candidates=len(ready))), ready


def is_peer(state: Negotiation, event: Received) -> bool:
    """Whether a message comes from the device that this call is with."""
    return state.peer_device is not None and event.device == state.peer_device


def ticking(expired: Handler) -> Handler:
    """A step for `Tick`: ``expired`` when the deadline has come, else the pending message again."""

    def tick(state: Negotiation, event: Tick, now: float) -> Step:
        if state.deadline is not None and now >= state.deadline:
            return expired(state, event, now)
        if state.resend_at is not None and now >= state.resend_at:
            return say_again(state, now)
        return state, ()

    return tick


def not_connected(state: Negotiation, event: Tick, now: float) -> Step:
    """It took too long."""
    return end(state, Outcome.FAILED, "not_connected", now, farewell=Hangup("failed"))


def reply_over(state: Negotiation, event: Received, now: float) -> Step:
    """Somebody still talks about a call that has ended: say so, a bounded number of times."""
    if state.replies >= MAX_REPLIES or event.identity == state.facts.own_identity:
        return state, ()
    reason = "hung_up" if state.end is None else _farewell_reason(state.end)
    return replace(state, replies=state.replies + 1), (Send(Hangup(reason)),)


def _farewell_reason(finish: CallEnd) -> str:
    return "hung_up" if finish.outcome is Outcome.ANSWERED else finish.outcome.value


def heard_the_end(state: Negotiation, event: Received, now: float) -> Step:
    """The other side knows: no need to say it again."""
    return (silent(state), ()) if event.identity != state.facts.own_identity else (state, ())


def words_of(
    state: Negotiation, offer: Offer, answer: Answer, *, caller_nonce: bytes, authenticator: bytes
) -> tuple[str, ...]:
    """The call words of one exchange."""
    facts = state.facts
    if state.peer_identity is None:
        raise ValueError("the words need both identities")
    pair = (facts.own_identity, state.peer_identity)
    caller, callee = pair if facts.role is Role.CALLER else pair[::-1]
    binding = CallBinding(
        caller_identity=caller,
        callee_identity=callee,
        group_id=facts.group_id,
        call=facts.call,
        epoch_authenticator=authenticator,
        caller_fingerprint=read_description(offer.sdp).fingerprint,
        callee_fingerprint=read_description(answer.sdp).fingerprint,
    )
    return call_words(binding, caller_nonce=caller_nonce, callee_nonce=answer.nonce)


def stay(state: Negotiation, event: Any, now: float) -> Step:
    """Nothing to do."""
    return state, ()
