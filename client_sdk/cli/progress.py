"""Showing how far a transfer is: a moving bar in a terminal, a few plain lines elsewhere."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Final, Protocol

from rich.console import Console
from rich.progress import BarColumn, Progress, ProgressColumn, TaskProgressColumn, TextColumn

PLAIN_STEPS: Final = 4
"""Lines that a bar becomes where there is no terminal: one at each quarter."""


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
    with Progress(*columns, console=console) as progress:
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
