from __future__ import annotations

from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from tests.support.real_relay import RealRelay


@pytest.fixture
async def relay(tmp_path: Path) -> AsyncIterator[RealRelay]:
    """A relay that runs."""
    relay = RealRelay(tmp_path)
    await relay.start()
    yield relay
    await relay.kill()
