"""The websocket as the link sees it: messages of bytes, in and out."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import Final, Protocol

import aiohttp

from client_sdk.errors import RelayUnreachable
from client_sdk.transport.network import has_moved
from relay.wire.limits import MAX_MESSAGE_BYTES, PING_INTERVAL_SECONDS

_HEARTBEAT_SECONDS: Final = float(
    PING_INTERVAL_SECONDS
)  # as the relay: a dead connection is noticed within 40 s

NETWORK_SECONDS: Final = 1.0  # between two looks whether the network is another: a call is silent meanwhile
_GOODBYE_SECONDS: Final = 0.2  # over a network that has gone, nobody answers


class Socket(Protocol):
    """One connection to a relay. All but `close` raise `RelayUnreachable` when the connection breaks."""

    async def send(self, message: bytes) -> None:
        """Hand one message over; waits while the peer is slow."""

    async def receive(self) -> bytes | None:
        """The next message; None once the relay has closed the connection."""

    async def close(self) -> None:
        """End the connection."""


class Dial(Protocol):
    """Opens connections to one relay."""

    async def __call__(self) -> Socket:
        """A new connection; raises `RelayUnreachable`."""


def _nobody_cares() -> None:
    """For who does not want to know that the network changed."""


class WebSocketDial:
    """Dials a relay with aiohttp; `session` stays the caller's to close.

    `moved` is called once for a connection whose network has gone: it is dead, and will say so only in half a
    minute.
    """

    def __init__(
        self, session: aiohttp.ClientSession, url: str, *, moved: Callable[[], None] = _nobody_cares
    ) -> None:
        self._session = session
        self._url = url
        self._moved = moved

    async def __call__(self) -> Socket:
        """A new websocket; raises `RelayUnreachable`."""
        try:
            websocket = await self._session.ws_connect(
                self._url,
                compress=0,
                heartbeat=_HEARTBEAT_SECONDS,
                max_msg_size=MAX_MESSAGE_BYTES,
                timeout=aiohttp.ClientWSTimeout(ws_close=2.0),
            )
        except (aiohttp.ClientError, OSError, TimeoutError) as error:
            raise RelayUnreachable("The relay does not answer.") from error
        return WebSocket(websocket, self._moved)


class WebSocket:
    """An aiohttp websocket as a `Socket`."""

    def __init__(
        self, websocket: aiohttp.ClientWebSocketResponse, moved: Callable[[], None] = _nobody_cares
    ) -> None:
        self._websocket = websocket
        self._moved = moved
        self._local = websocket.get_extra_info("sockname")
        self._peer = websocket.get_extra_info("peername")
        self._is_dead = False
        self._watch = asyncio.create_task(self._watch_network())

    async def send(self, message: bytes) -> None:
        """Hand one binary message over."""
        try:
            await self._websocket.send_bytes(message)
        except (aiohttp.ClientError, OSError) as error:
            raise RelayUnreachable("The connection to the relay broke.") from error

    async def receive(self) -> bytes | None:
        """The next binary message; anything else ends the connection."""
        message = await self._websocket.receive()
        if message.type is aiohttp.WSMsgType.BINARY:
            data: bytes = message.data
            return data
        if message.type in (aiohttp.WSMsgType.CLOSE, aiohttp.WSMsgType.CLOSING, aiohttp.WSMsgType.CLOSED):
            return None
        raise RelayUnreachable("The connection to the relay broke.")

    async def close(self) -> None:
        """Say goodbye as websockets do."""
        self._watch.cancel()
        self._look_around()  # it may have broken because of that
        try:
            async with asyncio.timeout(_GOODBYE_SECONDS if self._is_dead else None):
                await self._websocket.close()
        except TimeoutError:
            return  # aiohttp has closed it without an answer

    async def _watch_network(self) -> None:
        while not self._is_dead:
            await asyncio.sleep(NETWORK_SECONDS)
            self._look_around()

    def _look_around(self) -> None:
        if not self._is_dead and self._local and self._peer and has_moved(self._local, self._peer):
            self._is_dead = True
            self._moved()
