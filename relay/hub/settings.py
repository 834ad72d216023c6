"""What an operator may set of the hub, and what the hub bounds by itself."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass, field
from typing import Final, Protocol

from relay.core.access import AccessToken
from relay.core.limits import Rate, RateLimits
from relay.wire.frames import IceServer
from relay.wire.ids import BlobId
from relay.wire.limits import MIB, WINDOW_BYTES, WINDOW_ENTRIES

# Operations that wait for the store. Beyond it, devices wait: their next message is not read.
MAX_QUEUED_OPERATIONS: Final = 8_192
MAX_QUEUED_BYTES: Final = 64 * MIB
# One transaction: larger ones gain nothing and make the first of them wait.
MAX_BATCH_OPERATIONS: Final = 512
MAX_BATCH_BYTES: Final = 16 * MIB
# Acknowledgements wait this long for company: then one write of a stream's state serves them all. Few go into
# one transaction: what they erase is work, and messages wait for it.
ACKNOWLEDGE_SECONDS: Final = 0.5
MAX_BATCH_ACKNOWLEDGEMENTS: Final = 16
RETRY_SECONDS: Final = 1.0  # until a store that failed is tried again with what must not be lost
# What a connection has been sent and not taken: above the first no entries are added, above the second it
# is cut.
CONGESTED_BYTES: Final = 2 * MIB
SLOW_READER_BYTES: Final = 8 * MIB
CONCURRENT_READS: Final = 16  # each holds at most a window in memory
CACHED_ROOMS: Final = 8_192
# Where there are other nodes. News of them may be lost: so long it takes at most until that is noticed.
HEAL_SECONDS: Final = 10
CACHE_SECONDS: Final = 30.0
PRESENT_SECONDS: Final = 5.0  # a node says each second that it is there
MAX_NODES: Final = 64  # that one node hears of
MOVE_TURN_SECONDS: Final = 0.05  # between the turns in which devices are told to move
MOVED_WITHIN_MS: Final = 300  # they are told in turns already; what is left is a spread within one
UNUSED_LOOKS: Final = 3  # after which a stream that nobody has open is not followed any more
CLAIM_RATE: Final = Rate(per_second=2, burst=128)  # key packages that one connection may claim


class Sink(Protocol):
    """The sending end of a connection. None of these waits."""

    def send(self, message: bytes, /) -> None:
        """Send one websocket message."""
        ...

    def close(self) -> None:
        """Close once everything has been sent, or at once if the peer does not take it."""
        ...

    def pending(self) -> int:
        """How many bytes the peer has not taken yet."""
        ...


VerifyToken = Callable[[str, int], AccessToken | Awaitable[AccessToken]]
"""The grant in an access token at a time (Unix seconds); raises `AccessRefused`."""
IceServersFor = Callable[[int], tuple[Sequence[IceServer], int]]
"""The ICE servers to use from a time on, and until when their credentials are good (Unix seconds)."""
EraseBlob = Callable[[BlobId], Awaitable[None]]
"""Erase a blob's bytes; one that is not there is erased already."""


@dataclass(frozen=True, slots=True, kw_only=True)
class HubSettings:
    """`origins` are all those that devices may reach this relay under (RFC 6454 form)."""

    origins: tuple[str, ...]
    window_entries: int = WINDOW_ENTRIES
    window_bytes: int = WINDOW_BYTES
    rates: RateLimits = field(default_factory=RateLimits)
    reconnect_within_ms: int = 10_000  # over which devices are spread when the relay goes down
    sweep_seconds: float = 600
    tick_seconds: float = 1.0  # how exactly token expiry and the handshake's time-out are kept

    def __post_init__(self) -> None:
        if not self.origins:
            raise ValueError("the hub needs the origins that devices connect to")
        if not (1 <= self.window_entries <= WINDOW_ENTRIES and 1 <= self.window_bytes <= WINDOW_BYTES):
            raise ValueError("the delivery window may be lowered, not raised")


def no_ice_servers(now: int) -> tuple[Sequence[IceServer], int]:
    """No STUN and no TURN: calls work within one network."""
    return (), now + 24 * 3600
