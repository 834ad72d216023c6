"""Where two devices of one user meet to link one of them (PROTOCOL 2.5). Nothing that they say is stored."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final, NamedTuple

import msgpack

from relay.errors import RateLimited, RecordConflict, StoreUnavailable
from relay.hub import spaces
from relay.hub.nodes import RENDEZVOUS
from relay.hub.session import Session
from relay.store.interface import ABSENT, Directory
from relay.store.memory import MemoryDirectory
from relay.wire import frames as fr
from relay.wire.codec import encode_frame
from relay.wire.errors import ErrorCode
from relay.wire.ids import DeviceId
from relay.wire.limits import (
    MAX_RENDEZVOUS_CHANNELS_PER_USER,
    MAX_RENDEZVOUS_DEVICES,
    RENDEZVOUS_SECONDS,
)

if TYPE_CHECKING:
    from relay.hub.hub import Hub

# All users' together: so many people link a device within a quarter of an hour only in an attack.
MAX_CHANNELS: Final = 8_192
_ATTEMPTS: Final = 16
_PAGE: Final = 256


class _Channel(NamedTuple):
    """Who is at a channel: devices, and the nodes that they are connected to."""

    until: float = 0.0
    devices: dict[DeviceId, bytes] = {}  # noqa: RUF012 - never changed

    @classmethod
    def parse(cls, raw: bytes) -> _Channel:
        until, devices = msgpack.unpackb(raw)
        return cls(until, {DeviceId(device): node for device, node in devices})

    def serialize(self) -> bytes:
        packed: bytes = msgpack.packb((self.until, list(self.devices.items())))
        return packed


class Rendezvous:
    """Forwards what one device says at a channel to the other device there."""

    def __init__(self, hub: Hub) -> None:
        self._hub = hub
        self._channels: Directory = hub.directory if hub.nodes.is_shared else MemoryDirectory()

    async def say(self, session: Session, frame: fr.Rendezvous) -> None:
        """Be at the channel, and tell the other device there, if it is there."""
        channel = await self._enter(session, frame.channel)
        if channel is None:
            session.send(fr.Error(frame.request, ErrorCode.TOO_MANY_DEVICES.value, ""))
            return
        others = [other for other in channel.devices if other != session.device]
        packed = encode_frame(fr.RendezvousFrom(frame.channel, frame.body))
        for device in others:
            other = self._hub.session_of(device)
            if other is not None:
                other.send_packed(packed)
            else:
                self._hub.nodes.tell(RENDEZVOUS, device, packed)
        session.send(fr.Met(frame.request, bool(others)))

    async def _enter(self, session: Session, name: bytes) -> _Channel | None:
        """The channel with this device at it; None if two others are. Raises `RateLimited`, `StoreError`."""
        key = spaces.rendezvous_key(session.portal, session.user, name)
        for _ in range(_ATTEMPTS):
            now = self._hub.clock()
            stored = await self._channels.get(spaces.RENDEZVOUS, key)
            before = _Channel.parse(stored.value) if stored else _Channel()
            if before.until <= now:
                before = await self._new(session, now)
            here = {device: node for device, node in before.devices.items() if self._is_here(device, node)}
            if session.device not in here and len(here) >= MAX_RENDEZVOUS_DEVICES:
                return None
            here[session.device] = self._hub.bus.node
            after = _Channel(now + RENDEZVOUS_SECONDS, here)
            version = stored.version if stored else ABSENT
            try:
                await self._channels.put(spaces.RENDEZVOUS, key, after.serialize(), expect=version)
            except RecordConflict:
                continue
            return after
        raise StoreUnavailable("too many devices at one channel at once")

    def _is_here(self, device: DeviceId, node: bytes) -> bool:
        if node == self._hub.bus.node:
            return self._hub.session_of(device) is not None
        return self._hub.nodes.is_present(node)

    async def _new(self, session: Session, now: float) -> _Channel:
        """An empty channel, if there may be one more."""
        prefix = spaces.rendezvous_key(session.portal, session.user)
        of_user = await self._forget(prefix, now)
        used = await self._channels.count(spaces.RENDEZVOUS, "")
        if used >= MAX_CHANNELS:
            used = await self._forget("", now)
        if of_user >= MAX_RENDEZVOUS_CHANNELS_PER_USER or used >= MAX_CHANNELS:
            raise RateLimited("too many channels")
        return _Channel()

    async def _forget(self, prefix: str, now: float) -> int:
        """Forget the channels whose time is over; how many are left."""
        after, left = "", 0
        while page := await self._channels.scan(spaces.RENDEZVOUS, prefix, after=after, limit=_PAGE):
            for key, value in page:
                if _Channel.parse(value).until <= now:
                    await self._channels.delete(spaces.RENDEZVOUS, key)
                else:
                    left += 1
            after = page[-1][0]
        return left
