"""What is acknowledged is there after a loss of power: of a server's log is left what it had synced."""

from __future__ import annotations

from pathlib import Path

import pytest

from relay.redis_address import RedisWait, parse_redis_url
from relay.store.redis import RedisClient, RedisStreamStore
from tests.conformance.support import BEN, commit, group_of_two, held_seqs, message
from tests.support import power
from tests.support import real_redis as redis

pytestmark = pytest.mark.skipif(power.COMPILER is None, reason=power.NO_COMPILER)
_AOF = RedisWait(0, aof=True)
_COUNT = 3


@pytest.fixture(params=["redis", "valkey"])
def program(request: pytest.FixtureRequest) -> str:
    found = redis.PROGRAMS[request.param]
    if found is None:
        pytest.skip(redis.NONE_OF[request.param])
    return found


async def after_power_was_cut(program: str, folder: Path, wait: RedisWait, fsync: str) -> list[int]:
    """The entries that are there, of one bundle and some messages which were acknowledged."""
    environ = power.watch_syncs(folder)

    def make(place: Path) -> redis.Servers:
        return redis.Standalone(place, appendfsync=fsync)

    with redis.real_redis(make, program=program, environ=environ) as servers:
        (server,) = servers.servers
        said = server.ask("INFO", "server")
        if wait.aof and redis.version_of(said) < (7, 2):
            pytest.skip("this Redis has no WAITAOF")
        if wait.aof and fsync == "everysec" and "valkey_version" in said:
            pytest.skip("Valkey's WAITAOF does not wait for a sync that comes once a second")
        client = RedisClient(parse_redis_url(servers.url), wait=wait)
        store = RedisStreamStore(client)
        await group_of_two(store)
        for counter in range(1, _COUNT + 1):
            await commit(store, message(BEN, counter))
        power.cut_power(server)
        server.start()
        try:
            return await held_seqs(store)
        finally:
            await store.close()
            await client.close()


@pytest.mark.parametrize(
    ("wait", "fsync"),
    [(RedisWait(), "always"), (_AOF, "always"), (_AOF, "everysec")],
    ids=["always", "always, aof 0", "everysec, aof 0"],
)
async def test_what_was_acknowledged_is_there(
    program: str, tmp_path: Path, wait: RedisWait, fsync: str
) -> None:
    assert await after_power_was_cut(program, tmp_path, wait, fsync) == list(range(1, _COUNT + 2))


async def test_what_was_never_synced_is_not(program: str, tmp_path: Path) -> None:
    """So that the tests above do not hold whatever happens."""
    assert await after_power_was_cut(program, tmp_path, RedisWait(), "no") == []
