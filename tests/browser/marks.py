"""What tests with a browser or with Node want; where it is missing they are left out, and say why."""

from __future__ import annotations

import pytest

from tests.browser import chromium, embedded, world


def in_chromium() -> list[pytest.MarkDecorator]:
    """Tests with pages: one Chromium serves all of a process, so they share its loop."""
    return _where(chromium.missing(), "session")


def with_the_element() -> list[pytest.MarkDecorator]:
    """The same, with what a relay serves to be embedded."""
    return _where(embedded.missing(), "session")


def in_node() -> list[pytest.MarkDecorator]:
    """Tests with the engine alone: one process of Node serves a file."""
    return _where(world.missing(), "module")


def _where(missing: str | None, loop_scope: str) -> list[pytest.MarkDecorator]:
    return [
        pytest.mark.asyncio(loop_scope=loop_scope),
        pytest.mark.skipif(missing is not None, reason=str(missing)),
    ]
