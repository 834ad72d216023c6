"""The load: pairs of a sender and a receiver, their frames made beforehand, traffic closed-loop or paced.

A message is complete when the sender has its `Appended` and the receiver has the entry and acknowledged it.
"""

from __future__ import annotations

import asyncio
import gc
import os
import time
from collections import deque
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Any, Final

import msgpack

from tests.bench.errors import UnexpectedError
from tests.bench.websocket import WebSocket

_APPENDED: Final = 70
_ENTRIES: Final = 73
_QUIET: Final = frozenset({72, 83, 86})  # Opened, EngagementChanged, KeyPackagesLow: no use for them here
_MAX_MESSAGE_BYTES: Final = 4 * 1024 * 1024
_STALL_SECONDS: Final = 20.0  # without progress this long, something is broken and the measurement says so
_UNLIMITED: Final = 2**32


class Bodies:
    """What follows the stream in an Append: counter, kind, after_commit, random payload, no blobs."""

    def __init__(self, payload_bytes: int) -> None:
        self._payload_bytes = payload_bytes
        self._tails: list[bytes] = []

    def prepare(self, counters: int) -> None:
        """Make the tails of the counters 1 to `counters` beforehand."""
        pack = msgpack.Packer().pack
        missing = counters - len(self._tails)
        noise = os.urandom(max(missing, 0) * self._payload_bytes)
        for start in range(0, len(noise), self._payload_bytes):
            counter = len(self._tails) + 1
            payload = pack(noise[start : start + self._payload_bytes])
            # The first bundle of a pair's group is entry 1, and no other commit follows.
            self._tails.append(b"\xce" + counter.to_bytes(4, "big") + b"\x00\x01" + payload + b"\x90")

    def between(self, after: int, upto: int) -> list[bytes]:
        """The tails of the counters after `after`, up to `upto`."""
        if len(self._tails) < upto:
            self.prepare(2 * upto)
        return self._tails[after:upto]


class Pair:
    """An engagement's devices, after `counter` appends of the sender in a stream that reaches to `seq`."""

    __slots__ = (
        "_ack_prefix",
        "_append_prefix",
        "acked",
        "appended",
        "counter",
        "due",
        "offline",
        "own_acked",
        "own_seq",
        "received",
        "receiver",
        "sender",
        "sent",
        "seq",
        "stream",
    )

    def __init__(
        self, stream: str, sender: WebSocket, receiver: WebSocket, *, counter: int, seq: int
    ) -> None:
        self.stream = stream
        self.sender = sender
        self.receiver = receiver
        self.counter = counter
        self.seq = self.own_seq = self.own_acked = seq
        self.sent = self.appended = self.received = self.acked = 0
        self.offline = False  # the receiver is: a message is complete when the sender has its Appended
        self.due: deque[float] = deque()
        name = msgpack.packb(stream)
        self._append_prefix: bytes = b"\x97\x0a" + name
        self._ack_prefix: bytes = b"\x93\x0c" + name + b"\xce"

    @property
    def completed(self) -> int:
        return self.appended if self.offline else min(self.appended, self.acked)

    @property
    def in_flight(self) -> int:
        return self.sent - (self.appended if self.offline else min(self.appended, self.received))

    def appends(self, count: int, bodies: Bodies) -> bytes:
        """The next Append frames, counted as sent."""
        first = self.counter + self.sent
        self.sent += count
        return self._append_prefix + self._append_prefix.join(bodies.between(first, first + count))

    def ack(self, seq: int) -> bytes:
        """An Ack frame."""
        return self._ack_prefix + seq.to_bytes(4, "big")


class Load:
    """Drives pairs. What a loop turn brought is answered at its end, in one message a connection."""

    def __init__(self, pairs: Sequence[Pair], bodies: Bodies, *, in_flight: int) -> None:
        self.pairs = list(pairs)
        self._bodies = bodies
        self._in_flight = in_flight
        self._limit = 0  # messages that each pair may have sent in all
        self._latencies: list[float] = []
        self._fault: str | None = None
        self._dirty: dict[Pair, None] = {}
        self._scheduled = False
        self._loop = asyncio.get_running_loop()
        for pair in self.pairs:
            self._attach_sender(pair)
            self.attach_receiver(pair, pair.receiver)

    def _attach_sender(self, pair: Pair) -> None:
        pair.sender.on_message = lambda message: self._sender_got(pair, message)

    def attach_receiver(self, pair: Pair, receiver: WebSocket) -> None:
        """Make this the pair's receiver from now on."""
        pair.receiver = receiver
        pair.offline = False
        receiver.on_message = lambda message: self._receiver_got(pair, message)

    def detach_receiver(self, pair: Pair) -> None:
        """Cut the pair's receiver off."""
        pair.offline = True
        pair.receiver.close()

    # -- what arrives

    def _sender_got(self, pair: Pair, message: bytes) -> None:
        for frame in _frames(message):
            if frame[0] == _APPENDED:
                pair.appended += len(frame[2])
            elif frame[0] == _ENTRIES:
                pair.own_seq = frame[2][-1][0]
            elif frame[0] not in _QUIET:
                self._fault = f"the sender got an unexpected frame: {str(frame)[:200]}"
        self._touch(pair)

    def _receiver_got(self, pair: Pair, message: bytes) -> None:
        for frame in _frames(message):
            if frame[0] == _ENTRIES:
                self._take(pair, frame[2])
            elif frame[0] not in _QUIET:
                self._fault = f"the receiver got an unexpected frame: {str(frame)[:200]}"
        self._touch(pair)

    def _take(self, pair: Pair, entries: list[list[Any]]) -> None:
        due = pair.seq + pair.received + 1
        if entries[0][0] != due or entries[-1][0] != due + len(entries) - 1:
            self._fault = f"positions {entries[0][0]} to {entries[-1][0]} came where {due} was due"
        pair.received += len(entries)
        if pair.due:
            now = time.perf_counter()
            self._latencies.extend(now - pair.due.popleft() for _ in entries)

    # -- what goes out

    def _touch(self, pair: Pair) -> None:
        self._dirty[pair] = None
        if not self._scheduled:
            self._scheduled = True
            self._loop.call_soon(self._flush)

    def _flush(self) -> None:
        self._scheduled = False
        dirty, self._dirty = self._dirty, {}
        for pair in dirty:
            parts: list[bytes] = []
            room = min(self._in_flight - pair.in_flight, self._limit - pair.sent)
            if room > 0:
                parts.append(pair.appends(room, self._bodies))
            if pair.own_seq > pair.own_acked:
                pair.own_acked = pair.own_seq
                parts.append(pair.ack(pair.own_seq))
            if parts:
                pair.sender.send(b"".join(parts))
            if pair.received > pair.acked:
                pair.acked = pair.received
                pair.receiver.send(pair.ack(pair.seq + pair.received))

    # -- the kinds of load

    def start(self) -> None:
        """Keep `in_flight` messages of every pair under way from now on."""
        self._limit = _UNLIMITED
        for pair in self.pairs:
            self._touch(pair)

    async def run(self, seconds: float) -> int:
        """Let it run; answer how many messages were completed meanwhile."""
        before = self.completed
        await asyncio.sleep(seconds)
        self._check()
        return self.completed - before

    async def stop(self) -> None:
        """Send no more, and wait until everything sent is completed; raises `UnexpectedError`."""
        self._limit = 0
        await self.settle(sum(pair.sent for pair in self.pairs))

    async def transfer(self, count: int) -> None:
        """Send so many messages of each pair and wait for their completion; raises `UnexpectedError`."""
        self._limit = max(pair.sent for pair in self.pairs) + count
        for pair in self.pairs:
            self._touch(pair)
        await self.settle(self._limit * len(self.pairs))

    async def pace(self, *, rate: float, seconds: float) -> list[float]:
        """Send open-loop at a fixed rate, the pairs in turn; answer the seconds that each message took.

        A message counts from when it was due, so a server that makes the sender late cannot hide it. The loop
        spins: a timer's own delay would be measured as the server's.
        """
        self._latencies = []
        start = time.perf_counter()
        for number in range(int(rate * seconds)):
            due = start + number / rate
            while time.perf_counter() < due:
                await _turn()
            pair = self.pairs[number % len(self.pairs)]
            pair.due.append(due)
            pair.sender.send(pair.appends(1, self._bodies))
        await self.stop()
        return self._latencies

    async def settle(self, wanted: int) -> None:
        """Wait, spinning, until so many messages are completed; raises `UnexpectedError` if it stalls."""
        most, since = -1, time.perf_counter()
        while (completed := self.completed) < wanted:
            self._check()
            if completed > most:
                most, since = completed, time.perf_counter()
            elif time.perf_counter() - since > _STALL_SECONDS:
                raise UnexpectedError(f"no progress for {_STALL_SECONDS:.0f} s: {self._behind()}")
            await _turn()
        self._check()

    # -- how it stands

    @property
    def completed(self) -> int:
        return sum(pair.completed for pair in self.pairs)

    def _behind(self) -> str:
        behind = [pair for pair in self.pairs if pair.completed < pair.sent]
        if not behind:
            return "nothing is under way"
        pair = behind[0]
        return (
            f"{len(behind)} pairs wait; the first sent {pair.sent}, was acknowledged {pair.appended}, "
            f"received {pair.received}; its connections: {pair.sender.ended}, {pair.receiver.ended}"
        )

    def _check(self) -> None:
        for pair in self.pairs:
            ended = pair.sender.ended or (None if pair.offline else pair.receiver.ended)
            self._fault = self._fault or ended
        if self._fault is not None:
            raise UnexpectedError(self._fault)


async def _turn() -> None:
    """One turn of the loop."""
    await asyncio.sleep(0)


def _frames(message: bytes) -> Any:
    unpacker = msgpack.Unpacker(max_buffer_size=_MAX_MESSAGE_BYTES)
    unpacker.feed(message)
    return unpacker


@contextmanager
def no_garbage_collection() -> Iterator[None]:
    """No garbage collection while measuring: the generator's pauses would be taken for the server's."""
    gc.collect()
    gc.freeze()
    gc.disable()
    try:
        yield
    finally:
        gc.enable()
        gc.unfreeze()
