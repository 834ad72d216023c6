"""A clock that only a test moves, and chance that is the same in every run."""

from __future__ import annotations

import asyncio
import hashlib
import heapq
import itertools


class FakeTime:
    """`now`, `monotonic` and `sleep` for an Environment; `advance` lets time pass."""

    def __init__(self, start: float = 1_790_000_000.0) -> None:
        self._start = start
        self._elapsed = 0.0
        self._order = itertools.count()
        self._sleepers: list[tuple[float, int, asyncio.Future[None]]] = []

    def now(self) -> float:
        return self._start + self._elapsed

    def monotonic(self) -> float:
        return self._elapsed

    async def sleep(self, seconds: float) -> None:
        woken: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        heapq.heappush(self._sleepers, (self._elapsed + max(0.0, seconds), next(self._order), woken))
        await woken

    @property
    def next_due(self) -> float | None:
        """Seconds until the next sleeper wakes."""
        while self._sleepers and self._sleepers[0][2].done():
            heapq.heappop(self._sleepers)
        return self._sleepers[0][0] - self._elapsed if self._sleepers else None

    async def advance(self, seconds: float) -> None:
        """Let this much time pass, waking sleepers in their order."""
        end = self._elapsed + seconds
        await settle()
        while (due := self.next_due) is not None and self._elapsed + due <= end:
            at, _, woken = heapq.heappop(self._sleepers)
            self._elapsed = at
            woken.set_result(None)
            await settle()
        self._elapsed = end
        await settle()


async def settle(turns: int = 40) -> None:
    """Let everything that can run now run."""
    for _ in range(turns):
        await asyncio.sleep(0)


class SeededRandom:
    """Bytes that depend on the seed alone."""

    def __init__(self, seed: str) -> None:
        self._seed = seed.encode()
        self._count = itertools.count()

    def __call__(self, size: int) -> bytes:
        return hashlib.shake_256(self._seed + next(self._count).to_bytes(8, "big")).digest(size)
