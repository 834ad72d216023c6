"""Every store is made here under a name; the suites below know nothing but the interface."""

from __future__ import annotations

from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from contextlib import ExitStack
from pathlib import Path
from typing import Any, Final, NamedTuple

import pytest

from relay.redis_address import RedisWait, parse_redis_url
from relay.store import Directory, MemoryDirectory, MemoryStreamStore, StreamStore
from relay.store.redis import RedisClient, RedisDirectory, RedisStreamStore
from relay.store.sqlite import SqliteDirectory, SqliteStreamStore
from tests.support import real_redis as redis
from tests.support.real_redis import Servers

Reopen = Callable[[], Awaitable[StreamStore]]
Start = Callable[[str], Servers]


class _Kind(NamedTuple):
    """Which program serves, how many of it, and where what is acknowledged is."""

    program: str
    make: Callable[[Path], Servers]
    wait: RedisWait = RedisWait()


_KINDS: Final = {
    "redis": _Kind("redis", redis.Standalone),
    "sentinel": _Kind("redis", redis.Sentinels, RedisWait(1)),
    "cluster": _Kind("redis", redis.Cluster),
    "valkey": _Kind("valkey", redis.Standalone, RedisWait(0, aof=True)),  # Redis 7.0 has no WAITAOF
    "valkey-sentinel": _Kind("valkey", redis.Sentinels, RedisWait(1)),
    "valkey-cluster": _Kind("valkey", redis.Cluster),
}
# REDIS_PROGRAM=/path/to/one takes the place of redis-server.
_PROGRAMS: Final = redis.PROGRAMS | {"redis": redis.PROGRAM}


def _if_there(kind: str) -> Any:
    program = _KINDS[kind].program
    missing = pytest.mark.skipif(_PROGRAMS[program] is None, reason=redis.NONE_OF[program])
    return pytest.param(kind, marks=missing)


@pytest.fixture(scope="session")
def start_redis() -> Iterator[Start]:
    """Gives the servers of a kind, started when they are first asked for."""
    started: dict[str, Servers] = {}
    with ExitStack() as stack:

        def start(kind: str) -> Servers:
            if kind not in started:
                program, make, _ = _KINDS[kind]
                started[kind] = stack.enter_context(redis.real_redis(make, program=_PROGRAMS[program]))
            started[kind].empty()
            return started[kind]

        yield start


def _client(kind: str, servers: Servers) -> RedisClient:
    return RedisClient(parse_redis_url(servers.url), wait=_KINDS[kind].wait)


@pytest.fixture(params=["memory", "sqlite", *map(_if_there, _KINDS)])
def kind(request: pytest.FixtureRequest) -> str:
    return str(request.param)


@pytest.fixture
async def client(kind: str, request: pytest.FixtureRequest) -> AsyncIterator[RedisClient | None]:
    """The way to empty Redis servers; None for the stores that need none."""
    if kind not in _KINDS:
        yield None
        return
    start: Start = request.getfixturevalue("start_redis")
    client = _client(kind, start(kind))
    yield client
    await client.close()


@pytest.fixture
async def store(kind: str, client: RedisClient | None, tmp_path: Path) -> AsyncIterator[StreamStore]:
    opened: StreamStore
    if client is not None:
        opened = RedisStreamStore(client, node=b"this node")
    else:
        opened = MemoryStreamStore() if kind == "memory" else SqliteStreamStore.open(tmp_path)
    yield opened
    await opened.close()


@pytest.fixture
async def directory(kind: str, client: RedisClient | None, tmp_path: Path) -> AsyncIterator[Directory]:
    opened: Directory
    if client is not None:
        opened = RedisDirectory(client)
    else:
        opened = MemoryDirectory() if kind == "memory" else SqliteDirectory.open(tmp_path)
    yield opened
    await opened.close()


@pytest.fixture(params=["sqlite", _if_there("redis"), _if_there("valkey")])
def durable_kind(request: pytest.FixtureRequest) -> str:
    return str(request.param)


@pytest.fixture
async def durable(durable_kind: str, request: pytest.FixtureRequest, tmp_path: Path) -> AsyncIterator[Reopen]:
    """Opens the same store again and again: what it says must have survived.

    A SQLite store is closed before; a Redis server is killed with SIGKILL and started again.
    """
    opened: list[StreamStore] = []
    clients: list[RedisClient] = []
    servers: Servers | None = None
    if durable_kind in _KINDS:
        servers = request.getfixturevalue("start_redis")(durable_kind)

    async def reopen() -> StreamStore:
        if opened:
            await opened[-1].close()
        if servers is None:
            opened.append(SqliteStreamStore.open(tmp_path))
        else:
            if opened:
                servers.servers[0].kill()
                servers.servers[0].start()
            clients.append(_client(durable_kind, servers))
            opened.append(RedisStreamStore(clients[-1]))
        return opened[-1]

    yield reopen
    if opened:
        await opened[-1].close()
    for client in clients:
        await client.close()
