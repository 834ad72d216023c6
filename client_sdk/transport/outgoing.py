"""What waits to go out on a connection: coalesced into as few messages as possible, bounded."""

from __future__ import annotations

import asyncio
from collections import deque
from typing import Final

from client_sdk.errors import RelayUnreachable
from relay.wire import encode_frame
from relay.wire import frames as fr
from relay.wire.ids import EngagementId
from relay.wire.limits import MAX_FRAMES_PER_MESSAGE, MAX_MESSAGE_BYTES

# 32 appends in flight in each of a user's 256 engagements stay below the first.
MAX_WAITING_FRAMES: Final = 8192
MAX_WAITING_BYTES: Final = 16 * MAX_MESSAGE_BYTES


class Outgoing:
    """The frames of one connection on their way out, in order; of a stream's acknowledgements the newest."""

    def __init__(self) -> None:
        self._frames: deque[bytes] = deque()
        self._bytes = 0
        self._acks: dict[EngagementId, int] = {}
        self._some = asyncio.Event()

    def put(self, frame: fr.DeviceFrame) -> None:
        """Take one frame; raises `RelayUnreachable` if too much waits already (the relay does not read)."""
        if isinstance(frame, fr.Ack):
            self._acks[frame.stream] = max(frame.seq, self._acks.get(frame.stream, 0))
        else:
            self._queue(encode_frame(frame))
        self._some.set()

    def _queue(self, packed: bytes) -> None:
        if len(self._frames) >= MAX_WAITING_FRAMES or self._bytes + len(packed) > MAX_WAITING_BYTES:
            raise RelayUnreachable("The relay does not take what is sent to it.")
        self._frames.append(packed)
        self._bytes += len(packed)

    async def take(self) -> bytes:
        """The next message, with all that waits or as much as fits; waits until there is something."""
        await self._some.wait()
        for stream, seq in self._acks.items():
            self._queue(encode_frame(fr.Ack(stream, seq)))
        self._acks.clear()
        return self._take_message()

    def _take_message(self) -> bytes:
        taken: list[bytes] = []
        size = 0
        while self._frames and len(taken) < MAX_FRAMES_PER_MESSAGE:
            if size + len(self._frames[0]) > MAX_MESSAGE_BYTES:
                break
            taken.append(self._frames.popleft())
            size += len(taken[-1])
        self._bytes -= size
        if not self._frames:
            self._some.clear()
        return b"".join(taken)
