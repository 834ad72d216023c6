"""Showing how far a transfer is: a moving bar in a terminal, a few plain lines elsewhere; giving it up."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Iterator
from contextlib import contextmanager
from typing import Any, Final, Protocol, TypeVar

from rich.console import Console
from rich.progress import BarColumn, ProgressColumn, TaskProgressColumn, TextColumn
from rich.progress import Progress as Bars

from client_sdk.attachments import Phase, Progress

PLAIN_STEPS: Final = 4
"""Lines that a bar becomes where there is no terminal: one at each quarter."""

_T = TypeVar("_T")


class Move(Protocol):
    """What moves a bar: called with what is done and the total, mostly in bytes."""

    def __call__(self, done: int, total: int, /) -> None: ...


def megabytes(size: int, /) -> str:
    """Return a size in bytes as people say it: `25.0 MB`, `317 kB`, `80 bytes`."""
    if size >= 1_000_000:
        return f"{size / 1e6:.1f} MB"
    if size >= 10_000:
        return f"{size / 1e3:.0f} kB"
    return f"{size:,} bytes" if size != 1 else "1 byte"


def in_seconds(seconds: int, /) -> str:
    """Return a duration as people say it: `7 s`."""
    return f"{seconds} s"


@contextmanager
def live_bar(
    console: Console, head: ProgressColumn, what: str, *, unit: Callable[[int], str] = megabytes
) -> Iterator[Move]:
    """Show a moving bar while the block runs; the block gets the function that moves it."""
    columns = (
        head,
        TextColumn(what),
        BarColumn(bar_width=30),
        TaskProgressColumn(),
        TextColumn("{task.fields[amount]}"),
    )
    with Bars(*columns, console=console) as progress:
        task = progress.add_task(what, total=None, amount="")

        def move(done: int, total: int, /) -> None:
            amount = f"{unit(done)} of {unit(total)}"
            progress.update(task, completed=done, total=total, amount=amount)

        yield move


def plain_bar(say: Callable[[str], None], what: str, *, unit: Callable[[int], str] = megabytes) -> Move:
    """Return a function that says how far it is at each quarter."""
    said = 0

    def move(done: int, total: int, /) -> None:
        nonlocal said
        part = done * PLAIN_STEPS // total if total else PLAIN_STEPS
        if part != said:
            said = part
            say(f"{what}: {unit(done)} of {unit(total)}")

    return move


class Moving:
    """How long to wait for a transfer: as long as something of it moves, however long it takes."""

    def __init__(self, patience: float) -> None:
        self._patience = patience
        self._moved = asyncio.Event()
        self._is_here = False

    def __call__(self, progress: Progress) -> None:
        """Take what the SDK tells."""
        # What was fetched is up to this machine's disk, which may take its time and tells nothing.
        is_fetched = progress.phase is Phase.DOWNLOAD and progress.done == progress.total
        self._is_here = is_fetched or progress.phase is Phase.OPEN
        self._moved.set()

    async def wait(self, work: Awaitable[_T]) -> _T:
        """What `work` gives; raises TimeoutError once nothing has moved for as long as the patience."""
        working = asyncio.ensure_future(work)
        try:
            while not working.done():
                self._moved.clear()
                await self._wait_for_a_move(working)
            return working.result()
        finally:
            working.cancel()
            await asyncio.gather(working, return_exceptions=True)

    async def _wait_for_a_move(self, working: asyncio.Future[Any]) -> None:
        moved = asyncio.create_task(self._moved.wait())
        either: set[asyncio.Future[Any]] = {working, moved}
        try:
            patience = None if self._is_here else self._patience
            done, _rest = await asyncio.wait(either, timeout=patience, return_when=asyncio.FIRST_COMPLETED)
        finally:
            moved.cancel()
        if not done:
            raise TimeoutError
