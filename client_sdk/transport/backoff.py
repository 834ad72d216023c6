"""How long to wait before connecting again: exponential, with full jitter, so that not all return at once."""

from __future__ import annotations

from collections.abc import Callable
from typing import Final

FIRST_SECONDS: Final = 0.25  # most broken connections heal at once
CAP_SECONDS: Final = 30.0  # nobody waits longer for a relay that is back
STABLE_SECONDS: Final = 30.0  # a connection that lived this long was a good one


class Backoff:
    """The waits of one client. `fraction` gives a random number in [0, 1)."""

    def __init__(self, fraction: Callable[[], float]) -> None:
        self._fraction = fraction
        self._failures = 0

    def next_delay(self) -> float:
        """Seconds to wait after one more failure."""
        ceiling: float = min(CAP_SECONDS, FIRST_SECONDS * 2 ** min(self._failures, 16))
        self._failures += 1
        return self._fraction() * ceiling

    def connection_lived(self, seconds: float) -> None:
        """Begin anew if the connection that just ended was a stable one."""
        if seconds >= STABLE_SECONDS:
            self._failures = 0
