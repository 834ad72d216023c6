"""How a connection gathers its candidates (RFC 8445 section 5.1): our rules in the place of aioice's.

aioice knows one TURN server, and waits for it; we are told of several addresses, some of which a strict
network does not let us reach. They are tried one soon after the other, and the first that works is taken.
"""

from __future__ import annotations

import asyncio
import logging
import re
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any, Final

from relay.wire.frames import IceServer
from relay.wire.turn_uri import TurnUri, parse_turn_uri

LOOPBACK: Final = "127.0.0.1"
STUN_SECONDS: Final = 2.0
"""For an answer of a STUN server: it only adds a candidate, and the call waits for it."""
RELAY_SECONDS: Final = 8.0
"""For all TURN addresses together: half of what a whole attempt may take."""
STAGGER_SECONDS: Final = 0.7
"""Until the next address is tried as well: an allocation takes two round trips (RFC 8656 section 7)."""
GIVE_BACK_SECONDS: Final = 1.0
"""For the server to hear that an allocation is not needed any more: over a network that has gone, it never
does, and a new attempt waits for this. The server forgets it by itself in ten minutes.
"""
MAX_TURN_ADDRESSES: Final = 8
"""That are tried for one connection, whatever a relay says."""

_STUN: Final = re.compile(r"stun:[^?:/\s]+(:[0-9]{1,5})?")

_log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True, kw_only=True)
class Connectivity:
    """How a connection may be made.

    ``loopback`` keeps it on this machine: 127.0.0.1 is its only candidate (aiortc never offers it by itself).
    ``relay_only`` hides this device's addresses from the other one, at the price of a TURN server for
    everything.
    """

    ice_servers: Sequence[IceServer] = ()
    loopback: bool = False
    relay_only: bool = False

    @property
    def stun_urls(self) -> list[str]:
        """The STUN servers, as far as they can be understood."""
        return [url for server in self.ice_servers for url in server.urls if _STUN.fullmatch(url)]

    @property
    def turn_addresses(self) -> list[TurnAddress]:
        """The TURN servers, in the relay's order, as far as they can be understood."""
        found = []
        for server in self.ice_servers:
            for url in server.urls:
                if url.startswith("turn") and server.username and server.credential:
                    try:
                        uri = parse_turn_uri(url)
                    except ValueError:
                        continue  # of a newer kind than this SDK knows
                    found.append(TurnAddress(uri, server.username, server.credential))
        return found[:MAX_TURN_ADDRESSES]


@dataclass(frozen=True, slots=True)
class TurnAddress:
    """A TURN server by one of its transports, and how to be let in."""

    uri: TurnUri
    username: str
    credential: str = field(repr=False)


class Gatherer:
    """Stands in for aioice's `Connection.get_component_candidates`, for one connection."""

    def __init__(self, ice: Any, connectivity: Connectivity) -> None:
        self._ice = ice
        self._connectivity = connectivity
        self._original = type(ice).get_component_candidates

    async def __call__(self, component: int, addresses: list[str]) -> list[Any]:
        """The candidates of ``component``: of ``addresses``, as STUN sees them, and one that is relayed."""
        own = [LOOPBACK] if self._connectivity.loopback and addresses else addresses
        # With the relay policy aioice gives no addresses, and nothing of them is asked of anybody.
        near, relayed = await asyncio.gather(
            self._original(self._ice, component, own, STUN_SECONDS), self._first_relayed(component)
        )
        return [*near, *relayed]

    async def _first_relayed(self, component: int) -> list[Any]:
        trying: set[asyncio.Task[tuple[Any, Any]]] = set()
        try:
            async with asyncio.timeout(RELAY_SECONDS):
                return await self._race(component, trying)
        except TimeoutError:
            return []
        finally:
            await _give_up(trying)

    async def _race(self, component: int, trying: set[asyncio.Task[tuple[Any, Any]]]) -> list[Any]:
        waiting = self._connectivity.turn_addresses
        while waiting or trying:
            if waiting:
                trying.add(asyncio.create_task(self._relayed(component, waiting.pop(0))))
            done, _ = await asyncio.wait(
                trying,
                timeout=STAGGER_SECONDS if waiting else None,
                return_when=asyncio.FIRST_COMPLETED,
            )
            for task in done:
                trying.discard(task)
                error = task.exception()
                if error is None:
                    candidate, protocol = task.result()
                    self._ice._protocols.append(protocol)
                    return [candidate]
                _log.info("a TURN server could not be used: %s", type(error).__name__)
        return []

    async def _relayed(self, component: int, address: TurnAddress) -> tuple[Any, Any]:
        from aioice.ice import StunProtocol, relayed_candidate

        candidate, protocol = await relayed_candidate(
            component=component,
            hide_related_address=self._connectivity.relay_only,
            protocol_factory=lambda: StunProtocol(self._ice),
            turn_server=(address.uri.host, address.uri.port),
            turn_username=address.username,
            turn_password=address.credential,
            turn_ssl=address.uri.secure,
            turn_transport=address.uri.transport,
        )
        _close_in_time(protocol.transport)
        return candidate, protocol


def _close_in_time(turn: Any) -> None:
    """Have aioice's TURN transport, once it is told to close, do so: by itself it asks for a minute."""
    ask_and_close = turn.close

    def abandon() -> None:
        turn._TurnTransport__close_task.cancel()
        turn._TurnTransport__inner_protocol.transport.abort()

    def close() -> None:
        ask_and_close()
        asyncio.get_running_loop().call_later(GIVE_BACK_SECONDS, abandon)

    turn.close = close


async def _give_up(trying: set[asyncio.Task[tuple[Any, Any]]]) -> None:
    """End what is still tried; an allocation that came at the same moment is given back."""
    for task in trying:
        task.cancel()
    for ended in await asyncio.gather(*trying, return_exceptions=True):
        if not isinstance(ended, BaseException):
            ended[1].transport.close()
