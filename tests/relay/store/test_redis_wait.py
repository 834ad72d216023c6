"""Nothing is acknowledged or read before it is where `redis_wait` wants it; a failover is another history."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import pytest

from relay.core.streams import incarnation_in
from relay.errors import StoreUnavailable
from relay.redis_address import RedisWait, parse_redis_url
from relay.store.redis import RedisClient, RedisDirectory, RedisStreamStore
from tests.conformance.support import BEN, INCARNATION, STREAM, commit, group_of_two, held_seqs, message
from tests.support import real_redis as redis

pytestmark = pytest.mark.skipif(redis.PROGRAM is None, reason=redis.MISSING)


@asynccontextmanager
async def store(url: str, wait: RedisWait) -> AsyncIterator[tuple[RedisClient, RedisStreamStore]]:
    client = RedisClient(parse_redis_url(url), wait=wait)
    opened = RedisStreamStore(client, node=b"node")
    try:
        yield client, opened
    finally:
        await opened.close()
        await client.close()


async def test_what_no_replica_has_is_neither_acknowledged_nor_read() -> None:
    with redis.real_redis(redis.Sentinels) as servers:
        async with (
            store(servers.url, RedisWait(1)) as (client, one),
            store(servers.url, RedisWait(1)) as (_, other),
        ):
            await group_of_two(one)
            assert await held_seqs(other) == [1]
            servers.servers[1].pause()
            with pytest.raises(StoreUnavailable):
                await commit(one, message(BEN, 1))
            for reading in (held_seqs(other), other.view(STREAM), RedisDirectory(client).get("x", "y")):
                with pytest.raises(StoreUnavailable):
                    await reading
            servers.servers[1].resume()
            (again,) = await commit(one, message(BEN, 1))
            assert (again.seq, again.fresh, again.code) == (2, False, None), "it had been stored"
            assert await held_seqs(other) == [1, 2]


async def test_waitaof_is_missing_in_7_0_and_said_to_be() -> None:
    with redis.real_redis(redis.Standalone) as servers:
        version = str(servers.servers[0].ask("INFO", "server"))
        if "7.0" not in version:
            pytest.skip("this Redis has WAITAOF")
        async with store(servers.url, RedisWait(0, aof=True)) as (_, one):
            with pytest.raises(StoreUnavailable):
                await one.view(STREAM)


async def test_a_replica_that_takes_over_begins_another_history_for_all_nodes() -> None:
    with redis.real_redis(redis.Sentinels) as servers:
        async with (
            store(servers.url, RedisWait()) as (first, one),
            store(servers.url, RedisWait()) as (second, other),
        ):
            told: list[str] = []
            first.history_changed = lambda: told.append("first")
            second.history_changed = lambda: told.append("second")
            await group_of_two(one)
            before = await other.view(STREAM)
            assert before is not None
            assert before.incarnation == INCARNATION
            servers.servers[0].ask("WAIT", "1", "1000")
            servers.servers[0].kill()
            await asyncio.to_thread(
                redis.wait_until, lambda: bool(servers.primaries()), 30, "no replica was promoted"
            )
            after = None
            async with asyncio.timeout(30):
                while after is None:
                    try:
                        after = await one.view(STREAM)
                    except StoreUnavailable:
                        await asyncio.sleep(0.1)
            assert after.incarnation not in (INCARNATION, incarnation_in(b"", INCARNATION))
            assert await other.view(STREAM) == after
            assert sorted(told) == ["first", "second"]
            assert await one.view(STREAM) == after, "and it stays"
