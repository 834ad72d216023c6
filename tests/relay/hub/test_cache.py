"""A cache that never brings back what has been changed meanwhile."""

from __future__ import annotations

import asyncio

from relay.hub.cache import Cache


class Slow:
    """A record that is read when a test lets it."""

    def __init__(self, value: int | None) -> None:
        self.value = value
        self.reads = 0
        self.go = asyncio.Event()

    async def __call__(self) -> int | None:
        self.reads += 1
        value = self.value
        await self.go.wait()
        return value


async def test_a_value_is_loaded_once() -> None:
    cache: Cache[str, int] = Cache(2)
    load = Slow(7)
    load.go.set()
    assert [await cache.read("a", load) for _ in range(3)] == [7, 7, 7]
    assert load.reads == 1


async def test_what_is_not_there_is_asked_for_again() -> None:
    cache: Cache[str, int] = Cache(2)
    load = Slow(None)
    load.go.set()
    assert [await cache.read("a", load) for _ in range(2)] == [None, None]
    assert load.reads == 2


async def test_a_read_that_was_overtaken_gives_the_new_value() -> None:
    cache: Cache[str, int] = Cache(2)
    load = Slow(1)
    reading = asyncio.ensure_future(cache.read("a", load))
    await asyncio.sleep(0)
    cache.put("a", 2)
    load.go.set()
    assert await reading == 2
    assert await cache.read("a", load) == 2


async def test_a_read_that_was_overtaken_by_a_drop_reads_again() -> None:
    cache: Cache[str, int] = Cache(2)
    load = Slow(1)
    readings = [asyncio.ensure_future(cache.read("a", load)) for _ in range(2)]
    await asyncio.sleep(0)
    cache.drop("a")
    load.value = 2
    load.go.set()
    assert await asyncio.gather(*readings) == [2, 2]


async def test_a_failed_read_leaves_nothing() -> None:
    cache: Cache[str, int] = Cache(2)

    async def fail() -> int:
        raise ValueError

    for _ in range(2):
        result = await asyncio.gather(cache.read("a", fail), return_exceptions=True)
        assert isinstance(result[0], ValueError)
    assert cache._reading == {}


async def test_a_cache_has_its_most() -> None:
    cache: Cache[str, int] = Cache(2)
    for number, key in enumerate("abc"):
        cache.put(key, number)
    assert len(cache) == 2
    load = Slow(9)
    load.go.set()
    assert await cache.read("a", load) == 9
    assert await cache.read("c", load) == 2
