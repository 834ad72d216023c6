"""A websocket client (RFC 6455) that costs next to nothing, so that the load is not what is measured.

Its masking key is zero: legal, the server unmasks all the same, and the client is spared the work. What the
key is for, the protection of caching proxies, has no place on loopback.
"""

from __future__ import annotations

import asyncio
import base64
import os
from collections.abc import Callable
from typing import Final, cast

from tests.bench.errors import ConnectionEndedError

Handler = Callable[[bytes], None]

_BINARY: Final = 0x82
_CLOSE: Final = 0x88
_PING: Final = 0x89
_PONG: Final = 0x8A
_MASK: Final = bytes(4)
_CONNECT_SECONDS: Final = 30.0
_RECEIVE_SECONDS: Final = 30.0


class WebSocket(asyncio.Protocol):
    """One connection. Whole binary messages go to `on_message`; until one is set, they wait for `receive`."""

    __slots__ = ("_arrived", "_rest", "_transport", "_upgraded", "_waiting", "ended", "on_message")

    def __init__(self) -> None:
        self.on_message: Handler = self._keep
        self.ended: str | None = None
        self._rest = b""
        self._upgraded = False
        self._waiting: list[bytes] = []
        self._arrived: asyncio.Future[None] = asyncio.get_running_loop().create_future()

    @classmethod
    async def connect(cls, port: int, path: str) -> WebSocket:
        """Connect to 127.0.0.1 and upgrade; raises `ConnectionEndedError`, `OSError` or `TimeoutError`."""
        loop = asyncio.get_running_loop()
        async with asyncio.timeout(_CONNECT_SECONDS):
            _, socket = await loop.create_connection(cls, "127.0.0.1", port)
            key = base64.b64encode(os.urandom(16)).decode("ascii")
            socket._transport.write(
                f"GET {path} HTTP/1.1\r\nHost: 127.0.0.1:{port}\r\n"
                "Upgrade: websocket\r\nConnection: Upgrade\r\n"
                f"Sec-WebSocket-Key: {key}\r\nSec-WebSocket-Version: 13\r\n\r\n".encode("ascii")
            )
            await socket._arrived
        socket._arrived = loop.create_future()
        return socket

    def send(self, message: bytes) -> None:
        """Send one binary message, now."""
        self._transport.write(_header(_BINARY, len(message)) + message)

    async def receive(self) -> bytes:
        """The next message, while no `on_message` is set; raises `ConnectionEndedError`."""
        if not self._waiting:
            self._arrived = asyncio.get_running_loop().create_future()
            if self.ended is not None:
                raise ConnectionEndedError(self.ended)
            try:
                async with asyncio.timeout(_RECEIVE_SECONDS):
                    await self._arrived
            except TimeoutError:
                raise ConnectionEndedError(f"nothing came for {_RECEIVE_SECONDS:.0f} s") from None
        return self._waiting.pop(0)

    def close(self) -> None:
        """Drop the connection, as a device that loses its network does."""
        self.ended = self.ended or "closed here"
        self._transport.abort()

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = cast(asyncio.Transport, transport)

    def connection_lost(self, exc: Exception | None) -> None:
        self.ended = self.ended or f"lost: {exc or 'end of stream'}"
        if not self._arrived.done():
            self._arrived.set_exception(ConnectionEndedError(self.ended))
            self._arrived.exception()  # nobody may be waiting for it

    def data_received(self, data: bytes) -> None:
        if self._rest:
            data = self._rest + data
        if not self._upgraded:
            head, separator, data = data.partition(b"\r\n\r\n")
            if not separator:
                self._rest = head
                return
            self._finish_upgrade(head)
        self._rest = data[self._read_messages(data) :]

    def _finish_upgrade(self, head: bytes) -> None:
        self._upgraded = True
        if not head.startswith(b"HTTP/1.1 101 "):
            self.ended = f"refused: {head.splitlines()[0][:80]!r}"
            self._transport.abort()
        elif not self._arrived.done():
            self._arrived.set_result(None)

    def _read_messages(self, data: bytes) -> int:
        position, size = 0, len(data)
        while size - position >= 2:
            length, start = data[position + 1], position + 2
            if length == 126:
                start += 2
                length = int.from_bytes(data[start - 2 : start], "big")
            elif length == 127:
                start += 8
                length = int.from_bytes(data[start - 8 : start], "big")
            end = start + length
            if start > size or end > size:
                break
            if data[position] == _BINARY:
                self.on_message(data[start:end])
            else:
                self._control(data[position], data[start:end])
            position = end
        return position

    def _control(self, opcode: int, payload: bytes) -> None:
        if opcode == _PING:
            self._transport.write(_header(_PONG, len(payload)) + payload)
        elif opcode == _CLOSE:
            code = int.from_bytes(payload[:2], "big")
            reason = payload[2:].decode(errors="replace")
            self.ended = self.ended or f"closed by the server: {code} {reason}"
            self._transport.close()
        elif opcode != _PONG:
            self.ended = self.ended or f"a websocket frame of an unexpected kind: {opcode:#x}"
            self._transport.abort()

    def _keep(self, message: bytes) -> None:
        self._waiting.append(message)
        if self._upgraded and not self._arrived.done():
            self._arrived.set_result(None)


def _header(first: int, length: int) -> bytes:
    if length < 126:
        return bytes((first, 0x80 | length)) + _MASK
    if length < 65536:
        return bytes((first, 0xFE, length >> 8, length & 0xFF)) + _MASK
    return bytes((first, 0xFF)) + length.to_bytes(8, "big") + _MASK
