"""What a call's negotiation knows, what can happen to it, and what it asks for: plain values without I/O."""

from __future__ import annotations

from dataclasses import dataclass, field
from enum import StrEnum
from typing import Final, TypeAlias

from client_sdk.calls.errors import CallTampered
from client_sdk.calls.messages import Answer, Candidate, Message, Offer

RING_SECONDS: Final = 45.0
"""So long the caller lets it ring; then the call is missed. A callee asks for so long whether it does."""
RING_SILENCE_SECONDS: Final = 15.0
"""A ringing device that has not heard from the caller for so long stops: the caller is gone."""
RING_PROBE_SECONDS: Final = 4.0
"""How often a ringing device asks again: three may get lost before it stops."""
CONNECT_SECONDS: Final = 30.0
"""For negotiating and connecting, the first time and after each loss of the connection."""
MAX_TRIES: Final = 4
"""Attempts that fail one after the other before the call is given up."""
MAX_ATTEMPTS: Final = 64
"""Attempts of one call altogether: an hour's train journey changes networks less often."""
RESEND_SECONDS: Final = (0.5, 1.0, 2.0, 4.0)
"""Waits before a message is sent again until it is answered; the last one repeats."""
FAREWELLS: Final = 3
"""How often a hang-up or a refusal is said: nothing answers it."""
MAX_REPLIES: Final = 16
"""Messages about an ended call that are answered with a hang-up."""
MAX_CANDIDATES: Final = 64
"""Trickled candidates of one attempt, those included that wait for its description."""


class Role(StrEnum):
    """Who began the call."""

    CALLER = "caller"
    CALLEE = "callee"


class Phase(StrEnum):
    """Where the call is."""

    IDLE = "idle"
    INVITING = "inviting"
    """Caller: nobody has asked yet. Callee: the caller has not said yet that it still rings."""
    RINGING = "ringing"
    CONNECTING = "connecting"
    """Taken; also while a new connection replaces a lost one."""
    CONNECTED = "connected"
    ENDED = "ended"


class Outcome(StrEnum):
    """How a call ended, as `call.ended` says it."""

    ANSWERED = "answered"
    DECLINED = "declined"
    MISSED = "missed"
    CANCELLED = "cancelled"
    FAILED = "failed"


@dataclass(frozen=True, slots=True, kw_only=True)
class CallEnd:
    """``seconds`` since it was first connected (0: never); ``reason`` says more.

    ``device`` took the call or declined it, as far as this side knows; with the reason "elsewhere" it is not
    this one.
    """

    outcome: Outcome
    seconds: int
    reason: str
    alarm: CallTampered | None = None
    device: bytes | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class CallFacts:
    """What is the same for the whole call."""

    call: bytes
    role: Role
    group_id: bytes
    own_device: bytes
    own_identity: bytes = field(repr=False)
    kinds: frozenset[str]
    """Media that the invitation names."""
    peer_identity: bytes | None = field(default=None, repr=False)
    """Of the only person who may answer, or of the caller; None: anybody else may answer."""
    caller_device: bytes | None = None
    """Callee: the device that sent the invitation."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Attempt:
    """One exchange of offer and answer; a new one replaces it when the network has changed."""

    number: int
    own: Offer | Answer | None = None
    """What this device said, ..."""
    theirs: Offer | Answer | None = None
    """... and what the other one did; the first of an attempt is the only one."""
    own_nonce: bytes | None = field(default=None, repr=False)
    authenticator: bytes | None = field(default=None, repr=False)
    """The epoch authenticator of the offer's epoch."""
    words: tuple[str, ...] | None = field(default=None, repr=False)
    media_up: bool = False
    candidates: int = 0
    """Trickled ones that were used."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Negotiation:
    """The whole state of one call on one device."""

    facts: CallFacts
    phase: Phase = Phase.IDLE
    seq: int | None = None
    """Of the invitation in the conversation."""
    peer_device: bytes | None = None
    peer_identity: bytes | None = field(default=None, repr=False)
    attempt: Attempt | None = None
    tries: int = 0
    """Attempts since it was last connected."""
    candidates: tuple[Candidate, ...] = ()
    deadline: float | None = None
    pending: Message | None = None
    """Sent again until it is answered."""
    sent: int = 0
    resend_at: float | None = None
    connected_at: float | None = None
    end: CallEnd | None = None
    replies: int = 0

    @property
    def words(self) -> tuple[str, ...] | None:
        """The five words of the newest attempt, as soon as they are known."""
        return None if self.attempt is None else self.attempt.words

    @property
    def wake_at(self) -> float | None:
        """When a `Tick` is due."""
        times = [t for t in (self.deadline, self.resend_at) if t is not None]
        return min(times, default=None)


# Events


@dataclass(frozen=True, slots=True)
class Invite:
    """Caller: the invitation is on its way."""


@dataclass(frozen=True, slots=True)
class InviteStored:
    """Caller: the invitation stands in the conversation at ``seq``."""

    seq: int


@dataclass(frozen=True, slots=True)
class PeerInvited:
    """Caller: an invitation of the other side stands at ``seq`` (glare)."""

    seq: int


@dataclass(frozen=True, slots=True)
class Invited:
    """Callee: an invitation stands at ``seq``."""

    seq: int


@dataclass(frozen=True, slots=True)
class Received:
    """An ephemeral message, authenticated as ``device`` of the person with ``identity``."""

    device: bytes
    identity: bytes = field(repr=False)
    message: Message
    authenticator: bytes = field(repr=False)
    """Of the epoch that its header names."""


@dataclass(frozen=True, slots=True)
class Accepted:
    """The person takes the call here."""


@dataclass(frozen=True, slots=True)
class Declined:
    """The person does not take it."""


@dataclass(frozen=True, slots=True)
class HungUp:
    """The person ends it."""


@dataclass(frozen=True, slots=True)
class EndedElsewhere:
    """The conversation says how the call ended (`call.ended`), and which device took or declined it."""

    outcome: Outcome
    device: bytes | None = None


@dataclass(frozen=True, slots=True)
class OfferReady:
    """The connection of ``attempt`` has an offer; ``nonce`` is fresh."""

    attempt: int
    sdp: str
    nonce: bytes = field(repr=False)


@dataclass(frozen=True, slots=True)
class OfferSent:
    """The offer of ``attempt`` was sealed under the epoch of ``authenticator``."""

    attempt: int
    authenticator: bytes = field(repr=False)


@dataclass(frozen=True, slots=True)
class AnswerReady:
    """The connection of ``attempt`` has an answer; ``nonce`` is fresh."""

    attempt: int
    sdp: str
    nonce: bytes = field(repr=False)


@dataclass(frozen=True, slots=True)
class MediaUp:
    """The connection of ``attempt`` carries media."""

    attempt: int


@dataclass(frozen=True, slots=True)
class MediaLost:
    """The connection of ``attempt`` failed or was lost."""

    attempt: int


@dataclass(frozen=True, slots=True)
class NetworkChanged:
    """This device's network has changed: the connection will not last."""


@dataclass(frozen=True, slots=True)
class Tick:
    """`Negotiation.wake_at` has come."""


Event: TypeAlias = (
    Invite
    | InviteStored
    | PeerInvited
    | Invited
    | Received
    | Accepted
    | Declined
    | HungUp
    | EndedElsewhere
    | OfferReady
    | OfferSent
    | AnswerReady
    | MediaUp
    | MediaLost
    | NetworkChanged
    | Tick
)

# Actions


@dataclass(frozen=True, slots=True)
class Send:
    """Send ``message``; after an offer, tell its epoch by `OfferSent`."""

    message: Message

    @property
    def offer(self) -> Offer | None:
        """The message, if it is an offer."""
        return self.message if isinstance(self.message, Offer) else None


@dataclass(frozen=True, slots=True)
class MakeOffer:
    """Drop the older connection, make one for ``attempt``, and tell its offer by `OfferReady`."""

    attempt: int


@dataclass(frozen=True, slots=True)
class MakeAnswer:
    """Drop the older connection, make one from the offer, and tell its answer by `AnswerReady`."""

    attempt: int
    sdp: str = field(repr=False)


@dataclass(frozen=True, slots=True)
class ApplyAnswer:
    """Give the answer to the connection of ``attempt``."""

    attempt: int
    sdp: str = field(repr=False)


@dataclass(frozen=True, slots=True)
class AddCandidate:
    """Give a trickled candidate to the connection of its attempt."""

    candidate: Candidate


@dataclass(frozen=True, slots=True)
class CloseMedia:
    """Close the connection, the recording and the sources."""


Action: TypeAlias = Send | MakeOffer | MakeAnswer | ApplyAnswer | AddCandidate | CloseMedia
Step: TypeAlias = tuple[Negotiation, tuple[Action, ...]]
