"""Appends and acknowledgements: the path that nearly every frame takes, and why an append may not take it."""

from __future__ import annotations

from collections.abc import Coroutine
from itertools import islice, takewhile
from typing import TYPE_CHECKING, Any, Final

from relay.core.limits import BYTES_EACH
from relay.core.operations import AppendEntries, Outcome
from relay.core.streams import check_body
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
# One operation's entries also go out together: within one frame of either direction.
MAX_RUN_ENTRIES: Final = 128
_MAX_RUN_COST: Final = 192  # with bodies of 64 KiB at the end: below 1 MiB


class Appends:
    """Takes `Append` and `Ack` frames, and hands out what the store says."""

    def __init__(self, hub: Hub) -> None:
        self._hub = hub

    async def append(self, session: Session, frames: list[fr.Append]) -> None:
        """Queue appends that came together; what is plain and of one stream becomes one operation."""
        done = 0
        while done < len(frames) and not session.closed:
            if frames[done].stream in session.subscriptions:
                # A stream is open only to who is on the roster of an active engagement: rule 1 is kept.
                bodies, cost = _plain_run(frames, done)
            else:
                bodies, cost = [], 0
            if bodies:
                self._append_plain(session, frames[done], bodies, cost)
            else:
                await self._append_carefully(session, frames[done])
            done += len(bodies) or 1

    def _append_plain(self, session: Session, first: fr.Append, bodies: list[bytes], cost: int) -> None:
        hub = self._hub
        now = hub.steady()
        stream, counter, _, after_commit, _, _ = first
        allowed = bodies
        if session.limits is None:
            allowed = []
        elif not session.limits.appends.take(now, cost):
            bucket = session.limits.appends
            allowed = list(takewhile(lambda body: bucket.take(now, _cost(body)), bodies))
        if allowed:
            hub.commits.append(
                AppendEntries(
                    stream, session.device, counter, _MESSAGE, after_commit, allowed, int(hub.clock() * 1000)
                ),
                session,
            )
        refused = len(bodies) - len(allowed)
        session.refuse(stream, counter + len(allowed), refused, ErrorCode.RATE_LIMITED)

    async def _append_carefully(self, session: Session, frame: fr.Append) -> None:
        """Rules 1, 2 and what 6 and 7 need from outside the stream; the store decides the rest."""
        if not self._may(session, frame):
            session.refuse(frame.stream, frame.counter, 1, ErrorCode.RATE_LIMITED)
            return
        try:
            room = await self._hub.rooms.enter(frame.stream, session.portal, session.user)
            append = await self._checked(room, session.device, frame)
        except (RequestError, StoreError) as error:
            session.refuse(frame.stream, frame.counter, 1, protocol_code(error))
            return
        except WireError as error:
            session.refuse(frame.stream, frame.counter, 1, error.code)
            return
        self._hub.commits.append(append, session)

    def _may(self, session: Session, frame: fr.Append) -> bool:
        """A bundle takes from two buckets: what it does to a group every member has to work on."""
        limits, now = session.limits, self._hub.steady()
        if limits is None or not limits.appends.take(now, _cost(frame.body)):
            return False
        return frame.kind is _MESSAGE or limits.commits.take(now)

    async def _checked(self, room: Room, device: DeviceId, frame: fr.Append) -> AppendEntries:
        """The append as the store takes it; raises `WireError` with the refusal of rule 2."""
        bundle = check_body(frame.kind, frame.after_commit, frame.body)
        adds, removes = (bundle.adds, bundle.removes) if bundle else ((), ())
        now_ms = int(self._hub.clock() * 1000)
        return AppendEntries(
            frame.stream,
            device,
            frame.counter,
            frame.kind,
            frame.after_commit,
            (frame.body,),
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
                if room.set_back and (binding is None or binding.portal == room.record.portal):
                    continue  # the record may be lost; nobody reads anything who is not on the roster
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

    def committed(self, append: AppendEntries, outcomes: list[Outcome], session: Session) -> None:
        """Answer an append, and let fresh entries go to who has the stream open."""
        hub = self._hub
        stream, counter = append.stream, append.counter
        waited = hub.clock() - append.now_ms / 1000
        for outcome in outcomes:
            seq, _, _, code, last_commit, entries = outcome
            if code is not None:
                session.refuse(stream, counter, entries, code, last_commit)
                if code is ErrorCode.STALE:
                    hub.rooms.is_at(stream, last_commit)
            else:
                session.appended(stream, counter, seq, entries)
                hub.watch.stored.add(waited, entries)
                # Fresh or not: the store may have failed after it had stored them, and then nobody knows.
                hub.rooms.committed(append, counter, outcome)
            counter += entries
        if append.kind is not _MESSAGE and outcomes[0].code is None:
            hub.changed(stream)

    def failed(self, append: AppendEntries, error: RelayError, session: Session) -> None:
        """Tell that an append was not stored."""
        self._hub.rooms.doubt(append.stream)  # it may have been stored all the same
        room = self._hub.rooms.get(append.stream)
        last_commit = room.last_commit if room else 0
        session.refuse(append.stream, append.counter, len(append.bodies), protocol_code(error), last_commit)


def _plain_run(frames: list[fr.Append], start: int) -> tuple[list[bytes], int]:
    """The bodies of the frames from `start` on that one operation takes, and what they cost; none if that
    one is not plain."""
    stream, counter, _, after_commit, _, _ = frames[start]
    bodies: list[bytes] = []
    cost = 0
    for frame in islice(frames, start, start + MAX_RUN_ENTRIES):
        its_stream, its_counter, kind, its_commit, body, blobs = frame
        if its_stream != stream or its_counter != counter or its_commit != after_commit or blobs:
            break
        if kind is not _MESSAGE or len(body) > MAX_MESSAGE_BODY_BYTES or cost >= _MAX_RUN_COST:
            break
        bodies.append(body)
        counter += 1
        cost += 1 + len(body) // BYTES_EACH
    return bodies, cost


def _cost(body: bytes) -> int:
    return 1 + len(body) // BYTES_EACH
