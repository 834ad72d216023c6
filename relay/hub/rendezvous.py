"""Where two devices of one user meet to link one of them (PROTOCOL 2.5). Nothing of it is stored."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Final

from relay.errors import RateLimited
from relay.hub.session import Session
from relay.wire import frames as fr
from relay.wire.codec import encode_frame
from relay.wire.errors import ErrorCode
from relay.wire.ids import DeviceId, PortalId, UserId
from relay.wire.limits import (
    MAX_RENDEZVOUS_CHANNELS_PER_USER,
    MAX_RENDEZVOUS_DEVICES,
    RENDEZVOUS_SECONDS,
)

if TYPE_CHECKING:
    from relay.hub.hub import Hub

# All users' together: so many people link a device within a quarter of an hour only in an attack.
MAX_CHANNELS: Final = 8_192

_Key = tuple[PortalId, UserId, bytes]


@dataclass(slots=True)
class _Channel:
    until: float
    sessions: dict[DeviceId, Session] = field(default_factory=dict)


class Rendezvous:
    """Forwards what one device says at a channel to the other device there."""

    def __init__(self, hub: Hub) -> None:
        self._hub = hub
        self._channels: dict[_Key, _Channel] = {}

    async def say(self, session: Session, frame: fr.Rendezvous) -> None:
        """Be at the channel, and tell the other device there, if it is there."""
        channel = self._enter(session, frame.channel)
        if channel is None:
            session.send(fr.Error(frame.request, ErrorCode.TOO_MANY_DEVICES.value, ""))
            return
        others = [other for other in channel.sessions.values() if other is not session]
        packed = encode_frame(fr.RendezvousFrom(frame.channel, frame.body))
        for other in others:
            other.send_packed(packed)
        session.send(fr.Met(frame.request, bool(others)))

    def _enter(self, session: Session, name: bytes) -> _Channel | None:
        """The channel with this device at it; None if two others are. Raises `RateLimited`."""
        now = self._hub.clock()
        self._forget(now)
        key = (session.portal, session.user, name)
        channel = self._channels.pop(key, None) or self._new(key, now)
        self._channels[key] = channel  # what is used goes to the end: the first is the oldest
        channel.until = now + RENDEZVOUS_SECONDS
        gone = [device for device, known in channel.sessions.items() if known.closed]
        for device in gone:
            del channel.sessions[device]
        if session.device not in channel.sessions and len(channel.sessions) >= MAX_RENDEZVOUS_DEVICES:
            return None
        channel.sessions[session.device] = session
        return channel

    def _new(self, key: _Key, now: float) -> _Channel:
        of_user = sum(1 for portal, user, _ in self._channels if (portal, user) == key[:2])
        if of_user >= MAX_RENDEZVOUS_CHANNELS_PER_USER or len(self._channels) >= MAX_CHANNELS:
            raise RateLimited("too many channels")
        return _Channel(now)

    def _forget(self, now: float) -> None:
        while self._channels:
            key, channel = next(iter(self._channels.items()))
            if channel.until > now:
                return
            del self._channels[key]
