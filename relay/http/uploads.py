"""Uploads: tus 1.0.0 at /v1/blobs, streamed to the blob store (PROTOCOL 14).

Of its extensions: creation, expiration, checksum, termination.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from email.utils import formatdate
from http import HTTPStatus
from types import MappingProxyType
from typing import Final

from aiohttp import web

from relay.blobs import PART_BYTES, BlobStore
from relay.core.uploads import UploadRecord
from relay.errors import NotFound
from relay.http.blob_requests import BlobRequests, Places, blob_id
from relay.http.checksums import ALGORITHMS, Checksum, parse_checksum
from relay.http.json_body import BODY_FAULTS
from relay.http.problems import Problem, malformed
from relay.http.turns import IDLE_SECONDS, Interrupted, Turn, Turns
from relay.wire.ids import BlobId
from relay.wire.limits import UNNAMED_BLOB_SECONDS

VERSION: Final = "1.0.0"
EXTENSIONS: Final = "creation,expiration,checksum,termination"
CONTENT_TYPE: Final = "application/offset+octet-stream"
MAX_UPLOADS_A_DEVICE: Final = 4  # what a device sends at once; more would only share its line

_TUS: Final = MappingProxyType({"Tus-Resumable": VERSION})
_match_number: Final = re.compile(r"[0-9]{1,15}", re.A).fullmatch


class Uploads:
    """The handlers of tus. `places` bounds how many requests write at once."""

    def __init__(self, requests: BlobRequests, blobs: BlobStore, *, max_bytes: int, max_at_once: int) -> None:
        self._requests = requests
        self._blobs = blobs
        self._max_bytes = max_bytes
        self._turns = Turns()
        self._places = Places(max_at_once, per_device=MAX_UPLOADS_A_DEVICE)

    def routes(self) -> list[web.RouteDef]:
        return [
            web.options("/v1/blobs", self.options),
            web.options("/v1/blobs/{id}", self.options),
            web.post("/v1/blobs", self.create),
            web.head("/v1/blobs/{id}", self.head),
            web.patch("/v1/blobs/{id}", self.patch),
            web.post("/v1/blobs/{id}", self.override),
            web.delete("/v1/blobs/{id}", self.terminate),
        ]

    async def wait_idle(self) -> None:
        """Wait until no request is writing."""
        await self._places.wait_idle()

    async def options(self, _request: web.Request) -> web.Response:
        """What this server can do: the one tus request that needs no authorization and no version."""
        able = {
            "Tus-Version": VERSION,
            "Tus-Extension": EXTENSIONS,
            "Tus-Max-Size": str(self._max_bytes),
            "Tus-Checksum-Algorithm": ",".join(ALGORITHMS),
        }
        return web.Response(status=HTTPStatus.NO_CONTENT, headers={**_TUS, **able})

    async def create(self, request: web.Request) -> web.Response:
        """Begin an upload. Its metadata is not looked at: names and types of files are nobody's business
        here.
        """
        _check_version(request)
        grant = await self._requests.grant(request)
        size = _number(request, "Upload-Length")
        if size > self._max_bytes:
            raise _problem(413, "too_big", f"An upload may have {self._max_bytes} bytes at most.")
        record = await self._requests.create(grant, size)
        headers = {**_TUS, "Location": f"/v1/blobs/{record.blob}", **_expires(record)}
        return web.Response(status=HTTPStatus.CREATED, headers=headers)

    async def head(self, request: web.Request) -> web.Response:
        """Tell how much is durable, after letting an interrupted request store what it has."""
        _check_version(request)
        grant = await self._requests.grant(request)
        record = await self._requests.record(grant, blob_id(request))
        offset = record.size
        if not record.finished:
            async with self._turns.take(record.blob):
                offset = await self._size(record)
        headers = {
            **_TUS,
            "Upload-Offset": str(offset),
            "Upload-Length": str(record.size),
            **_expires(record),
        }
        return web.Response(headers=headers)

    async def override(self, request: web.Request) -> web.Response:
        """X-HTTP-Method-Override, for clients that cannot send PATCH or DELETE (tus core protocol)."""
        method = request.headers.get("X-HTTP-Method-Override", "").upper()
        if method == "DELETE":
            return await self.terminate(request)
        if method != "PATCH":
            raise web.HTTPMethodNotAllowed("POST", ["DELETE", "GET", "HEAD", "OPTIONS", "PATCH"])
        return await self.patch(request)

    async def terminate(self, request: web.Request) -> web.Response:
        """Give an upload up. Only the device that began it may, and only before an entry names it.

        With `?retracted=1` also afterwards: its message was taken back.
        """
        _check_version(request)
        retracted = request.query.get("retracted") == "1"
        grant = await self._requests.grant(request)
        record = await self._requests.record(grant, blob_id(request))
        async with self._turns.take(record.blob):
            await self._requests.terminate(grant, record.blob, retracted=retracted)
            await self._blobs.delete(record.blob)
        return web.Response(status=HTTPStatus.NO_CONTENT, headers=_TUS)

    async def patch(self, request: web.Request) -> web.Response:
        """Store bytes from `Upload-Offset` on. What was stored when this is answered survives a crash.

        With `Upload-Checksum` all of the request's bytes are stored, or none.
        """
        _check_version(request)
        if request.content_type != CONTENT_TYPE:
            raise _problem(415, "unsupported_media_type", f"The body must be {CONTENT_TYPE}.")
        expected = _number(request, "Upload-Offset")
        checksum = _checksum(request)
        grant = await self._requests.grant(request)
        record = await self._requests.record(grant, blob_id(request))
        with self._places.take(grant):
            async with self._requests.transfer(request, grant), self._turns.take(record.blob) as turn:
                offset = await self._size(record)
                _check_place(request, record, offset=offset, expected=expected)
                offset = await self._store(request, record, turn, offset, checksum)
        headers = {**_TUS, "Upload-Offset": str(offset), **_expires(record)}
        return web.Response(status=HTTPStatus.NO_CONTENT, headers=headers)

    async def _size(self, record: UploadRecord) -> int:
        """How much of an upload is durable. A crash may have come between its last bytes and its record."""
        size = await self._blobs.size(record.blob)
        if size == record.size and not record.finished:
            await self._requests.finish(record)
        return size

    async def _store(
        self,
        request: web.Request,
        record: UploadRecord,
        turn: Turn,
        offset: int,
        checksum: Checksum | None,
    ) -> int:
        writer = _PartWriter(self._blobs, record.blob, offset, checksum)
        fault: Problem | None = None
        try:
            while chunk := await turn.read(request.content):
                if writer.end + len(chunk) > record.size:
                    fault = _problem(413, "too_big", "The bytes go beyond the Upload-Length.")
                    break
                await writer.write(chunk)
        except Interrupted:
            fault = _problem(409, "offset_conflict", "Another request goes on with this upload.")
        except TimeoutError:
            fault = _problem(408, "request_timeout", f"Nothing came for {IDLE_SECONDS:.0f} s.")
        except BODY_FAULTS:
            fault = _problem(400, "malformed", "The body broke off.")
        if checksum is not None and fault is not None:
            raise fault
        offset = await writer.flush()
        await self._settle(record, offset)
        if fault is not None:
            raise fault
        return offset

    async def _settle(self, record: UploadRecord, offset: int) -> None:
        """Note what was stored; if the upload was erased meanwhile, its new bytes go too."""
        try:
            if offset == record.size:
                await self._requests.finish(record)
            else:
                await self._requests.reread(record)
        except NotFound:
            await self._blobs.delete(record.blob)
            raise


class _PartWriter:
    """Collects what comes into pieces that end where the store's parts end: each is written once.

    With a checksum nothing is written before all of it has come.
    """

    def __init__(self, blobs: BlobStore, blob: BlobId, offset: int, checksum: Checksum | None) -> None:
        self._blobs = blobs
        self._blob = blob
        self._offset = offset
        self._buffer = bytearray()
        self._checksum = checksum

    @property
    def end(self) -> int:
        """The offset after everything that was written so far, durable or not."""
        return self._offset + len(self._buffer)

    async def write(self, data: bytes) -> None:
        self._buffer += data
        if self._checksum is not None:
            return
        if self.end // PART_BYTES > self._offset // PART_BYTES:
            full = self.end // PART_BYTES * PART_BYTES - self._offset
            piece = bytes(self._buffer[:full])
            del self._buffer[:full]
            self._offset = await self._blobs.append(self._blob, piece, offset=self._offset)

    async def flush(self) -> int:
        """Make everything durable, and return its end; raises `Problem` if it is not what was meant."""
        if self._checksum is not None:
            _check(self._checksum, self._buffer)
        piece, self._buffer = bytes(self._buffer), bytearray()
        self._offset = await self._blobs.append(self._blob, piece, offset=self._offset)
        return self._offset


def _check_version(request: web.Request) -> None:
    if request.headers.get("Tus-Resumable") != VERSION:
        raise _problem(
            412, "unsupported_version", f"Tus-Resumable must be {VERSION}.", {"Tus-Version": VERSION}
        )


def _checksum(request: web.Request) -> Checksum | None:
    try:
        return parse_checksum(request.headers.get("Upload-Checksum"), request.content_length)
    except Problem as problem:
        raise _tus(problem) from None


def _check(checksum: Checksum, data: bytearray) -> None:
    try:
        checksum.check(data)
    except Problem as problem:
        raise _tus(problem) from None


def _check_place(request: web.Request, record: UploadRecord, *, offset: int, expected: int) -> None:
    if offset != expected:
        raise _problem(
            409, "offset_conflict", f"The upload stands at {offset}.", {"Upload-Offset": str(offset)}
        )
    if offset + (request.content_length or 0) > record.size:
        raise _problem(413, "too_big", "The bytes go beyond the Upload-Length.")


def _number(request: web.Request, header: str) -> int:
    value = request.headers.get(header, "")
    if not _match_number(value):
        raise _tus(malformed(f"The header {header} must be a whole number."))
    return int(value)


def _expires(record: UploadRecord) -> dict[str, str]:
    """When the upload goes unless an entry names it (tus expiration)."""
    if record.named_ms:
        return {}
    return {"Upload-Expires": formatdate(record.created_ms // 1000 + UNNAMED_BLOB_SECONDS, usegmt=True)}


def _problem(
    status: int, code: str, detail: str, headers: Mapping[str, str] = MappingProxyType({})
) -> Problem:
    return Problem(status, code, detail, headers={**_TUS, **headers})


def _tus(problem: Problem) -> Problem:
    return Problem(problem.status, problem.code, problem.detail, headers={**_TUS, **problem.headers})
