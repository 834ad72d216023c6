"""Films for calls, made once, and a look at what a test leaves running."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from client_sdk.demo.media import make_media


@pytest.fixture(scope="session")
def film(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Three seconds of moving picture and sound."""
    path = tmp_path_factory.mktemp("films") / "film.mp4"
    make_media(path, 3)
    return path


@pytest.fixture
async def nothing_left_running() -> AsyncIterator[None]:
    """Fails a test that leaves a task behind."""
    before = asyncio.all_tasks()
    yield
    left = asyncio.all_tasks() - before - {asyncio.current_task()}
    assert not left
