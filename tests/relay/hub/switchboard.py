"""Several hubs on the same stores in memory, and a bus between them whose news a test may lose."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import AsyncExitStack, asynccontextmanager

import msgpack

from relay.core.operations import AppendEntries, Operation, Outcome
from relay.hub import Hub
from relay.store import MemoryDirectory, MemoryStreamStore
from relay.store.bus import WAKE, Heard
from relay.wire import frames as fr
from relay.wire.ids import PortalId
from tests.relay.hub.support import Clock, make_hub


class Switchboard:
    """Takes news from each node to all; with `lossy` it loses them."""

    def __init__(self) -> None:
        self.buses: list[MemoryBus] = []
        self.lossy = False

    def tell(self, topic: str, news: bytes) -> None:
        if not self.lossy:
            for bus in self.buses:
                asyncio.get_running_loop().call_soon(bus.hear, topic, news)


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
        done = await super().commit(operations)
        for operation, outcomes in zip(operations, done, strict=True):
            if isinstance(operation, AppendEntries) and any(outcome.fresh for outcome in outcomes):
                state = self._states[operation.stream]
                news = msgpack.packb((WAKE, self._bus.node, state.head, state.last_commit))
                self._bus.tell(operation.stream, news)
        return done


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
