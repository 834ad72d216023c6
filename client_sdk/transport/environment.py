"""Clock, chance and sleep as arguments, so that what runs on them is tested without waiting."""

from __future__ import annotations

import asyncio
import os
import time
from collections.abc import Awaitable, Callable
from dataclasses import dataclass


def _nothing(_name: str) -> None:
    """No crash points outside tests."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Environment:
    """What the SDK takes from the world around it.

    `now` is the wall clock in Unix seconds, `monotonic` never goes back, `rng` returns that many bytes fit
    for keys. `step` is called with a name at each boundary between two steps of sending and receiving: a test
    raises there to see that a crash loses nothing.
    """

    now: Callable[[], float] = time.time
    monotonic: Callable[[], float] = time.monotonic
    rng: Callable[[int], bytes] = os.urandom
    sleep: Callable[[float], Awaitable[None]] = asyncio.sleep
    step: Callable[[str], None] = _nothing

    def fraction(self) -> float:
        """A random number from 0 up to, but not including, 1."""
        return int.from_bytes(self.rng(7), "big") / (1 << 56)
