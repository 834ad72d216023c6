"""Nothing is acknowledged or read before it is where `redis_wait` wants it; a failover is another history."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import pytest

from relay.core.streams import incarnation_in
from relay.errors import StoreFull, StoreUnavailable
from relay.redis_address import RedisWait, parse_redis_url
from relay.store.redis import RedisClient, RedisDirectory, RedisStreamStore
from tests.conformance.support import BEN, INCARNATION, STREAM, commit, group_of_two, held_seqs, message
from tests.support import real_redis as redis

WAITS = {"replicas 1": RedisWait(1), "aof 1": RedisWait(1, aof=True)}


@pytest.fixture(params=["redis", "valkey"])
def program(request: pytest.FixtureRequest) -> str:
    """What serves; where there is only one, the tests of the other are skipped."""
    found = redis.PROGRAMS[request.param]
    if found is None:
        pytest.skip(redis.NONE_OF[request.param])
    return found


@asynccontextmanager
async def store(url: str, wait: RedisWait) -> AsyncIterator[tuple[RedisClient, RedisStreamStore]]:
    client = RedisClient(parse_redis_url(url), wait=wait)
    opened = RedisStreamStore(client, node=b"node")
    try:
        yield client, opened
    finally:
        await opened.close()
        await client.close()


def has_waitaof(server: redis.Process) -> bool:
    return redis.version_of(server.ask("INFO", "server")) >= (7, 2)


@pytest.mark.parametrize("wait", WAITS)
async def test_what_no_replica_has_is_neither_acknowledged_nor_read(program: str, wait: str) -> None:
    with redis.real_redis(redis.Sentinels, program=program) as servers:
        if WAITS[wait].aof and not has_waitaof(servers.servers[0]):
            pytest.skip("this Redis has no WAITAOF")
        async with (
            store(servers.url, WAITS[wait]) as (client, one),
            store(servers.url, WAITS[wait]) as (_, other),
        ):
            await group_of_two(one)
            assert await held_seqs(other) == [1]
            servers.servers[1].pause()
            with pytest.raises(StoreUnavailable):
                await commit(one, message(BEN, 1))
            # The other has written nothing itself: what it is asked is answered by what is there.
            asked = await asyncio.gather(
                held_seqs(other),
                other.view(STREAM),
                RedisDirectory(client).get("x", "y"),
                commit(other, message(BEN, 1)),
                return_exceptions=True,
            )
            assert [type(answer) for answer in asked] == [StoreUnavailable] * 4
            servers.servers[1].resume()
            (again,) = await commit(one, message(BEN, 1))
            assert (again.seq, again.fresh, again.code) == (2, False, None), "it had been stored"
            assert await held_seqs(other) == [1, 2]
            assert [await left_behind(server) for server in servers.servers] == [[], []]


async def left_behind(server: redis.Process) -> list[str]:
    """What there is of that by which a read is made to wait."""
    return list(server.ask("KEYS", "*:mark"))


async def test_a_full_server_is_read_all_the_same(program: str) -> None:
    """To wait takes a write, which a server without memory would refuse."""
    with redis.real_redis(redis.Sentinels, program=program) as servers:
        async with store(servers.url, RedisWait(1)) as (_, one):
            await group_of_two(one)
            servers.servers[0].ask("CONFIG", "SET", "maxmemory", "1mb")
            with pytest.raises(StoreFull):
                await commit(one, message(BEN, 1))
            assert await held_seqs(one) == [1]


async def test_waitaof_where_there_is_none_is_said(program: str) -> None:
    with redis.real_redis(redis.Standalone, program=program) as servers:
        if has_waitaof(servers.servers[0]):
            pytest.skip("this one has WAITAOF")
        async with store(servers.url, RedisWait(0, aof=True)) as (_, one):
            with pytest.raises(StoreUnavailable):
                await one.view(STREAM)


async def test_a_replica_that_takes_over_begins_another_history_for_all_nodes(program: str) -> None:
    with redis.real_redis(redis.Sentinels, program=program) as servers:
        async with (
            store(servers.url, RedisWait(1)) as (_, writing),
            store(servers.url, RedisWait()) as (first, one),
            store(servers.url, RedisWait()) as (second, other),
        ):
            told: list[str] = []
            first.history_changed = lambda: told.append("first")
            second.history_changed = lambda: told.append("second")
            await group_of_two(writing)
            for before in (await one.view(STREAM), await other.view(STREAM)):
                assert before is not None
                assert before.incarnation == INCARNATION
            servers.servers[0].kill()
            await asyncio.to_thread(
                redis.wait_until, lambda: bool(servers.primaries()), 30, "no replica was promoted"
            )
            async with asyncio.timeout(30):
                while True:
                    try:
                        after = await one.view(STREAM)
                        break
                    except StoreUnavailable:
                        await asyncio.sleep(0.1)
            assert after is not None, "the replica had it"
            assert after.incarnation not in (INCARNATION, incarnation_in(b"", INCARNATION))
            assert await other.view(STREAM) == after
            assert sorted(told) == ["first", "second"]
            assert await one.view(STREAM) == after, "and it stays"
