"""The automaton of one call on one device: events in, actions out, every transition in one table.

Time comes with each event; randomness comes in events. What the table does not list is late, double or out of
place: a message is then ignored (they are best effort and may come in any order), a person's wish is refused.
"""

from __future__ import annotations

from collections.abc import Mapping
from types import MappingProxyType
from typing import Final, TypeAlias

from client_sdk.calls import callee, caller, common
from client_sdk.calls.common import Handler
from client_sdk.calls.errors import CallNotPossible
from client_sdk.calls.messages import (
    Accept,
    Answer,
    Candidate,
    Decline,
    Hangup,
    Offer,
    Probe,
    Reveal,
    Ringing,
)
from client_sdk.calls.states import (
    Accepted,
    AnswerReady,
    CallFacts,
    Declined,
    EndedElsewhere,
    Event,
    HungUp,
    Invite,
    Invited,
    InviteStored,
    MediaLost,
    MediaUp,
    Negotiation,
    NetworkChanged,
    OfferReady,
    OfferSent,
    PeerInvited,
    Phase,
    Received,
    Role,
    Step,
    Tick,
)

Key: TypeAlias = tuple[Role, Phase, type]
Row: TypeAlias = tuple[tuple[Role, ...], tuple[Phase, ...], type, Handler]

_CALLER, _CALLEE, _BOTH = (Role.CALLER,), (Role.CALLEE,), tuple(Role)
_IDLE, _ENDED = (Phase.IDLE,), (Phase.ENDED,)
_INVITING, _RINGING, _CONNECTING = (Phase.INVITING,), (Phase.RINGING,), (Phase.CONNECTING,)
_EARLY = _INVITING + _RINGING
_TAKEN = (Phase.CONNECTING, Phase.CONNECTED)
_ACTIVE = _EARLY + _TAKEN

_ROWS: Final[tuple[Row, ...]] = (
    # who, where, what happens (an event, or a message received), what then
    (_CALLER, _IDLE, Invite, caller.invite),
    (_CALLER, _ACTIVE, InviteStored, caller.invite_stored),
    (_CALLER, _EARLY, PeerInvited, caller.peer_invited),
    (_CALLER, _EARLY, Probe, caller.probed),
    (_CALLER, _EARLY, Accept, caller.accepted),
    (_CALLER, _EARLY, Decline, caller.declined),
    (_CALLER, _EARLY, Hangup, caller.declined),
    (_CALLER, _EARLY, Tick, common.ticking(caller.rang_too_long)),
    (_CALLER, _TAKEN, Accept, caller.accepted_again),
    (_CALLER, _TAKEN, OfferReady, caller.offer_ready),
    (_CALLER, _TAKEN, OfferSent, caller.offer_sent),
    (_CALLER, _TAKEN, Answer, caller.answered),
    (_CALLER, _TAKEN, MediaLost, caller.media_lost),
    (_CALLER, _TAKEN, NetworkChanged, caller.network_changed),
    (_CALLER, _ENDED, Probe, common.reply_over),
    (_CALLER, _ENDED, Accept, common.reply_over),
    (_CALLER, _ENDED, Answer, common.reply_over),
    (_CALLEE, _IDLE, Invited, callee.invited),
    (_CALLEE, _EARLY, Ringing, callee.ringing),
    (_CALLEE, _EARLY, Offer, callee.offered_while_ringing),
    (_CALLEE, _EARLY, Accepted, callee.accepted),
    (_CALLEE, _EARLY, Declined, callee.declined),
    (_CALLEE, _EARLY, Hangup, common.hung_up_by_peer),
    (_CALLEE, _EARLY, Decline, callee.declined_elsewhere),
    (_CALLEE, _INVITING, Tick, common.ticking(callee.not_ringing)),
    (_CALLEE, _RINGING, Tick, callee.ring_on),
    (_CALLEE, _TAKEN, Offer, callee.offered),
    (_CALLEE, _TAKEN, AnswerReady, callee.answer_ready),
    (_CALLEE, _TAKEN, Reveal, callee.revealed),
    (_CALLEE, _TAKEN, MediaLost, callee.media_lost),
    (_CALLEE, _TAKEN, NetworkChanged, callee.network_changed),
    (_CALLEE, _ACTIVE, EndedElsewhere, common.ended_elsewhere),
    (_CALLEE, _ENDED, Offer, callee.reply_over),
    (_CALLEE, _ENDED, Reveal, callee.reply_over),
    (_CALLEE, _ENDED, Ringing, callee.reply_over),
    (_BOTH, _ACTIVE, Candidate, common.take_candidate),
    (_BOTH, _CONNECTING, MediaUp, common.media_up),
    (_BOTH, _TAKEN, Hangup, common.hung_up_by_peer),
    (_BOTH, _TAKEN, Tick, common.ticking(common.not_connected)),
    (_CALLER, _ACTIVE, HungUp, common.hung_up),
    (_CALLEE, _EARLY, HungUp, callee.declined),
    (_CALLEE, _TAKEN, HungUp, common.hung_up),
    (_BOTH, _IDLE, HungUp, common.dropped),
    (_BOTH, _ENDED, HungUp, common.stay),
    (_BOTH, _ENDED, Hangup, common.heard_the_end),
    (_BOTH, _ENDED, Tick, common.ticking(common.stay)),
)
_PERSONS: Final = (Invite, Invited, Accepted, Declined, HungUp)


def _table() -> Mapping[Key, Handler]:
    table: dict[Key, Handler] = {}
    for roles, phases, what, handler in _ROWS:
        for key in ((role, phase, what) for role in roles for phase in phases):
            if key in table:
                raise ValueError(f"two rows for {key}")
            table[key] = handler
    return MappingProxyType(table)


TABLE: Final = _table()
"""What happens in each role and phase."""


def begin(facts: CallFacts) -> Negotiation:
    """A call that has not begun."""
    return Negotiation(facts=facts)


def step(state: Negotiation, event: Event, now: float) -> Step:
    """The state after ``event`` and what is to be done; raises CallNotPossible for a wish out of place."""
    what = type(event.message) if isinstance(event, Received) else type(event)
    handler = TABLE.get((state.facts.role, state.phase, what))
    if handler is not None:
        result: Step = handler(state, event, now)
        return result
    if isinstance(event, _PERSONS):
        raise CallNotPossible(f"Not while the call is {state.phase.value}.")
    return state, ()
