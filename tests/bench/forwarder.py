"""Baseline: a bare aiohttp websocket forwarder. It stores nothing, checks nothing and knows nobody.

`python -m tests.bench.forwarder` prints its port. A connection names its stream and its side in the path. The
exchange is the relay's, in its frames: send (Append), ack (Appended), deliver (Entries), receipt (Ack). All
that is there for a connection in one loop turn goes in one websocket message.
"""

from __future__ import annotations

import asyncio
from typing import Any, Final

import msgpack
import uvloop
from aiohttp import WSMsgType, web

_APPEND: Final = 10
_ACK: Final = 12
_APPENDED: Final = 70
_ENTRIES: Final = 73
_MAX_MESSAGE_BYTES: Final = 4 * 1024 * 1024


class _Peer:
    """One connection, and what waits to be written to it."""

    __slots__ = ("entries", "results", "stream", "wake", "websocket")

    def __init__(self, stream: str, websocket: web.WebSocketResponse) -> None:
        self.stream = stream
        self.websocket = websocket
        self.results: list[tuple[int, int]] = []
        self.entries: list[tuple[int, int, int, int, int, bytes]] = []
        self.wake = asyncio.Event()

    async def write(self) -> None:
        pack = msgpack.Packer().pack
        while True:
            await self.wake.wait()
            self.wake.clear()
            message = b""
            if self.results:
                message += pack((_APPENDED, self.stream, self.results))
                self.results = []
            if self.entries:
                message += pack((_ENTRIES, self.stream, self.entries))
                self.entries = []
            await self.websocket.send_bytes(message)


class Forwarder:
    """Pairs the two sides of each stream."""

    def __init__(self) -> None:
        self._peers: dict[tuple[str, str], _Peer] = {}
        self._seq: dict[str, int] = {}
        self.receipts = 0

    async def connect(self, request: web.Request) -> web.WebSocketResponse:
        """One connection, from its upgrade to its end."""
        websocket = web.WebSocketResponse(compress=False, max_msg_size=_MAX_MESSAGE_BYTES)
        await websocket.prepare(request)
        key = (request.match_info["stream"], request.match_info["side"])
        peer = self._peers[key] = _Peer(key[0], websocket)
        writer = asyncio.create_task(peer.write())
        other = (key[0], "receiver" if key[1] == "sender" else "sender")
        try:
            async for message in websocket:
                if message.type is WSMsgType.BINARY:
                    self._forward(message.data, peer, self._peers.get(other))
        finally:
            writer.cancel()
            if self._peers.get(key) is peer:
                del self._peers[key]
        return websocket

    def _forward(self, message: bytes, sender: _Peer, receiver: _Peer | None) -> None:
        unpacker: Any = msgpack.Unpacker()
        unpacker.feed(message)
        seq = self._seq.get(sender.stream, 0)
        for frame in unpacker:
            if frame[0] == _APPEND and receiver is not None:
                seq += 1
                sender.results.append((frame[2], seq))
                receiver.entries.append((seq, frame[3], frame[4], 0, 0, frame[5]))
            elif frame[0] == _ACK:
                self.receipts += 1
        if seq != self._seq.get(sender.stream, 0) and receiver is not None:
            self._seq[sender.stream] = seq
            sender.wake.set()
            receiver.wake.set()


async def _serve() -> None:
    app = web.Application()
    app.router.add_get("/{stream}/{side}", Forwarder().connect)
    runner = web.AppRunner(app, access_log=None)
    await runner.setup()
    site = web.TCPSite(runner, "127.0.0.1", 0, backlog=1024)
    await site.start()
    print(runner.addresses[0][1], flush=True)
    await asyncio.Event().wait()


if __name__ == "__main__":
    uvloop.run(_serve())
