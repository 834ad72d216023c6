"""A long history goes into the archive however long that takes."""

from __future__ import annotations

import argparse
import asyncio
from collections.abc import AsyncIterator, Awaitable
from contextlib import asynccontextmanager
from typing import Any

import pytest

from client_sdk.cli import archive
from client_sdk.cli.errors import Exit

PATIENCE = 0.1


class Here:
    """A vault whose history takes longer than the patience."""

    def __init__(self) -> None:
        self.me = self.room = self
        self.archived = False

    async def within(self, work: Awaitable[Any]) -> Any:
        async with asyncio.timeout(PATIENCE):
            return await work

    async def wait_online(self) -> None:
        return

    async def wait_caught_up(self) -> None:
        return

    async def keep_archive(self) -> None:
        return

    async def wait_archived(self) -> None:
        await asyncio.sleep(3 * PATIENCE)
        self.archived = True


async def test_a_long_history_is_archived_to_its_end(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    here = Here()

    @asynccontextmanager
    async def opened(_args: argparse.Namespace) -> AsyncIterator[Here]:
        yield here

    monkeypatch.setattr(archive, "opened", opened)
    assert await archive.run(argparse.Namespace(what="on")) is Exit.DONE
    assert here.archived
    assert capsys.readouterr().out.splitlines()[0] == "Leaving what was said at the relay, sealed ..."
