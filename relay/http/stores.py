"""The stores that the settings name: the data folder, or Redis, which several nodes share."""

from __future__ import annotations

import logging
from collections.abc import Callable
from typing import Final, Protocol

from relay.config import ConfigError, Settings
from relay.http.logs import log
from relay.redis_address import parse_redis_wait
from relay.store import Directory, StreamStore
from relay.store.bus import Bus, LocalBus
from relay.store.sqlite import DataFolder, prepare_folder

MISSING: Final = (
    'redis_url is set, and the part for Redis is not installed; install "coach-relay[relay,redis]"'
)


class Stores(Protocol):
    """What a relay needs of its stores."""

    @property
    def streams(self) -> StreamStore: ...

    @property
    def directory(self) -> Directory: ...

    @property
    def bus(self) -> Bus: ...

    def tell_of_loss(self, lost: Callable[[], None]) -> None:
        """Have `lost` called when what had been acknowledged may be missing."""

    async def close(self) -> None: ...


class _Folder:
    """The data folder, for a relay of one process."""

    def __init__(self, folder: DataFolder) -> None:
        self.streams: StreamStore = folder.streams
        self.directory: Directory = folder.directory
        self.bus: Bus = LocalBus()
        self.close = folder.close

    def tell_of_loss(self, lost: Callable[[], None]) -> None:
        """A folder does not change behind our back."""


async def open_stores(settings: Settings) -> Stores:
    """Open what the settings name; raises `ConfigError` or `StoreError`."""
    address = settings.redis
    if address is None:
        return _Folder(DataFolder.open(settings.data_dir))
    prepare_folder(settings.data_dir)
    try:
        from relay.store.redis import RedisStores, Verdict
    except ImportError:
        raise ConfigError(MISSING) from None
    stores = await RedisStores.open(address, parse_redis_wait(settings.redis_wait))
    for remark in stores.remarks:
        if remark.verdict is not Verdict.GOOD:
            log(logging.WARNING, f"{remark.what}. {remark.do}")
    if not settings.s3_bucket:
        log(
            logging.WARNING,
            "files stay in this node's data folder, where other nodes do not find them. Set s3_bucket if "
            "there are several nodes.",
        )
    return stores


def where(settings: Settings) -> str:
    """Where the data is, for people."""
    address = settings.redis
    return f"data in {settings.data_dir}" if address is None else f"data in Redis at {address.shown}"
