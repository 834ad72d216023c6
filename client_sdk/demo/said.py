"""Everything readable that the demo brings into the conversation, kept to be searched for at the relay."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path
from typing import Final

from client_sdk.demo.search import Needle, chunks_of

PIECES: Final = 64
"""Pieces of a file that are looked for, spread over its whole length."""


class Said:
    """The list of what nobody but Anna and Ben may read."""

    def __init__(self) -> None:
        self.needles: list[Needle] = []

    def text(self, what: str, *texts: str) -> None:
        """Remember words that were said, written or shown."""
        self._add(Needle(what, text.encode()) for text in texts)

    def secret(self, what: str, values: Iterable[bytes]) -> None:
        """Remember keys."""
        self._add(Needle(what, value, text=False) for value in values)

    def file(self, path: Path) -> None:
        """Remember a file's name and pieces of its contents."""
        self.text("the files' names", path.name)
        pieces = chunks_of(path, every=max(1, path.stat().st_size // PIECES))
        self._add(Needle("pieces of the files", piece, text=False) for piece in pieces)

    def _add(self, needles: Iterable[Needle]) -> None:
        self.needles += [needle for needle in dict.fromkeys(needles) if needle not in self.needles]

    def counts(self) -> dict[str, int]:
        """Return how many of each kind there are, in the order they were first said."""
        found: dict[str, int] = {}
        for needle in self.needles:
            found[needle.what] = found.get(needle.what, 0) + 1
        return found
