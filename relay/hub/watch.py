"""What the hub counts about its work, for whoever watches the relay: numbers, nobody's name."""

from __future__ import annotations

from bisect import bisect_left
from collections import Counter
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Final, NamedTuple

from relay.core.quotas import NAMES, Quotas
from relay.wire.connection import State
from relay.wire.errors import ErrorCode
from relay.wire.ids import PortalId

if TYPE_CHECKING:
    from relay.hub.hub import Hub

# From what a fast disk takes to what makes a person look whether they are still connected.
BOUNDS: Final = (0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0)
NEAR: Final = 0.8
"""The share of a quota from which on its portal is near it."""

CALL_PATHS: Final = ("host", "srflx", "relay", "failed")
"""RFC 8445 section 5.1.1 has the first three; `failed` is a call that never connected."""
OTHER: Final = "other"

_CODES: Final = frozenset(code.value for code in ErrorCode)


class Distribution:
    """How many took how long: the counts between `BOUNDS`, one more for the rest, and the sum of seconds."""

    __slots__ = ("counts", "seconds")

    def __init__(self) -> None:
        self.counts = [0] * (len(BOUNDS) + 1)
        self.seconds = 0.0

    def add(self, seconds: float, times: int = 1) -> None:
        """Count something that took so long; a clock that was set back counts as no time."""
        if seconds > 0.0:
            self.counts[bisect_left(BOUNDS, seconds)] += times
            self.seconds += seconds * times
        else:
            self.counts[0] += times


@dataclass(slots=True)
class Watch:
    """Counts since the start. Keys are codes and words of ours, never what a peer chose."""

    stored: Distribution = field(default_factory=Distribution)
    """From an entry's arrival until it is durable and answered."""
    delivered: Distribution = field(default_factory=Distribution)
    """From an entry's arrival until it goes out to a device that was connected then; each device counts."""
    refused: Counter[str] = field(default_factory=Counter)
    ended: Counter[str] = field(default_factory=Counter)
    turn_credentials: int = 0
    calls: Counter[str] = field(default_factory=lambda: Counter(dict.fromkeys((*CALL_PATHS, OTHER), 0)))
    """Ends of calls by how they had connected, as those devices say that say it."""

    def refuse(self, code: str, times: int = 1) -> None:
        """Count what was not done."""
        self.refused[code if code in _CODES else ErrorCode.INTERNAL.value] += times

    def call(self, path: str) -> None:
        """Count how one device's call connected; a word that is not ours is another one."""
        self.calls[path if path in CALL_PATHS else OTHER] += 1

    def end(self, code: ErrorCode) -> None:
        """Count a connection that the relay ended."""
        self.ended[code.value] += 1


class Behind(NamedTuple):
    """Connected devices that do not have everything: of how many streams, and for how many seconds the
    longest has had something that it does not acknowledge."""

    streams: int
    seconds: float


def states(hub: Hub) -> dict[State, int]:
    """The open connections by what they are doing."""
    found = dict.fromkeys((State.GREETING, State.AUTHENTICATING, State.READY, State.DRAINING), 0)
    for session in hub.sessions():
        if session.link.state in found:
            found[session.link.state] += 1
    return found


def behind(hub: Hub) -> Behind:
    """How far connected devices are behind."""
    streams, now = 0, hub.steady()
    oldest = now
    for session in hub.sessions():
        for subscription in session.subscriptions.values():
            since = subscription.waits_since
            if since is not None or (subscription.is_member and subscription.sent < subscription.room.head):
                streams += 1
            if since is not None:
                oldest = min(oldest, since)
    return Behind(streams, max(0.0, now - oldest))


async def near_quotas(hub: Hub, share: float = NEAR) -> dict[str, int]:
    """How many portals use at least this share of each quota that they have; raises `StoreError`."""
    found = dict.fromkeys(NAMES, 0)
    for portal in await hub.portals.list():
        limits = portal.quotas
        if limits != Quotas():
            used = await _used(hub, portal.id, limits)
            for name, limit, taken in zip(NAMES, limits, used, strict=True):
                found[name] += bool(limit) and taken >= share * limit
    return found


def _connections(hub: Hub, portal: PortalId) -> int:
    """Of all nodes."""
    return hub.access.connections[portal] + hub.nodes.connections_elsewhere(portal)


async def _used(hub: Hub, portal: PortalId, limits: Quotas) -> Quotas:
    """What a portal takes of the quotas that it has."""
    return Quotas(
        engagements=await hub.engagements.count_active(portal) if limits.engagements else 0,
        stored_bytes=await hub.uploads.stored_bytes(portal) if limits.stored_bytes else 0,
        connections=_connections(hub, portal) if limits.connections else 0,
    )
