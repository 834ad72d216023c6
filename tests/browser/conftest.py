"""One Chromium for all tests of a process, a relay for each file, and no test finds the pages of another."""

from __future__ import annotations

from collections.abc import AsyncIterator, Awaitable, Callable
from pathlib import Path

import pytest
import pytest_asyncio

from client_sdk.demo.media import make_media
from tests.browser import calling
from tests.browser.calling import CallStage
from tests.browser.chromium import Chromium
from tests.browser.embedded import Place, place
from tests.browser.stage import Stage, staged
from tests.browser.world import World, peopled

Browsers = Callable[..., Awaitable[Chromium]]


@pytest_asyncio.fixture(loop_scope="session", scope="session")
async def browsers() -> AsyncIterator[Browsers]:
    """The browser that was started with these arguments."""
    started: dict[tuple[str, ...], Chromium] = {}

    async def browser(*arguments: str) -> Chromium:
        if arguments not in started:
            started[arguments] = Chromium(*arguments)
            await started[arguments].start()
        return started[arguments]

    yield browser
    for one in started.values():
        await one.stop()


@pytest_asyncio.fixture(loop_scope="session", scope="module")
async def shared_stage(tmp_path_factory: pytest.TempPathFactory, browsers: Browsers) -> AsyncIterator[Stage]:
    async with staged(tmp_path_factory.mktemp("stage"), await browsers()) as made:
        yield made


@pytest_asyncio.fixture(loop_scope="session")
async def stage(shared_stage: Stage) -> AsyncIterator[Stage]:
    """A relay, a portal with its pages, and a browser without any."""
    yield shared_stage
    await shared_stage.chromium.forget()


@pytest_asyncio.fixture(loop_scope="session", scope="module")
async def shared_place(tmp_path_factory: pytest.TempPathFactory, browsers: Browsers) -> AsyncIterator[Place]:
    async with place(tmp_path_factory.mktemp("place"), await browsers()) as made:
        yield made


@pytest_asyncio.fixture(loop_scope="session")
async def there(shared_place: Place) -> AsyncIterator[Place]:
    """A relay that serves the element, a site that embeds it, and a browser without pages."""
    yield shared_place
    await shared_place.chromium.forget()


@pytest_asyncio.fixture(loop_scope="session", scope="module")
async def shared_calls(
    tmp_path_factory: pytest.TempPathFactory, browsers: Browsers
) -> AsyncIterator[CallStage]:
    chromium = await browsers(*calling.ARGUMENTS)
    async with calling.staged(tmp_path_factory.mktemp("calls"), chromium) as made:
        yield made


@pytest_asyncio.fixture(loop_scope="session")
async def calls(shared_calls: CallStage) -> AsyncIterator[CallStage]:
    """Pages that can call."""
    yield shared_calls
    await shared_calls.chromium.forget()


@pytest_asyncio.fixture(loop_scope="module", scope="module")
async def world(tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[World]:
    """A relay, people with the browser's engine in Node, and people with the Python SDK."""
    async with peopled(tmp_path_factory.mktemp("world")) as made:
        yield made


@pytest.fixture(scope="session")
def film(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """What the Python SDK shows and says."""
    path = tmp_path_factory.mktemp("film") / "film.mp4"
    make_media(path, 30)
    return path
