"""Whose turn it is on an upload: one request at a time, and a newer one ends an older one's wait for bytes.

A device whose connection broke comes back before the relay has noticed: without this the new request would
wait for a peer that is gone.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Final

from aiohttp import StreamReader

from relay.errors import RequestError
from relay.wire.ids import BlobId

IDLE_SECONDS: Final = 30.0  # how long a request may send nothing
TURN_SECONDS: Final = 10.0  # an interrupted request has at most one part left to write


class Interrupted(Exception):
    """A newer request works on the same upload now."""


class Busy(RequestError):
    """Another request keeps the turn: it is writing, and the store takes long."""

    code = "locked"


class Turn:
    """The requests for one upload, of which one has the turn."""

    def __init__(self) -> None:
        self.lock = asyncio.Lock()
        self.requests = 0
        self._reading: asyncio.Timeout | None = None

    async def read(self, body: StreamReader) -> bytes:
        """Return the next bytes of a request, empty at its end.

        Raises `Interrupted` if another request waits for the turn, TimeoutError after `IDLE_SECONDS` of
        nothing.
        """
        if self.requests > 1:
            raise Interrupted
        try:
            async with asyncio.timeout(IDLE_SECONDS) as self._reading:
                return await body.readany()
        except TimeoutError:
            if self.requests > 1:
                raise Interrupted from None
            raise
        finally:
            self._reading = None

    def interrupt(self) -> None:
        """End the wait for bytes of whoever has the turn; a write that has begun is finished first."""
        if self._reading is not None:
            self._reading.reschedule(asyncio.get_running_loop().time())


class Turns:
    """The turns of all uploads that are being worked on."""

    def __init__(self) -> None:
        self._turns: dict[BlobId, Turn] = {}

    @asynccontextmanager
    async def take(self, blob: BlobId) -> AsyncIterator[Turn]:
        """Wait for the turn on an upload; raises `Busy` if nobody lets go of it."""
        turn = self._turns.setdefault(blob, Turn())
        turn.requests += 1
        try:
            turn.interrupt()
            await _acquire(turn.lock)
            try:
                yield turn
            finally:
                turn.lock.release()
        finally:
            turn.requests -= 1
            if not turn.requests:
                del self._turns[blob]


async def _acquire(lock: asyncio.Lock) -> None:
    try:
        async with asyncio.timeout(TURN_SECONDS):
            await lock.acquire()
    except TimeoutError:
        raise Busy("another request is writing") from None
