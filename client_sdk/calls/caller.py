"""The caller's steps of a negotiation."""

# ruff: noqa: ARG001  every step has the table's signature

from __future__ import annotations

from dataclasses import replace

from client_sdk.calls.common import (
    begin_attempt,
    end,
    is_peer,
    kept_candidates,
    say,
    silent,
    words_of,
)
from client_sdk.calls.errors import DescriptionRefused
from client_sdk.calls.messages import Accept, Answer, Decline, Hangup, Offer, Reveal, Ringing
from client_sdk.calls.sdp import read_description
from client_sdk.calls.states import (
    MAX_ATTEMPTS,
    MAX_TRIES,
    RING_SECONDS,
    ApplyAnswer,
    Invite,
    InviteStored,
    MakeOffer,
    MediaLost,
    Negotiation,
    NetworkChanged,
    OfferReady,
    OfferSent,
    Outcome,
    PeerInvited,
    Phase,
    Received,
    Send,
    Step,
    Tick,
)
from client_sdk.identity.words import call_commit


def invite(state: Negotiation, event: Invite, now: float) -> Step:
    """Let it ring from now."""
    return replace(state, phase=Phase.INVITING, deadline=now + RING_SECONDS), ()


def invite_stored(state: Negotiation, event: InviteStored, now: float) -> Step:
    """Remember where the invitation stands, for glare."""
    return replace(state, seq=event.seq), ()


def peer_invited(state: Negotiation, event: PeerInvited, now: float) -> Step:
    """Glare: the lower seq wins; an invitation that is not stored yet will have a higher one."""
    if state.seq is not None and state.seq < event.seq:
        return state, ()
    return end(state, Outcome.CANCELLED, "glare", now, farewell=Hangup("glare"))


def probed(state: Negotiation, event: Received, now: float) -> Step:
    """Somebody asks whether it still rings."""
    if not may_answer(state, event):
        return state, ()
    return replace(state, phase=Phase.RINGING), (Send(Ringing()),)


def accepted(state: Negotiation, event: Received, now: float) -> Step:
    """The first acceptance is the one."""
    message = event.message
    if not isinstance(message, Accept) or message.device != event.device or not may_answer(state, event):
        return state, ()
    state = replace(state, peer_device=event.device, peer_identity=event.identity)
    return _new_attempt(state, 1, now)


def accepted_again(state: Negotiation, event: Received, now: float) -> Step:
    """The device picked asks anew, or has not heard of this offer; or another device is too late."""
    message, attempt = event.message, state.attempt
    if not isinstance(message, Accept) or attempt is None or message.device != event.device:
        return state, ()
    if is_peer(state, event) and message.after == attempt.number:
        return _new_attempt(state, attempt.number + 1, now)
    if attempt.own is None or (is_peer(state, event) and attempt.theirs is not None):
        return state, ()
    return state, (Send(attempt.own),)


def declined(state: Negotiation, event: Received, now: float) -> Step:
    """The one who was called does not want to; one of several others does not decide for all."""
    is_refusal = isinstance(event.message, Decline) or event.message == Hangup("declined")
    if event.identity != state.facts.peer_identity or not is_refusal:
        return state, ()
    farewell = Hangup("declined")
    return end(state, Outcome.DECLINED, "declined", now, farewell=farewell, device=event.device)


def offer_ready(state: Negotiation, event: OfferReady, now: float) -> Step:
    """Say it, with the commitment."""
    attempt = state.attempt
    if (
        attempt is None
        or event.attempt != attempt.number
        or attempt.own is not None
        or state.peer_device is None
    ):
        return state, ()
    offer = Offer(
        to=state.peer_device, attempt=attempt.number, sdp=event.sdp, commit=call_commit(event.nonce)
    )
    state = replace(state, attempt=replace(attempt, own=offer, own_nonce=event.nonce))
    return say(state, offer, now)


def offer_sent(state: Negotiation, event: OfferSent, now: float) -> Step:
    """The words bind the offer's epoch: one repeated in a later epoch is another attempt."""
    attempt = state.attempt
    if attempt is None or event.attempt != attempt.number or attempt.theirs is not None:
        return state, ()
    if attempt.authenticator not in (None, event.authenticator):
        return _new_attempt(state, attempt.number + 1, now)
    return replace(state, attempt=replace(attempt, authenticator=event.authenticator)), ()


def answered(state: Negotiation, event: Received, now: float) -> Step:
    """Take the first answer of the newest attempt; a repeated one has not seen the reveal."""
    message, attempt = event.message, state.attempt
    if not isinstance(message, Answer) or attempt is None or not is_peer(state, event):
        return state, ()
    nonce, offer, authenticator = attempt.own_nonce, attempt.own, attempt.authenticator
    if (
        message.attempt != attempt.number
        or nonce is None
        or authenticator is None
        or not isinstance(offer, Offer)
    ):
        return state, ()
    reveal = Send(Reveal(attempt.number, nonce))
    if attempt.theirs is not None:
        return state, (reveal,) if attempt.theirs == message else ()
    try:
        read_description(message.sdp, allowed=state.facts.kinds)
    except DescriptionRefused:
        return end(state, Outcome.FAILED, "description", now, farewell=Hangup("failed"))
    words = words_of(state, offer, message, caller_nonce=nonce, authenticator=authenticator)
    state = replace(silent(state), attempt=replace(attempt, theirs=message, words=words))
    state, candidates = kept_candidates(state)
    return state, (reveal, ApplyAnswer(attempt.number, message.sdp), *candidates)


def media_lost(state: Negotiation, event: MediaLost, now: float) -> Step:
    """Offer anew, if it was the newest attempt."""
    if state.attempt is None or event.attempt != state.attempt.number:
        return state, ()
    return _new_attempt(state, event.attempt + 1, now)


def network_changed(state: Negotiation, event: NetworkChanged, now: float) -> Step:
    """Offer anew before the connection is found to be lost."""
    if state.attempt is None:
        return state, ()
    return _new_attempt(state, state.attempt.number + 1, now)


def rang_too_long(state: Negotiation, event: Tick, now: float) -> Step:
    """Nobody took the call."""
    return end(state, Outcome.MISSED, "missed", now, farewell=Hangup("missed"))


def may_answer(state: Negotiation, event: Received) -> bool:
    """Whether the sender is one whom this call is for."""
    wanted = state.facts.peer_identity
    return event.identity == wanted if wanted is not None else event.identity != state.facts.own_identity


def _new_attempt(state: Negotiation, number: int, now: float) -> Step:
    if state.tries >= MAX_TRIES or number > MAX_ATTEMPTS:
        return end(state, Outcome.FAILED, "not_connected", now, farewell=Hangup("failed"))
    return begin_attempt(state, number, now), (MakeOffer(number),)
