"""The make-believe portal with pages, a process of its own: coach and client have an origin each.

It takes PORTAL_ID, PORTAL_API_KEY and PORTAL_TOKEN_SECRET as `coach-relay portal add` prints them, RELAY_URL
and PORTAL_PORT. docs/EMBEDDING.md explains each header.
"""

from __future__ import annotations

import json
import os
from functools import partial
from html import escape
from pathlib import Path
from typing import Final

import aiohttp
from aiohttp import web

from client_sdk.demo.portal import PATIENCE, USERS, access_token, open_engagement

FOLDER: Final = Path(__file__).with_name("web")
NAMES: Final = {"anna": "Anna Lindqvist", "ben": "Ben Okafor"}
_POWERS: Final = ("camera", "microphone", "display-capture", "autoplay", "fullscreen")
_STATIC: Final = {"portal.css": "text/css", "portal.js": "text/javascript"}
_ENGAGEMENT: Final = web.AppKey("engagement", str)
_LOADER: Final = web.AppKey("loader", str)


def user_of(request: web.Request) -> str:
    """Whose page this is: a real portal knows it from its session."""
    user = (request.url.host or "").removesuffix(".localhost")
    if user not in USERS:
        raise web.HTTPForbidden(text="not logged in")
    return user


async def page(request: web.Request) -> web.Response:
    """A person's page; at localhost itself, both side by side."""
    if request.url.host == "localhost":
        return _both(request.url.port or 80)
    user, relay = user_of(request), os.environ["RELAY_URL"]
    values = {
        "name": NAMES[user],
        "role": USERS[user],
        "relay": relay,
        "element": f"{relay}/element",
        "engagement": request.app[_ENGAGEMENT],
        "loader": request.app[_LOADER],
    }
    return _html("person.html", values, headers_of_person(relay, request.url.port or 80))


def headers_of_person(relay: str, port: int) -> dict[str, str]:
    """What a page with the element says about what it may load, frame and use."""
    powers = ", ".join(f'{power}=(self "{relay}")' for power in _POWERS)
    return {
        "Permissions-Policy": powers,
        "Content-Security-Policy": f"default-src 'self'; script-src 'self' {relay}; frame-src {relay}; "
        f"connect-src 'self' {relay}; img-src 'self' data:; base-uri 'none'; form-action 'self'; "
        f"frame-ancestors http://localhost:{port}",
    }


def _both(port: int) -> web.Response:
    allow = "; ".join(f"{power} *" for power in _POWERS)
    panels = [
        f'<section><p>{escape(NAMES[user])}, {role} · <a href="http://{user}.localhost:{port}/" '
        f'target="_blank" rel="noopener">in a window of its own</a></p>'
        f'<iframe title="The page of {escape(NAMES[user])}" allow="{allow}" '
        f'src="http://{user}.localhost:{port}/"></iframe></section>'
        for user, role in USERS.items()
    ]
    answer = _html("index.html", {}, {})
    answer.text = (answer.text or "").replace("{people}", "\n".join(panels))
    frames = " ".join(page_origins(port)[1:])
    policy = f"default-src 'self'; img-src 'self' data:; frame-src {frames}; base-uri 'none'"
    answer.headers["Content-Security-Policy"] = policy
    return answer


def page_origins(port: int) -> list[str]:
    """The origins of the portal's pages: of both together, and of each."""
    return [f"http://{host}:{port}" for host in ("localhost", *(f"{user}.localhost" for user in USERS))]


def _html(name: str, values: dict[str, str], headers: dict[str, str]) -> web.Response:
    text = (FOLDER / name).read_text(encoding="utf-8")
    for key, value in values.items():
        text = text.replace(f"{{{key}}}", escape(value, quote=True))
    return web.Response(text=text, content_type="text/html", headers={**headers, "Cache-Control": "no-store"})


async def static(request: web.Request) -> web.Response:
    """The page's own script and style."""
    name = request.match_info["name"]
    if name not in _STATIC:
        raise web.HTTPNotFound
    body = (FOLDER / name).read_text(encoding="utf-8")
    return web.Response(text=body, content_type=_STATIC[name], headers={"Cache-Control": "no-store"})


async def token(request: web.Request) -> web.Response:
    """An access token for whose page it is; only that page may ask."""
    if request.headers.get("Origin") != f"{request.scheme}://{request.host}":
        raise web.HTTPForbidden(text="not a page of this portal")
    signed = access_token(user_of(request))
    return web.json_response({"token": signed}, headers={"Cache-Control": "no-store"})


async def prepare(app: web.Application) -> None:
    """Open the engagement, and learn the loader's hash, which a real portal's page just contains."""
    status, made = await open_engagement()
    if status != web.HTTPCreated.status_code:
        raise RuntimeError(f"the relay answered {status}: {made}")
    app[_ENGAGEMENT] = made["id"]
    async with (
        aiohttp.ClientSession(os.environ["RELAY_URL"], timeout=PATIENCE) as relay,
        relay.get("/element/hashes.json") as answer,
    ):
        app[_LOADER] = json.loads(await answer.text())["files"]["coach-relay-loader.js"]


def main() -> None:
    app = web.Application()
    app.on_startup.append(prepare)
    app.add_routes([web.get("/", page), web.post("/token", token), web.get("/{name}", static)])
    port = int(os.environ["PORTAL_PORT"])
    web.run_app(app, host="127.0.0.1", port=port, print=partial(print, flush=True))


if __name__ == "__main__":
    main()
