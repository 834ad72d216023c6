"""Blobs in a directory of this machine, durable when acknowledged."""

from __future__ import annotations

import asyncio
import os
import secrets
import shutil
import time
from pathlib import Path
from typing import Final

import obstore
from obstore.store import LocalStore

from relay.blobs.errors import BlobStoreFull, BlobStoreUnavailable
from relay.blobs.objects import ObjectBlobs, translated
from relay.wire.ids import BlobId

RESERVED_BYTES: Final = 256 * 1024 * 1024
"""Room that blobs leave on the disk: the database often shares it, and must still be able to write."""

_STAGING: Final = ".staging"

_ABANDONED_AFTER: Final = 3600.0
"""Seconds after which a staged part is what a crash left: a live one stays for milliseconds."""


class DirectoryBlobs(ObjectBlobs):
    """A `BlobStore` in a folder, which is created (mode 0700) when missing.

    obstore's `LocalStore` puts atomically but never calls fsync, so a part is put beside its place, synced,
    moved into place, and the folder that names it synced. `reserved_bytes` is the free room below which
    appends are refused.
    """

    def __init__(self, folder: Path, /, *, reserved_bytes: int = RESERVED_BYTES) -> None:
        self._folder = folder
        self._reserved_bytes = reserved_bytes
        try:
            folder.mkdir(mode=0o700, parents=True, exist_ok=True)
            (folder / _STAGING).mkdir(mode=0o700, exist_ok=True)
            self._discard_abandoned(before=time.time() - _ABANDONED_AFTER)
        except OSError as error:
            raise BlobStoreUnavailable("the blob folder cannot be created") from error
        self._local = LocalStore(folder, automatic_cleanup=True)
        super().__init__(self._local)

    def _discard_abandoned(self, *, before: float) -> None:
        for staged in (self._folder / _STAGING).iterdir():
            if staged.stat().st_mtime < before:
                staged.unlink(missing_ok=True)

    async def append(self, blob: BlobId, data: bytes, /, *, offset: int) -> int:
        with translated():
            free = shutil.disk_usage(self._folder).free
        if free < self._reserved_bytes + len(data):
            raise BlobStoreFull("no room is left for blobs")
        return await super().append(blob, data, offset=offset)

    async def _put(self, key: str, data: bytes) -> None:
        with translated():
            await asyncio.to_thread(self._publish, key, data)

    def _publish(self, key: str, data: bytes) -> None:
        staged = f"{_STAGING}/{secrets.token_hex(16)}"
        try:
            obstore.put(self._local, staged, data, use_multipart=False)
            _sync(self._folder / staged)
            obstore.rename(self._local, staged, key)
        except BaseException:
            (self._folder / staged).unlink(missing_ok=True)
            raise
        _sync((self._folder / key).parent)
        _sync(self._folder)


def _sync(path: Path) -> None:
    """Wait until a file's bytes, or a folder's names, are on the disk."""
    descriptor = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
