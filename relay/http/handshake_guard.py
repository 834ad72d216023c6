"""Holds a connection to a few bytes until its device has proved itself.

A websocket message may have 2 MiB, and the library puts it together before anybody can look. Who has not
proved anything needs a small part of that: so until then the bytes are counted as they come from the network.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import Final

from relay.wire.limits import KIB, MAX_HANDSHAKE_MESSAGE_BYTES

# Hello and Authenticate at their longest, with the websocket's own frames around them and pings between.
UNPROVEN_BYTES: Final = 2 * MAX_HANDSHAKE_MESSAGE_BYTES + KIB


class HandshakeGuard(asyncio.Protocol):
    """Stands between a transport and its protocol until `release`. `overflow` is called once, when it is too
    much; what comes after that is thrown away.
    """

    def __init__(self, transport: asyncio.Transport, overflow: Callable[[], None]) -> None:
        self._transport = transport
        self._protocol = transport.get_protocol()
        self._overflow = overflow
        self._left = UNPROVEN_BYTES
        transport.set_protocol(self)

    def release(self) -> None:
        """The device has proved itself, or is gone: stand aside."""
        if self._transport.get_protocol() is self:
            self._transport.set_protocol(self._protocol)

    def data_received(self, data: bytes) -> None:
        if self._left <= 0:
            return
        self._left -= len(data)
        if self._left <= 0:
            self._overflow()
        elif isinstance(self._protocol, asyncio.Protocol):
            self._protocol.data_received(data)

    def eof_received(self) -> bool | None:
        return self._protocol.eof_received() if isinstance(self._protocol, asyncio.Protocol) else None

    def connection_lost(self, exc: Exception | None) -> None:
        self._protocol.connection_lost(exc)

    def pause_writing(self) -> None:
        self._protocol.pause_writing()

    def resume_writing(self) -> None:
        self._protocol.resume_writing()
