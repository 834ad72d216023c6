"""`coach-relay migrate`: moves what a relay keeps into another store, and shows that all of it arrived."""

from __future__ import annotations

import argparse
import asyncio
import sys
from collections.abc import AsyncIterator
from contextlib import AbstractAsyncContextManager, AsyncExitStack, asynccontextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

from relay.cli.options import add_command, add_settings, settings_of
from relay.config import Settings
from relay.errors import InvalidRequest
from relay.hub import spaces
from relay.redis_address import parse_redis_url
from relay.store.sqlite.transfer import FolderSide, FolderTarget, folder_source, folder_target
from relay.store.transfer import Counts, Side, Target, compare, copy_all

if TYPE_CHECKING:
    from relay.store.redis.transfer import RedisSide

SQLITE: Final = "sqlite:"
SPACES: Final = tuple(
    value for name, value in vars(spaces).items() if name.isupper() and isinstance(value, str)
)
"""Every space of the directory, also those without a record."""


def register(commands: Any) -> None:
    parser = add_command(
        commands,
        "migrate",
        help="move everything that the relay keeps from SQLite to Redis, or back",
        description="Copy conversations, portals, keys and all else from one store into another, which is "
        "empty, then read both and compare. The relay must not run. The source stays as it is. Sealed files "
        "are not part of it: they stay in the data folder, or in the bucket.",
        example="coach-relay migrate --from sqlite:/var/lib/coach-relay --to redis://127.0.0.1:6379/0",
    )
    add_settings(parser)
    where = "sqlite:FOLDER, or a redis_url (its password may stand in redis_password or redis_password_file)"
    parser.add_argument("--from", dest="source", required=True, metavar="STORE", help=where)
    parser.add_argument("--to", dest="target", required=True, metavar="STORE", help="likewise; it is empty")
    parser.set_defaults(run=run)


def run(args: argparse.Namespace) -> int:
    settings = _settings(args)
    counts = asyncio.run(_move(settings, args.source, args.target))
    print(
        f"Nothing is missing: {counts.streams} conversations with {counts.entries} messages, and "
        f"{counts.records} records, are the same in both. The source is as it was: keep it until the relay "
        "has run for a while, then erase it."
    )
    print(_next(args.target))
    return 0


def _settings(args: argparse.Namespace) -> Settings:
    """Those of the relay, with the Redis that is moved to or from: a password alone would be no setting."""
    for store in (args.source, args.target):
        if not store.startswith(SQLITE):
            _check_redis_url(store)
            return settings_of(args, redis_url=store)
    return settings_of(args)


def _check_redis_url(store: str) -> None:
    try:
        parse_redis_url(store)
    except ValueError as error:
        raise InvalidRequest(f"a store is sqlite:FOLDER or a Redis, and of the latter: {error}") from None


async def _move(settings: Settings, source: str, target: str) -> Counts:
    if source == target:
        raise InvalidRequest("--from and --to are the same store")
    async with AsyncExitStack() as stack:
        reading: Side = await stack.enter_async_context(_source(settings, source))
        writing: Target = await stack.enter_async_context(_target(settings, target))
        await writing.begin()
        await copy_all(reading, writing, SPACES, _tell)
        _tell("reading both to compare them")
        counts = await compare(reading, writing, _tell)
        await writing.finish()
    return counts


def _source(settings: Settings, store: str) -> AbstractAsyncContextManager[FolderSide | RedisSide]:
    return folder_source(_folder(store)) if store.startswith(SQLITE) else _redis(settings, store)


def _target(settings: Settings, store: str) -> AbstractAsyncContextManager[FolderTarget | RedisSide]:
    return folder_target(_folder(store)) if store.startswith(SQLITE) else _redis(settings, store)


def _folder(store: str) -> Path:
    path = store.removeprefix(SQLITE)
    if not path:
        raise InvalidRequest("a folder's store is named as sqlite:/var/lib/coach-relay")
    return Path(path)


@asynccontextmanager
async def _redis(settings: Settings, store: str) -> AsyncIterator[RedisSide]:
    try:
        from relay.store.redis.client import RedisClient
        from relay.store.redis.transfer import redis_side
    except ImportError:
        raise InvalidRequest('Redis needs its own package: pip install "coach-relay[redis]"') from None
    _check_redis_url(store)
    address = parse_redis_url(store, password=settings.redis_password)
    async with redis_side(RedisClient(address)) as side:
        yield side


def _tell(text: str) -> None:
    print(f"coach-relay: {text}", file=sys.stderr, flush=True)


def _next(target: str) -> str:
    if target.startswith(SQLITE):
        return f'Set data_dir = "{_folder(target)}", take redis_url out, and start the relay.'
    return "Set redis_url to that Redis, and start the relay."
