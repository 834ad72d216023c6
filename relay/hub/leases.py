"""What only one node may do at a time: a record says who does it, and until when."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from typing import Final

import msgpack

from relay.errors import RecordConflict, StoreUnavailable
from relay.hub import spaces
from relay.store.interface import ABSENT, Directory

HOLD_SECONDS: Final = 10.0  # longer than what is done under one takes; a node that dies blocks others so long
_WAIT_SECONDS: Final = 15.0
_LOOK_SECONDS: Final = 0.05


class Leases:
    """Leases of one node; where there are no others (`node` is empty) everything is granted."""

    def __init__(
        self, directory: Directory, node: bytes, clock: Callable[[], float], steady: Callable[[], float]
    ) -> None:
        self._directory = directory
        self._node = node
        self._clock = clock
        self._steady = steady

    async def take(self, name: str, seconds: float) -> bool:
        """Have a lease for so long, again if it is ours; False if another node has it, or `StoreError`."""
        if not self._node:
            return True
        stored = await self._directory.get(spaces.LEASES, name)
        now = self._clock()
        if stored is not None:
            node, until = msgpack.unpackb(stored.value)
            # One that lasts longer than any does is of a node whose clock was wrong.
            if node != self._node and now < until < now + 2 * seconds:
                return False
        value = msgpack.packb((self._node, now + seconds))
        try:
            version = stored.version if stored else ABSENT
            await self._directory.put(spaces.LEASES, name, value, expect=version)
        except RecordConflict:
            return False
        return True

    async def give_back(self, name: str) -> None:
        """End a lease of ours before its time."""
        if not self._node:
            return
        stored = await self._directory.get(spaces.LEASES, name)
        if stored is not None and msgpack.unpackb(stored.value)[0] == self._node:
            try:
                await self._directory.delete(spaces.LEASES, name, expect=stored.version)
            except RecordConflict:
                return  # it had run out, and another node has it

    @asynccontextmanager
    async def held(self, name: str) -> AsyncIterator[None]:
        """Hold a lease while the context lasts; nobody else of this node does. Raises `StoreUnavailable`."""
        deadline = self._steady() + _WAIT_SECONDS
        while not await self.take(name, HOLD_SECONDS):
            if self._steady() > deadline:
                raise StoreUnavailable("another node is busy with it")
            await asyncio.sleep(_LOOK_SECONDS)
        try:
            yield
        finally:
            await self.give_back(name)
