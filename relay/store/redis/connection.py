"""The connection to Redis, its scripts, and our errors for its own."""

from __future__ import annotations

import hashlib
from collections.abc import Awaitable, Sequence
from importlib.resources import files
from typing import Any, Final, TypeVar

from redis import exceptions
from redis.asyncio import BlockingConnectionPool, Redis
from redis.asyncio.retry import Retry
from redis.backoff import NoBackoff

from relay.errors import StoreError, StoreFull, StoreUnavailable

CONNECT_SECONDS: Final = 5.0
MAX_CONNECTIONS: Final = 32  # the commit queue uses one at a time, requests a few
ANSWER_SECONDS: Final = 10.0  # a server that takes longer is not one that a message can wait for
_Argument = str | bytes | int
_T = TypeVar("_T")


def connect(url: str) -> Redis:
    """A client for the server at `redis://`, `rediss://` or `unix://`; it connects when it is first used.

    Nothing is tried again behind our back: whoever asked decides, since a lost answer may hide a done deed.
    """
    pool = BlockingConnectionPool.from_url(
        url,
        max_connections=MAX_CONNECTIONS,
        timeout=ANSWER_SECONDS,
        socket_connect_timeout=CONNECT_SECONDS,
        socket_timeout=ANSWER_SECONDS,
        retry=Retry(NoBackoff(), 0),
        decode_responses=False,
    )
    return Redis.from_pool(pool)


class Script:
    """A Lua script of this package; loaded when the server does not know it."""

    def __init__(self, client: Redis, name: str) -> None:
        self._client = client
        self._text = files(__package__).joinpath(name).read_text("utf-8")
        self._digest = hashlib.sha1(self._text.encode(), usedforsecurity=False).hexdigest()  # EVALSHA's

    async def run(self, keys: Sequence[str], arguments: Sequence[_Argument]) -> Any:
        """What the script answers; raises `StoreError`."""
        return (await self.run_all([(keys, arguments)]))[0]

    async def run_all(self, calls: Sequence[tuple[Sequence[str], Sequence[_Argument]]]) -> list[Any]:
        """The answers to many calls that go out together; raises `StoreError` if one of them failed."""
        return await answer(self._run_all(calls))

    async def _run_all(self, calls: Sequence[tuple[Sequence[str], Sequence[_Argument]]]) -> list[Any]:
        try:
            return await self._send(calls)
        except exceptions.NoScriptError:  # a server that has just started: none of the calls was done
            await self._client.script_load(self._text)
            return await self._send(calls)

    async def _send(self, calls: Sequence[tuple[Sequence[str], Sequence[_Argument]]]) -> list[Any]:
        async with self._client.pipeline(transaction=False) as pipeline:
            for keys, arguments in calls:
                pipeline.evalsha(self._digest, len(keys), *keys, *arguments)
            return list(await pipeline.execute())


async def answer(running: Awaitable[_T]) -> _T:
    """Await what Redis answers; raises our error for its."""
    try:
        return await running
    except (exceptions.RedisError, OSError, TimeoutError) as error:
        raise translate(error) from error


def translate(error: Exception) -> StoreError:
    """Our error for one of Redis's. Its text names what failed, never a key or a value."""
    name = type(error).__name__
    if isinstance(error, exceptions.OutOfMemoryError):
        return StoreFull("Redis has reached its maxmemory")
    if isinstance(error, exceptions.ReadOnlyError):
        return StoreUnavailable("Redis is a replica, or became one")
    return StoreUnavailable(f"Redis did not do it: {name}")
