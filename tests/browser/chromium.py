"""Pages in a real Chromium, and the make-believe portal that serves them."""

from __future__ import annotations

import asyncio
import json
import os
import shutil
import subprocess
import sys
from collections.abc import Sequence
from functools import cache
from pathlib import Path
from typing import Any, Final

from aiohttp import web

from tests.browser.program import Program
from tests.support.real_relay import RealRelay

PACKAGE: Final = Path(__file__).resolve().parents[2] / "client_sdk" / "browser"
_OTHER_BUNDLE: Final = os.environ.get("BROWSER_BUNDLE")
"""For those who work on it: the one file that `npx vite build` makes in a second or two."""
BUNDLE: Final = Path(_OTHER_BUNDLE or PACKAGE / "dist" / "release" / "coach-relay.js")
_IS_FRESH: Final = (str(PACKAGE / "hatch_build.py"), "--is-fresh")
CHROMIUM: Final = os.environ.get("CHROMIUM", "/usr/bin/chromium")
ANSWER_SECONDS: Final = 90

PAGE: Final = """<!doctype html><meta charset="utf-8"><title>Portal</title>
<link rel="icon" href="data:,">
<script type="module">
import { createCoachRelay } from "/coach-relay.js";
const parameters = new URLSearchParams(location.search);
window.happened = [];
window.failures = [];
window.start = async (name, begin = null) => {
  const user = parameters.get("user");
  const tokenProvider = async () => (await fetch("/token?user=" + user)).text();
  // What a person chooses at the first use; what they are told the first time does not change their mind.
  const firstUse = begin && (async (known) => {
    window.known = known;
    if (known.failure) await new Promise(() => {});
    return { ...begin, show: (code) => { window.shown = code; } };
  });
  const options = { url: parameters.get("relay"), tokenProvider, name, ...(begin && { firstUse }) };
  window.relay = await createCoachRelay(options, (made) => {
    for (const event of ["online", "offline", "waiting", "failed"])
      made.addEventListener(event, ({ detail }) => {
        window.happened.push([event, detail && detail.code]);
        wake();
      });
  });
  window.room = await window.relay.engagement(parameters.get("engagement"));
  for (const event of ["message", "removed", "changed", "history", "alarm", "transfer"])
    window.room.on(event, wake);
  return window.relay.me;
};
// What may have changed is looked at when something happens, and from time to time.
const waiting = new Set();
const wake = () => { for (const look of waiting) look(); };
const happens = () => new Promise((resolve) => {
  const look = () => { waiting.delete(look); resolve(); };
  waiting.add(look);
  setTimeout(look, 100);
});
window.until = async (holds) => {
  for (;;) {
    const next = happens();
    const found = await holds();
    if (found) return found;
    await next;
  }
};
window.hears = (text) => window.until(async () =>
  (await window.room.history()).find((message) => !message.mine && message.text === text));
window.isIn = (id, state) => window.until(async () =>
  (await window.room.history()).find((message) => message.id === id && message.state === state));
</script>
"""


@cache
def missing() -> str | None:
    """Why there are no pages here, or None."""
    if shutil.which("node") is None:
        return "node is not installed: the browser's SDK cannot be run"
    if not Path(CHROMIUM).exists():
        return f"there is no Chromium at {CHROMIUM} (CHROMIUM names another one)"
    if not (PACKAGE / "node_modules" / "playwright").exists():
        return "what drives Chromium is not installed: make browser"
    # Our own program, asked about our own files.
    if _OTHER_BUNDLE is None and subprocess.run([sys.executable, *_IS_FRESH], check=False).returncode != 0:
        return "what pages load is not built, or of other sources than these: make browser"
    return None


class PageError(Exception):
    """A page raised something."""


class Chromium(Program):
    """One browser; pages go by name."""

    def __init__(self, *arguments: str, inside: Sequence[str] = ()) -> None:
        super().__init__(
            "e2e/driver.mjs",
            patience=ANSWER_SECONDS,
            folder=PACKAGE,
            environment={**os.environ, "CHROMIUM_ARGUMENTS": json.dumps(arguments)},
            inside=inside,
        )

    async def ask(self, command: str, **arguments: object) -> Any:
        """What the browser gives; raises `PageError`."""
        said = await self.answer(command, **arguments)
        if "error" in said:
            raise PageError(said["error"])
        return said["value"]

    async def forget(self) -> None:
        """As if it had just been started: no page, no store, no error."""
        await self.ask("forget")

    async def run(self, page: str, code: str, **values: object) -> Any:
        """What this code returns in the page; `values` are its constants."""
        constants = "".join(f"const {key} = {json.dumps(value)};" for key, value in values.items())
        return await self.ask("run", name=page, code=constants + code)

    async def script(self, page: str, code: str, /, **values: object) -> Any:
        """What Playwright's own words come to: `page` is the page, `frame(part)` a frame of it."""
        constants = "".join(f"const {key} = {json.dumps(value)};" for key, value in values.items())
        return await self.ask("script", name=page, code=constants + code)


class Portal:
    """A portal's web server: a page with our element's place in it, and a token for whoever asks."""

    def __init__(self) -> None:
        self.relay: RealRelay | None = None
        self.headers: dict[str, dict[str, str]] = {}  # of a user's page, beside its text
        self._runner: web.AppRunner | None = None
        self.origin = ""

    async def start(self) -> None:
        app = web.Application()
        app.add_routes(
            [
                web.get("/", self._page),
                web.get("/coach-relay.js", self._script),
                web.get("/token", self._token),
            ]
        )
        self._runner = web.AppRunner(app)
        await self._runner.setup()
        await web.TCPSite(self._runner, "127.0.0.1", 0).start()
        host, port = self._runner.addresses[0][:2]
        self.origin = f"http://{host}:{port}"

    async def stop(self) -> None:
        if self._runner is not None:
            await self._runner.cleanup()

    async def _page(self, request: web.Request) -> web.Response:
        headers = self.headers.get(request.query.get("user", ""), {})
        return web.Response(text=PAGE, content_type="text/html", headers=headers)

    async def _script(self, _request: web.Request) -> web.Response:
        return web.Response(body=BUNDLE.read_bytes(), content_type="text/javascript")

    async def _token(self, request: web.Request) -> web.Response:
        if self.relay is None:
            raise web.HTTPServiceUnavailable
        return web.Response(text=await self.relay.token_for(request.query["user"])())


class RelayForPages(RealRelay):
    """The real relay, whose portal's pages come from one origin."""

    def __init__(self, folder: Path, origin: str) -> None:
        super().__init__(folder)
        self._origin = origin

    async def add_portal(self, name: str) -> dict[str, str]:
        adding = await asyncio.create_subprocess_exec(
            *(sys.executable, "-m", "relay.cli.main", "portal", "add", name),
            *("--data-dir", str(self.data), "--origin", self._origin),
            stdout=asyncio.subprocess.PIPE,
            stderr=asyncio.subprocess.PIPE,
        )
        out, said = await adding.communicate()
        found = dict(line.split("=", 1) for line in out.decode().splitlines() if "=" in line)
        if "PORTAL_TOKEN_SECRET" not in found:
            raise RuntimeError(f"the relay did not register the portal: {said.decode()[-500:]}")
        return found
