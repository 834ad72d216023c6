"""What an export does about files that come slowly, or not at all."""

from __future__ import annotations

import argparse
import asyncio
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from types import SimpleNamespace
from typing import Any, cast

import pytest

from client_sdk.attachments import Phase, Progress
from client_sdk.cli import export
from client_sdk.cli.opened import Opened
from client_sdk.cli.progress import Moving
from client_sdk.engine import AnyItem, FileItem, Person
from client_sdk.engine.items import Delivery, Origin

PATIENCE = 1.0
MOMENT = 0.02
BLOCKS = 100
"""A hundred moments are twice the patience."""


class Keeper:
    """Fetches files as a line does that is slow, or dead after so many blocks."""

    def __init__(self, blocks: int = BLOCKS) -> None:
        self.blocks, self.asked = blocks, 0

    async def save_file(
        self, item: FileItem, folder: Path, *, overwrite: bool, progress: Callable[[Progress], None]
    ) -> Path:
        self.asked += 1
        for done in range(self.blocks):
            progress(Progress(done, BLOCKS, Phase.DOWNLOAD))
            await asyncio.sleep(MOMENT)
        if self.blocks < BLOCKS:
            await asyncio.Event().wait()
        progress(Progress(BLOCKS, BLOCKS, Phase.DOWNLOAD))
        (folder / item.name).write_text("the plan")
        return folder / item.name


@dataclass
class Here:
    """What the command works with."""

    patience: float
    online: bool = True

    @property
    def me(self) -> Any:
        return SimpleNamespace(online=self.online)


def files(keeper: Keeper, count: int = 1) -> list[AnyItem]:
    return [
        FileItem(
            name=f"plan-{number}.txt",
            media_type="text/plain",
            size=8,
            blob="A" * 22,
            key=bytes(32),
            sealed_size=BLOCKS,
            sealed_hash=bytes(32),
            origin=Origin(
                id=bytes([number]) * 16,
                sender=cast(Person, None),
                sent_ms=0,
                seq=number,
                mine=False,
                delivery=Delivery.SENT,
                keeper=cast(Any, keeper),
            ),
        )
        for number in range(count)
    ]


async def saved(folder: Path, here: Here, items: list[AnyItem]) -> tuple[dict[bytes, str], dict[bytes, str]]:
    return await export._save_files(cast(Opened, here), argparse.Namespace(folder=folder), items)


async def test_a_file_that_takes_longer_than_the_patience_is_fetched_as_long_as_it_moves(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    found, missing = await saved(tmp_path, Here(PATIENCE), files(Keeper()))
    (path,) = found.values()
    assert (tmp_path / path).read_text() == "the plan"
    assert missing == {}
    assert "fetching files: 50 bytes of 100 bytes" in capsys.readouterr().out


async def test_one_that_moves_no_more_is_given_up_and_the_next_one_tried(tmp_path: Path) -> None:
    keeper = Keeper(blocks=3)
    found, missing = await saved(tmp_path, Here(MOMENT * 10), files(keeper, 2))
    assert (found, keeper.asked) == ({}, 2)
    assert all("Nothing of it came for" in reason for reason in missing.values())


async def test_without_a_connection_one_wait_is_enough_for_all(tmp_path: Path) -> None:
    keeper = Keeper(blocks=0)
    _found, missing = await saved(tmp_path, Here(MOMENT, online=False), files(keeper, 20))
    assert (len(missing), keeper.asked) == (20, 1)
    assert "no connection" in missing[bytes([19]) * 16]


async def test_what_is_fetched_may_take_its_time_to_reach_the_disk() -> None:
    moving = Moving(MOMENT)

    async def sync() -> str:
        moving(Progress(BLOCKS, BLOCKS, Phase.DOWNLOAD))
        await asyncio.sleep(MOMENT * 10)
        return "durable"

    assert await moving.wait(sync()) == "durable"
