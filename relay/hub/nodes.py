"""The relay's other nodes: what they are told of what happens here, and what is done when they tell."""

from __future__ import annotations

import logging
from collections import Counter
from collections.abc import Callable
from typing import TYPE_CHECKING, Any, Final

import msgpack

from relay.core.engagements import EngagementRecord
from relay.errors import StoreCorrupt
from relay.hub import spaces
from relay.hub.settings import CACHE_SECONDS, MAX_NODES, PRESENT_SECONDS
from relay.hub.told import read_wake
from relay.store.bus import WAKE
from relay.wire.errors import ErrorCode
from relay.wire.ids import DeviceId, EngagementId, PortalId, UserId

if TYPE_CHECKING:
    from relay.hub.hub import Hub
    from relay.hub.session import Session

_log: Final = logging.getLogger("relay.hub")
EVENTS: Final = "events"
"""The topic that every node follows; the others are the ids of streams that a node has in use."""
MAX_NEWS_BYTES: Final = 512 * 1024

EPHEMERAL: Final = "ephemeral"
ENGAGEMENT: Final = "engagement"
CHANGED: Final = "changed"
DEVICES: Final = "devices"
MANIFEST: Final = "manifest"
STOCK: Final = "stock"
LOW: Final = "low"
ENTERED: Final = "entered"
REVOKED: Final = "revoked"
PORTAL: Final = "portal"
RENDEZVOUS: Final = "rendezvous"
STORED: Final = "stored"
HERE: Final = "here"
_WAKE: Final = WAKE.encode("ascii")
_EPHEMERAL: Final = EPHEMERAL.encode("ascii")


class Nodes:
    """Tells the other nodes, and hears them. Where there are none nothing is told."""

    def __init__(self, hub: Hub) -> None:
        self._hub = hub
        self._bus = hub.bus
        self.is_shared = bool(hub.bus.node)
        self._others: dict[bytes, tuple[float, Counter[PortalId]]] = {}
        self._next_forget = 0.0
        self._work: dict[str, Callable[..., None]] = {
            ENGAGEMENT: self._engagement,
            CHANGED: self._changed,
            DEVICES: self._devices,
            MANIFEST: self._manifest,
            STOCK: self._stock,
            LOW: self._low,
            ENTERED: self._entered,
            REVOKED: self._revoked,
            PORTAL: self._portal,
            RENDEZVOUS: self._rendezvous,
            STORED: self._stored,
            HERE: self._here,
        }

    async def start(self) -> None:
        """Begin to listen; raises `StoreError`."""
        if self.is_shared:
            await self._bus.start(self._heard, self._missed)
            await self._bus.follow(EVENTS)

    # To the others

    def tell(self, kind: str, *what: object) -> None:
        """Tell every other node."""
        if self.is_shared:
            self._bus.tell(EVENTS, msgpack.packb((kind, self._bus.node, *what)))

    def tell_stream(self, stream: EngagementId, kind: str, *what: object) -> None:
        """Tell the other nodes that have a stream in use."""
        if self.is_shared:
            self._bus.tell(stream, msgpack.packb((kind, self._bus.node, *what)))

    async def number(self) -> int:
        """The number of a connection, above those of all that were made before it at any node."""
        if not self.is_shared:
            return 0
        return await self._hub.directory.put(spaces.COUNTERS, "connections", b"")

    def connections_elsewhere(self, portal: PortalId) -> int:
        """How many connections of a portal the other nodes have, as of a moment ago."""
        return sum(counts[portal] for _, counts in self._present())

    def is_present(self, node: bytes) -> bool:
        """Whether a node is there, as of a moment ago."""
        return node == self._bus.node or any(name == node for name, _ in self._present())

    def _present(self) -> list[tuple[bytes, Counter[PortalId]]]:
        since = self._hub.steady() - PRESENT_SECONDS
        return [(name, counts) for name, (at, counts) in self._others.items() if at >= since]

    def tick(self, now: float) -> None:
        """Say that we are here; forget what was read long ago, as if news of it had been missed."""
        if not self.is_shared:
            return
        self.tell(HERE, dict(self._hub.access.connections))
        self._others = {
            name: known for name, known in self._others.items() if known[0] >= now - PRESENT_SECONDS
        }
        if now >= self._next_forget or not self._bus.is_current:
            self._next_forget = now + CACHE_SECONDS
            self._forget()

    def _forget(self) -> None:
        for cache in self._hub.caches():
            cache.clear()

    # From the others

    def _missed(self) -> None:
        self._forget()
        self._hub.uploads.missed()
        self._hub.rooms.heal()
        self._hub.access.doubt()

    def _heard(self, topic: str, news: bytes) -> None:
        try:
            if topic != EVENTS:
                self._of_stream(EngagementId(topic), *_unpack(news, raw=True))
                return
            kind, node, *what = _unpack(news)
            if node != self._bus.node and kind in self._work:  # a later version may tell more
                if kind == HERE:
                    what = [node, *what]
                self._work[kind](*what)
        except (ValueError, TypeError, KeyError, msgpack.UnpackException, StoreCorrupt):
            _log.warning("news of another node are not understood")

    def _of_stream(self, stream: EngagementId, kind: bytes, node: Any, *what: Any) -> None:
        """News of a stream: `stream.lua` packs as Redis does, where texts and bytes are one."""
        if node == self._bus.node or (type(node) is list and node[:1] == [self._bus.node]):
            return
        if kind == _WAKE:
            self._hub.rooms.woken(stream, read_wake(node, *what))
        elif kind == _EPHEMERAL:
            (packed,) = what
            room = self._hub.rooms.get(stream)
            for session in room.subscriptions if room else ():
                if session.device in room.joined:  # type: ignore[union-attr]  # there are none without a room
                    session.send_packed(packed)

    def _engagement(self, before: bytes) -> None:
        self._hub.spawn(self._hub.engagements.reread(EngagementRecord.parse(before)))

    def _changed(self, engagement: str) -> None:
        self._hub.spawn(self._hub.tell_changed(EngagementId(engagement)))

    def _devices(self, portal: str, user: str) -> None:
        hub, place = self._hub, (PortalId(portal), UserId(user))
        hub.devices.forget(*place)
        hub.spawn(hub.tell_engagements_of(*place))

    def _manifest(self, portal: str, user: str) -> None:
        self._hub.spawn(self._take_manifest(PortalId(portal), UserId(user)))

    async def _take_manifest(self, portal: PortalId, user: UserId) -> None:
        hub = self._hub
        hub.devices.forget(portal, user)
        held, _ = await hub.devices.manifest(portal, user)
        for device in held.revoked if held else ():
            hub.key_packages.forgotten(device)
            hub.end_device(device, ErrorCode.DEVICE_REVOKED)

    def _stock(self, device: bytes) -> None:
        self._hub.key_packages.forgotten(DeviceId(device))

    def _low(self, device: bytes, left: int) -> None:
        self._hub.tell_low(DeviceId(device), left)

    def _entered(self, device: bytes, number: int) -> None:
        """A device has connected to another node: the newer connection stays."""
        session = self._hub.session_of(DeviceId(device))
        if session is None:
            return
        if session.number < number:
            session.end(ErrorCode.REPLACED)
        else:
            self.tell(ENTERED, device, session.number)

    def _revoked(self, portal: str, user: str) -> None:
        self._hub.spawn(self._hub.access.reread(PortalId(portal), UserId(user)))

    def _portal(self, name: str) -> None:
        self._hub.spawn(self._hub.access.portal_changed(name))

    def _rendezvous(self, device: bytes, packed: bytes) -> None:
        session: Session | None = self._hub.session_of(DeviceId(device))
        if session is not None:
            session.send_packed(packed)

    def _stored(self, portal: str, size: int) -> None:
        self._hub.uploads.heard(PortalId(portal), size)

    def _here(self, node: bytes, connections: dict[str, int]) -> None:
        if node in self._others or len(self._others) < MAX_NODES:
            counts = Counter({PortalId(portal): count for portal, count in connections.items()})
            self._others[node] = (self._hub.steady(), counts)


def _unpack(news: bytes, *, raw: bool = False) -> list[Any]:
    if len(news) > MAX_NEWS_BYTES:
        raise ValueError("too long")
    found: list[Any] = msgpack.unpackb(news, raw=raw)
    return found
