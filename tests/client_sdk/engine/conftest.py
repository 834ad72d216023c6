from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from tempfile import TemporaryDirectory

import pytest

from tests.support.own_devices import Depot
from tests.support.world import World


@pytest.fixture
def memory() -> Iterator[Path]:
    """A folder in memory where there is one: a vault writes through to the disk at every step."""
    shared = Path("/dev/shm")
    with TemporaryDirectory(dir=shared if shared.is_dir() else None) as folder:
        yield Path(folder)


@pytest.fixture
async def world(memory: Path) -> World:
    return World(memory)


@pytest.fixture
def depot(monkeypatch: pytest.MonkeyPatch) -> Depot:
    """Files without HTTP: a linked device fetches its history."""
    found = Depot()
    found.install(monkeypatch)
    return found
