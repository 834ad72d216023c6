"""GET /v1/connect: the websocket of a device (PROTOCOL 2), between aiohttp and the hub."""

from __future__ import annotations

import asyncio
import contextlib
from collections import deque
from http import HTTPStatus
from typing import Final

from aiohttp import WSCloseCode, WSMsgType, web

from relay.http.access import PAGE_ORIGIN
from relay.http.handshake_guard import HandshakeGuard
from relay.http.problems import RETRY_AFTER_SECONDS, Problem
from relay.hub import Hub, Session
from relay.wire.errors import ErrorCode
from relay.wire.limits import MAX_MESSAGE_BYTES, PING_INTERVAL_SECONDS

CLOSE_SECONDS: Final = 5.0  # for a peer to take what is left and to answer the closing handshake


class SocketSink:
    """What the hub sends, on its way to one device: a queue, and the one task that writes."""

    def __init__(self, socket: web.WebSocketResponse, transport: asyncio.BaseTransport | None) -> None:
        self._socket = socket
        self._transport = transport
        self._messages: deque[bytes] = deque()
        self._pending = 0
        self._closing = False
        self._wake = asyncio.Event()
        self._deadline: asyncio.TimerHandle | None = None

    def send(self, message: bytes, /) -> None:
        """Queue a message. The hub bounds what is pending, and closes a connection that takes nothing."""
        if not self._closing:
            self._messages.append(message)
            self._pending += len(message)
            self._wake.set()

    def close(self) -> None:
        """Close once everything is sent, or after `CLOSE_SECONDS` whatever the peer does."""
        if not self._closing:
            self._closing = True
            self._deadline = asyncio.get_running_loop().call_later(CLOSE_SECONDS, self.abort)
            self._wake.set()

    def pending(self) -> int:
        return self._pending

    def abort(self) -> None:
        """End the connection without another byte."""
        if isinstance(self._transport, asyncio.WriteTransport):
            self._transport.abort()

    async def run(self) -> None:
        """Write what is queued until the connection is closed; returns when it is lost, too."""
        with contextlib.suppress(ConnectionError):  # the read loop learns of it as well, and tells the hub
            while not self._closing or self._messages:
                while self._messages:
                    message = self._messages.popleft()
                    await self._socket.send_bytes(message)
                    self._pending -= len(message)
                if not self._closing:
                    self._wake.clear()
                    await self._wake.wait()
            await self._socket.close(code=WSCloseCode.OK)

    def ended(self) -> None:
        """Forget the deadline: the connection is gone."""
        if self._deadline is not None:
            self._deadline.cancel()


class Connect:
    """The handler. `max_connections` bounds the sockets, whether or not anyone has authenticated on them."""

    def __init__(self, hub: Hub, *, max_connections: int) -> None:
        self._hub = hub
        self._max_connections = max_connections
        self._draining = False
        self._sinks: set[SocketSink] = set()
        self._none_left = asyncio.Event()
        self._none_left.set()

    def routes(self) -> list[web.RouteDef]:
        return [web.get("/v1/connect", self.connect, allow_head=False)]

    @property
    def count(self) -> int:
        return len(self._sinks)

    def drain(self) -> None:
        """Let nobody in any more."""
        self._draining = True

    async def wait_empty(self) -> None:
        """Wait until every connection is gone."""
        await self._none_left.wait()

    def abort_all(self) -> None:
        """End every connection that is left, without another word."""
        for sink in self._sinks:
            sink.abort()

    async def connect(self, request: web.Request) -> web.WebSocketResponse:
        self._check_room()
        socket = web.WebSocketResponse(
            compress=False,
            heartbeat=PING_INTERVAL_SECONDS,
            max_msg_size=MAX_MESSAGE_BYTES + 1,  # aiohttp refuses what reaches its bound
            timeout=CLOSE_SECONDS,
        )
        if not socket.can_prepare(request).ok:
            raise Problem(
                HTTPStatus.UPGRADE_REQUIRED,
                "upgrade_required",
                "This is a websocket.",
                headers={"Upgrade": "websocket", "Connection": "Upgrade"},
            )
        PAGE_ORIGIN.set(request.headers.get("Origin"))
        sink = SocketSink(socket, request.transport)
        self._sinks.add(sink)
        self._none_left.clear()
        try:
            await socket.prepare(request)
            await self._serve(socket, sink, request.transport)
        finally:
            self._sinks.discard(sink)
            if not self._sinks:
                self._none_left.set()
        return socket

    def _check_room(self) -> None:
        if self._draining:
            code, detail = "draining", "The relay is going down; connect again in a moment."
        elif len(self._sinks) >= self._max_connections:
            code, detail = "rate_limited", "The relay has no room for another connection now."
        else:
            return
        raise Problem(
            HTTPStatus.SERVICE_UNAVAILABLE, code, detail, headers={"Retry-After": str(RETRY_AFTER_SECONDS)}
        )

    async def _serve(
        self, socket: web.WebSocketResponse, sink: SocketSink, transport: asyncio.Transport | None
    ) -> None:
        """Hand every message to the hub, which makes us wait when it has enough, until the peer is gone."""
        connection = self._hub.attach(sink)
        guard = _guard(transport, connection)
        writer = asyncio.create_task(sink.run())
        try:
            async for message in socket:
                if message.type is WSMsgType.BINARY:
                    await connection.receive(message.data)
                    if guard is not None and connection.is_ready:
                        guard.release()
                        guard = None
                elif message.type is WSMsgType.TEXT:
                    connection.unreadable(ErrorCode.MALFORMED, "messages are binary")
        finally:
            if guard is not None:
                guard.release()
            connection.lost()
            sink.ended()
            writer.cancel()
            with contextlib.suppress(asyncio.CancelledError):
                await writer


def _guard(transport: asyncio.Transport | None, connection: Session) -> HandshakeGuard | None:
    """Until its device has proved itself, a connection gets only what that takes."""
    if transport is None:
        return None
    return HandshakeGuard(
        transport, lambda: connection.unreadable(ErrorCode.TOO_BIG, "too much before the device is proved")
    )
