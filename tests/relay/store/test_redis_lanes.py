"""A real cluster of six: while one primary hangs, streams of the others go on, news of them too."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable
from contextlib import AsyncExitStack
from itertools import count
from typing import Any, Final

import pytest

from relay.core.operations import AppendEntries, Outcome
from relay.errors import RelayError, StoreUnavailable
from relay.hub.commits import Answers
from relay.hub.lanes import CommitLanes
from relay.store.redis import RedisClient
from relay.store.redis.client import HISTORY
from relay.store.redis.streams import STATE
from relay.wire.ids import EngagementId
from tests.conformance.support import ANNA, BEN, bundle, create, message
from tests.relay.store.test_redis_bus import entries_in, node
from tests.support import real_redis as redis

pytestmark = pytest.mark.skipif(redis.PROGRAM is None, reason=redis.MISSING)
_MESSAGES: Final = 20
_QUICK: Final = 10.0  # seconds, on a slow machine; one that waits for the other primary waits for longer
_FAILOVER: Final = 60.0
# A primary that hangs is away for as long as the test wants, however slow the machine is.
_HANGS: Final = {"cluster_require_full_coverage": "no", "cluster_replica_no_failover": "yes"}


class Session:
    """As much of one as an append needs."""

    waits_for: object = None


class Queue:
    """The commit queues of a node, and what became of each append."""

    def __init__(self, store: Any) -> None:
        self.done: dict[tuple[EngagementId, int], str] = {}
        self._changed = asyncio.Event()
        self.lanes = CommitLanes(store, Answers(self._appended, self._refused, self._changed.set))

    def append(self, stream: EngagementId, counter: int) -> None:
        append = message(BEN, counter, stream=stream, body=b"%d" % counter)
        self.lanes.append(append, Session())  # type: ignore[arg-type]  # as much as it needs

    def _appended(self, append: AppendEntries, outcomes: list[Outcome], _session: object) -> None:
        self.done[append.stream, append.counter] = "" if outcomes[0].code is None else str(outcomes[0].code)

    def _refused(self, append: AppendEntries, error: RelayError, _session: object) -> None:
        self.done[append.stream, append.counter] = str(error.code)

    async def answered(self, stream: EngagementId, counter: int, *, within: float) -> str:
        async with asyncio.timeout(within):
            while (stream, counter) not in self.done:
                self._changed.clear()
                await self._changed.wait()
        return self.done[stream, counter]


def stream_where(holds: Callable[[str], bool]) -> EngagementId:
    """A stream whose keys are where that holds."""
    return next(s for n in count() if holds(STATE % (s := EngagementId(f"eng_{n:021d}A"))))


def port_of(client: RedisClient, key: str) -> int:
    return client.topology.server_of(key).name[1]


async def test_while_one_primary_hangs_streams_of_the_others_go_on() -> None:
    async with AsyncExitStack() as stack:
        servers = stack.enter_context(redis.real_redis(lambda folder: redis.Cluster(folder, **_HANGS)))
        one, other = [await stack.enter_async_context(node(servers.url)) for _ in range(2)]
        await one.client.look_around()
        keeper = port_of(one.client, HISTORY)
        hanging = stream_where(lambda key: port_of(one.client, key) != keeper)
        port = port_of(one.client, STATE % hanging)
        well = stream_where(lambda key: port_of(one.client, key) not in (keeper, port))
        for stream in (hanging, well):
            await asyncio.gather(one.bus.follow(stream), other.bus.follow(stream))
            await one.store.commit([create(stream), bundle(ANNA, 1, adds=[BEN], stream=stream)])
        queue = Queue(one.store)
        queue.lanes.start()
        stack.push_async_callback(queue.lanes.close)
        (paused,) = [server for server in servers.servers if server.port == port]
        paused.pause()
        queue.append(hanging, 1)
        one.bus.tell(hanging, b"typing")
        reading = asyncio.create_task(other.store.read(hanging, after=0, limit=9, max_bytes=999))
        began = time.monotonic()
        for counter in range(1, _MESSAGES + 1):
            queue.append(well, counter)
            assert await queue.answered(well, counter, within=_QUICK) == ""
        assert (hanging, 1) not in queue.done, f"it is down, after {time.monotonic() - began:.1f} s"
        read = await other.store.read(well, after=1, limit=99, max_bytes=9_999)
        assert [entry.counter for entry in read] == list(range(1, _MESSAGES + 1))
        await other.wait_for(lambda: len(_told(other.heard, well)) == _MESSAGES)
        one.bus.tell(well, b"typing")
        await other.wait_for(lambda: other.heard[-1] == (well, b"typing"))
        assert not reading.done()
        await asyncio.to_thread(_let_replicas_take_over, servers)
        await asyncio.to_thread(
            redis.wait_until, lambda: _runs_without(servers, port), _FAILOVER, "no replica was promoted"
        )
        await queue.answered(hanging, 1, within=_FAILOVER)
        paused.resume()
        reading.cancel()
        await _say(queue, hanging, 2)
        async with asyncio.timeout(_FAILOVER):
            while True:
                try:
                    found = await other.store.read(hanging, after=1, limit=9, max_bytes=999)
                    break
                except StoreUnavailable:
                    await asyncio.sleep(0.1)
        assert [entry.counter for entry in found] == [1, 2]


def _told(heard: list[tuple[str, bytes]], stream: EngagementId) -> set[int]:
    told = [news for topic, news in heard if topic == stream and news != b"typing"]
    return {seq for news in told for seq, _ in entries_in(news)}


def _let_replicas_take_over(servers: redis.Servers) -> None:
    for server in servers.servers[3:]:
        server.ask("CONFIG", "SET", "cluster-replica-no-failover", "no")


def _runs_without(servers: redis.Servers, port: int) -> bool:
    """Whether a replica has taken over for who hangs: three others say that they are primaries."""
    others = [server for server in servers.servers if server.port != port]
    return sum(str(server.ask("ROLE")[0]) == "master" for server in others) == 3


async def _say(queue: Queue, stream: EngagementId, upto: int) -> None:
    """Append again what was refused meanwhile, as devices do."""
    for counter in range(1, upto + 1):
        async with asyncio.timeout(_FAILOVER):
            while queue.done.get((stream, counter)) != "":
                queue.done.pop((stream, counter), None)
                queue.append(stream, counter)
                await queue.answered(stream, counter, within=_FAILOVER)
