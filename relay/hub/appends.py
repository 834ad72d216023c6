"""Appends and acknowledgements: the path that nearly every frame takes, and why an append may not take it."""

from __future__ import annotations

from collections.abc import Coroutine
from typing import TYPE_CHECKING, Any, Final

from relay.core.limits import BYTES_EACH
from relay.core.operations import AppendEntry, Outcome
from relay.core.streams import check_body, entry_digest
from relay.errors import RelayError, RequestError, StoreError
from relay.hub.session import Session, protocol_code
from relay.wire import frames as fr
from relay.wire.errors import ErrorCode, WireError
from relay.wire.frames import EntryKind
from relay.wire.ids import DeviceId
from relay.wire.limits import MAX_MESSAGE_BODY_BYTES

if TYPE_CHECKING:
    from relay.hub.hub import Hub
    from relay.hub.rooms import Room

_MESSAGE: Final = EntryKind.MESSAGE
_new: Final = tuple.__new__


class Appends:
    """Takes `Append` and `Ack` frames, and hands out what the store says."""

    def __init__(self, hub: Hub) -> None:
        self._hub = hub

    def append(self, session: Session, frame: fr.Append) -> Coroutine[Any, Any, None] | None:
        """Queue an append. What is plain and about a stream in use takes no turn of the loop."""
        hub = self._hub
        stream, counter, kind, after_commit, body, blobs = frame
        limits = session.limits
        now = hub.clock()
        if limits is None or not limits.appends.take(now, 1 + len(body) // BYTES_EACH):
            session.refuse(stream, counter, ErrorCode.RATE_LIMITED)
            return None
        # A stream is open only to who is on the roster of an active engagement: rule 1 is kept.
        is_open = stream in session.subscriptions
        if not is_open or kind is not _MESSAGE or blobs or len(body) > MAX_MESSAGE_BODY_BYTES:
            return self._append_carefully(session, frame)
        digest = entry_digest(kind, after_commit, body)
        now_ms = int(now * 1000)
        device = session.device
        append = _new(
            AppendEntry,
            (stream, device, counter, kind, after_commit, body, digest, now_ms, (), (), None),
        )
        hub.commits.append(append, session)
        return None

    async def _append_carefully(self, session: Session, frame: fr.Append) -> None:
        """Rules 1, 2 and what 6 and 7 need from outside the stream; the store decides the rest."""
        try:
            room = await self._hub.rooms.enter(frame.stream, session.portal, session.user)
            append = await self._checked(room, session.device, frame)
        except (RequestError, StoreError) as error:
            session.refuse(frame.stream, frame.counter, protocol_code(error))
            return
        except WireError as error:
            session.refuse(frame.stream, frame.counter, error.code)
            return
        self._hub.commits.append(append, session)

    async def _checked(self, room: Room, device: DeviceId, frame: fr.Append) -> AppendEntry:
        """The append as the store takes it; raises `WireError` with the refusal of rule 2."""
        bundle = check_body(frame.kind, frame.after_commit, frame.body)
        adds, removes = (bundle.adds, bundle.removes) if bundle else ((), ())
        now_ms = int(self._hub.clock() * 1000)
        return AppendEntry(
            frame.stream,
            device,
            frame.counter,
            frame.kind,
            frame.after_commit,
            frame.body,
            entry_digest(frame.kind, frame.after_commit, frame.body),
            now_ms,
            adds,
            removes,
            await self._refusal(room, adds, frame, now_ms),
        )

    async def _refusal(
        self, room: Room, adds: tuple[DeviceId, ...], frame: fr.Append, now_ms: int
    ) -> ErrorCode | None:
        for device in adds:
            binding = await self._hub.devices.binding(device)
            if binding is None or binding.portal != room.record.portal or binding.user not in room.users:
                return ErrorCode.NOT_ON_ROSTER
        if frame.blobs and not await self._hub.uploads.claim(frame.stream, frame.blobs, now_ms):
            return ErrorCode.BLOB_NOT_FOUND
        return None

    def acknowledge(self, session: Session, frame: fr.Ack) -> Coroutine[Any, Any, None] | None:
        """Free the window; the store learns of it with the next batch."""
        stream, seq = frame
        subscription = session.subscriptions.get(stream)
        if subscription is None:
            return self._acknowledge_unopened(session, frame)
        subscription.acknowledge(seq)
        room = subscription.room
        if subscription.acknowledged < seq <= room.head and session.device in room.joined:
            subscription.acknowledged = seq
            self._hub.commits.acknowledge(stream, session.device, seq)
        if session.congested:
            session.pump()
        elif subscription.wants_reading:
            self._hub.read_for(subscription)
        return None

    async def _acknowledge_unopened(self, session: Session, frame: fr.Ack) -> None:
        """A device may acknowledge before it opens; of what is not there it has nothing to acknowledge."""
        try:
            room = await self._hub.rooms.enter(frame.stream, session.portal, session.user)
        except (RequestError, StoreError) as error:
            session.send_error(0, error)
            return
        if frame.seq <= room.head and session.device in room.joined:
            self._hub.commits.acknowledge(frame.stream, session.device, frame.seq)

    def committed(self, append: AppendEntry, outcome: Outcome, session: Session) -> None:
        """Answer an append, and let a fresh entry go to who has the stream open."""
        hub = self._hub
        stream, _, counter, kind, _, _, _, _, _, _, _ = append
        seq, _, fresh, code, last_commit = outcome
        if code is not None:
            session.refuse(stream, counter, code, last_commit)
        else:
            session.appended(stream, counter, seq)
        if fresh:
            hub.rooms.committed(append, outcome)
            if kind is not _MESSAGE:
                hub.changed(stream)

    def failed(self, append: AppendEntry, error: RelayError, session: Session) -> None:
        """Tell that an append was not stored."""
        room = self._hub.rooms.get(append.stream)
        last_commit = room.last_commit if room else 0
        session.refuse(append.stream, append.counter, protocol_code(error), last_commit)
