"""Cross-origin requests (Fetch standard): pages of portals may upload and download, no other page.

A preflight has no credentials, so it asks only whether some portal has the page's origin; the request itself
needs a blob token of the very portal that has it. The answer names that one origin, never all.
"""

from __future__ import annotations

import time
from collections.abc import Mapping
from http import HTTPStatus
from types import MappingProxyType
from typing import Final

from aiohttp import web
from aiohttp.typedefs import Handler

from relay.core.portals import PortalRecord
from relay.http.problems import Problem
from relay.hub import Portals

PATHS: Final = "/v1/blobs"
REMEMBER_SECONDS: Final = 2.0  # anyone may ask: no more than one look at the portals in so long
_ALLOWED: Final = MappingProxyType(
    {
        "Access-Control-Allow-Methods": "GET, HEAD, POST, PATCH, DELETE",
        "Access-Control-Allow-Headers": "Authorization, Content-Type, If-Range, Range, Tus-Resumable, "
        "Upload-Checksum, Upload-Length, Upload-Metadata, Upload-Offset, X-HTTP-Method-Override",
        "Access-Control-Max-Age": "600",
    }
)
_EXPOSED: Final = (
    "Accept-Ranges, Content-Length, Content-Range, ETag, Location, Retry-After, Tus-Checksum-Algorithm, "
    "Tus-Extension, Tus-Max-Size, Tus-Resumable, Tus-Version, Upload-Expires, Upload-Length, Upload-Offset"
)
_ORIGIN: Final = web.RequestKey("cors_origin", str)
OWN_ORIGINS: Final = web.AppKey("own_origins", tuple[str, ...])
"""The relay's own origins where it serves the browser's element; none where it serves no page."""


class Cors:
    """Knows the origins of all portals."""

    def __init__(self, portals: Portals) -> None:
        self._portals = portals
        self._origins: dict[str, frozenset[str]] = {}
        self._read_at = -REMEMBER_SECONDS

    @web.middleware
    async def middleware(self, request: web.Request, handler: Handler) -> web.StreamResponse:
        """Note the origin of a page that some portal has."""
        origin = request.headers.get("Origin")
        if origin is not None and is_shared(request) and origin in await self._known():
            request[_ORIGIN] = origin
        return await handler(request)

    async def origins_beside(self, origin: str) -> frozenset[str]:
        """All origins of the portals that have this one, itself too; none if no portal has it."""
        return (await self._known()).get(origin, frozenset())

    async def _known(self) -> Mapping[str, frozenset[str]]:
        if time.monotonic() - self._read_at >= REMEMBER_SECONDS:
            found: dict[str, frozenset[str]] = {}
            for portal in await self._portals.list():
                for origin in portal.origins:
                    found[origin] = found.get(origin, frozenset()) | frozenset(portal.origins)
            self._origins = found
            self._read_at = time.monotonic()
        return self._origins


def is_shared(request: web.Request) -> bool:
    """Whether pages of other origins may ask for this path at all."""
    return request.path == PATHS or request.path.startswith(f"{PATHS}/")


def check_origin(request: web.Request, portal: PortalRecord) -> None:
    """Raise `Problem` (403) if the request comes from a page that is not one of the portal's."""
    origin = request.headers.get("Origin")
    own = request.app.get(OWN_ORIGINS, ())
    if origin is not None and origin not in portal.origins and origin not in own:
        request.pop(_ORIGIN, None)
        raise Problem(
            HTTPStatus.FORBIDDEN, "origin_not_allowed", "The page's origin is not one of its portal's."
        )


def headers_of(request: web.Request) -> Mapping[str, str]:
    """What an answer tells the browser about who may read it."""
    if not is_shared(request):
        return {}
    origin = request.get(_ORIGIN)
    if origin is None:
        return {"Vary": "Origin"}
    allowed = {"Access-Control-Allow-Origin": origin, "Vary": "Origin"}
    if request.method == "OPTIONS":
        return {**allowed, **_ALLOWED}
    return {**allowed, "Access-Control-Expose-Headers": _EXPOSED}
