"""The records of the relay on this machine, for the commands that look at them or change them."""

from __future__ import annotations

import argparse
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from relay.cli.options import settings_of
from relay.config import ConfigError, Settings
from relay.http.stores import MISSING
from relay.redis_address import RedisAddress, parse_redis_wait
from relay.store import Directory
from relay.store.sqlite import SqliteDirectory, prepare_folder


@asynccontextmanager
async def directory_of(args: argparse.Namespace) -> AsyncIterator[Directory]:
    """The records of the relay that a command was given; raises `ConfigError` or `StoreError`."""
    settings = settings_of(args)
    address = settings.redis
    if address is not None:
        async with _in_redis(settings, address) as shared:
            yield shared
        return
    prepare_folder(settings.data_dir)
    directory = SqliteDirectory.open(settings.data_dir)
    try:
        yield directory
    finally:
        await directory.close()


@asynccontextmanager
async def _in_redis(settings: Settings, address: RedisAddress) -> AsyncIterator[Directory]:
    try:
        from relay.store.redis import RedisStores
    except ImportError:
        raise ConfigError(MISSING) from None
    stores = await RedisStores.open(address, parse_redis_wait(settings.redis_wait))
    try:
        yield stores.directory
    finally:
        await stores.close()
