"""Several hubs on the same stores in memory, and a bus between them whose news a test may lose or keep."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import AsyncExitStack, asynccontextmanager

import msgpack

from relay.core.operations import AppendEntries, Operation, Outcome, StoredEntry
from relay.hub import Hub
from relay.store import MemoryDirectory, MemoryStreamStore
from relay.store.bus import WAKE, Heard
from relay.wire import frames as fr
from relay.wire.ids import EngagementId, PortalId
from tests.relay.hub.support import Clock, make_hub


class Switchboard:
    """Takes news from each node to all; with `lossy` it loses them, with `keeps` those of appends wait in
    `kept`. With `brings` the news of an append bring its entries."""

    def __init__(self) -> None:
        self.buses: list[MemoryBus] = []
        self.lossy = False
        self.keeps = False
        self.brings = True
        self.kept: list[bytes] = []
        self.reads = 0
        """How often a node has read entries."""

    def tell(self, topic: str, news: bytes) -> None:
        if not self.lossy:
            for bus in self.buses:
                asyncio.get_running_loop().call_soon(bus.hear, topic, news)

    def tell_append(self, topic: str, news: bytes) -> None:
        if self.keeps:
            self.kept.append(news)
        else:
            self.tell(topic, news)


class MemoryBus:
    """One node's end."""

    def __init__(self, switchboard: Switchboard, node: bytes) -> None:
        self.node = node
        self.is_current = True
        self._switchboard = switchboard
        self._topics: set[str] = set()
        self._heard: Heard = lambda _topic, _news: None
        self.missed: Callable[[], None] = lambda: None
        switchboard.buses.append(self)

    async def start(self, heard: Heard, missed: Callable[[], None]) -> None:
        self._heard, self.missed = heard, missed

    async def follow(self, topic: str) -> None:
        self._topics.add(topic)

    def unfollow(self, topic: str) -> None:
        self._topics.discard(topic)

    def tell(self, topic: str, news: bytes) -> None:
        self._switchboard.tell(topic, news)

    @property
    def board(self) -> Switchboard:
        return self._switchboard

    def hear(self, topic: str, news: bytes) -> None:
        if topic in self._topics:
            self._heard(topic, news)

    async def close(self) -> None:
        self._topics.clear()


class TellingStreams(MemoryStreamStore):
    """One node's way to the streams that all share: what it appends is told."""

    def __init__(self, shared: MemoryStreamStore, bus: MemoryBus) -> None:
        super().__init__()
        self._states, self._entries = shared._states, shared._entries
        self._bus = bus

    async def commit(self, operations: Sequence[Operation]) -> list[list[Outcome]]:
        before = {stream: (state.head, state.last_commit) for stream, state in self._states.items()}
        done = await super().commit(operations)
        for operation, outcomes in zip(operations, done, strict=True):
            if isinstance(operation, AppendEntries) and any(outcome.fresh for outcome in outcomes):
                stream = operation.stream
                self._bus.board.tell_append(stream, self._news(stream, *before[stream]))
                before[stream] = self._states[stream].head, self._states[stream].last_commit
        return done

    async def read(
        self, stream: EngagementId, *, after: int, limit: int, max_bytes: int
    ) -> list[StoredEntry]:
        self._bus.board.reads += 1
        return await super().read(stream, after=after, limit=limit, max_bytes=max_bytes)

    def _news(self, stream: EngagementId, head_before: int, commit_before: int) -> bytes:
        """What `stream.lua` would tell."""
        state = self._states[stream]
        teller: object = self._bus.node
        if self._bus.board.brings and state.last_commit == commit_before:
            entries = [self._entries[stream][seq] for seq in range(head_before + 1, state.head + 1)]
            teller = (self._bus.node, head_before, [part for entry in entries for part in run_of(entry)])
        return pack((WAKE, teller, state.head, state.last_commit))


def run_of(entry: StoredEntry) -> tuple[bytes, bytes]:
    """An entry as a run of its own."""
    seq, kind, after_commit, time_ms, device, counter, body = entry
    return pack((seq, int(kind), after_commit, time_ms, device, counter, 1)), pack((body,))


def pack(value: object) -> bytes:
    """As Redis packs: it knows no binary type."""
    packed: bytes = msgpack.packb(value, use_bin_type=False)
    return packed


class Several:
    """Hubs that are one relay."""

    def __init__(self, hubs: list[Hub], board: Switchboard, clock: Clock) -> None:
        self.hubs = hubs
        self.board = board
        self.clock = clock

    async def settle(self) -> None:
        """Wait until everything that was begun anywhere is done."""
        for _ in range(6):
            for hub in self.hubs:
                await hub.settle()
            await asyncio.sleep(0)

    async def tick(self, seconds: float = 1.0) -> None:
        """Let time pass at all of them."""
        self.clock.now += seconds
        for hub in self.hubs:
            hub.tick()
        await self.settle()


@asynccontextmanager
async def several(count: int = 2, **settings: object) -> AsyncIterator[Several]:
    """Started hubs."""
    board, clock, streams, directory = Switchboard(), Clock(), MemoryStreamStore(), MemoryDirectory()
    async with AsyncExitStack() as stack:
        hubs = []
        for number in range(count):
            bus = MemoryBus(board, f"node {number}".encode())
            hub = make_hub(TellingStreams(streams, bus), directory, clock, bus=bus, **settings)
            hub.access._key_names = _the_key_of_tests  # type: ignore[method-assign]  # their portal is no record
            await hub.start()
            stack.push_async_callback(hub.close)
            hubs.append(hub)
        yield Several(hubs, board, clock)


async def _the_key_of_tests(portal: PortalId) -> frozenset[str]:
    del portal
    return frozenset({""})


def entries(frames: Sequence[object]) -> list[fr.Entry]:
    """All entries among frames."""
    return [entry for frame in frames if isinstance(frame, fr.Entries) for entry in frame.entries]
