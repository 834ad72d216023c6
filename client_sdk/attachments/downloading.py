"""Downloading a sealed file into a spool file, in ranges (RFC 9110 section 14), resumable at any byte."""

from __future__ import annotations

import os
import re
from collections.abc import Iterator
from contextlib import contextmanager
from functools import partial
from http import HTTPStatus
from pathlib import Path
from typing import BinaryIO, Final

import aiohttp

from client_sdk.attachments.blobs import Access, Blobs
from client_sdk.attachments.errors import (
    SealedFileExtended,
    SealedFileInvalid,
    SealedFileTruncated,
    TransferRefused,
)
from client_sdk.attachments.pieces import run_to_end
from client_sdk.attachments.progress import OnProgress, Phase, Progress
from client_sdk.attachments.retrying import PASSING, Attempts, Retry, TryAgain
from client_sdk.attachments.storage import storage_errors
from relay.wire.ids import BlobId
from relay.wire.limits import MAX_BLOB_BYTES

BLOCK_BYTES: Final = 256 * 1024
_CONTENT_RANGE: Final = re.compile(r"bytes (\d{1,19})-(\d{1,19})/(\d{1,19})", re.ASCII)


class Download:
    """One download of a blob; the spool file holds what has arrived, so `run` may be called again."""

    def __init__(
        self,
        blob: BlobId,
        sealed_size: int,
        spool: Path,
        *,
        session: aiohttp.ClientSession,
        access: Access,
        progress: OnProgress | None = None,
        retry: Retry | None = None,
    ) -> None:
        if not 0 < sealed_size <= MAX_BLOB_BYTES:
            raise ValueError("no sealed file has this size")
        self._blob = blob
        self._size = sealed_size
        self._spool = spool
        self._blobs = Blobs(session, access)
        self._progress = progress
        self._retry = retry or Retry()

    async def run(self) -> Path:
        """Fetch what is missing and return the spool file, complete and durable; `open_sealed` checks it.

        Never stores more than ``sealed_size`` bytes. Raises `TransferInterrupted`, `TransferRefused`,
        `BlobGone`, `StorageFailed`, or `SealedFileTruncated` or `SealedFileExtended` as soon as the relay
        names another size (the spool file is gone then). When cancelled, what has arrived stays and the next
        run continues.
        """
        attempts = Attempts(self._retry)
        with _opened_spool(self._spool) as spool:
            try:
                while spool.tell() != self._size:
                    await self._attempt(spool, attempts)
            except SealedFileInvalid:
                self._spool.unlink(missing_ok=True)
                raise
            await run_to_end(partial(_sync, spool))
        return self._spool

    async def _attempt(self, spool: BinaryIO, attempts: Attempts) -> None:
        try:
            await self._fetch_rest(spool, attempts)
        except PASSING as error:
            await attempts.wait_after(error)
        except TransferRefused as error:
            if error.status == HTTPStatus.REQUESTED_RANGE_NOT_SATISFIABLE:
                raise SealedFileTruncated("The relay has less than the sender sealed.") from error
            raise

    async def _fetch_rest(self, spool: BinaryIO, attempts: Attempts) -> None:
        if spool.tell() > self._size:
            _cut(spool, 0)
        self._report(spool)
        headers = {"Range": f"bytes={spool.tell()}-", "Accept-Encoding": "identity"}
        async with self._blobs.request("GET", self._blob, headers=headers) as response:
            self._check_range(response, spool)
            async for block in response.content.iter_chunked(BLOCK_BYTES):
                if spool.tell() + len(block) > self._size:
                    raise SealedFileExtended("The relay sends more than the sender sealed.")
                await run_to_end(partial(_write, spool, block))
                attempts.moved()
                self._report(spool)
        if spool.tell() != self._size:
            raise TryAgain("the answer ended early")

    def _check_range(self, response: aiohttp.ClientResponse, spool: BinaryIO) -> None:
        if response.status == HTTPStatus.OK:
            _cut(spool, 0)
            total = response.content_length
            if total is None:
                return
        else:
            match = _CONTENT_RANGE.fullmatch(response.headers.get("Content-Range", ""))
            if match is None or int(match[1]) != spool.tell():
                raise TryAgain("the relay answered with another range")
            total = int(match[3])
        if total < self._size:
            raise SealedFileTruncated("The relay has less than the sender sealed.")
        if total > self._size:
            raise SealedFileExtended("The relay has more than the sender sealed.")

    def _report(self, spool: BinaryIO) -> None:
        if self._progress is not None:
            self._progress(Progress(spool.tell(), self._size, Phase.DOWNLOAD))


@contextmanager
def _opened_spool(spool: Path) -> Iterator[BinaryIO]:
    """Positioned at its end: that is how much has arrived."""
    with storage_errors("The download could not be stored"):
        descriptor = os.open(spool, os.O_RDWR | os.O_CREAT, 0o600)
        os.lseek(descriptor, 0, os.SEEK_END)
    with open(descriptor, "rb+", buffering=0) as file:
        yield file


def _cut(spool: BinaryIO, length: int) -> None:
    with storage_errors("The download could not be stored"):
        spool.truncate(length)
        spool.seek(length)


def _write(spool: BinaryIO, block: bytes) -> None:
    with storage_errors("The download could not be stored"):
        view = memoryview(block)
        while view:
            view = view[spool.write(view) :]


def _sync(spool: BinaryIO) -> None:
    with storage_errors("The download could not be stored"):
        os.fsync(spool.fileno())
