"""Streams in use: who is a member, where the head is, which connections have it open."""

from __future__ import annotations

from collections.abc import Iterable
from typing import TYPE_CHECKING, Final

from relay.core.engagements import EngagementRecord
from relay.core.operations import AppendEntries, CreateStream, Outcome, StreamView
from relay.errors import Ended, NotFound, StoreError
from relay.hub.delivery import Subscription
from relay.hub.settings import CACHED_ROOMS, HEAL_SECONDS, UNUSED_LOOKS
from relay.hub.told import Fresh, Wake
from relay.wire.codec import encode_own_run, encode_run, entries_prefix
from relay.wire.errors import ErrorCode
from relay.wire.frames import EntryKind
from relay.wire.ids import DeviceId, EngagementId, PortalId, UserId
from relay.wire.limits import INCARNATION_BYTES

if TYPE_CHECKING:
    from relay.hub.hub import Hub
    from relay.hub.session import Session

_COMMIT: Final = EntryKind.COMMIT


class Room:
    """One active engagement's stream as the live connections need it; follows every commit of this node, and
    goes after those of others (`woken`, `take`)."""

    __slots__ = (
        "_fresh",
        "entries_prefix",
        "head",
        "incarnation",
        "joined",
        "last_commit",
        "record",
        "set_back",
        "subscriptions",
        "unused",
        "users",
    )

    def __init__(self, record: EngagementRecord, view: StreamView) -> None:
        self.record = record
        self.users = record.users
        self.incarnation = view.incarnation
        self.head = view.head
        self.last_commit = view.last_commit
        self.set_back = view.set_back
        self.joined: dict[DeviceId, int] = dict(view.joined)
        self.subscriptions: dict[Session, Subscription] = {}
        self._fresh: list[Fresh] = []
        self.unused = 0  # how many looks in a row have found it without a connection
        self.entries_prefix = entries_prefix(record.id)

    def update(self, record: EngagementRecord) -> None:
        """Take over a changed roster."""
        self.record = record
        self.users = record.users

    def committed(self, fresh: Fresh, append: AppendEntries) -> bool:
        """Follow a fresh append. What came in one transaction goes out together, with `deliver`.

        False if the stream has to be looked at to know who is a member.
        """
        before = self._fresh[-1].last if self._fresh else self.head
        if fresh.seq <= before:
            return True  # it was there when the room was loaded, or this is an answer given again
        if fresh.seq > before + 1:
            return self._passed_by(fresh, append)
        if append.kind is _COMMIT:
            self.deliver()
            self._follow_bundle(append, fresh.seq)
        self._fresh.append(fresh)
        return True

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
        for fresh in all_fresh:
            theirs: bytes | None = None
            out = 0
            for subscription in keeping_up:
                if subscription.device == fresh.device:
                    out += subscription.offer(fresh.seq, fresh.entries, _pack_own(fresh))
                else:
                    theirs = theirs or _pack_for_others(fresh)
                    out += subscription.offer(fresh.seq, fresh.entries, theirs)
            if out:
                hub = keeping_up[0].session.hub
                hub.watch.delivered.add(hub.clock() - fresh.time_ms / 1000, fresh.entries * out)

    def _passed_by(self, fresh: Fresh, append: AppendEntries) -> bool:
        """Somebody else's entries, which we have not heard of yet, are before this one: all are read."""
        self.deliver()
        if append.after_commit != self.last_commit:
            return False
        if append.kind is _COMMIT:
            self._follow_bundle(append, fresh.seq)
        self._go_on(fresh.last)
        return True

    def woken(self, wake: Wake) -> bool:
        """Another node has appended; False if the stream has to be looked at to know who is a member."""
        if wake.last_commit > self.last_commit:
            return False
        if wake.fresh and wake.before == self.head and wake.last_commit == self.last_commit:
            self._fresh += wake.fresh
            self.deliver()
        else:
            self._go_on(wake.head)
        return True

    def take(self, view: StreamView) -> None:
        """Take over what the store says."""
        if view.last_commit > self.last_commit:
            self.joined = dict(view.joined)
            self.last_commit = view.last_commit
            for subscription in self.subscriptions.values():
                joined = self.joined.get(subscription.device)
                if joined is None:
                    subscription.is_member = False
                else:
                    subscription.start_at(joined)
        self._go_on(view.head)

    def _go_on(self, head: int) -> None:
        if head > self.head:
            self.head = head
            for session, subscription in self.subscriptions.items():
                if subscription.wants_reading:
                    session.hub.read_for(subscription)

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
        self._looking: set[EngagementId] = set()
        self._doubted: dict[EngagementId, None] = {}

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
            followed = room.committed(
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
            if not followed:
                self.look(stream)
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
        self._hub.bus.unfollow(stream)
        return self._rooms.pop(stream, None)

    # What others do to a stream, and what nobody knows

    def woken(self, stream: EngagementId, wake: Wake) -> None:
        """Another node has appended to a stream."""
        room = self._rooms.get(stream)
        if room is None:
            for load in self._loading.get(stream, ()):
                load.is_late = True
        elif not room.woken(wake):
            self.look(stream)

    def is_at(self, stream: EngagementId, last_commit: int) -> None:
        """The store has told a stream's last commit: one that we do not know has to be looked at."""
        room = self._rooms.get(stream)
        if room is not None and last_commit > room.last_commit:
            self.look(stream)

    def doubt(self, stream: EngagementId) -> None:
        """Nobody knows what became of an append: look at the stream with the next tick."""
        self._doubted[stream] = None

    def look(self, stream: EngagementId) -> None:
        """Have a room take over what the store says."""
        if stream in self._looking:
            self._doubted[stream] = None  # the look that is under way may be too early
        elif stream in self._rooms:
            self._looking.add(stream)
            self._hub.spawn(self._look(stream))

    async def _look(self, stream: EngagementId) -> None:
        try:
            room = self._rooms.get(stream)
            if room is None:
                return
            head = room.head
            view = await self._hub.streams.view(stream)
            if self._rooms.get(stream) is not room:
                return
            if view is None or view.incarnation != room.incarnation or view.head < head:
                self.lost(stream)
            else:
                room.take(view)
                await self._hub.engagements.compare(room.record)
        except StoreError:
            self.doubt(stream)
            raise
        finally:
            self._looking.discard(stream)

    def lost(self, stream: EngagementId) -> None:
        """The store is not what it was: forget the room, and let its devices come again and compare."""
        room = self.drop(stream)
        for session in list(room.subscriptions) if room else ():
            session.end(ErrorCode.DRAINING, reconnect_after_ms=self._hub.jitter_ms())

    def lose_all(self) -> None:
        """`lost`, for every stream."""
        for stream in list(self._rooms):
            self.lost(stream)
        for loads in self._loading.values():
            for load in loads:
                load.is_late = True  # what it has read may be of before

    def tick(self, now: float) -> None:
        """Look at what is in doubt; where there are other nodes, at everything now and then."""
        doubted, self._doubted = self._doubted, {}
        for stream in doubted:
            self.look(stream)
        if self._hub.nodes.is_shared:
            turn = int(now) % HEAL_SECONDS
            self._heal([stream for stream in self._rooms if hash(stream) % HEAL_SECONDS == turn])

    def heal(self) -> None:
        """Look at all streams: news of any of them may have been missed."""
        self._heal(list(self._rooms))

    def _heal(self, streams: Iterable[EngagementId]) -> None:
        for stream in streams:
            room = self._rooms[stream]
            room.unused = 0 if room.subscriptions else room.unused + 1
            if room.unused > UNUSED_LOOKS:
                self.drop(stream)
            else:
                self.look(stream)

    async def _load(self, record: EngagementRecord) -> Room:
        stream = record.id
        load = _Load()
        self._loading.setdefault(stream, []).append(load)
        try:
            await self._hub.bus.follow(stream)
            while True:
                load.is_late = False
                view = await self._view(stream)
                newest = await self._hub.engagements.load(stream)
                if stream in self._rooms:
                    return self._rooms[stream]
                if not load.is_late:
                    break
            if newest is None or newest.ended:
                raise Ended("the engagement has ended")
            self._trim()
            room = self._rooms[stream] = Room(newest, view)
            return room
        finally:
            self._loading[stream].remove(load)
            if not self._loading[stream]:
                del self._loading[stream]
                if stream not in self._rooms:
                    self._hub.bus.unfollow(stream)

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
            self.drop(stream)
