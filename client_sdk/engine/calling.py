"""Calls of one conversation: invitations and ends are stored messages, the negotiation is whispered."""

from __future__ import annotations

import asyncio
import logging
from collections import deque
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import TYPE_CHECKING, Final, cast

from client_sdk.calls import (
    Call,
    CallContext,
    CallMessageInvalid,
    CallNotPossible,
    CallSettings,
    Media,
    Outcome,
    Party,
    Phase,
    Role,
    call_id,
)
from client_sdk.calls.call import LINGER_SECONDS
from client_sdk.calls.session import no_ice_servers
from client_sdk.content import CallEnded, CallInvite
from client_sdk.content import Media as MediaKind
from client_sdk.engine import journal
from client_sdk.engine.conversation import Conversation
from client_sdk.engine.ephemeral import Body
from client_sdk.engine.items import Item, Origin
from client_sdk.engine.whispers import Whisper
from client_sdk.errors import CoachRelayError, RelayUnreachable
from client_sdk.vault import HistoryItem
from relay.wire import frames as fr

if TYPE_CHECKING:
    from client_sdk.engine.engine import Engine

_log = logging.getLogger(__name__)

MAX_CALLS: Final = 4  # live in one conversation: one that is spoken in, and what rings besides
MAX_RINGS: Final = 16  # not looked at by the application yet
INVITE_SECONDS: Final = 120.0  # an older invitation is history: nobody lets it ring for so long
ONLINE_SECONDS: Final = 15.0  # that a new attempt waits for the relay: half of what it has


@dataclass(frozen=True, slots=True, kw_only=True)
class Ring(Item):
    """Somebody is calling, now. `accept` or `decline` it; it stops by itself when the caller gives up."""

    origin: Origin
    call: Call = field(repr=False, compare=False)
    media: tuple[MediaKind, ...]

    async def accept(
        self, *, media: Media | str | Path | None = None, record: str | Path | None = None
    ) -> Call:
        """Take the call; raises `CallNotPossible` if it does not ring any more."""
        return await self.call.accept(media=media, record=record)

    async def decline(self) -> None:
        """Do not take it; raises `CallNotPossible` if it does not ring any more."""
        await self.call.decline()


class Calls:
    """What is being called in one conversation, out and in."""

    def __init__(self, engine: Engine, conversation: Conversation, settings: CallSettings) -> None:
        self._engine = engine
        self._conversation = conversation
        self._settings = settings
        if settings.ice_servers is no_ice_servers:
            self._settings = replace(settings, ice_servers=self._ice_servers)
        self._live: dict[bytes, Call] = {}
        self._invitations: dict[bytes, Call] = {}
        """By the id of the invitation's message, until the stream has it."""
        self.rings: deque[tuple[Call, bytes]] = deque(maxlen=MAX_RINGS)
        """Calls that ring and that the application has not seen, with their invitation's message id."""
        conversation.whispers.heard = self.heard

    @property
    def _is_busy(self) -> bool:
        return sum(call.state is not Phase.ENDED for call in self._live.values()) >= MAX_CALLS

    # Out

    async def call(self, *, video: bool, media: Media | str | Path | None, record: str | Path | None) -> Call:
        """Call whoever else takes part; raises `CallError`."""
        kinds: tuple[MediaKind, ...] = ("audio", "video") if video else ("audio",)
        if self._is_busy:
            raise CallNotPossible("There are calls going on already.")
        context = self._context(self._conversation.context.new_id(), frozenset(kinds))
        call = await Call.invite(context, _Signals(self), media=media, record=record, settings=self._settings)
        message_id = self._conversation.context.new_id()
        self._live[call.id] = self._invitations[message_id] = call
        self._engine.spawn(self._follow(call))
        self._conversation.say(CallInvite(call.id, kinds), message_id=message_id)
        return call

    def _context(self, call: bytes, kinds: frozenset[str], caller: HistoryItem | None = None) -> CallContext:
        group = self._conversation.standing.group
        if group is None or not self._conversation.somebody_listens:
            raise CallNotPossible("Nobody else has joined the conversation yet.")
        account = self._conversation.context.account
        caller_device = None if caller is None else caller.sender_device
        return CallContext(
            call=call,
            group_id=group.group_id,
            own_device=account.device,
            own=Party(user=account.user, identity=account.manifest.identity_key),
            media=kinds,
            party_of=self._party_of,
            peer=self._only_other() if caller_device is None else self._party_of(caller_device),
            caller_device=caller_device,
        )

    def _party_of(self, device: bytes) -> Party | None:
        view = self._conversation.standing.view
        leaves = [leaf for leaf in view.leaves if leaf.device == device] if view is not None else []
        return Party(user=leaves[0].user, identity=leaves[0].manifest.identity_key) if leaves else None

    def _only_other(self) -> Party | None:
        view = self._conversation.standing.view
        leaves = view.leaves if view is not None else ()
        devices = {leaf.user: leaf.device for leaf in leaves if leaf.user != self._engine.account.user}
        return self._party_of(next(iter(devices.values()))) if len(devices) == 1 else None

    async def _follow(self, call: Call) -> None:
        """Wait for the call's end; whoever began it stores how it went."""
        try:
            end = await call.ended()
            if call.role is Role.CALLER:
                answered = call.peer if end.outcome is Outcome.ANSWERED else None
                ended = CallEnded(call.id, end.outcome.value, answered_by=answered, seconds=end.seconds)
                self._conversation.say(ended, message_id=self._conversation.context.new_id())
            # For a while it still tells those who ask that it is over.
            await self._engine.environment.sleep(LINGER_SECONDS)
        finally:
            await call.close()
            self._live.pop(call.id, None)

    def network_changed(self) -> None:
        """This device's network is another one."""
        for call in list(self._live.values()):
            call.network_changed()

    async def close(self) -> None:
        """Hang up everything."""
        await asyncio.gather(*(call.close() for call in self._live.values()))

    # In

    def stored(self, placed: Sequence[bytes], said: Sequence[bytes]) -> None:
        """The stream has brought our messages their positions, and others' messages."""
        for message_id in placed:
            call = self._invitations.pop(message_id, None)
            if call is not None:
                found = self._find(message_id)
                call.invite_stored(0 if found is None or found.seq is None else found.seq)
        for message_id in said:
            found = self._find(message_id)
            if found is not None:
                self._on_said(found)

    def _find(self, message_id: bytes) -> HistoryItem | None:
        with self._engine.vault.transaction() as tx:
            return next(iter(tx.history(self._conversation.id, only=message_id, limit=1)), None)

    def _on_said(self, found: HistoryItem) -> None:
        if found.kind == CallEnded.KIND:
            ended = journal.Said.parse(found.payload).content()
            live = self._live.get(ended.call) if isinstance(ended, CallEnded) else None
            if live is not None and isinstance(ended, CallEnded) and live.role is Role.CALLEE:
                live.ended_elsewhere(Outcome(ended.outcome))
        elif found.kind == CallInvite.KIND:
            invite = journal.Said.parse(found.payload).content()
            recent = self._engine.environment.now() - found.sent_ms / 1000 < INVITE_SECONDS
            if isinstance(invite, CallInvite) and recent and not self._is_busy:
                self._invited(invite, found)

    def _invited(self, invite: CallInvite, found: HistoryItem) -> None:
        if invite.call in self._live or found.seq is None:
            return
        for call in list(self._live.values()):
            if call.role is Role.CALLER and call.state is not Phase.ENDED:
                call.peer_invited(found.seq)
        try:
            context = self._context(invite.call, frozenset(invite.media), found)
            call = Call.invited(context, _Signals(self), seq=found.seq, settings=self._settings)
        except CoachRelayError as error:
            _log.info("an invitation to a call cannot be followed: %s", error.code)
            return
        self._live[call.id] = call
        self._engine.spawn(self._follow(call))
        self._engine.spawn(self._announce(call, found.id))

    async def _announce(self, call: Call, message_id: bytes) -> None:
        while call.state in (Phase.IDLE, Phase.INVITING):
            await call.next_state(call.state)
        if call.state is Phase.RINGING:
            self.rings.append((call, message_id))
            self._engine.notify()

    def heard(self, whisper: Whisper) -> None:
        """An ephemeral message came; if it is about a call that lives here, the call hears it."""
        try:
            call = self._live.get(call_id(whisper.body))
            if call is not None:
                call.deliver(whisper.sender.device, whisper.kind, whisper.body, whisper.authenticator)
        except CallMessageInvalid as error:
            _log.info("a call's message was dropped: %s", error.code)

    # What calls ask for

    def whisper(self, kind: str, body: dict[str, object]) -> bytes:
        """Send an ephemeral message; returns the authenticator of the epoch it is sealed under."""
        conversation = self._conversation
        if conversation.alarm is not None:
            raise conversation.alarm
        group = conversation.standing.group
        if group is None or not conversation.is_open:
            raise RelayUnreachable("The conversation is not open at the relay.")
        sealed = conversation.whispers.seal(kind, cast(Body, body))
        self._engine.link.send(fr.Ephemeral(conversation.id, sealed))
        return group.epoch_authenticator

    async def _ice_servers(self) -> Sequence[fr.IceServer]:
        """With fresh credentials. After a change of network the relay is waited for: they lead around it."""
        try:
            async with asyncio.timeout(ONLINE_SECONDS):
                await self._engine.wait_until(lambda: self._conversation.is_open)
        except TimeoutError:
            raise RelayUnreachable("The conversation is not open at the relay.") from None
        answer = await self._engine.requests.ask(
            lambda number: fr.RequestIceServers(number, self._conversation.id), fr.IceServers
        )
        return answer.servers


class _Signals:
    """How one call whispers."""

    def __init__(self, calls: Calls) -> None:
        self._calls = calls

    async def send(self, kind: str, body: dict[str, object]) -> bytes:
        return self._calls.whisper(kind, body)
