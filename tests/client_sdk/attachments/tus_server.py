"""A small tus 1.0 server that can be told to fail in every way a network and a relay fail."""

from __future__ import annotations

import base64
import re
from dataclasses import dataclass, field
from typing import Any

from aiohttp import web

TUS = {"Tus-Resumable": "1.0.0"}


@dataclass
class Stored:
    length: int
    data: bytearray = field(default_factory=bytearray)


class TusServer:
    """State and faults are plain attributes; `token` is the only one it lets in."""

    def __init__(self) -> None:
        self.blobs: dict[str, Stored] = {}
        self.token = "token-1"
        self.log: list[str] = []
        self.statuses: dict[str, list[int]] = {}
        """For a method: statuses to answer with, one a request, instead of serving it."""
        self.cut_uploads: list[int] = []
        """Each: take this many bytes of a PATCH, then cut the connection."""
        self.cut_downloads: list[int] = []
        """Each: give this many bytes of a GET, then cut the connection."""
        self.ignore_ranges = False
        self.location = "/v1/blobs/{}"
        self._next = 0

    def app(self) -> web.Application:
        app = web.Application(client_max_size=2**31)
        app.router.add_route("POST", "/v1/blobs", self.create)
        app.router.add_route("HEAD", "/v1/blobs/{blob}", self.head)
        app.router.add_route("PATCH", "/v1/blobs/{blob}", self.patch)
        app.router.add_route("GET", "/v1/blobs/{blob}", self.get, name="get")
        app.middlewares.append(self.gate)
        return app

    @property
    def gate(self) -> Any:
        @web.middleware
        async def gate(request: web.Request, handler: Any) -> web.StreamResponse:
            self.log.append(request.method)
            if request.headers.get("Authorization") != f"Bearer {self.token}":
                return web.Response(status=401)
            if self.statuses.get(request.method):
                status = self.statuses[request.method].pop(0)
                return web.Response(status=status, headers={"Location": "/v1/elsewhere"})
            if request.method != "GET":
                assert request.headers["Tus-Resumable"] == "1.0.0"
            response: web.StreamResponse = await handler(request)
            return response

        return gate

    async def create(self, request: web.Request) -> web.Response:
        self._next += 1
        blob = base64.urlsafe_b64encode(self._next.to_bytes(16, "big")).rstrip(b"=").decode()
        self.blobs[blob] = Stored(int(request.headers["Upload-Length"]))
        return web.Response(status=201, headers={**TUS, "Location": self.location.format(blob)})

    async def head(self, request: web.Request) -> web.Response:
        stored = self.stored(request)
        headers = {**TUS, "Upload-Offset": str(len(stored.data)), "Upload-Length": str(stored.length)}
        return web.Response(headers={**headers, "Cache-Control": "no-store"})

    async def patch(self, request: web.Request) -> web.Response:
        stored = self.stored(request)
        assert request.content_type == "application/offset+octet-stream"
        if int(request.headers["Upload-Offset"]) != len(stored.data):
            return web.Response(status=409)
        cut = self.cut_uploads.pop(0) if self.cut_uploads else None
        taken = 0
        async for block in request.content.iter_any():
            stored.data += block if cut is None else block[: cut - taken]
            taken += len(block)
            if cut is not None and taken >= cut:
                assert request.transport is not None
                request.transport.close()
                return web.Response(status=500)
        return web.Response(status=204, headers={**TUS, "Upload-Offset": str(len(stored.data))})

    async def get(self, request: web.Request) -> web.StreamResponse:
        data = bytes(self.stored(request).data)
        match = re.fullmatch(r"bytes=(\d+)-", request.headers.get("Range", ""))
        start = 0 if match is None or self.ignore_ranges else int(match[1])
        if start >= len(data):
            return web.Response(status=416)
        response = web.StreamResponse(status=200 if self.ignore_ranges else 206)
        response.content_length = len(data) - start
        if not self.ignore_ranges:
            response.headers["Content-Range"] = f"bytes {start}-{len(data) - 1}/{len(data)}"
        await response.prepare(request)
        cut = self.cut_downloads.pop(0) if self.cut_downloads else None
        await response.write(data[start:] if cut is None else data[start : start + cut])
        if cut is not None:
            assert request.transport is not None
            request.transport.close()
        return response

    def stored(self, request: web.Request) -> Stored:
        try:
            return self.blobs[request.match_info["blob"]]
        except KeyError:
            raise web.HTTPNotFound from None
