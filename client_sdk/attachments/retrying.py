"""Trying again: bounded, with jittered waits, the bound counting only attempts that moved nothing."""

from __future__ import annotations

import asyncio
import random
import time
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from typing import Final

import aiohttp

from client_sdk.attachments.errors import TransferInterrupted
from client_sdk.errors import RelayUnreachable
from client_sdk.transport.backoff import Backoff

ATTEMPTS: Final = 10
"""In a row, moving nothing: with waits of up to 30 s about two minutes without the relay."""


class TryAgain(Exception):
    """The relay answered in a way that another attempt may mend."""


PASSING: Final = (TryAgain, RelayUnreachable, aiohttp.ClientError, TimeoutError, ConnectionError)
"""What another attempt may mend."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Retry:
    """How often and when a transfer is tried again; clock, chance and sleep are arguments for the tests."""

    attempts: int = ATTEMPTS
    fraction: Callable[[], float] = random.SystemRandom().random
    sleep: Callable[[float], Awaitable[None]] = asyncio.sleep
    clock: Callable[[], float] = time.monotonic


class Attempts:
    """The attempts of one transfer."""

    def __init__(self, retry: Retry) -> None:
        self._retry = retry
        self._failed = 0
        self._backoff = Backoff(retry.fraction)

    def moved(self) -> None:
        """Something was transferred: the count begins anew."""
        self._failed = 0
        self._backoff = Backoff(self._retry.fraction)

    async def wait_after(self, error: Exception) -> None:
        """Wait before the next attempt, or raise `TransferInterrupted` from ``error`` after the last one."""
        self._failed += 1
        if self._failed >= self._retry.attempts:
            raise TransferInterrupted(
                f"{self._failed} attempts moved nothing. Tried again later, it continues where it stopped."
            ) from error
        await self._retry.sleep(self._backoff.next_delay())
