"""Streams in use: who is a member, where the head is, which connections have it open."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from relay.core.engagements import EngagementRecord
from relay.core.operations import AppendEntry, CreateStream, Outcome, StreamView
from relay.errors import Ended, NotFound
from relay.hub.delivery import Subscription
from relay.hub.settings import CACHED_ROOMS
from relay.wire.codec import encode_entry, entries_prefix
from relay.wire.frames import EntryKind
from relay.wire.ids import DeviceId, EngagementId, PortalId, UserId
from relay.wire.limits import INCARNATION_BYTES

if TYPE_CHECKING:
    from relay.hub.hub import Hub
    from relay.hub.session import Session

_COMMIT: Final = EntryKind.COMMIT


class Room:
    """One active engagement's stream as the live connections need it; follows every commit of this relay."""

    __slots__ = (
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
        self.entries_prefix = entries_prefix(record.id)

    def update(self, record: EngagementRecord) -> None:
        """Take over a changed roster."""
        self.record = record
        self.users = record.users

    def committed(self, append: AppendEntry, outcome: Outcome) -> None:
        """Follow a fresh append: to who keeps up it goes from memory."""
        _, sender, counter, kind, after_commit, body, *_ = append
        seq, time_ms, *_ = outcome
        if seq <= self.head:
            return
        self.head = seq
        if kind is _COMMIT:
            self._follow_bundle(append, seq)
        packed: bytes | None = None
        for session, subscription in self.subscriptions.items():
            if subscription.sent != seq - 1 or session.congested or not subscription.is_member:
                continue
            if subscription.device == sender:
                mine = encode_entry((seq, kind, after_commit, time_ms, counter, None))
                subscription.push(seq, mine)
                continue
            if packed is None:
                packed = encode_entry((seq, kind, after_commit, time_ms, 0, body))
            subscription.push(seq, packed)

    def _follow_bundle(self, append: AppendEntry, seq: int) -> None:
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


class Rooms:
    """The rooms in use. A room that nobody has open may be dropped at any time: the store has it."""

    def __init__(self, hub: Hub) -> None:
        self._hub = hub
        self._rooms: dict[EngagementId, Room] = {}
        # Streams whose room is being loaded, and whether a commit passed meanwhile.
        self._loading: dict[EngagementId, bool] = {}

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

    def missed(self, stream: EngagementId) -> None:
        """Note an append to a stream without a room: if one is being loaded, it looks again."""
        if stream in self._loading:
            self._loading[stream] = True

    def drop(self, stream: EngagementId) -> Room | None:
        """Forget a room, because its engagement has ended."""
        return self._rooms.pop(stream, None)

    async def _load(self, record: EngagementRecord) -> Room:
        stream = record.id
        while True:
            self._loading[stream] = False
            view = await self._view(stream)
            if not self._loading.pop(stream, True):
                break
            # A commit passed, or another task has loaded the room: look again.
            if stream in self._rooms:
                return self._rooms[stream]
        self._trim()
        newest = await self._hub.engagements.load(stream)
        if newest is None or newest.ended:
            raise Ended("the engagement has ended")
        return self._rooms.setdefault(stream, Room(newest, view))

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
