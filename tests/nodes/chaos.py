"""`python -m tests.nodes.chaos [ROUNDS] [SEED]`: three nodes under load, and everything around them dies at
random times: Redis, its primary under Sentinels, nodes, the network between them; histories are compared.

Without a seed each run is another one; it prints the seed, which gives the same disturbances again.
"""

from __future__ import annotations

import asyncio
import random
import secrets
import sys
import tempfile
from collections import Counter
from collections.abc import Awaitable, Callable
from contextlib import AsyncExitStack
from pathlib import Path
from typing import Final

from tests.nodes.people import Talker, all_said, compare, conversations, in_the_middle
from tests.nodes.relays import Relays, relays
from tests.support import real_redis as redis
from tests.support.real_redis import Servers
from tests.support.wires import Wire

ROUNDS: Final = 4
PAIRS: Final = 4
LINES: Final = 150
PACE: Final = 0.1
PATIENCE: Final = 420.0
"""For everything to be said and heard, on a machine that does much else."""

Disturbance = Callable[[], Awaitable[None]]


class Trouble:
    """What may happen to three nodes and their Redis; it is counted."""

    def __init__(self, relay: Relays, servers: Servers, wires: list[Wire], chance: random.Random) -> None:
        self._relay = relay
        self._servers = servers
        self._wires = wires
        self._chance = chance
        self.counts: Counter[str] = Counter()

    async def go_on(self, until: asyncio.Task[None]) -> None:
        """Do one thing after the other, at random times, until the talk is over."""
        choices: list[Disturbance] = [self._kill_redis, self._kill_redis, self._kill_node, self._restart_node]
        if self._wires:
            choices.append(self._cut)
        while not until.done():
            await self._pause(0.0, 1.5)
            one = self._chance.choice(choices)
            self.counts[one.__name__.strip("_").replace("_", " ")] += 1
            await one()

    async def _pause(self, least: float, most: float) -> None:
        await asyncio.sleep(self._chance.uniform(least, most))

    async def _kill_redis(self) -> None:
        """The primary, for so long that a replica takes over, or for less."""
        primaries = await asyncio.to_thread(self._servers.primaries)
        victim = self._chance.choice(primaries or self._servers.servers)
        victim.kill()
        await self._pause(0.1, 6.0 if len(self._servers.servers) > 1 else 1.5)
        await asyncio.to_thread(victim.start)

    async def _kill_node(self) -> None:
        node = self._chance.choice(self._relay.nodes)
        await self._relay.kill(node)
        await self._pause(0.0, 1.0)
        await node.start()

    async def _restart_node(self) -> None:
        await self._relay.restart(self._chance.choice(self._relay.nodes))

    async def _cut(self) -> None:
        """A node is cut off from Redis, and nobody is told."""
        wire = self._chance.choice(self._wires)
        wire.cut()
        await self._pause(0.2, 4.0)
        wire.mend()


async def one_round(folder: Path, *, sentinels: bool, seed: int) -> tuple[list[Talker], Counter[str]]:
    """Talk through random trouble; raises AssertionError if histories differ or a line is gone."""
    chance = random.Random(seed)
    make = redis.Sentinels if sentinels else redis.Standalone
    async with AsyncExitStack() as stack:
        servers = stack.enter_context(redis.real_redis(make))
        wires = [] if sentinels else [Wire(lambda: [servers.servers[0].port]) for _ in range(3)]
        for wire in wires:
            await wire.start()
            stack.push_async_callback(wire.close)
        urls = [f"redis://127.0.0.1:{wire.port}/0" for wire in wires] or [servers.url] * 3
        wait = "replicas 1" if sentinels else "none"
        relay = await stack.enter_async_context(relays(folder, urls, wait=wait))
        talkers = await conversations(relay, PAIRS, lines=LINES, pace=PACE)
        talking = asyncio.create_task(all_said(talkers, within=PATIENCE))
        trouble = Trouble(relay, servers, wires, chance)
        try:
            await in_the_middle(talkers, talking)
            await trouble.go_on(talking)
            await talking
        finally:
            talking.cancel()
            await asyncio.gather(talking, return_exceptions=True)
        compare(talkers)
        return talkers, trouble.counts


async def main(rounds: int, seed: int) -> None:
    """Some rounds, each other one under Sentinels."""
    for number in range(rounds):
        name = "Sentinels and a replica" if number % 2 else "one Redis"
        print(f"round {number + 1} of {rounds}, {name}, seed {seed + number}", flush=True)
        with tempfile.TemporaryDirectory(prefix="chaos-") as folder:
            talkers, counts = await one_round(Path(folder), sentinels=bool(number % 2), seed=seed + number)
        done = ", ".join(f"{name} {count}" for name, count in sorted(counts.items()))
        late = sorted(seconds for talker in talkers for seconds in talker.late)
        connections = sum(talker.connections for talker in talkers)
        heard = f"{len(late):,} lines heard, 99 of 100 within {late[int(len(late) * 0.99)]:.1f} s"
        print(f"  {done}; {connections} connections, {heard}: one history, nothing lost", flush=True)


if __name__ == "__main__":
    given = [int(word) for word in sys.argv[1:]]
    asyncio.run(
        main(given[0] if given else ROUNDS, given[1] if len(given) > 1 else secrets.randbelow(1_000_000))
    )
