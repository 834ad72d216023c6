"""A hub on stores in memory."""

from __future__ import annotations

from collections.abc import AsyncIterator

import pytest

from relay.hub import Hub
from tests.relay.hub.support import Clock, Pair, connected_pair, make_hub


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
async def hub(clock: Clock) -> AsyncIterator[Hub]:
    hub = make_hub(clock=clock)
    await hub.start()
    yield hub
    await hub.close()


@pytest.fixture
async def pair(hub: Hub) -> Pair:
    return await connected_pair(hub)
