"""The frames that ask for something and are answered under a request number, and ephemeral messages."""

from __future__ import annotations

from collections.abc import Callable, Coroutine
from typing import TYPE_CHECKING, Any, Final, TypeVar

from relay.core.operations import StreamView
from relay.errors import InvalidRequest, NotFound, RateLimited, RequestError, StoreError, StoreUnavailable
from relay.hub.delivery import Subscription
from relay.hub.manifests import Manifests
from relay.hub.nodes import EPHEMERAL
from relay.hub.rendezvous import Rendezvous
from relay.hub.session import Session
from relay.wire import frames as fr
from relay.wire.codec import encode_frame
from relay.wire.errors import ErrorCode, WireError
from relay.wire.ids import EngagementId

if TYPE_CHECKING:
    from relay.hub.hub import Hub
    from relay.hub.rooms import Room

_F = TypeVar("_F")
_ATTEMPTS: Final = 16
_Handler = Callable[[Session, Any], Coroutine[Any, Any, None] | None]


class Requests:
    """Answers requests."""

    def __init__(self, hub: Hub) -> None:
        self._hub = hub
        self._manifests = Manifests(hub)
        self._rendezvous = Rendezvous(hub)

    def handlers(self) -> dict[type, _Handler]:
        """What answers which frame, its rate limited and its failures told."""
        return {
            fr.Open: self._limited(self.open),
            fr.PublishKeyPackages: self._limited(self.publish),
            fr.ClaimKeyPackages: self._limited(self.claim),
            fr.ListEngagements: self._limited(self.list_engagements),
            fr.RequestBlobAccess: self._limited(self.blob_access),
            fr.RequestIceServers: self._limited(self.ice_servers),
            fr.PutArchive: self._limited(self._hub.archives.put),
            fr.ListArchive: self._limited(self._hub.archives.series),
            fr.ReadArchive: self._limited(self._hub.archives.read),
            fr.EraseArchive: self._limited(self._hub.archives.erase),
            fr.PutManifest: self._limited(self._manifests.put),
            fr.Rendezvous: self._limited(self._rendezvous.say),
            fr.Ephemeral: self.ephemeral,
            fr.CallOutcome: self.call_outcome,
            fr.Unknown: self.unknown,
        }

    async def open(self, session: Session, frame: fr.Open) -> None:
        """Begin, or begin anew, to deliver a stream."""
        hub = self._hub
        room, view = await self._room_and_view(session, frame.stream)
        if session.closed:
            return
        device = session.device
        joined = room.joined.get(device, 0)
        session.close_subscription(frame.stream, begins_anew=True)
        subscription = Subscription(session, room, max(frame.after, joined - 1, 0))
        session.subscriptions[frame.stream] = subscription
        room.subscriptions[session] = subscription
        cursor = view.members.get(device, 0)
        subscription.acknowledged = cursor
        session.send(
            fr.Opened(
                frame.request,
                frame.stream,
                room.incarnation,
                view.head,
                view.last_commit,
                view.first,
                cursor,
                view.last_counters.get(device, 0),
                joined > 0,
            )
        )
        if subscription.wants_reading:
            hub.read_for(subscription)

    async def _room_and_view(self, session: Session, stream: EngagementId) -> tuple[Room, StreamView]:
        """A room that is in use, and its stream as the store has it; raises what `Rooms.enter` raises."""
        rooms = self._hub.rooms
        for _ in range(_ATTEMPTS):
            room = await rooms.enter(stream, session.portal, session.user)
            view = await self._hub.streams.view(stream)
            if view is None:
                raise NotFound("the engagement has ended meanwhile")
            if rooms.get(stream) is room:  # a room that nobody has open may be forgotten at any time
                if self._hub.nodes.is_shared:
                    room.take(view)
                return room, view
        raise StoreUnavailable("too many streams are opened at once")

    def ephemeral(self, session: Session, frame: fr.Ephemeral) -> Coroutine[Any, Any, None] | None:
        """Forward to the member devices that have the stream open."""
        limits = session.limits
        if limits is None or not limits.ephemeral.take(self._hub.steady()):
            session.send_error(0, RateLimited())
            return None
        subscription = session.subscriptions.get(frame.stream)
        if subscription is None:
            return self._forward_unopened(session, frame)
        self._forward(session, subscription.room, frame)
        return None

    async def _forward_unopened(self, session: Session, frame: fr.Ephemeral) -> None:
        try:
            room = await self._hub.rooms.enter(frame.stream, session.portal, session.user)
        except (RequestError, StoreError) as error:
            session.send_error(0, error)
            return
        self._forward(session, room, frame)

    def _forward(self, session: Session, room: Room, frame: fr.Ephemeral) -> None:
        if session.device not in room.joined:
            session.send(fr.Error(0, ErrorCode.NOT_MEMBER.value, ""))
            return
        packed = encode_frame(fr.EphemeralFrom(frame.stream, frame.body))
        for other in room.subscriptions:
            if other is not session and other.device in room.joined:
                other.send_packed(packed)
        self._hub.nodes.tell_stream(frame.stream, EPHEMERAL, packed)

    async def publish(self, session: Session, frame: fr.PublishKeyPackages) -> None:
        """Store key packages of the device itself."""
        hub = self._hub
        try:
            left, are_first = await hub.key_packages.publish(
                session.device, frame.packages, frame.last_resort
            )
        except InvalidRequest as error:
            raise WireError(ErrorCode.MALFORMED, str(error)) from error
        session.send(fr.Published(frame.request, left))
        if are_first:
            hub.spawn(hub.engagements_of_changed(session.portal, session.user))

    async def claim(self, session: Session, frame: fr.ClaimKeyPackages) -> None:
        """Hand out a key package of each device, all of which belong to the engagement's roster."""
        hub = self._hub
        room = await hub.rooms.enter(frame.stream, session.portal, session.user)
        limits = session.limits
        if limits is None or not limits.claims.take(hub.steady(), len(frame.devices)):
            raise RateLimited("too many key packages")
        owners = []
        for device in frame.devices:
            binding = await hub.devices.binding(device)
            if binding is None or binding.portal != session.portal or binding.user not in room.users:
                raise NotFound("no such device on the roster")
            owners.append(binding.user)
        claimed = []
        for device, owner in zip(frame.devices, owners, strict=True):
            package, was_last = await hub.key_packages.claim(device)
            claimed.append(package)
            if was_last:
                hub.spawn(hub.engagements_of_changed(session.portal, owner))
        session.send(fr.KeyPackages(frame.request, tuple(claimed)))

    async def list_engagements(self, session: Session, frame: fr.ListEngagements) -> None:
        """All engagements of the user."""
        found = await self._hub.overview.of_user(session.portal, session.user)
        session.send(fr.Engagements(frame.request, found))

    async def blob_access(self, session: Session, frame: fr.RequestBlobAccess) -> None:
        """A token for uploads and downloads."""
        await self._hub.rooms.enter(frame.stream, session.portal, session.user)
        token, expires = self._hub.blob_access.mint(session.portal, frame.stream, session.device)
        session.send(fr.BlobAccess(frame.request, token, expires))

    async def ice_servers(self, session: Session, frame: fr.RequestIceServers) -> None:
        """STUN and TURN servers for a call."""
        await self._hub.rooms.enter(frame.stream, session.portal, session.user)
        servers, expires = self._hub.ice_servers(int(self._hub.clock()))
        self._hub.watch.turn_credentials += any(server.credential for server in servers)
        session.send(fr.IceServers(frame.request, tuple(servers), expires))

    def call_outcome(self, session: Session, frame: fr.CallOutcome) -> None:
        """Count how a call connected; nothing is answered, and nobody's name is kept."""
        if session.limits is not None and session.limits.requests.take(self._hub.steady()):
            self._hub.watch.call(frame.path)
        else:
            session.send_error(0, RateLimited())

    def unknown(self, session: Session, frame: fr.Unknown) -> None:
        """A newer device may say what this version has no word for."""
        session.send(fr.Error(0, ErrorCode.UNKNOWN_FRAME.value, f"type {frame.frame_type}"))

    def _limited(self, work: Callable[[Session, Any], Coroutine[Any, Any, None]]) -> _Handler:
        async def handle(session: Session, frame: Any) -> None:
            limits = session.limits
            if limits is None or not limits.requests.take(self._hub.steady()):
                session.send_error(frame.request, RateLimited())
                return
            await session.answer(frame.request, work(session, frame))

        return handle
