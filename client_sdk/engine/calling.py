"""Calls of one conversation: invitations and ends are stored messages, the negotiation is whispered."""

from __future__ import annotations

import asyncio
import logging
from collections import deque
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import TYPE_CHECKING, Final, cast

from client_sdk.calls import (
    Call,
    CallContext,
    CalledAlready,
    CallEnd,
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
from client_sdk.calls.states import RING_SECONDS
from client_sdk.content import CallEnded, CallInvite
from client_sdk.content import Media as MediaKind
from client_sdk.engine import journal, roster, sending, spaces
from client_sdk.engine.conversation import Conversation
from client_sdk.engine.ephemeral import Body
from client_sdk.engine.items import Item, Origin
from client_sdk.engine.records import OpenCall
from client_sdk.engine.whispers import Whisper
from client_sdk.errors import CoachRelayError, RelayUnreachable
from client_sdk.vault import HistoryItem
from relay.wire import frames as fr

if TYPE_CHECKING:
    from client_sdk.engine.engine import Engine

_log = logging.getLogger(__name__)

_ABOUT_CALLS: Final = frozenset({CallInvite.KIND, CallEnded.KIND})
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
    why: Callable[[CallEnd | None], str] = field(repr=False, compare=False)

    async def accept(
        self, *, media: Media | str | Path | None = None, record: str | Path | None = None
    ) -> Call:
        """Take the call; raises `CallNotPossible` if it does not ring any more."""
        return await self.call.accept(media=media, record=record)

    async def decline(self) -> None:
        """Do not take it; raises `CallNotPossible` if it does not ring any more."""
        await self.call.decline()

    async def over(self) -> str:
        """Wait until it does not ring any more, and say why: a sentence to show, as on the other devices."""
        while self.call.state is Phase.RINGING:
            await self.call.next_state(Phase.RINGING)
        return self.why(self.call.end)


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
        if any(other.role is Role.CALLEE and other.state is Phase.RINGING for other in self._live.values()):
            raise CalledAlready("They are calling you at this moment. Take their call.")
        context = self._context(self._conversation.context.new_id(), frozenset(kinds))
        call = await Call.invite(context, _Signals(self), media=media, record=record, settings=self._settings)
        message_id = self._conversation.context.new_id()
        self._live[call.id] = self._invitations[message_id] = call
        self._engine.spawn(self._follow(call))
        self._store(CallInvite(call.id, kinds), message_id, OpenCall(call.id))
        return call

    def resume(self) -> None:
        """Calls that were going on when the program ended are over: the others are told."""
        with self._engine.vault.transaction() as tx:
            prefix = spaces.conversation_key(self._conversation.id)
            found = tx.scan(spaces.CALLING, prefix, limit=MAX_CALLS * MAX_RINGS)
        for _, value in found:
            left = OpenCall.parse(value)
            outcome = Outcome.ANSWERED if left.answered_by else Outcome.MISSED
            self._store_end(
                CallEnded(left.call, outcome.value, left.answered_by or None, device=left.device or None)
            )

    def _store(self, content: CallInvite | CallEnded, message_id: bytes, left: OpenCall | None) -> None:
        """Say something about a call of ours, and remember what is still to be said, in one step."""
        key = spaces.conversation_key(self._conversation.id) + content.call
        with self._conversation.work("call") as work:
            sending.queue(work, self._conversation.context.account, content, message_id=message_id)
            if left is None:
                work.tx.delete(spaces.CALLING, key)
            else:
                work.tx.put(spaces.CALLING, key, left.serialize())
        self._conversation.go_on()

    def _store_end(self, ended: CallEnded) -> None:
        try:
            self._store(ended, self._conversation.context.new_id(), None)
        except CoachRelayError as error:  # a full outbox or disk: said when the program begins anew
            _log.warning("how a call went could not be stored: %s", error.code)

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
            if call.role is Role.CALLER:
                await self._note_who_answered(call)
            end = await call.ended()
            self._report(call, end)
            if call.role is Role.CALLER:
                answered = call.peer if end.outcome is Outcome.ANSWERED else None
                self._store_end(
                    CallEnded(
                        call.id,
                        end.outcome.value,
                        answered_by=answered,
                        seconds=end.seconds,
                        device=end.device,
                    )
                )
            # For a while it still tells those who ask that it is over.
            await self._engine.environment.sleep(LINGER_SECONDS)
        finally:
            await call.close()
            self._live.pop(call.id, None)

    def _report(self, call: Call, end: CallEnd) -> None:
        """Let the operator count how calls connect; a call that nobody took says nothing about that."""
        path = call.path or ("failed" if end.outcome is Outcome.FAILED else "")
        if not path or not self._settings.report_path:
            return
        try:
            self._engine.link.send(fr.CallOutcome(path))
        except CoachRelayError as error:  # it is not worth waiting for the relay
            _log.debug("how a call connected was not counted: %s", error.code)

    def network_changed(self) -> None:
        """This device's network is another one."""
        for call in list(self._live.values()):
            call.network_changed()

    async def _note_who_answered(self, call: Call) -> None:
        while call.state not in (Phase.CONNECTED, Phase.ENDED):
            await call.next_state(call.state)
        if call.state is Phase.CONNECTED:
            key = spaces.conversation_key(self._conversation.id) + call.id
            left = OpenCall(call.id, call.peer or "", call.peer_device or b"")
            with self._engine.vault.transaction() as tx:
                tx.put(spaces.CALLING, key, left.serialize())

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
        rows = [found for message_id in said if (found := self._find(message_id)) is not None]
        about_calls = [row for row in rows if row.kind in _ABOUT_CALLS]
        contents = [(row, journal.Said.parse(row.payload).content()) for row in about_calls]
        over = {content.call for _, content in contents if isinstance(content, CallEnded)}
        for row, content in contents:
            if isinstance(content, CallEnded):
                self._on_ended(content, row)
            elif isinstance(content, CallInvite) and content.call not in over:
                self._on_invite(content, row)

    def _find(self, message_id: bytes) -> HistoryItem | None:
        with self._engine.vault.transaction() as tx:
            return next(iter(tx.history(self._conversation.id, only=message_id, limit=1)), None)

    def _on_ended(self, ended: CallEnded, found: HistoryItem) -> None:
        """Only who called says how it went."""
        live = self._live.get(ended.call)
        if live is not None and live.role is Role.CALLEE and live.peer == found.sender_user:
            live.ended_elsewhere(Outcome(ended.outcome), ended.device)

    def _on_invite(self, invite: CallInvite, found: HistoryItem) -> None:
        age = self._engine.environment.now() - found.sent_ms / 1000
        if found.seq is None or invite.call in self._live or age >= INVITE_SECONDS:
            return
        if found.sender_user != self._engine.account.user:
            if not self._is_busy:
                self._invited(invite, found, found.seq)
        elif age < RING_SECONDS:  # two devices of one person call at once: one call is enough
            self._give_way(found.seq)

    def _give_way(self, seq: int) -> None:
        """Glare: a call of ours that nobody has taken yet ends if the invitation at `seq` came before it."""
        for call in self._early_calls():
            call.peer_invited(seq)

    def _early_calls(self) -> list[Call]:
        calls = (call for call in self._live.values() if call.role is Role.CALLER)
        return [call for call in calls if call.state in (Phase.INVITING, Phase.RINGING)]

    def _invited(self, invite: CallInvite, found: HistoryItem, seq: int) -> None:
        try:
            context = self._context(invite.call, frozenset(invite.media), found)
            call = Call.invited(context, _Signals(self), seq=seq, settings=self._settings)
        except CoachRelayError as error:
            _log.info("an invitation to a call cannot be followed: %s", error.code)
            return
        self._live[call.id] = call
        self._engine.spawn(self._follow(call))
        self._engine.spawn(self._announce(call, found.id, seq))

    async def _announce(self, call: Call, message_id: bytes, seq: int) -> None:
        while call.state in (Phase.IDLE, Phase.INVITING):
            await call.next_state(call.state)
        if call.state is Phase.RINGING:
            self._give_way(seq)
        while call.state is Phase.RINGING and (ours := self._early_calls()):
            # Ours came first: theirs gives way as soon as it hears of it.
            await _first_change(call, ours[0])
        if call.state is Phase.RINGING:
            self.rings.append((call, message_id))
            self._engine.notify()

    def why_over(self, caller: str, end: CallEnd | None) -> str:
        """Why a call that rang here does not ring any more, for the person."""
        if end is None or end.device == self._engine.account.device:
            return "You declined." if end is not None and end.outcome is Outcome.DECLINED else "You answered."
        with self._engine.vault.transaction() as tx:
            where = roster.own_device(self._conversation, tx, end.device)
            party = self._party_of(end.device) if end.device is not None else None
            who = roster.person(self._conversation, tx, party.user).name if party is not None else "Somebody"
        match end.outcome:
            case Outcome.ANSWERED:
                return f"You answered on {where}." if where else f"{who} answered."
            case Outcome.DECLINED if where:
                return f"You declined on {where}."
            case Outcome.MISSED | Outcome.CANCELLED:
                return f"{caller} does not call any more. You missed the call."
        return "The call could not be connected." if end.outcome is Outcome.FAILED else "The call is over."

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


async def _first_change(*calls: Call) -> None:
    tasks = [asyncio.ensure_future(call.next_state(call.state)) for call in calls]
    try:
        await asyncio.wait(tasks, return_when=asyncio.FIRST_COMPLETED)
    finally:
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)


class _Signals:
    """How one call whispers."""

    def __init__(self, calls: Calls) -> None:
        self._calls = calls

    async def send(self, kind: str, body: dict[str, object]) -> bytes:
        return self._calls.whisper(kind, body)
