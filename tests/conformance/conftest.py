"""Every store is made here under a name; the suites below know nothing but the interface."""

from __future__ import annotations

from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from pathlib import Path
from typing import Final

import pytest

from relay.store import Directory, MemoryDirectory, MemoryStreamStore, StreamStore
from relay.store.redis import RedisDirectory, RedisStreamStore, connect
from relay.store.sqlite import SqliteDirectory, SqliteStreamStore
from tests.support import redis_server as redis
from tests.support.redis_server import RedisServer

Reopen = Callable[[], Awaitable[StreamStore]]
_REDIS: Final = pytest.param("redis", marks=pytest.mark.skipif(redis.PROGRAM is None, reason=redis.MISSING))


@pytest.fixture(scope="session")
def running_redis() -> Iterator[RedisServer]:
    with redis.redis_server() as server:
        yield server


@pytest.fixture(params=["memory", "sqlite", _REDIS])
def kind(request: pytest.FixtureRequest) -> str:
    return str(request.param)


@pytest.fixture
def server(kind: str, request: pytest.FixtureRequest) -> RedisServer | None:
    """The Redis server, empty; None for the stores that need none."""
    if kind != "redis":
        return None
    server: RedisServer = request.getfixturevalue("running_redis")
    server.empty()
    return server


@pytest.fixture
async def store(kind: str, server: RedisServer | None, tmp_path: Path) -> AsyncIterator[StreamStore]:
    opened: StreamStore
    if server is not None:
        opened = RedisStreamStore(connect(server.url))
    else:
        opened = MemoryStreamStore() if kind == "memory" else SqliteStreamStore.open(tmp_path)
    yield opened
    await opened.close()


@pytest.fixture
async def directory(kind: str, server: RedisServer | None, tmp_path: Path) -> AsyncIterator[Directory]:
    opened: Directory
    if server is not None:
        opened = RedisDirectory(connect(server.url))
    else:
        opened = MemoryDirectory() if kind == "memory" else SqliteDirectory.open(tmp_path)
    yield opened
    await opened.close()


@pytest.fixture(params=["sqlite", _REDIS])
def durable_kind(request: pytest.FixtureRequest) -> str:
    return str(request.param)


@pytest.fixture
async def durable(durable_kind: str, request: pytest.FixtureRequest, tmp_path: Path) -> AsyncIterator[Reopen]:
    """Opens the same store again and again: what it says must have survived.

    A SQLite store is closed before; a Redis server is killed with SIGKILL and started again.
    """
    opened: list[StreamStore] = []
    server: RedisServer | None = None
    if durable_kind == "redis":
        server = request.getfixturevalue("running_redis")
        server.empty()

    async def reopen() -> StreamStore:
        if opened:
            await opened[-1].close()
        if server is None:
            opened.append(SqliteStreamStore.open(tmp_path))
        else:
            if opened:
                server.kill()
                server.start()
            opened.append(RedisStreamStore(connect(server.url)))
        return opened[-1]

    yield reopen
    if opened:
        await opened[-1].close()
