"""Downloads of sealed blobs: whole or one range, in pieces of bounded size (PROTOCOL 14)."""

from __future__ import annotations

import asyncio
import logging
from http import HTTPStatus
from typing import Final

from aiohttp import web

from relay.blobs import BlobStore
from relay.errors import RelayError
from relay.http.blob_requests import BlobRequests, Places, blob_id
from relay.http.logs import log
from relay.http.problems import Problem, not_found
from relay.http.ranges import RangeNotSatisfiable, select_range
from relay.wire.ids import BlobId

MAX_DOWNLOADS: Final = 256  # each holds about one piece: 512 KiB
MAX_DOWNLOADS_A_DEVICE: Final = 8
STALL_SECONDS: Final = 60.0  # how long a peer may take nothing


class Downloads:
    """The handler of GET /v1/blobs/{id}."""

    def __init__(self, requests: BlobRequests, blobs: BlobStore) -> None:
        self._requests = requests
        self._blobs = blobs
        self._places = Places(MAX_DOWNLOADS, per_device=MAX_DOWNLOADS_A_DEVICE)

    def routes(self) -> list[web.RouteDef]:
        return [web.get("/v1/blobs/{id}", self.get, allow_head=False)]

    async def wait_idle(self) -> None:
        """Wait until no request is reading."""
        await self._places.wait_idle()

    async def get(self, request: web.Request) -> web.StreamResponse:
        """Send a finished blob, or the range of it that is asked for."""
        grant = await self._requests.grant(request)
        record = await self._requests.record(grant, blob_id(request))
        if not record.finished:
            raise not_found()
        etag = f'"{record.blob}"'  # strong: a finished blob never changes
        selected = _select(request, record.size, etag)
        start, end = selected or (0, record.size)
        response = web.StreamResponse(status=HTTPStatus.PARTIAL_CONTENT if selected else HTTPStatus.OK)
        response.headers.update({"Accept-Ranges": "bytes", "ETag": etag, "Content-Disposition": "attachment"})
        response.content_type = "application/octet-stream"
        response.content_length = end - start
        if selected:
            response.headers["Content-Range"] = f"bytes {start}-{end - 1}/{record.size}"
        with self._places.take(grant):
            async with self._requests.transfer(request, grant):
                await response.prepare(request)
                await self._send(response, record.blob, start, end)
        return response

    async def _send(self, response: web.StreamResponse, blob: BlobId, start: int, end: int) -> None:
        """Send the bytes. A fault now can only be told by breaking off: the length was promised."""
        try:
            async for piece in self._blobs.read(blob, start=start, end=end):
                async with asyncio.timeout(STALL_SECONDS):
                    await response.write(piece)
        except (RelayError, TimeoutError) as error:
            log(logging.ERROR, "download broken off", error=error)
            raise ConnectionResetError("download broken off") from error


def _select(request: web.Request, size: int, etag: str) -> tuple[int, int] | None:
    try:
        return select_range(
            request.headers.get("Range"), request.headers.get("If-Range"), size=size, etag=etag
        )
    except RangeNotSatisfiable:
        raise Problem(
            HTTPStatus.REQUESTED_RANGE_NOT_SATISFIABLE,
            "range_not_satisfiable",
            "The blob has no such bytes.",
            headers={"Content-Range": f"bytes */{size}", "Accept-Ranges": "bytes"},
        ) from None
