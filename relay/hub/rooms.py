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
        self._fresh: list[tuple[AppendEntry, Outcome]] = []
        self.entries_prefix = entries_prefix(record.id)

    def update(self, record: EngagementRecord) -> None:
        """Take over a changed roster."""
        self.record = record
        self.users = record.users

    def committed(self, append: AppendEntry, outcome: Outcome) -> None:
        """Follow a fresh append. What came in one transaction goes out together, with `deliver`."""
        if outcome.seq <= self.head:
            return  # it was there when the room was loaded
        if append.kind is _COMMIT:
            self.deliver()
            self._follow_bundle(append, outcome.seq)
        self._fresh.append((append, outcome))

    def deliver(self) -> None:
        """Let fresh entries go to who keeps up; the others read them from the store."""
        fresh, self._fresh = self._fresh, []
        if not fresh:
            return
        first = fresh[0][1].seq
        self.head = fresh[-1][1].seq
        senders = {append.device for append, _ in fresh}
        packed: list[bytes] | None = None
        for session, subscription in self.subscriptions.items():
            if subscription.sent != first - 1 or session.congested or not subscription.is_member:
                continue
            if packed is None:
                packed = [_pack_for_others(append, outcome) for append, outcome in fresh]
            device = subscription.device
            if device in senders:
                subscription.push_all(
                    first,
                    [
                        _pack_own(append, outcome) if append.device == device else theirs
                        for (append, outcome), theirs in zip(fresh, packed, strict=True)
                    ],
                )
            else:
                subscription.push_all(first, packed)

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


def _pack_for_others(append: AppendEntry, outcome: Outcome) -> bytes:
    _, _, _, kind, after_commit, body, _, _, _, _, _ = append
    seq, time_ms, _, _, _ = outcome
    return encode_entry((seq, kind, after_commit, time_ms, 0, body))


def _pack_own(append: AppendEntry, outcome: Outcome) -> bytes:
    """Without the body, which its device has already."""
    _, _, counter, kind, after_commit, _, _, _, _, _, _ = append
    seq, time_ms, _, _, _ = outcome
    return encode_entry((seq, kind, after_commit, time_ms, counter, None))


class Rooms:
    """The rooms in use. A room that nobody has open may be dropped at any time: the store has it."""

    def __init__(self, hub: Hub) -> None:
        self._hub = hub
        self._rooms: dict[EngagementId, Room] = {}
        self._to_deliver: dict[Room, None] = {}
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

    def committed(self, append: AppendEntry, outcome: Outcome) -> None:
        """Follow a fresh append; `deliver` lets it go out."""
        stream = append.stream
        room = self._rooms.get(stream)
        if room is not None:
            room.committed(append, outcome)
            self._to_deliver[room] = None
        elif stream in self._loading:
            self._loading[stream] = True  # the room that is being loaded looks again

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
