"""The `Directory` in Redis: a hash of the records of a space, and their keys in order beside it."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final

import msgpack
from redis.asyncio import Redis

from relay.errors import RecordConflict, StoreUnavailable
from relay.store.interface import Record
from relay.store.redis.connection import Script, answer

_RECORDS: Final = "coach:{%s}:records"
_INDEX: Final = "coach:{%s}:index"
_VERSIONS: Final = "coach:{%s}:versions"
_CONFLICT: Final = -1
_AFTER_ALL: Final = b"\xff"  # keys are ASCII


class RedisDirectory:
    """Records in Redis. A space is on one node of a cluster."""

    def __init__(self, client: Redis) -> None:
        self._client = client
        self._script = Script(client, "directory.lua")
        self._is_open = True

    async def get(self, space: str, key: str) -> Record | None:
        self._check_open()
        held: Any = await answer(self._client.hget(_RECORDS % space, key))
        if held is None:
            return None
        version, value = msgpack.unpackb(held, raw=True)
        return Record(value, version)

    async def put(self, space: str, key: str, value: bytes, *, expect: int | None = None) -> int:
        version: int = await self._run(space, "put", key, value, "" if expect is None else expect)
        if version == _CONFLICT:
            raise RecordConflict("the record changed meanwhile")
        return version

    async def put_many(self, space: str, records: Mapping[str, bytes]) -> None:
        if records:
            await self._run(space, "put_many", *[part for record in records.items() for part in record])

    async def delete(self, space: str, key: str, *, expect: int | None = None) -> None:
        if await self._run(space, "delete", key, "" if expect is None else expect) == _CONFLICT:
            raise RecordConflict("the record changed meanwhile")

    async def scan(self, space: str, prefix: str, *, after: str = "", limit: int) -> list[tuple[str, bytes]]:
        first, last = _bounds(prefix)
        if after >= prefix:
            first = b"(" + after.encode("ascii")
        found = await self._run(space, "scan", first, last, limit)
        return [(key.decode("ascii"), value) for key, value in zip(found[::2], found[1::2], strict=True)]

    async def take(self, space: str, prefix: str) -> tuple[str, bytes] | None:
        found = await self._run(space, "take", *_bounds(prefix))
        return (found[0].decode("ascii"), found[1]) if found else None

    async def count(self, space: str, prefix: str) -> int:
        self._check_open()
        found: int = await answer(self._client.zlexcount(_INDEX % space, *_bounds(prefix)))
        return found

    async def close(self) -> None:
        if self._is_open:
            self._is_open = False
            await self._client.aclose()

    async def _run(self, space: str, *arguments: str | bytes | int) -> Any:
        self._check_open()
        return await self._script.run((_RECORDS % space, _INDEX % space, _VERSIONS % space), arguments)

    def _check_open(self) -> None:
        if not self._is_open:
            raise StoreUnavailable("the store is closed")


def _bounds(prefix: str) -> tuple[bytes, bytes]:
    """What ZRANGEBYLEX takes for all keys that begin so."""
    start = prefix.encode("ascii")
    return b"[" + start, b"(" + start + _AFTER_ALL
