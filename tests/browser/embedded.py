"""A relay that serves the element, and pages of portals that embed it: their own, and others'."""

from __future__ import annotations

import asyncio
import json
import sys
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path
from types import MappingProxyType
from typing import Any, Final
from urllib.parse import urlencode

from aiohttp import web

from relay.config import ConfigError
from relay.http.element_files import element_folder
from tests.browser import chromium
from tests.browser.chromium import Chromium
from tests.relay.cli.processes import environment
from tests.support.real_relay import RealRelay

NO_SETTINGS: Final[Mapping[str, str]] = MappingProxyType({})
FRAME: Final = "/element/frame.html"
HEARS: Final = ("ready", "joined", "left", "knock", "message", "error", "token-expiring")

PAGE: Final = """<!doctype html><meta charset="utf-8"><title>Portal</title><link rel="icon" href="data:,">
<script>
window.happened = [];
addEventListener("error", (event) => window.happened.push(["page", {{ message: event.message }}]));
</script>
<script src="{element}/coach-relay-loader.js" {integrity} crossorigin="anonymous" defer></script>
<script defer src="/portal.js"></script>
<style>coach-relay {{ height: 500px; --coach-relay-accent: #123456; }}</style>
<coach-relay relay="{relay}" engagement="{engagement}" name="{name}" {more}></coach-relay>
"""

SCRIPT: Final = f"""
for (const element of document.querySelectorAll("coach-relay")) {{
  const user = element.dataset.user ?? new URLSearchParams(location.search).get("user");
  element.tokenProvider = async () => (await fetch("/token?user=" + user)).text();
  for (const event of {json.dumps(HEARS)})
    element.addEventListener(event, ({{ detail }}) => window.happened.push([event, detail]));
}}
window.until = async (holds) => {{
  for (;;) {{
    const found = await holds();
    if (found) return found;
    await new Promise((resolve) => setTimeout(resolve, 20));
  }}
}};
window.hears = (event) => window.until(() => window.happened.find(([name]) => name === event));
"""


CLICK_FIRST: Final = """
await frame(part);
while (page.frames().filter((one) => one.url().includes(part)).length <= at) await page.waitForTimeout(50);
const one = page.frames().filter((one) => one.url().includes(part))[at];
await one.getByRole("button", { name: /first device/ }).click();
return null;
"""


def missing() -> str | None:
    """Why nothing can be embedded here, or None."""
    if chromium.missing() is not None:
        return chromium.missing()
    try:
        element_folder()
    except ConfigError as error:
        return str(error)
    return None


@dataclass(slots=True)
class Site:
    """One web server under many names: `portal.localhost` is an origin, `evil.localhost` another."""

    relay: RealRelay
    port: int = 0
    pages: dict[str, tuple[str, Mapping[str, str]]] = field(default_factory=dict)
    """Further pages: their text and headers, by path."""
    headers: dict[str, str] = field(default_factory=dict)
    """What each page says beside its text."""

    def origin(self, name: str = "portal") -> str:
        return f"http://{name}.localhost:{self.port}"

    def html(self, engagement: str, user: str, **changes: str) -> str:
        """A portal's page with the element in it."""
        values = {
            "relay": self.relay.url,
            "element": f"{self.relay.url}/element",
            "engagement": engagement,
            "name": user.capitalize(),
            "more": "",
            "integrity": "",
        }
        return PAGE.format(**(values | changes))

    async def _page(self, request: web.Request) -> web.Response:
        if request.path in self.pages:
            text, headers = self.pages[request.path]
        else:
            query = request.query
            text, headers = (
                self.html(query["engagement"], query["user"], more=query.get("more", "")),
                self.headers,
            )
        kind = "text/javascript" if request.path.endswith(".js") else "text/html"
        return web.Response(text=text, content_type=kind, headers=headers)

    async def _script(self, _request: web.Request) -> web.Response:
        return web.Response(text=SCRIPT, content_type="text/javascript")

    async def _token(self, request: web.Request) -> web.Response:
        return web.Response(text=await self.relay.token_for(request.query["user"])())

    def app(self) -> web.Application:
        made = web.Application()
        made.add_routes([web.get("/portal.js", self._script), web.get("/token", self._token)])
        made.add_routes([web.get("/{path:.*}", self._page)])
        return made


class RelayWithElement(RealRelay):
    """A relay that serves the element to the pages of its portal."""

    def __init__(self, folder: Path, settings: Mapping[str, str] = NO_SETTINGS) -> None:
        super().__init__(folder, options=("--serve-element",), settings=settings)
        self.origins: list[str] = []  # of its portal, when it starts

    async def add_portal(self, name: str) -> dict[str, str]:
        keys = await super().add_portal(name)
        await self.set_origins(name, *self.origins)
        return keys

    async def set_origins(self, portal: str, *origins: str) -> None:
        """Which pages may embed the frame, from now on."""
        done = await asyncio.create_subprocess_exec(
            *(sys.executable, "-m", "relay.cli.main", "portal", "set-origins", portal, *origins),
            *("--data-dir", str(self.data)),
            stdout=asyncio.subprocess.DEVNULL,
            env=environment(),
        )
        if await done.wait() != 0:
            raise RuntimeError("the portal's origins were not set")


@dataclass(slots=True)
class Place:
    """A relay, a site and a browser."""

    relay: RelayWithElement
    site: Site
    chromium: Chromium

    async def open(
        self,
        page: str,
        engagement: str,
        user: str,
        *,
        origin: str = "portal",
        attributes: str = "",
        **more: Any,
    ) -> None:
        """A page of the portal with the element in it, in a profile of its own."""
        asked = urlencode({"engagement": engagement, "user": user, "more": attributes})
        url = f"{self.site.origin(origin)}/?{asked}"
        await self.chromium.ask("open", name=page, url=url, **more)

    async def begin(self, page: str, *, frames: int = 1, part: str = FRAME) -> None:
        """Say in the frame that this is the person's first device; the element is ready then."""
        for at in range(frames):
            await self.chromium.script(page, CLICK_FIRST, part=part, at=at)
        ready = (
            "return window.until(() => window.happened.filter(([name]) => name === 'ready').length === count)"
        )
        await self.chromium.run(page, ready, count=frames)

    async def hears(self, page: str, event: str) -> Any:
        """The detail of the first such event of the element."""
        return (await self.chromium.run(page, "return window.hears(event)", event=event))[1]

    async def in_frame(self, page: str, code: str, **values: object) -> Any:
        """What code returns in the frame, as our own code there could run it."""
        run = "return (await frame(part)).evaluate(`(async () => { ${code} })()`)"
        constants = "".join(f"const {key} = {json.dumps(value)};" for key, value in values.items())
        return await self.chromium.script(page, run, part=FRAME, code=constants + code)


@asynccontextmanager
async def place(
    folder: Path, browser: Chromium, settings: Mapping[str, str] = NO_SETTINGS
) -> AsyncIterator[Place]:
    """A page may be at `portal`, `second` and `both`, and not at any other name."""
    relay = RelayWithElement(folder, settings)
    site = Site(relay)
    runner = web.AppRunner(site.app())
    await runner.setup()
    await web.TCPSite(runner, "127.0.0.1", 0).start()
    site.port = runner.addresses[0][1]
    relay.origins = [site.origin(name) for name in ("portal", "second", "both")]
    await relay.start()
    try:
        yield Place(relay, site, browser)
    finally:
        await relay.kill()
        await runner.cleanup()


@asynccontextmanager
async def browser_with(*arguments: str) -> AsyncIterator[Chromium]:
    """A browser of its own; its end is waited for."""
    browser = Chromium(*arguments)
    await browser.start()
    try:
        yield browser
    finally:
        await browser.stop()
