"""The browser element's release files, where the operator has the relay serve them (`serve_element`).

The frame's page may be embedded by the pages of the portal whose page asks for it, and by no other: the page
around it says its origin, and the answer names all origins of the portals that have it. Nobody learns other
portals' origins.
"""

from __future__ import annotations

import gzip
import hashlib
from collections.abc import Mapping
from dataclasses import dataclass
from http import HTTPStatus
from importlib.util import find_spec
from pathlib import Path
from types import MappingProxyType
from typing import Final

from aiohttp import web

from relay.config import ConfigError
from relay.http.cors import Cors
from relay.http.middleware import HEADERS
from relay.http.problems import Problem

PATH: Final = "/element"
FRAME: Final = "frame.html"
LICENSES: Final = "licenses.txt"
NAMES: Final = MappingProxyType(
    {
        "coach-relay-loader.js": "text/javascript",
        "coach-relay.js": "text/javascript",
        FRAME: "text/html",
        "frame.js": "text/javascript",
        "hashes.json": "application/json",
        LICENSES: "text/plain",
    }
)
_PLACES: Final = ("browser_files", "browser/dist/release")  # of an installed wheel, of a source checkout
_EVERY_FILE: Final = MappingProxyType(
    {
        "Access-Control-Allow-Origin": "*",  # public: so that a page may check its hash
        "Cross-Origin-Resource-Policy": "cross-origin",
        "Cache-Control": "no-cache",  # kept, and asked for anew: script and page are of one release
        "Vary": "Accept-Encoding",
    }
)
_REFUSED: Final = MappingProxyType({"Access-Control-Allow-Origin": "*"})
_POWERS: Final = (
    "camera=(self), microphone=(self), display-capture=(self), autoplay=(self), fullscreen=(self)"
)


@dataclass(frozen=True, slots=True)
class _File:
    kind: str
    body: bytes
    packed: bytes
    etag: str


def element_folder() -> Path:
    """Where this installation's release files are. Raises `ConfigError`."""
    spec = find_spec("client_sdk")  # found, not imported: the relay runs none of the SDK
    roots = spec.submodule_search_locations if spec else None
    for folder in (Path(root, place) for root in roots or () for place in _PLACES):
        if all((folder / name).is_file() for name in NAMES if name != LICENSES):  # the first builds had none
            return folder
    raise ConfigError(
        "serve_element = true, but the element's files are not in this installation; install the wheel, "
        "or build them in a source checkout: make browser"
    )


class ElementFiles:
    """The release files, read once. Raises `ConfigError` if they are not there."""

    def __init__(self, folder: Path, cors: Cors, origins: tuple[str, ...]) -> None:
        self._cors = cors
        self._connect = " ".join((*origins, *(f"ws{origin.removeprefix('http')}" for origin in origins)))
        there = {name: folder / name for name in NAMES if (folder / name).is_file()}
        self._files = {name: _read(path, NAMES[name]) for name, path in there.items()}

    def routes(self) -> list[web.RouteDef]:
        return [web.get(f"{PATH}/{{name}}", self._get)]

    async def _get(self, request: web.Request) -> web.Response:
        file = self._files.get(request.match_info["name"])
        if file is None:
            raise web.HTTPNotFound
        headers = {**_EVERY_FILE, "ETag": file.etag}
        request[HEADERS] = _REFUSED  # so that the loader can tell its page's developer
        if file is self._files[FRAME]:
            headers |= await self._frame_headers(request.query.get("parent", ""))
        request[HEADERS] = headers
        if file.etag in request.headers.get("If-None-Match", ""):
            return web.Response(status=HTTPStatus.NOT_MODIFIED)
        return _answer(file, packed="gzip" in request.headers.get("Accept-Encoding", ""))

    async def _frame_headers(self, parent: str) -> Mapping[str, str]:
        embedding = await self._cors.origins_beside(parent)
        if not embedding:
            raise Problem(
                HTTPStatus.FORBIDDEN,
                "origin_not_allowed",
                "The page's origin is not one of its portal's: coach-relay portal set-origins.",
            )
        return {
            "Content-Security-Policy": frame_policy(self._connect, " ".join(sorted(embedding))),
            "Permissions-Policy": _POWERS,
            "Cross-Origin-Embedder-Policy": "require-corp",
        }


def frame_policy(connect: str, ancestors: str) -> str:
    """The Content-Security-Policy of the frame's page (docs/EMBEDDING.md explains each part)."""
    return (
        "default-src 'none'; script-src 'self' 'wasm-unsafe-eval'; worker-src blob:; frame-src blob:; "
        f"connect-src 'self' {connect}; img-src blob:; media-src blob:; style-src 'self'; "
        f"frame-ancestors {ancestors}; base-uri 'none'; form-action 'none'; "
        "require-trusted-types-for 'script'; trusted-types default lit-html"
    )


def _read(path: Path, kind: str) -> _File:
    body = path.read_bytes()
    return _File(kind, body, gzip.compress(body, mtime=0), f'"{hashlib.sha256(body).hexdigest()[:32]}"')


def _answer(file: _File, *, packed: bool) -> web.Response:
    return web.Response(
        body=file.packed if packed else file.body,
        headers={"Content-Encoding": "gzip"} if packed else {},
        content_type=file.kind,
        charset="utf-8",
    )
