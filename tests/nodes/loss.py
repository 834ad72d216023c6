"""`python -m tests.nodes.loss`: what each setting loses of the acknowledged, and what it costs.

Redis servers are killed, lose their power (of their logs is left what had been synced), or are cut off while
they take messages. Every kind of program that is installed is measured; REDIS_PROGRAM names another one.
"""

from __future__ import annotations

import asyncio
import contextlib
import os
import random
import tempfile
import time
from collections.abc import AsyncIterator, Callable, Mapping
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import Final

from relay.errors import StoreUnavailable
from relay.redis_address import RedisWait, parse_redis_url
from relay.store.redis import RedisClient, RedisStreamStore
from tests.conformance.support import BEN, STREAM, group_of_two, messages
from tests.support import power
from tests.support import real_redis as redis
from tests.support.wires import Wire

TOGETHER: Final = 16
ROUNDS: Final = 5
CUT_SECONDS: Final = 20.0
_BEFORE_CUT: Final = 2.0
_BEGIN_SECONDS: Final = 60.0
_HEAD: Final = ("HGET", f"coach:{{{STREAM}}}:state", "head")
_EVERYSEC: Final = {"appendfsync": "everysec"}
_MIN_REPLICAS: Final = {"min-replicas-to-write": "1", "min-replicas-max-lag": "10"}


@dataclass(slots=True)
class Writer:
    """A relay's store that appends as fast as it is answered, until it is told to stop or refused."""

    url: str
    wait: RedisWait
    acknowledged: int = 1
    last_answer: float = 0.0
    stopping: bool = False
    client: RedisClient = field(init=False)
    store: RedisStreamStore = field(init=False)

    async def begin(self) -> None:
        self.client = RedisClient(parse_redis_url(self.url), wait=self.wait)
        self.store = RedisStreamStore(self.client)
        async with asyncio.timeout(_BEGIN_SECONDS):
            while True:  # a replica may not be there yet
                with contextlib.suppress(StoreUnavailable):
                    await group_of_two(self.store)
                    return

    async def write(self) -> None:
        counter = 1
        try:
            while not self.stopping:
                done = await self.store.commit([messages(BEN, counter, *[b"x" * 512] * TOGETHER)])
                self.acknowledged = done[0][0].seq + TOGETHER - 1
                self.last_answer = time.monotonic()
                counter += TOGETHER
        except StoreUnavailable:
            return

    async def close(self) -> None:
        await self.store.close()
        await self.client.close()


@dataclass(frozen=True, slots=True)
class Found:
    """What one round lost, how much was acknowledged a second, and for how long by a primary cut off."""

    lost: int
    rate: float
    went_on: float = 0.0


def _head(server: redis.Process) -> int:
    return int(server.ask(*_HEAD) or 0)


@asynccontextmanager
async def _writing(url: str, wait: RedisWait) -> AsyncIterator[tuple[Writer, asyncio.Task[None]]]:
    writer = Writer(url, wait)
    await writer.begin()
    task = asyncio.create_task(writer.write())
    try:
        yield writer, task
    finally:
        writer.stopping = True
        await task
        await writer.close()


async def _end_with(
    servers: redis.Servers,
    wait: RedisWait,
    chance: random.Random,
    end: Callable[[], None],
    heads: Callable[[], int],
) -> Found:
    """Write for some seconds, end the servers, and compare with what they know afterwards."""
    seconds = 2 + chance.random()
    async with _writing(servers.url, wait) as (writer, _task):
        await asyncio.sleep(seconds)
        end()
    left = await asyncio.to_thread(heads)
    return Found(max(0, writer.acknowledged - left), writer.acknowledged / seconds)


async def alone(
    wait: RedisWait, program: str, chance: random.Random, *, cut: bool, settings: Mapping[str, str]
) -> Found:
    """One server is killed, or loses its power, and starts again."""
    with tempfile.TemporaryDirectory() as folder:
        environ = power.watch_syncs(Path(folder))
        with redis.real_redis(
            lambda folder: redis.Standalone(folder, **settings), program=program, environ=environ
        ) as servers:
            (server,) = servers.servers

            def again() -> int:
                server.start()
                return _head(server)

            end = partial(power.cut_power, server) if cut else server.kill
            return await _end_with(servers, wait, chance, end, again)


async def takes_over(
    wait: RedisWait, program: str, chance: random.Random, *, settings: Mapping[str, str]
) -> Found:
    """The primary is killed: what its only replica has is what there will be."""
    make = partial(redis.Sentinels, replicas=1, settings=settings)
    with redis.real_redis(make, program=program) as servers:
        first, replica = servers.servers
        return await _end_with(servers, wait, chance, first.kill, lambda: _head(replica))


async def all_without_power(
    wait: RedisWait, program: str, chance: random.Random, *, settings: Mapping[str, str]
) -> Found:
    """The primary and its replica lose their power together; whichever has less may be the next primary."""
    with tempfile.TemporaryDirectory() as folder:
        environ = power.watch_syncs(Path(folder))
        make = partial(redis.Sentinels, replicas=1, settings=settings)
        with redis.real_redis(make, program=program, environ=environ) as servers:

            def end() -> None:
                for sentinel in getattr(servers, "sentinels", ()):
                    sentinel.kill()
                power.cut_power(*servers.servers)

            def least() -> int:
                heads = []
                for server in reversed(servers.servers):  # the replica alone first: it follows nobody then
                    server.start()
                    heads.append(_head(server))
                    server.kill()
                return min(heads)

            return await _end_with(servers, wait, chance, end, least)


async def cut_off(
    wait: RedisWait, program: str, _chance: random.Random, *, settings: Mapping[str, str]
) -> Found:
    """The primary, and a relay beside it, are cut off from the replica and the Sentinels."""
    async with AsyncExitStack() as stack:
        ports: list[int] = []
        wire = Wire(lambda: ports)
        await wire.start()
        stack.push_async_callback(wire.close)

        def through(port: int) -> int:
            ports.append(port)
            return wire.port

        make = partial(redis.Sentinels, replicas=1, through=through, settings=settings)
        running = redis.real_redis(make, program=program)
        servers = await asyncio.to_thread(running.__enter__)
        stack.callback(running.__exit__, None, None, None)
        first, replica = servers.servers
        url = f"redis://127.0.0.1:{first.port}"
        async with _writing(url, wait) as (writer, _task):
            await asyncio.sleep(_BEFORE_CUT)
            rate = writer.acknowledged / _BEFORE_CUT
            wire.cut()
            cut = time.monotonic()
            await asyncio.sleep(CUT_SECONDS)
        left = await asyncio.to_thread(_head, replica)
        return Found(max(0, writer.acknowledged - left), rate, max(0.0, writer.last_answer - cut))


_NONE, _REPLICAS, _AOF0, _AOF1 = RedisWait(), RedisWait(1), RedisWait(0, aof=True), RedisWait(1, aof=True)
_SCENES: Final = (
    ("one server, always, killed", _NONE, partial(alone, cut=False, settings={})),
    ("one server, always, power", _NONE, partial(alone, cut=True, settings={})),
    ("one server, everysec, killed", _NONE, partial(alone, cut=False, settings=_EVERYSEC)),
    ("one server, everysec, power", _NONE, partial(alone, cut=True, settings=_EVERYSEC)),
    ("one server, always, power", _AOF0, partial(alone, cut=True, settings={})),
    ("one server, everysec, power", _AOF0, partial(alone, cut=True, settings=_EVERYSEC)),
    ("a replica takes over, always", _NONE, partial(takes_over, settings={})),
    ("a replica takes over, always", _REPLICAS, partial(takes_over, settings={})),
    ("a replica takes over, always", _AOF1, partial(takes_over, settings={})),
    ("a replica takes over, everysec", _AOF1, partial(takes_over, settings=_EVERYSEC)),
    ("power of both, always", _REPLICAS, partial(all_without_power, settings={})),
    ("power of both, everysec", _REPLICAS, partial(all_without_power, settings=_EVERYSEC)),
    ("power of both, everysec", _AOF1, partial(all_without_power, settings=_EVERYSEC)),
    ("primary cut off 20 s", _NONE, partial(cut_off, settings={})),
    ("primary cut off 20 s, min-replicas", _NONE, partial(cut_off, settings=_MIN_REPLICAS)),
    ("primary cut off 20 s", _REPLICAS, partial(cut_off, settings={})),
)


def _shown(wait: RedisWait) -> str:
    return f"{'aof' if wait.aof else 'replicas'} {wait.replicas}" if wait else "none"


async def main() -> None:
    """Measure all, and print."""
    named = os.environ.get("REDIS_PROGRAM")
    for program in [named] if named else [found for found in redis.PROGRAMS.values() if found]:
        with redis.real_redis(redis.Standalone, program=program) as servers:
            said = servers.servers[0].ask("INFO", "server")
        kind = "Valkey" if "valkey_version" in said else "Redis"
        print(f"{kind} {said.get('valkey_version', said['redis_version'])}", flush=True)
        chance = random.Random(1)
        for name, wait, scene in _SCENES:
            if wait.aof and redis.version_of(said) < (7, 2):
                continue
            rounds = 1 if scene.func is cut_off else ROUNDS
            found = [await scene(wait, program, chance) for _ in range(rounds)]
            print(f"  {name}, redis_wait {_shown(wait)}: {_told(found)}", flush=True)


def _told(found: list[Found]) -> str:
    went_on = max(one.went_on for one in found)
    return (
        f"lost {', '.join(f'{one.lost:,}' for one in found)} "
        f"of {max(one.rate for one in found):,.0f} a second"
        + (f"; went on for {went_on:.1f} s" if went_on else "")
    )


if __name__ == "__main__":
    asyncio.run(main())
