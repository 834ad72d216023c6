"""Tells what is being measured: a run takes minutes."""

from __future__ import annotations

import sys
import time


class Progress:
    """Prints one line a step, with the seconds since the start, to standard error."""

    def __init__(self, *, silent: bool = False) -> None:
        self._start = time.monotonic()
        self._silent = silent

    def say(self, text: str) -> None:
        """Print a step."""
        if not self._silent:
            print(f"[{time.monotonic() - self._start:5.0f} s] {text}", file=sys.stderr, flush=True)
