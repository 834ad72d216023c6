"""Streams in use: who is a member, where the head is, which connections have it open."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Final, NamedTuple

from relay.core.engagements import EngagementRecord
from relay.core.operations import AppendEntries, CreateStream, Outcome, StreamView
from relay.errors import Ended, NotFound
from relay.hub.delivery import Subscription
from relay.hub.settings import CACHED_ROOMS
from relay.wire.codec import encode_own_run, encode_run, entries_prefix
from relay.wire.frames import EntryKind
from relay.wire.ids import DeviceId, EngagementId, PortalId, UserId
from relay.wire.limits import INCARNATION_BYTES

if TYPE_CHECKING:
    from relay.hub.hub import Hub
    from relay.hub.session import Session

_COMMIT: Final = EntryKind.COMMIT


class Fresh(NamedTuple):
    """Entries of one device that were just stored: `counter` and `seq` are the first one's."""

    device: DeviceId
    counter: int
    kind: EntryKind
    after_commit: int
    seq: int
    time_ms: int
    bodies: Sequence[bytes]

    @property
    def entries(self) -> int:
        return len(self.bodies)

    @property
    def last(self) -> int:
        return self.seq + len(self.bodies) - 1


class Room:
    """One active engagement's stream as the live connections need it; follows every commit of this relay."""

    __slots__ = (
        "_fresh",
        "entries_prefix",
        "head",
        "incarnation",
        "joined",
        "last_commit",
        "record",
        "subscriptions",
        "users",
    )

    def __init__(self, record: EngagementRecord, view: StreamView) -> None:
        self.record = record
        self.users = record.users
        self.incarnation = view.incarnation
        self.head = view.head
        self.last_commit = view.last_commit
        self.joined: dict[DeviceId, int] = dict(view.joined)
        self.subscriptions: dict[Session, Subscription] = {}
        self._fresh: list[Fresh] = []
        self.entries_prefix = entries_prefix(record.id)

    def update(self, record: EngagementRecord) -> None:
        """Take over a changed roster."""
        self.record = record
        self.users = record.users

    def committed(self, fresh: Fresh, append: AppendEntries) -> None:
        """Follow a fresh append. What came in one transaction goes out together, with `deliver`."""
        if fresh.seq <= (self._fresh[-1].last if self._fresh else self.head):
            return  # it was there when the room was loaded, or this is an answer given again
        if append.kind is _COMMIT:
            self.deliver()
            self._follow_bundle(append, fresh.seq)
        self._fresh.append(fresh)

    def deliver(self) -> None:
        """Let fresh entries go to who keeps up; the others read them from the store."""
        all_fresh, self._fresh = self._fresh, []
        if not all_fresh:
            return
        start = all_fresh[0].seq - 1
        self.head = all_fresh[-1].last
        keeping_up: list[Subscription] = []
        for session, subscription in self.subscriptions.items():
            if subscription.sent == start and not session.congested and subscription.is_member:
                keeping_up.append(subscription)
            elif subscription.waits_for_nothing:
                session.hub.read_for(subscription)
        if keeping_up:
            _count(keeping_up, all_fresh)
        for fresh in all_fresh:
            theirs: bytes | None = None
            for subscription in keeping_up:
                if subscription.device == fresh.device:
                    subscription.offer(fresh.seq, fresh.entries, _pack_own(fresh))
                else:
                    theirs = theirs or _pack_for_others(fresh)
                    subscription.offer(fresh.seq, fresh.entries, theirs)

    def _follow_bundle(self, append: AppendEntries, seq: int) -> None:
        creator = () if self.last_commit else (append.device,)
        for device in append.removes:
            if device not in append.adds:
                self.joined.pop(device, None)
        for device in (*creator, *append.adds):
            self.joined[device] = seq
        self.last_commit = seq
        added = {*creator, *append.adds}
        for subscription in self.subscriptions.values():
            if subscription.device in added:
                subscription.start_at(seq)
            elif subscription.device not in self.joined:
                subscription.is_member = False


def _count(devices: list[Subscription], all_fresh: list[Fresh]) -> None:
    """Note how long entries were here before they went out."""
    hub = devices[0].session.hub
    now = hub.clock()
    for fresh in all_fresh:
        hub.watch.delivered.add(now - fresh.time_ms / 1000, fresh.entries * len(devices))


def _pack_for_others(fresh: Fresh) -> bytes:
    return encode_run(fresh.seq, fresh.kind, fresh.after_commit, fresh.time_ms, fresh.bodies)


def _pack_own(fresh: Fresh) -> bytes:
    """Without the bodies, which their device has already."""
    return encode_own_run(
        fresh.seq, fresh.kind, fresh.after_commit, fresh.time_ms, fresh.counter, fresh.entries
    )


class _Load:
    """A look at the store for a new room; late if a commit passed meanwhile: then it looks again."""

    __slots__ = ("is_late",)

    def __init__(self) -> None:
        self.is_late = False


class Rooms:
    """The rooms in use. A room that nobody has open may be dropped at any time: the store has it."""

    def __init__(self, hub: Hub) -> None:
        self._hub = hub
        self._rooms: dict[EngagementId, Room] = {}
        self._to_deliver: dict[Room, None] = {}
        # Rooms that are being loaded: several tasks may want the same one.
        self._loading: dict[EngagementId, list[_Load]] = {}

    def __len__(self) -> int:
        return len(self._rooms)

    def get(self, stream: EngagementId) -> Room | None:
        """The room, if it is in use."""
        return self._rooms.get(stream)

    async def enter(self, stream: EngagementId, portal: PortalId, user: UserId) -> Room:
        """The room of an active engagement for a user on its roster; raises `NotFound` or `Ended`."""
        room = self._rooms.get(stream)
        if room is None or room.record.portal != portal or user not in room.users:
            record = await self._hub.engagements.load_for_user(stream, portal, user)
            if record.ended:
                raise Ended("the engagement has ended")
            room = self._rooms.get(stream) or await self._load(record)
        return room

    def committed(self, append: AppendEntries, counter: int, outcome: Outcome) -> None:
        """Follow the fresh entries of an append from a counter on; `deliver` lets them go out."""
        stream = append.stream
        room = self._rooms.get(stream)
        if room is not None:
            start = counter - append.counter
            bodies = append.bodies[start : start + outcome.entries]
            room.committed(
                Fresh(
                    append.device,
                    counter,
                    append.kind,
                    append.after_commit,
                    outcome.seq,
                    outcome.time_ms,
                    bodies,
                ),
                append,
            )
            self._to_deliver[room] = None
        else:
            for load in self._loading.get(stream, ()):
                load.is_late = True

    def deliver(self) -> None:
        """Let the entries of a transaction go out."""
        for room in self._to_deliver:
            room.deliver()
        self._to_deliver.clear()

    def drop(self, stream: EngagementId) -> Room | None:
        """Forget a room, because its engagement has ended."""
        return self._rooms.pop(stream, None)

    async def _load(self, record: EngagementRecord) -> Room:
        stream = record.id
        load = _Load()
        self._loading.setdefault(stream, []).append(load)
        try:
            while True:
                load.is_late = False
                view = await self._view(stream)
                newest = await self._hub.engagements.load(stream)
                if stream in self._rooms:
                    return self._rooms[stream]
                if not load.is_late:
                    break
        finally:
            self._loading[stream].remove(load)
            if not self._loading[stream]:
                del self._loading[stream]
        if newest is None or newest.ended:
            raise Ended("the engagement has ended")
        self._trim()
        room = self._rooms[stream] = Room(newest, view)
        return room

    async def _view(self, stream: EngagementId) -> StreamView:
        view = await self._hub.streams.view(stream)
        if view is None:
            # The engagement stands and its stream is missing: a copy without it was restored. A new
            # incarnation tells the devices.
            create = CreateStream(stream, self._hub.rng(INCARNATION_BYTES))
            await self._hub.commits.submit(create)
            view = await self._hub.streams.view(stream)
        if view is None:
            raise NotFound("the engagement has ended meanwhile")
        return view

    def _trim(self) -> None:
        if len(self._rooms) < CACHED_ROOMS:
            return
        for stream in [stream for stream, room in self._rooms.items() if not room.subscriptions]:
            del self._rooms[stream]
