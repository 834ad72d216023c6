"""`python -m tests.nodes.loss`: what a failover takes of the acknowledged, with and without `redis_wait`."""

from __future__ import annotations

import asyncio
import random
import sys

from relay.errors import StoreUnavailable
from relay.redis_address import RedisWait, parse_redis_url
from relay.store.redis import RedisClient, RedisStreamStore
from tests.conformance.support import BEN, STREAM, group_of_two, messages
from tests.support import real_redis as redis

TOGETHER = 16
ROUNDS = 5


async def lost(wait: RedisWait, chance: random.Random) -> tuple[int, float]:
    """How many acknowledged entries the replica lacks when the primary is killed, and how many a second."""
    with redis.real_redis(lambda folder: redis.Sentinels(folder, replicas=1)) as servers:
        client = RedisClient(parse_redis_url(servers.url), wait=wait)
        store = RedisStreamStore(client)
        await group_of_two(store)
        acknowledged, counter = 1, 1
        seconds = 1 + chance.random()
        killing = asyncio.create_task(_kill_after(servers, seconds))
        try:
            while not killing.done():
                done = await store.commit([messages(BEN, counter, *[b"x" * 512] * TOGETHER)])
                acknowledged = done[0][0].seq + TOGETHER - 1
                counter += TOGETHER
        except StoreUnavailable:
            await killing
        await store.close()
        await client.close()
        head = int(servers.servers[1].ask("HGET", f"coach:{{{STREAM}}}:state", "head") or 0)
        return max(0, acknowledged - head), acknowledged / seconds


async def _kill_after(servers: redis.Servers, seconds: float) -> None:
    await asyncio.sleep(seconds)
    servers.servers[0].kill()


async def main() -> None:
    """Measure both, and print."""
    chance = random.Random(1)
    for name, wait in (("none", RedisWait()), ("replicas 1", RedisWait(1))):
        found = [await lost(wait, chance) for _ in range(ROUNDS)]
        counts = ", ".join(str(count) for count, _ in found)
        rate = max(rate for _, rate in found)
        print(f"redis_wait {name}: of up to {rate:,.0f} a second, a failover lost {counts}", flush=True)


if __name__ == "__main__":
    asyncio.run(main())
    sys.exit()
