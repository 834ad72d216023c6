"""Uploading a spool file: a tus 1.0.0 client (core and creation; https://tus.io/protocols/resumable-upload)."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Final

import aiohttp
import msgpack

from client_sdk.attachments.blobs import Access, Blobs
from client_sdk.attachments.errors import AttachmentError, BlobGone, SpoolMissing
from client_sdk.attachments.progress import OnProgress, Phase, Progress
from client_sdk.attachments.retrying import PASSING, Attempts, Retry, TryAgain
from client_sdk.attachments.storage import storage_errors
from relay.wire.ids import BlobId, parse_blob_id

TUS: Final = {"Tus-Resumable": "1.0.0"}
FIRST_PIECE: Final = 1024 * 1024
LARGEST_PIECE: Final = 4 * 1024 * 1024
"""Held in memory; larger pieces gain nothing."""
SMALLEST_PIECE: Final = 128 * 1024
"""What even a poor connection moves in one go."""
SOON_SECONDS: Final = 2.0
"""A piece that takes less may grow: progress is seen, and a cut costs, about this long."""
PIECE_TIMEOUT: Final = aiohttp.ClientTimeout(total=120, sock_connect=15, sock_read=60)
BLOCK_BYTES: Final = 64 * 1024
MAX_ANEW: Final = 3
"""Uploads begun anew because the relay had lost the one before; then something else is wrong."""


@dataclass(frozen=True, slots=True)
class UploadState:
    """What has to be kept to resume an upload after a restart; the offset is the relay's to say."""

    blob: BlobId | None = None

    def serialize(self) -> bytes:
        """The bytes to keep."""
        packed: bytes = msgpack.packb([1, self.blob])
        return packed

    @classmethod
    def parse(cls, data: bytes) -> UploadState:
        """The state behind kept bytes; raises AttachmentError for anything else."""
        try:
            version, blob = msgpack.unpackb(data)
            if version != 1:
                raise ValueError("a later version")
            return cls(None if blob is None else parse_blob_id(blob))
        except (ValueError, TypeError) as error:
            raise AttachmentError("The kept state of an upload is not readable: begin it anew.") from error


class Upload:
    """One upload of a whole spool file; `run` may be called again after any error and continues.

    ``remember`` is awaited with each new state before anything is sent under it: keep it to resume after a
    restart.
    """

    def __init__(
        self,
        spool: Path,
        *,
        session: aiohttp.ClientSession,
        access: Access,
        state: UploadState | None = None,
        remember: Callable[[UploadState], Awaitable[None]] | None = None,
        progress: OnProgress | None = None,
        retry: Retry | None = None,
    ) -> None:
        self._spool = spool
        self._blobs = Blobs(session, access)
        self.state = state or UploadState()
        self._remember = remember
        self._progress = progress
        self._retry = retry or Retry()
        self._piece = FIRST_PIECE
        self._anew = 0

    async def run(self) -> BlobId:
        """Upload what the relay does not have yet and return the blob's id when it has everything.

        Raises `TransferInterrupted`, `TransferRefused`, `BlobGone`, `SpoolMissing` or `StorageFailed`. When
        cancelled, the relay keeps what it has taken.
        """
        size = await self._spool_size()
        attempts = Attempts(self._retry)
        while True:
            try:
                return await self._send_rest(size, attempts)
            except BlobGone:
                await self._begin_anew()
            except PASSING as error:
                self._piece = max(SMALLEST_PIECE, self._piece // 2)
                await attempts.wait_after(error)

    async def _send_rest(self, size: int, attempts: Attempts) -> BlobId:
        blob = self.state.blob or await self._create(size)
        offset = await self._offset(blob, size)
        self._report(offset, size)
        while offset < size:
            offset = await self._patch(blob, offset, size)
            attempts.moved()
            self._report(offset, size)
        return blob

    async def _create(self, size: int) -> BlobId:
        async with self._blobs.request("POST", headers={**TUS, "Upload-Length": str(size)}) as response:
            location = response.headers.get("Location", "")
        try:
            blob = parse_blob_id(location.rstrip("/").rpartition("/")[2])
        except ValueError as error:
            raise TryAgain("the relay named no upload") from error
        await self._keep(UploadState(blob))
        return blob

    async def _offset(self, blob: BlobId, size: int) -> int:
        async with self._blobs.request("HEAD", blob, headers=TUS) as response:
            offset = _number(response, "Upload-Offset")
            length = _number(response, "Upload-Length")
        if length != size or offset > size:
            raise BlobGone("The relay's upload is of another file.")
        return offset

    async def _patch(self, blob: BlobId, offset: int, size: int) -> int:
        piece = await asyncio.to_thread(self._read, offset, min(self._piece, size - offset))
        headers = {
            **TUS,
            "Upload-Offset": str(offset),
            "Content-Type": "application/offset+octet-stream",
            "Content-Length": str(len(piece)),
        }
        begun = self._retry.clock()
        async with self._blobs.request(
            "PATCH", blob, headers=headers, body=lambda: _blocks(piece), timeout=PIECE_TIMEOUT
        ) as response:
            taken = _number(response, "Upload-Offset")
        if not offset < taken <= offset + len(piece):
            raise TryAgain("the relay's offset makes no sense")
        if self._retry.clock() - begun < SOON_SECONDS:
            self._piece = min(LARGEST_PIECE, self._piece * 2)
        return taken

    async def _begin_anew(self) -> None:
        self._anew += 1
        if self._anew > MAX_ANEW:
            raise BlobGone(f"The relay lost the upload {self._anew} times.")
        await self._keep(UploadState())

    async def _keep(self, state: UploadState) -> None:
        self.state = state
        if self._remember is not None:
            await self._remember(state)

    async def _spool_size(self) -> int:
        try:
            return (await asyncio.to_thread(self._spool.stat)).st_size
        except FileNotFoundError as error:
            raise SpoolMissing("The sealed copy is no longer on this device.") from error

    def _read(self, offset: int, length: int) -> bytes:
        try:
            with storage_errors("The sealed copy could not be read"), self._spool.open("rb") as file:
                file.seek(offset)
                piece = file.read(length)
        except FileNotFoundError as error:
            raise SpoolMissing("The sealed copy is no longer on this device.") from error
        if len(piece) != length:
            raise SpoolMissing("The sealed copy is no longer complete.")
        return piece

    def _report(self, offset: int, size: int) -> None:
        if self._progress is not None:
            self._progress(Progress(offset, size, Phase.UPLOAD))


async def _blocks(piece: bytes) -> AsyncIterator[memoryview]:
    """In small blocks, so that the event loop is never held up by one large write."""
    view = memoryview(piece)
    for start in range(0, len(view), BLOCK_BYTES):
        yield view[start : start + BLOCK_BYTES]


def _number(response: aiohttp.ClientResponse, header: str) -> int:
    text = response.headers.get(header, "")
    if not (text.isascii() and text.isdigit() and len(text) <= 19):
        raise TryAgain(f"the relay's {header} is no number")
    return int(text)
