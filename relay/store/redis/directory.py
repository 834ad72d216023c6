"""The `Directory` in Redis: a hash of the records of a space, and their keys in order beside it."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final

import msgpack

from relay.errors import RecordConflict, StoreUnavailable
from relay.store.interface import Record
from relay.store.redis.client import Call, RedisClient, Script
from relay.store.redis.together import Apart

_RECORDS: Final = "coach:{%s}:records"
_INDEX: Final = "coach:{%s}:index"
_VERSIONS: Final = "coach:{%s}:versions"
_CONFLICT: Final = -1
_AFTER_ALL: Final = b"\xff"  # keys are ASCII


class RedisDirectory:
    """Records in Redis. A space is on one server of a cluster."""

    def __init__(self, client: RedisClient) -> None:
        self._client = client
        self._script = Script("directory.lua")
        self._gets: Apart[tuple[str, str], Record | None] = Apart(
            self._get_all, lambda asked: client.lane(_RECORDS % asked[0])
        )
        self._is_open = True

    async def get(self, space: str, key: str) -> Record | None:
        self._check_open()
        return await self._gets.ask((space, key))

    async def put(self, space: str, key: str, value: bytes, *, expect: int | None = None) -> int:
        version: int = await self._run(
            space, "put", key, value, "" if expect is None else expect, again=expect is None
        )
        if version == _CONFLICT:
            raise RecordConflict("the record changed meanwhile")
        return version

    async def put_many(self, space: str, records: Mapping[str, bytes]) -> None:
        if records:
            parts = [part for record in records.items() for part in record]
            await self._run(space, "put_many", *parts, again=True)

    async def delete(self, space: str, key: str, *, expect: int | None = None) -> None:
        expected = "" if expect is None else expect
        if await self._run(space, "delete", key, expected, again=expect is None) == _CONFLICT:
            raise RecordConflict("the record changed meanwhile")

    async def scan(self, space: str, prefix: str, *, after: str = "", limit: int) -> list[tuple[str, bytes]]:
        first, last = _bounds(prefix)
        if after >= prefix:
            first = b"(" + after.encode("ascii")
        found = await self._run(space, "scan", first, last, limit, again=True)
        return [(key.decode("ascii"), value) for key, value in zip(found[::2], found[1::2], strict=True)]

    async def take(self, space: str, prefix: str) -> tuple[str, bytes] | None:
        found = await self._run(space, "take", *_bounds(prefix), again=False)
        return (found[0].decode("ascii"), found[1]) if found else None

    async def count(self, space: str, prefix: str) -> int:
        self._check_open()
        index = _INDEX % space
        found: int = await self._client.run(Call(index, ("ZLEXCOUNT", index, *_bounds(prefix))), again=True)
        return found

    async def close(self) -> None:
        self._is_open = False
        await self._gets.settle()

    async def _get_all(self, places: list[tuple[str, str]]) -> list[Record | None]:
        calls = [Call(_RECORDS % space, ("HGET", _RECORDS % space, key)) for space, key in places]
        return [_record(held) for held in await self._client.run_all(calls, again=True)]

    async def _run(self, space: str, *arguments: str | bytes | int, again: bool) -> Any:
        """Run the script; what may be done twice is tried again when nobody knows whether it was done."""
        self._check_open()
        keys = (_RECORDS % space, _INDEX % space, _VERSIONS % space)
        return await self._client.run(self._script.call(keys, arguments), again=again)

    def _check_open(self) -> None:
        if not self._is_open:
            raise StoreUnavailable("the store is closed")


def _record(held: bytes | None) -> Record | None:
    if held is None:
        return None
    version, value = msgpack.unpackb(held, raw=True)
    return Record(value, version)


def _bounds(prefix: str) -> tuple[bytes, bytes]:
    """What ZRANGEBYLEX takes for all keys that begin so."""
    start = prefix.encode("ascii")
    return b"[" + start, b"(" + start + _AFTER_ALL
