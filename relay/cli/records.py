"""The records of the relay on this machine, for the commands that look at them or change them."""

from __future__ import annotations

import argparse
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from relay.cli.options import settings_of
from relay.store.sqlite import SqliteDirectory, prepare_folder


@asynccontextmanager
async def directory_of(args: argparse.Namespace) -> AsyncIterator[SqliteDirectory]:
    """The directory in the data folder that a command was given; raises `ConfigError` or `StoreError`."""
    folder = settings_of(args).data_dir
    prepare_folder(folder)
    directory = SqliteDirectory.open(folder)
    try:
        yield directory
    finally:
        await directory.close()
