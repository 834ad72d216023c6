"""Creations that a portal may repeat: the answer is kept before the work is done, and outlives a crash."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from typing import Final
from weakref import WeakValueDictionary

from relay.core.engagements import EngagementRecord
from relay.core.idempotency import MAX_KEYS, KeptAnswer, fingerprint_of, key_name
from relay.errors import RateLimited, RecordConflict, RequestError, StoreUnavailable
from relay.hub import spaces
from relay.store.interface import ABSENT, Directory

_PAGE: Final = 256
_ATTEMPTS: Final = 4  # an answer is there when the first has failed
Insert = Callable[[EngagementRecord], Awaitable[None]]


class Idempotency:
    """Keeps answers by portal and key."""

    def __init__(self, directory: Directory, *, clock: Callable[[], float]) -> None:
        self._directory = directory
        self._clock = clock
        self._locks: WeakValueDictionary[str, asyncio.Lock] = WeakValueDictionary()

    async def create(self, draft: EngagementRecord, key: str, insert: Insert) -> EngagementRecord:
        """The engagement that this key made, or the draft, inserted now.

        `insert` does nothing where its work is done. Raises `IdempotencyKeyReused`, `RateLimited`,
        `InvalidRequest` or what `insert` raises; of a refused request nothing is kept.
        """
        place = spaces.idempotency_key(draft.portal, key_name(key))
        lock = self._locks.setdefault(place, asyncio.Lock())
        async with lock:
            for _ in range(_ATTEMPTS):
                try:
                    return await self._create(place, draft, insert)
                except RecordConflict:
                    continue  # another node was a moment faster: its answer is ours
        raise StoreUnavailable("too many requests under one key at once")

    async def _create(self, place: str, draft: EngagementRecord, insert: Insert) -> EngagementRecord:
        fingerprint, now = fingerprint_of(draft), int(self._clock())
        stored = await self._directory.get(spaces.IDEMPOTENCY, place)
        kept = KeptAnswer.parse(stored.value) if stored else None
        if kept is not None and not kept.is_over(now):
            kept.check_same(fingerprint)
            await insert(kept.engagement)
            return kept.engagement
        await self._check_room(draft)
        answer = KeptAnswer(fingerprint=fingerprint, at=now, engagement=draft)
        version = await self._directory.put(
            spaces.IDEMPOTENCY, place, answer.serialize(), expect=stored.version if stored else ABSENT
        )
        try:
            await insert(draft)
        except RequestError:
            await self._directory.delete(spaces.IDEMPOTENCY, place, expect=version)
            raise
        return draft

    async def _check_room(self, draft: EngagementRecord) -> None:
        prefix = spaces.idempotency_key(draft.portal)
        if await self._directory.count(spaces.IDEMPOTENCY, prefix) >= MAX_KEYS:
            raise RateLimited("too many idempotency keys at one time")

    async def sweep(self, now: int) -> None:
        """Forget the answers whose time is over."""
        after = ""
        while page := await self._directory.scan(spaces.IDEMPOTENCY, "", after=after, limit=_PAGE):
            for key, value in page:
                if KeptAnswer.parse(value).is_over(now):
                    await self._forget(key, now)
            after = page[-1][0]

    async def _forget(self, key: str, now: int) -> None:
        record = await self._directory.get(spaces.IDEMPOTENCY, key)
        if record is None or not KeptAnswer.parse(record.value).is_over(now):
            return
        try:
            await self._directory.delete(spaces.IDEMPOTENCY, key, expect=record.version)
        except RecordConflict:
            return  # the key was used anew just now
