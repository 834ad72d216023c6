"""Three nodes under load while they and Redis are killed, promoted, cut off, restarted: one history."""

from __future__ import annotations

import asyncio
import os
import random
import signal
from collections.abc import Awaitable, Callable, Iterator
from contextlib import AsyncExitStack
from pathlib import Path
from typing import Final

import aiohttp
import pytest

from tests.nodes.people import Talker, all_said, compare, conversations, in_the_middle
from tests.nodes.relays import Relays, relays
from tests.support import real_redis as redis
from tests.support.real_redis import Servers
from tests.support.wire_client import WireClient
from tests.support.wires import Wire

pytestmark = [
    pytest.mark.skipif(redis.PROGRAM is None, reason=redis.MISSING),
    pytest.mark.timeout(600),
]
# NODES_LONG=1 talks ten times as long.
LONG: Final = bool(os.environ.get("NODES_LONG"))
LINES: Final = 500 if LONG else 50
PACE: Final = 0.1
PAIRS: Final = 4
# Far more than it takes, on a slow machine of two cores as well; what hangs is found all the same.
PATIENCE: Final = 480.0 if LONG else 150.0
PROMOTION_SECONDS: Final = 60.0
MANY: Final = 40

Disturbance = Callable[[Relays, Servers, random.Random], Awaitable[None]]


async def _under(relay: Relays, servers: Servers, disturb: Disturbance, *, seed: int = 7) -> list[Talker]:
    """Talk while something happens again and again, from when everybody has begun; compare."""
    talkers = await conversations(relay, PAIRS, lines=LINES, pace=PACE)
    talking = asyncio.create_task(all_said(talkers, within=PATIENCE))
    chance = random.Random(seed)
    try:
        await in_the_middle(talkers, talking)
        for _ in range(LINES // 50):
            await disturb(relay, servers, chance)
        await talking
    finally:
        talking.cancel()
        await asyncio.gather(talking, return_exceptions=True)
    compare(talkers)
    return talkers


async def _until(holds: Callable[[], bool], otherwise: str) -> None:
    await asyncio.to_thread(redis.wait_until, holds, PROMOTION_SECONDS, otherwise)


@pytest.fixture(scope="module")
def one_server() -> Iterator[Servers]:
    with redis.real_redis(redis.Standalone) as servers:
        yield servers


@pytest.fixture
def standalone(one_server: Servers) -> Servers:
    one_server.empty()
    return one_server


async def test_nodes_are_killed(standalone: Servers, tmp_path: Path) -> None:
    async def kill(relay: Relays, _servers: Servers, chance: random.Random) -> None:
        for node in chance.sample(list(relay.nodes), 2):
            await relay.kill(node)
            await asyncio.sleep(0.7)
            await node.start()
            await asyncio.sleep(0.3)

    async with relays(tmp_path, [standalone.url] * 3) as relay:
        talkers = await _under(relay, standalone, kill)
        assert max(talker.connections for talker in talkers) > 1


async def test_redis_is_killed(standalone: Servers, tmp_path: Path) -> None:
    async def kill(_relay: Relays, servers: Servers, _chance: random.Random) -> None:
        for _ in range(2):
            servers.servers[0].kill()
            await asyncio.sleep(0.5)
            await asyncio.to_thread(servers.servers[0].start)
            await asyncio.sleep(1)

    async with relays(tmp_path, [standalone.url] * 3) as relay:
        talkers = await _under(relay, standalone, kill)
        assert min(len(set(talker.incarnations)) for talker in talkers) > 1, "the devices are told to compare"


async def test_the_network_between_a_node_and_redis_is_cut(standalone: Servers, tmp_path: Path) -> None:
    async with AsyncExitStack() as stack:
        wires = [Wire(lambda: [standalone.servers[0].port]) for _ in range(3)]
        for wire in wires:
            await wire.start()
            stack.push_async_callback(wire.close)

        async def cut(_relay: Relays, _servers: Servers, chance: random.Random) -> None:
            wire = chance.choice(wires)
            wire.cut()
            await asyncio.sleep(2)
            wire.mend()
            await asyncio.sleep(1)

        urls = [f"redis://127.0.0.1:{wire.port}/0" for wire in wires]
        relay = await stack.enter_async_context(relays(tmp_path, urls))
        await _under(relay, standalone, cut)


async def test_a_sentinel_promotes_a_replica(tmp_path: Path) -> None:
    async def promote(_relay: Relays, servers: Servers, _chance: random.Random) -> None:
        # Who was the primary before takes itself for it again, until the Sentinels tell it.
        await _until(lambda: len(servers.primaries()) == 1, "there is not one primary")
        (primary,) = servers.primaries()
        primary.kill()
        await _until(lambda: bool(servers.primaries()), "no replica was promoted")
        await asyncio.to_thread(primary.start)
        await asyncio.sleep(1)

    def make(folder: Path) -> Servers:
        return redis.Sentinels(folder, replicas=2)

    with redis.real_redis(make) as servers:
        async with relays(tmp_path, [servers.url] * 3, wait="replicas 1") as relay:
            talkers = await _under(relay, servers, promote)
            assert min(len(set(talker.incarnations)) for talker in talkers) > 1


async def test_a_cluster_promotes_a_replica(tmp_path: Path) -> None:
    async def promote(_relay: Relays, servers: Servers, chance: random.Random) -> None:
        await _until(lambda: len(servers.primaries()) == 3, "the cluster is not whole")
        primary = chance.choice(servers.primaries())
        primary.kill()
        await _until(lambda: len(servers.primaries()) == 3, "no replica was promoted")
        await asyncio.to_thread(primary.start)
        await asyncio.sleep(1)

    with redis.real_redis(redis.Cluster) as servers:
        async with relays(tmp_path, [servers.url] * 3, wait="replicas 1") as relay:
            await _under(relay, servers, promote)


async def test_a_rolling_restart_loses_nothing_and_keeps_nobody_waiting(
    standalone: Servers, tmp_path: Path
) -> None:
    async def roll(relay: Relays, _servers: Servers, _chance: random.Random) -> None:
        for node in relay.nodes:
            await relay.restart(node)

    async with relays(tmp_path, [standalone.url] * 3) as relay:
        talkers = await _under(relay, standalone, roll)
        late = sorted(seconds for talker in talkers for seconds in talker.late)
        assert late[int(len(late) * 0.99)] < 2.0


async def test_a_node_that_goes_says_so_at_once_and_a_second_signal_ends_it(
    standalone: Servers, tmp_path: Path
) -> None:
    """Its devices move in turns, for two seconds: so long it is there, and not ready."""
    async with AsyncExitStack() as stack:
        relay = await stack.enter_async_context(relays(tmp_path, [standalone.url], drain_seconds=30))
        (node,) = relay.nodes
        for number in range(MANY):
            connecting = WireClient.connect(relay.url, relay.portal, f"user{number}")
            await stack.enter_async_context(connecting)
        http = await stack.enter_async_context(aiohttp.ClientSession(node.url))
        os.kill(node.pid, signal.SIGTERM)
        while (said := await _readiness(http)) == (200, ""):
            pass  # the question has overtaken the signal
        assert said == (503, "draining")
        os.kill(node.pid, signal.SIGTERM)
        assert await node.wait_ended() == 128 + signal.SIGTERM


async def _readiness(http: aiohttp.ClientSession) -> tuple[int, str]:
    async with http.get("/readyz") as answer:
        return answer.status, (await answer.json()).get("code", "")
