"""The bus of several nodes over real Redis servers."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable
from contextlib import AsyncExitStack, asynccontextmanager
from pathlib import Path
from typing import Final

import msgpack
import pytest

from relay.redis_address import parse_redis_url
from relay.store.bus import WAKE
from relay.store.redis import RedisBus, RedisClient, RedisStreamStore
from tests.conformance.support import ANNA, BEN, STREAM, bundle, create, message
from tests.support import real_redis as redis
from tests.support.real_redis import Servers

pytestmark = pytest.mark.skipif(redis.PROGRAM is None, reason=redis.MISSING)
_PATIENCE: Final = 20.0


class Node:
    """A bus, and what it heard."""

    def __init__(self, url: str) -> None:
        self.client = RedisClient(parse_redis_url(url))
        self.bus = RedisBus(self.client)
        self.store = RedisStreamStore(self.client, node=self.bus.node)
        self.heard: list[tuple[str, bytes]] = []
        self.missed = 0
        self._changed = asyncio.Event()

    async def start(self) -> None:
        await self.bus.start(self._heard, self._missed)

    def _heard(self, topic: str, news: bytes) -> None:
        self.heard.append((topic, news))
        self._changed.set()

    def _missed(self) -> None:
        self.missed += 1
        self._changed.set()

    async def wait_for(self, holds: Callable[[], bool]) -> None:
        async with asyncio.timeout(_PATIENCE):
            while not holds():
                self._changed.clear()
                await self._changed.wait()


@asynccontextmanager
async def node(url: str) -> AsyncIterator[Node]:
    node = Node(url)
    await node.start()
    try:
        yield node
    finally:
        await node.store.close()
        await node.bus.close()
        await node.client.close()


@pytest.fixture(params=[redis.Standalone, redis.Cluster], ids=["standalone", "cluster"], scope="module")
def servers(request: pytest.FixtureRequest) -> object:
    with redis.real_redis(request.param) as running:
        yield running


async def test_news_reach_who_follows_the_topic_in_order(servers: Servers) -> None:
    async with node(servers.url) as one, node(servers.url) as other:
        await asyncio.gather(*[other.bus.follow(f"topic{number}") for number in range(20)])
        for number in range(100):
            one.bus.tell(f"topic{number % 20}", str(number).encode())
            one.bus.tell("nobody's", b"x")
        await other.wait_for(lambda: len(other.heard) == 100)
        for number in range(20):
            its = [int(news) for topic, news in other.heard if topic == f"topic{number}"]
            assert its == sorted(its)
        assert not one.heard
        other.bus.unfollow("topic1")
        one.bus.tell("topic2", b"last")
        await other.wait_for(lambda: other.heard[-1][1] == b"last")
        await other.bus.follow("topic1")
        one.bus.tell("topic1", b"again")
        await other.wait_for(lambda: ("topic1", b"again") in other.heard)


async def test_an_append_wakes_the_other_nodes_with_what_it_did(servers: Servers) -> None:
    servers.empty()
    async with node(servers.url) as one, node(servers.url) as other:
        await other.bus.follow(STREAM)
        await one.store.commit([create(), bundle(ANNA, 1, adds=[BEN])])
        await one.store.commit([message(BEN, 1), message(BEN, 2), message(BEN, 9)])
        await one.store.commit([message(BEN, 9)])
        await other.wait_for(lambda: len(other.heard) >= 2)
        expected = [[WAKE.encode(), one.bus.node, head, 1] for head in (1, 3)]
        assert [msgpack.unpackb(news, raw=True) for _, news in other.heard] == expected


async def test_who_was_cut_off_is_told_that_something_may_be_missed(tmp_path: Path) -> None:
    async with AsyncExitStack() as stack:
        servers = stack.enter_context(redis.real_redis(redis.Standalone))
        one = await stack.enter_async_context(node(servers.url))
        await one.bus.follow("topic")
        servers.servers[0].kill()
        servers.servers[0].start()
        await one.wait_for(lambda: one.missed == 1)
        assert one.bus.is_current
        one.bus.tell("topic", b"again")
        await one.wait_for(lambda: one.heard == [("topic", b"again")])
