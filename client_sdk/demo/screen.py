"""What the person in front of the demo sees: numbered steps, who did what, a mark for what was checked."""

from __future__ import annotations

import os
import sys
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from textwrap import wrap
from typing import Final, TextIO

from rich.console import Console
from rich.progress import TextColumn
from rich.text import Text

from client_sdk.cli.progress import Move, live_bar, megabytes, plain_bar

WIDEST: Final = 100
"""Columns beyond which lines are hard to read; where there is no terminal, lines are this long."""

NARROWEST: Final = 20
"""Columns that text gets even in a terminal too narrow for it."""

_NAME_STYLES: Final = {"Anna": "cyan", "Ben": "magenta", "Relay": "yellow", "Portal": "blue"}
_NAME_COLUMNS: Final = 7
_INDENT: Final = 5


@dataclass(frozen=True, slots=True)
class Marks:
    """The signs for checked, failed and cut, in what the terminal can show."""

    checked: str
    failed: str
    cut: str


def marks_for(encoding: str) -> Marks:
    """Return the signs that `encoding` has; ASCII words where it has none."""
    try:
        "✔✘✂".encode(encoding)
    except (UnicodeEncodeError, LookupError):
        return Marks(checked="[ok]", failed="[FAILED]", cut="-- cut --")
    return Marks(checked="✔", failed="✘", cut="✂")


class Screen:
    """Writes the story, with colours and live bars in a terminal and as plain lines elsewhere."""

    def __init__(self, file: TextIO | None = None, *, steps: int) -> None:
        out: TextIO = file or sys.stdout
        terminal = out.isatty() and os.environ.get("TERM", "dumb") != "dumb"
        reconfigure = getattr(out, "reconfigure", None)
        if reconfigure is not None:
            reconfigure(errors="replace", line_buffering=True)
        self._console = Console(
            file=out,
            force_terminal=terminal,
            highlight=False,
            markup=False,
            emoji=False,
            color_system="auto" if terminal else None,
        )
        self._console.width = min(self._console.width, WIDEST) if terminal else WIDEST
        self._steps = steps
        self.terminal = terminal
        self.marks = marks_for(out.encoding or "ascii")

    def title(self, text: str, explanation: str) -> None:
        """Open the story."""
        self._console.print(Text(text, style="bold"))
        self._hanging(Text(), explanation, indent=0)

    def step(self, number: int, title: str, explanation: str) -> None:
        """Begin a step: its number, its name, and what is going to happen and why it matters."""
        self._console.print()
        self._console.print(Text(f"Step {number} of {self._steps}  {title}", style="bold"))
        self._hanging(Text(), explanation, indent=_INDENT, style="dim")

    def did(self, who: str, what: str) -> None:
        """Say who did what."""
        name = Text(who.ljust(_NAME_COLUMNS), style=_NAME_STYLES.get(who, "bold"))
        self._hanging(name, what, indent=_INDENT + 2)

    def says(self, who: str, words: str) -> None:
        """Show what somebody said, in quotation marks."""
        self.did(who, f"“{words}”" if self.marks.checked == "✔" else f'"{words}"')

    def check(self, what: str) -> None:
        """Mark something as checked: only ever called after the comparison."""
        self._hanging(Text(f"{self.marks.checked} ", style="bold green"), what, indent=_INDENT)

    def note(self, text: str) -> None:
        """Add a remark of the narrator."""
        self._hanging(Text(), text, indent=_INDENT, style="dim")

    def plain(self, text: str = "", *, style: str = "") -> None:
        """Print one line as it is, never wrapped: for command lines and paths that are copied."""
        self._console.print(Text(text, style=style), soft_wrap=True)

    def failure(self, lines: Sequence[str]) -> None:
        """Say that a check failed, and what to look at."""
        self._console.print()
        self._hanging(Text(f"{self.marks.failed} ", style="bold red"), lines[0], style="bold", indent=0)
        for line in lines[1:]:
            self.plain(f"  {line}")

    def table(self, columns: Sequence[str], rows: Sequence[Sequence[str]]) -> None:
        """Show a small table; the last column takes the room that is left, wrapped."""
        widths = [max(len(row[at]) for row in (columns, *rows)) + 3 for at in range(len(columns) - 1)]
        for row, style in ((columns, "bold"), *((row, "") for row in rows)):
            head = "".join(cell.ljust(width) for cell, width in zip(row, widths, strict=False))
            self._hanging(Text(head, style=style), row[-1], style=style, indent=_INDENT)

    @contextmanager
    def progress(self, who: str, what: str, *, unit: Callable[[int], str] = megabytes) -> Iterator[Move]:
        """Show how far something is; the block gets a function to call with (done, total), said by `unit`."""
        if self.terminal:
            head = TextColumn(
                " " * (_INDENT + 2) + who.ljust(_NAME_COLUMNS), style=_NAME_STYLES.get(who, "bold")
            )
            with live_bar(self._console, head, what, unit=unit) as move:
                yield move
        else:
            yield plain_bar(lambda line: self.did(who, line), what, unit=unit)

    def _hanging(self, head: Text, body: str, *, indent: int, style: str = "") -> None:
        """Print `body` beside `head`, its further lines below its own first one."""
        left = indent + head.cell_len
        lines = wrap(body, max(self._console.width - left, NARROWEST)) or [""]
        self._console.print(
            Text(" " * indent).append_text(head).append(lines[0], style=style), soft_wrap=True
        )
        for line in lines[1:]:
            self._console.print(Text(" " * left).append(line, style=style), soft_wrap=True)
