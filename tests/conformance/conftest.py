"""Every store is made here under a name; the suites below know nothing but the interface."""

from __future__ import annotations

from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from contextlib import ExitStack
from pathlib import Path
from typing import Final

import pytest

from relay.redis_address import RedisWait, parse_redis_url
from relay.store import Directory, MemoryDirectory, MemoryStreamStore, StreamStore
from relay.store.redis import RedisClient, RedisDirectory, RedisStreamStore
from relay.store.sqlite import SqliteDirectory, SqliteStreamStore
from tests.support import real_redis as redis
from tests.support.real_redis import Servers

Reopen = Callable[[], Awaitable[StreamStore]]
Start = Callable[[str], Servers]
_MAKERS: Final[dict[str, Callable[[Path], Servers]]] = {
    "redis": redis.Standalone,
    "sentinel": redis.Sentinels,  # what is acknowledged is at the replica as well
    "cluster": redis.Cluster,
}
_NEEDS_REDIS: Final = pytest.mark.skipif(redis.PROGRAM is None, reason=redis.MISSING)
_REDIS: Final = [pytest.param(name, marks=_NEEDS_REDIS) for name in _MAKERS]


@pytest.fixture(scope="session")
def start_redis() -> Iterator[Start]:
    """Gives the servers of a kind, started when they are first asked for."""
    started: dict[str, Servers] = {}
    with ExitStack() as stack:

        def start(kind: str) -> Servers:
            if kind not in started:
                started[kind] = stack.enter_context(redis.real_redis(_MAKERS[kind]))
            started[kind].empty()
            return started[kind]

        yield start


def _client(kind: str, servers: Servers) -> RedisClient:
    wait = RedisWait(1) if kind == "sentinel" else RedisWait()
    return RedisClient(parse_redis_url(servers.url), wait=wait)


@pytest.fixture(params=["memory", "sqlite", *_REDIS])
def kind(request: pytest.FixtureRequest) -> str:
    return str(request.param)


@pytest.fixture
async def client(kind: str, request: pytest.FixtureRequest) -> AsyncIterator[RedisClient | None]:
    """The way to empty Redis servers; None for the stores that need none."""
    if kind not in _MAKERS:
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


@pytest.fixture(params=["sqlite", pytest.param("redis", marks=_NEEDS_REDIS)])
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
    if durable_kind == "redis":
        servers = request.getfixturevalue("start_redis")("redis")

    async def reopen() -> StreamStore:
        if opened:
            await opened[-1].close()
        if servers is None:
            opened.append(SqliteStreamStore.open(tmp_path))
        else:
            if opened:
                servers.servers[0].kill()
                servers.servers[0].start()
            clients.append(_client("redis", servers))
            opened.append(RedisStreamStore(clients[-1]))
        return opened[-1]

    yield reopen
    if opened:
        await opened[-1].close()
    for client in clients:
        await client.close()
