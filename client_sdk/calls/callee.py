"""The callee's steps of a negotiation."""

# ruff: noqa: ARG001  every step has the table's signature

from __future__ import annotations

from dataclasses import replace

from client_sdk.calls.common import (
    begin_attempt,
    connected_if_complete,
    end,
    is_peer,
    kept_candidates,
    say,
    silent,
    words_of,
)
from client_sdk.calls.common import reply_over as common_reply_over
from client_sdk.calls.errors import CallTampered, DescriptionRefused
from client_sdk.calls.messages import Accept, Answer, Decline, Hangup, Offer, Probe, Reveal, Ringing
from client_sdk.calls.sdp import read_description
from client_sdk.calls.states import (
    CONNECT_SECONDS,
    RING_PROBE_SECONDS,
    RING_SECONDS,
    RING_SILENCE_SECONDS,
    Accepted,
    AnswerReady,
    Declined,
    HungUp,
    Invited,
    MakeAnswer,
    MediaLost,
    Negotiation,
    NetworkChanged,
    Outcome,
    Phase,
    Received,
    Send,
    Step,
    Tick,
)
from client_sdk.errors import CallRevealFailed
from client_sdk.identity.words import check_reveal


def invited(state: Negotiation, event: Invited, now: float) -> Step:
    """Ask the caller before anything rings; for as long as it may ring: messages may get lost."""
    facts = state.facts
    state = replace(
        state,
        phase=Phase.INVITING,
        seq=event.seq,
        peer_device=facts.caller_device,
        peer_identity=facts.peer_identity,
        deadline=now + RING_SECONDS,
    )
    return say(state, Probe(), now)


def ringing(state: Negotiation, event: Received, now: float) -> Step:
    """The caller says that it rings; ask again from time to time."""
    if not is_peer(state, event):
        return state, ()
    state = replace(silent(state), phase=Phase.RINGING, deadline=now + RING_SILENCE_SECONDS)
    return replace(state, resend_at=now + RING_PROBE_SECONDS), ()


def ring_on(state: Negotiation, event: Tick, now: float) -> Step:
    """Ask whether it still rings, and stop when the caller says nothing any more."""
    if state.deadline is not None and now >= state.deadline:
        return end(state, Outcome.MISSED, "missed", now)
    if state.resend_at is None or now < state.resend_at:
        return state, ()
    return replace(state, resend_at=now + RING_PROBE_SECONDS), (Send(Probe()),)


def not_ringing(state: Negotiation, event: Tick, now: float) -> Step:
    """Nobody said that it still rings."""
    return end(state, Outcome.MISSED, "not_ringing", now)


def accepted(state: Negotiation, event: Accepted, now: float) -> Step:
    """Ask for the offer."""
    state = replace(state, phase=Phase.CONNECTING, deadline=now + CONNECT_SECONDS)
    return say(state, Accept(state.facts.own_device), now)


def declined(state: Negotiation, event: Declined | HungUp, now: float) -> Step:
    """Tell the caller, and the other devices of this person."""
    own = state.facts.own_device
    return end(state, Outcome.DECLINED, "declined", now, farewell=Decline(), device=own)


def declined_elsewhere(state: Negotiation, event: Received, now: float) -> Step:
    """The person has declined it on another device of theirs: this one stops too."""
    if event.identity != state.facts.own_identity:
        return state, ()
    return end(state, Outcome.DECLINED, "elsewhere", now, device=event.device)


def offered(state: Negotiation, event: Received, now: float) -> Step:
    """Answer the first offer of a newer attempt; repeat the answer to a repeated one."""
    offer = event.message
    if not isinstance(offer, Offer) or not is_peer(state, event):
        return state, ()
    if offer.to != state.facts.own_device:
        return _offered_elsewhere(state, offer, now)
    newest = 0 if state.attempt is None else state.attempt.number
    if offer.attempt <= newest:
        return _offered_again(state, offer)
    try:
        read_description(offer.sdp, allowed=state.facts.kinds)
    except DescriptionRefused:
        return end(state, Outcome.FAILED, "description", now, farewell=Hangup("failed"))
    state = begin_attempt(state, offer.attempt, now)
    if state.attempt is not None:
        state = replace(
            state, attempt=replace(state.attempt, theirs=offer, authenticator=event.authenticator)
        )
    state, candidates = kept_candidates(state)
    return state, (MakeAnswer(offer.attempt, offer.sdp), *candidates)


def offered_while_ringing(state: Negotiation, event: Received, now: float) -> Step:
    """The caller has picked a device, and not this one."""
    offer = event.message
    if not isinstance(offer, Offer) or not is_peer(state, event) or offer.to == state.facts.own_device:
        return state, ()
    return _offered_elsewhere(state, offer, now)


def answer_ready(state: Negotiation, event: AnswerReady, now: float) -> Step:
    """Say it."""
    attempt = state.attempt
    if attempt is None or event.attempt != attempt.number or attempt.own is not None:
        return state, ()
    answer = Answer(attempt=attempt.number, sdp=event.sdp, nonce=event.nonce)
    state = replace(state, attempt=replace(attempt, own=answer, own_nonce=event.nonce))
    return say(state, answer, now)


def revealed(state: Negotiation, event: Received, now: float) -> Step:
    """Check the caller's nonce against its commitment; then the words are known."""
    message, attempt = event.message, state.attempt
    if not isinstance(message, Reveal) or attempt is None or not is_peer(state, event):
        return state, ()
    offer, answer, authenticator = attempt.theirs, attempt.own, attempt.authenticator
    if message.attempt != attempt.number or attempt.words is not None or authenticator is None:
        return state, ()
    if not isinstance(offer, Offer) or not isinstance(answer, Answer):
        return state, ()
    try:
        check_reveal(offer.commit, message.nonce)
    except CallRevealFailed:
        alarm = CallTampered(call=state.facts.call, device=event.device, attempt=attempt.number)
        return end(state, Outcome.FAILED, "tampered", now, farewell=Hangup("tampered"), alarm=alarm)
    words = words_of(state, offer, answer, caller_nonce=message.nonce, authenticator=authenticator)
    if state.pending == answer:
        state = silent(state)
    return connected_if_complete(replace(state, attempt=replace(attempt, words=words)), now), ()


def media_lost(state: Negotiation, event: MediaLost, now: float) -> Step:
    """Ask the caller for a new attempt, if it was the newest."""
    if state.attempt is None or event.attempt != state.attempt.number:
        return state, ()
    return _ask_anew(state, now)


def network_changed(state: Negotiation, event: NetworkChanged, now: float) -> Step:
    """Ask for a new attempt before the connection is found to be lost."""
    return _ask_anew(state, now)


def reply_over(state: Negotiation, event: Received, now: float) -> Step:
    """The caller still talks to this device about a call that is over, or rings although it was declined."""
    message = event.message
    to_another = isinstance(message, Offer) and message.to != state.facts.own_device
    was_declined = state.end is not None and state.end.outcome is Outcome.DECLINED
    if not is_peer(state, event) or to_another or (isinstance(message, Ringing) and not was_declined):
        return state, ()
    return common_reply_over(state, event, now)


def _ask_anew(state: Negotiation, now: float) -> Step:
    if state.attempt is None:
        return state, ()
    lost = replace(state.attempt, media_up=False)
    fresh = state.phase is not Phase.CONNECTING
    deadline = now + CONNECT_SECONDS if fresh else state.deadline
    state = replace(state, phase=Phase.CONNECTING, attempt=lost, deadline=deadline)
    return say(state, Accept(state.facts.own_device, lost.number), now)


def _offered_again(state: Negotiation, offer: Offer) -> Step:
    attempt = state.attempt
    if attempt is None or attempt.theirs != offer or attempt.own is None or attempt.words is not None:
        return state, ()
    return state, (Send(attempt.own),)


def _offered_elsewhere(state: Negotiation, offer: Offer, now: float) -> Step:
    if state.phase is Phase.CONNECTED:
        return state, ()
    return end(state, Outcome.ANSWERED, "elsewhere", now, device=offer.to)
