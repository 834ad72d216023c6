"""The websocket as the link sees it: messages of bytes, in and out."""

from __future__ import annotations

from typing import Final, Protocol

import aiohttp

from client_sdk.errors import RelayUnreachable
from relay.wire.limits import MAX_MESSAGE_BYTES, PING_INTERVAL_SECONDS

_HEARTBEAT_SECONDS: Final = float(
    PING_INTERVAL_SECONDS
)  # as the relay: a dead connection is noticed within 40 s


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


class WebSocketDial:
    """Dials a relay with aiohttp; `session` stays the caller's to close."""

    def __init__(self, session: aiohttp.ClientSession, url: str) -> None:
        self._session = session
        self._url = url

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
        return WebSocket(websocket)


class WebSocket:
    """An aiohttp websocket as a `Socket`."""

    def __init__(self, websocket: aiohttp.ClientWebSocketResponse) -> None:
        self._websocket = websocket

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
        await self._websocket.close()
