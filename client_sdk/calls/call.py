"""A call as its user sees it, on top of the negotiation (pure) and the media session."""

from __future__ import annotations

import asyncio
import logging
import os
import traceback
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final, Protocol, Self, TypeAlias

from client_sdk.calls.errors import (
    CallError,
    CallMessageInvalid,
    CallNotConnected,
    CallNotPossible,
    RecordingFailed,
)
from client_sdk.calls.media import Media
from client_sdk.calls.messages import NONCE_BYTES, call_id, message_body, parse_message
from client_sdk.calls.negotiation import begin, step
from client_sdk.calls.session import CLOSE_SECONDS, CallSettings, Session
from client_sdk.calls.states import (
    Accepted,
    Action,
    AddCandidate,
    AnswerReady,
    ApplyAnswer,
    CallEnd,
    CallFacts,
    CloseMedia,
    Declined,
    EndedElsewhere,
    Event,
    HungUp,
    Invite,
    Invited,
    InviteStored,
    MakeAnswer,
    MakeOffer,
    MediaLost,
    MediaUp,
    NetworkChanged,
    OfferReady,
    OfferSent,
    Outcome,
    PeerInvited,
    Phase,
    Received,
    Role,
    Send,
    Tick,
)
from client_sdk.calls.statistics import CallStatistics
from client_sdk.errors import CoachRelayError, UsageError

LINGER_SECONDS: Final = 30.0
"""An ended call still tells those who ask that it is over for so long."""
GRACE_SECONDS: Final = 1.0
"""A connection that the other side closed is most likely a hang-up whose message is still on its way."""
MAX_QUEUED: Final = 256
"""Messages and other work waiting; what comes beyond is lost, as any ephemeral message may be."""

MediaAction: TypeAlias = MakeOffer | MakeAnswer | ApplyAnswer | AddCandidate | CloseMedia
_log = logging.getLogger(__name__)


class Signals(Protocol):
    """How a call's ephemeral messages leave; the engine implements it."""

    async def send(self, kind: str, body: dict[str, object]) -> bytes:
        """Seal and send to the conversation; return the authenticator of the epoch that was used.

        Best effort: raise CoachRelayError when it cannot be sent now.
        """


@dataclass(frozen=True, slots=True, kw_only=True)
class Party:
    """A person in the conversation: the portal's user id and the identity key (32 bytes)."""

    user: str
    identity: bytes = field(repr=False)


@dataclass(frozen=True, slots=True, kw_only=True)
class CallContext:
    """What the conversation knows and the call needs.

    ``call``: the invitation's 16 bytes. ``media``: the kinds that it names. ``party_of`` gives the person
    behind a device id, as the group says now, or None. ``peer``: the one who is called (None: whoever else
    answers), or the caller. ``caller_device`` is needed for an incoming call.
    """

    call: bytes
    group_id: bytes
    own_device: bytes
    own: Party
    media: frozenset[str]
    party_of: Callable[[bytes], Party | None] = field(repr=False)
    peer: Party | None = None
    caller_device: bytes | None = None


class Call:
    """One call on this device. Made by `invite` (outgoing) or `invited` (incoming)."""

    def __init__(
        self, context: CallContext, signals: Signals, role: Role, settings: CallSettings | None
    ) -> None:
        self._context = context
        self._signals = signals
        self._loop = asyncio.get_running_loop()
        facts = CallFacts(
            call=context.call,
            role=role,
            group_id=context.group_id,
            own_device=context.own_device,
            own_identity=context.own.identity,
            kinds=context.media,
            peer_identity=None if context.peer is None else context.peer.identity,
            caller_device=context.caller_device,
        )
        self._state = begin(facts)
        self._peer = context.peer
        self._session = Session(settings or CallSettings(), context.media, self._connection_changed)
        self._changed = asyncio.Event()
        self._media_closed = asyncio.Event()
        self._said = asyncio.Event()
        self._opening = False
        self._sends: asyncio.Queue[Send | None] = asyncio.Queue()
        self._media_actions: asyncio.Queue[MediaAction] = asyncio.Queue()
        self._operation: asyncio.Task[None] | None = None
        self._linger_until: float | None = None
        self._tasks = [asyncio.create_task(self._run()), asyncio.create_task(self._run_media())]

    # Beginning

    @classmethod
    async def invite(
        cls,
        context: CallContext,
        signals: Signals,
        *,
        media: Media | str | Path | None = None,
        record: str | Path | None = None,
        settings: CallSettings | None = None,
    ) -> Self:
        """Begin an outgoing call; whoever does so sends the invitation, then says `invite_stored`.

        ``media`` is what to send (a path is a file; None: nothing, only receive), ``record`` the new MP4 file
        for what arrives. Raises MediaUnavailable, RecordingFailed or CallsUnavailable, and there is no call
        then.
        """
        call = cls(context, signals, Role.CALLER, settings)
        try:
            await call._session.open(media, record)
        except BaseException:
            await call.close()
            raise
        call._feed(Invite())
        return call

    @classmethod
    def invited(
        cls, context: CallContext, signals: Signals, *, seq: int, settings: CallSettings | None = None
    ) -> Self:
        """Begin an incoming call, whose invitation stands at ``seq``, by asking whether it still rings.

        Raises UsageError if the context lacks the caller.
        """
        if context.peer is None or context.caller_device is None:
            raise UsageError("An incoming call has a caller, on a device.")
        call = cls(context, signals, Role.CALLEE, settings)
        call._feed(Invited(seq))
        return call

    # What it is

    @property
    def id(self) -> bytes:
        """The call's 16 bytes."""
        return self._context.call

    @property
    def role(self) -> Role:
        """Who began it."""
        return self._state.facts.role

    @property
    def peer(self) -> str | None:
        """The other person's user id; None for an outgoing call to anybody that nobody has taken yet."""
        return None if self._peer is None else self._peer.user

    @property
    def path(self) -> str:
        """How its newest connection goes or went: "host" (directly), "srflx" (through a NAT), "relay" (by a
        TURN server); empty if there was none."""
        return self._session.path

    @property
    def peer_device(self) -> bytes | None:
        """The device that the call is with, once that is known."""
        return self._state.peer_device

    @property
    def state(self) -> Phase:
        """Where it is."""
        return self._state.phase

    @property
    def attempt(self) -> int:
        """The newest exchange of offer and answer, from 1; 0 before the first."""
        return 0 if self._state.attempt is None else self._state.attempt.number

    @property
    def words(self) -> tuple[str, ...] | None:
        """The five words to compare, as soon as they are known; others after the network has changed."""
        return self._state.words

    @property
    def end(self) -> CallEnd | None:
        """How it ended, once it has."""
        return self._state.end

    @property
    def recording_error(self) -> RecordingFailed | None:
        """Why the recording is not whole, once the call has ended."""
        return self._session.recording_error

    async def next_state(self, known: Phase) -> Phase:
        """Wait until the state is another than ``known`` and return it."""
        await self._until(lambda: self.state is not known)
        return self.state

    async def wait_ringing(self) -> None:
        """Wait until it rings; raises CallNotConnected if it ends before."""
        await self._until(lambda: self.state not in (Phase.IDLE, Phase.INVITING))
        self._check_not_ended()

    async def wait_connected(self) -> None:
        """Wait until media flows and the words are known; raises CallNotConnected or CallTampered."""
        await self._until(lambda: self.state in (Phase.CONNECTED, Phase.ENDED))
        self._check_not_ended()

    async def ended(self) -> CallEnd:
        """Wait until it has ended, the recording included, and say how."""
        await self._until(lambda: self.end is not None)
        await self._media_closed.wait()
        if self.end is None:
            raise CallError("An ended call has an end.")
        return self.end

    # What the person does

    async def accept(
        self, *, media: Media | str | Path | None = None, record: str | Path | None = None
    ) -> Self:
        """Take an incoming call; ``media`` and ``record`` as in `invite`, without media it only receives.

        Raises CallNotPossible, or as `invite` does; then it rings on.
        """
        if self._opening:
            raise CallNotPossible("The call is being accepted already.")
        if self.role is not Role.CALLEE or self.state not in (Phase.INVITING, Phase.RINGING):
            raise CallNotPossible(f"Not while the call is {self.state.value}.")
        self._opening = True
        try:
            await self._session.open(media, record)
            self._feed(Accepted())
        except CallNotPossible:  # it ended meanwhile
            await self._session.close()
            raise
        finally:
            self._opening = False
        return self

    async def decline(self) -> None:
        """Do not take an incoming call; raises CallNotPossible."""
        self._feed(Declined())

    async def hang_up(self) -> CallEnd:
        """End it, in whatever state, and wait for its end; an incoming one that still rings is declined."""
        self._feed(HungUp())
        return await self.ended()

    def mute(self, *, audio: bool = True, video: bool = False) -> None:
        """Send silence, or black pictures, from now on."""
        self._session.muted.audio |= audio
        self._session.muted.video |= video

    def unmute(self, *, audio: bool = True, video: bool = False) -> None:
        """Send sound, or picture, again."""
        self._session.muted.audio &= not audio
        self._session.muted.video &= not video

    async def statistics(self) -> CallStatistics:
        """What went over the present connection so far."""
        return await self._session.statistics()

    # What the engine tells

    def deliver(
        self, sender_device: bytes, kind: str, body: Mapping[str, object], epoch_authenticator: bytes
    ) -> None:
        """An ephemeral message about this call, authenticated as that device's. Raises CallMessageInvalid."""
        if call_id(body) != self.id:
            raise CallMessageInvalid("The message is about another call.")
        message = parse_message(kind, body)
        party = self._context.party_of(sender_device)
        if party is None:
            raise CallMessageInvalid("The message is from no device of this conversation.")
        if self._sends.qsize() + self._media_actions.qsize() < MAX_QUEUED:
            self._feed(Received(sender_device, party.identity, message, epoch_authenticator))
            self._know_peer(party)

    def invite_stored(self, seq: int) -> None:
        """The invitation of this outgoing call stands in the conversation at ``seq``."""
        self._feed(InviteStored(seq))

    def peer_invited(self, seq: int) -> bool:
        """Glare: the other side has invited at ``seq``. True: this call gave way, accept that one."""
        self._feed(PeerInvited(seq))
        return self.end is not None and self.end.reason == "glare"

    def ended_elsewhere(self, outcome: Outcome, device: bytes | None = None) -> None:
        """The conversation says how it ended (`call.ended`), and which device took or declined it."""
        self._feed(EndedElsewhere(outcome, device))

    def network_changed(self) -> None:
        """This device's network is another one: a new attempt begins at once, if there is a connection."""
        self._feed(NetworkChanged())

    async def close(self) -> None:
        """Hang up if need be, and end every task; the call says nothing more after this."""
        if self.state is not Phase.ENDED:
            self._feed(HungUp())
        try:
            async with asyncio.timeout(CLOSE_SECONDS):
                await self._media_closed.wait()
                await self._said.wait()
        except TimeoutError:
            _log.warning("a call could not be closed in time")
        finally:
            for task in self._tasks:
                task.cancel()
            await asyncio.gather(*self._tasks, return_exceptions=True)

    # Inside

    def _feed(self, event: Event) -> None:
        self._state, actions = step(self._state, event, self._loop.time())
        for action in actions:
            self._take(action)
        self._sends.put_nowait(None)  # the next deadline may be another one
        changed, self._changed = self._changed, asyncio.Event()
        changed.set()

    def _take(self, action: Action) -> None:
        if isinstance(action, Send):
            self._sends.put_nowait(action)
            return
        if isinstance(action, MakeOffer | MakeAnswer | CloseMedia):  # nothing of the older connection matters
            while not self._media_actions.empty():
                self._media_actions.get_nowait()
            if self._operation is not None:
                self._operation.cancel()
        self._media_actions.put_nowait(action)

    def _know_peer(self, party: Party) -> None:
        if self._peer is None and party.identity == self._state.peer_identity:
            self._peer = party

    async def _run(self) -> None:
        """Send what is to be sent, and wake the negotiation when its time has come."""
        try:
            while self._linger_until is None or self._loop.time() < self._linger_until:
                await self._send_until(self._wake_at())
                if self._state.wake_at is not None and self._loop.time() >= self._state.wake_at:
                    self._feed(Tick())
        finally:
            self._said.set()

    async def _send_until(self, wake_at: float | None) -> None:
        try:
            async with asyncio.timeout_at(wake_at):
                action = await self._sends.get()
        except TimeoutError:
            return
        if action is not None:
            await self._send(action)
        if self.state is Phase.ENDED and self._sends.empty():
            self._said.set()

    def _wake_at(self) -> float | None:
        times = [t for t in (self._state.wake_at, self._linger_until) if t is not None]
        return min(times, default=None)

    async def _send(self, action: Send) -> None:
        try:
            authenticator = await self._signals.send(
                action.message.kind, message_body(action.message, self.id)
            )
        except CoachRelayError as error:  # as if it had got lost on the way: what matters is sent again
            _log.debug("a call's message could not be sent: %s", error.code)
            return
        except Exception as error:  # the call goes on: the negotiation outlives lost messages
            _log.error("a call's message failed: %s %s", type(error).__name__, _place(error))
            return
        if action.offer is not None:
            self._feed(OfferSent(action.offer.attempt, authenticator))

    async def _run_media(self) -> None:
        """One thing after the other; a newer attempt interrupts what is done for an older one."""
        action: MediaAction | None = None
        while not isinstance(action, CloseMedia):
            action = await self._media_actions.get()
            self._operation = asyncio.create_task(self._perform(action))
            try:
                await asyncio.wait([self._operation])
            finally:
                self._operation.cancel()
            self._judge(action, self._operation)
        self._linger_until = self._loop.time() + LINGER_SECONDS
        self._sends.put_nowait(None)
        self._media_closed.set()

    def _judge(self, action: MediaAction, done: asyncio.Task[None]) -> None:
        error = None if done.cancelled() else done.exception()
        if error is None:
            return
        if not isinstance(error, CoachRelayError):
            _log.error("the media of a call failed: %s %s", type(error).__name__, _place(error))
        if isinstance(action, MakeOffer | MakeAnswer | ApplyAnswer):
            self._feed(MediaLost(action.attempt))

    async def _perform(self, action: MediaAction) -> None:
        match action:
            case MakeOffer(attempt=attempt):
                offer = await self._session.offer(attempt)
                self._feed(OfferReady(attempt, offer, os.urandom(NONCE_BYTES)))
            case MakeAnswer(attempt=attempt, sdp=sdp):
                answer = await self._session.answer(attempt, sdp)
                self._feed(AnswerReady(attempt, answer, os.urandom(NONCE_BYTES)))
            case ApplyAnswer(attempt=attempt, sdp=sdp):
                await self._session.take_answer(attempt, sdp)
            case AddCandidate(candidate=candidate):
                await self._session.add_candidate(candidate)
            case CloseMedia():
                await self._session.close()

    def _connection_changed(self, attempt: int, state: str) -> None:
        match state:
            case "connected":
                self._feed(MediaUp(attempt))
            case "failed" | "silent":
                self._feed(MediaLost(attempt))
            case "closed":
                self._loop.call_later(GRACE_SECONDS, self._feed, MediaLost(attempt))

    async def _until(self, condition: Callable[[], bool]) -> None:
        while not condition():
            await self._changed.wait()

    def _check_not_ended(self) -> None:
        if self.end is None:
            return
        if self.end.alarm is not None:
            raise self.end.alarm
        raise CallNotConnected(outcome=self.end.outcome.value, reason=self.end.reason)


def _place(error: BaseException) -> str:
    """Where an error came from; its message may tell addresses, so it stays out of logs."""
    frames = traceback.extract_tb(error.__traceback__)
    return f"{Path(frames[-1].filename).name}:{frames[-1].lineno}" if frames else ""
