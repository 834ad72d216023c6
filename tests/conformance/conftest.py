"""Every store is made here under a name; the suites below know nothing but the interface."""

from __future__ import annotations

from collections.abc import AsyncIterator, Awaitable, Callable
from pathlib import Path

import pytest

from relay.store import Directory, MemoryDirectory, MemoryStreamStore, StreamStore
from relay.store.sqlite import SqliteDirectory, SqliteStreamStore

Reopen = Callable[[], Awaitable[StreamStore]]


async def open_stream_store(kind: str, folder: Path) -> StreamStore:
    return MemoryStreamStore() if kind == "memory" else SqliteStreamStore.open(folder)


async def open_directory(kind: str, folder: Path) -> Directory:
    return MemoryDirectory() if kind == "memory" else SqliteDirectory.open(folder)


@pytest.fixture(params=["memory", "sqlite"])
def kind(request: pytest.FixtureRequest) -> str:
    return str(request.param)


@pytest.fixture
async def store(kind: str, tmp_path: Path) -> AsyncIterator[StreamStore]:
    opened = await open_stream_store(kind, tmp_path)
    yield opened
    await opened.close()


@pytest.fixture
async def directory(kind: str, tmp_path: Path) -> AsyncIterator[Directory]:
    opened = await open_directory(kind, tmp_path)
    yield opened
    await opened.close()


@pytest.fixture(params=["sqlite"])
async def durable(request: pytest.FixtureRequest, tmp_path: Path) -> AsyncIterator[Reopen]:
    """Opens the same store again and again, closing the one before: what it says must have survived."""
    opened: list[StreamStore] = []

    async def reopen() -> StreamStore:
        if opened:
            await opened[-1].close()
        opened.append(await open_stream_store(str(request.param), tmp_path))
        return opened[-1]

    yield reopen
    if opened:
        await opened[-1].close()
