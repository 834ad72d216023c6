"""Pages in a real Chromium, and the make-believe portal that serves them."""

from __future__ import annotations

import asyncio
import json
import os
import shutil
import sys
from pathlib import Path
from typing import Any, Final

from aiohttp import web

from tests.support.real_relay import RealRelay

PACKAGE: Final = Path(__file__).resolve().parents[2] / "client_sdk" / "browser"
BUNDLE: Final = Path(os.environ.get("BROWSER_BUNDLE", PACKAGE / "dist" / "coach-relay.js"))
CHROMIUM: Final = os.environ.get("CHROMIUM", "/usr/bin/chromium")
ANSWER_SECONDS: Final = 90
_LINE_BYTES: Final = 16 << 20

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
      made.addEventListener(event, ({ detail }) => window.happened.push([event, detail && detail.code]));
  });
  window.room = await window.relay.engagement(parameters.get("engagement"));
  return window.relay.me;
};
window.until = async (holds) => {
  for (;;) {
    const found = await holds();
    if (found) return found;
    await new Promise((resolve) => setTimeout(resolve, 20));
  }
};
window.hears = (text) => window.until(async () =>
  (await window.room.history()).find((message) => !message.mine && message.text === text));
window.isIn = (id, state) => window.until(async () =>
  (await window.room.history()).find((message) => message.id === id && message.state === state));
</script>
"""


def missing() -> str | None:
    """Why there are no pages here, or None."""
    if os.environ.get("BROWSER_TESTS") != "1":
        return "pages in Chromium are tested by `make browser-pages`, which builds what they load"
    if shutil.which("node") is None:
        return "node is not installed: the browser's SDK cannot be run"
    if not Path(CHROMIUM).exists():
        return f"there is no Chromium at {CHROMIUM} (CHROMIUM names another one)"
    if not BUNDLE.exists():
        return "the browser's SDK is not built: make browser"
    return None


class PageError(Exception):
    """A page raised something."""


class Chromium:
    """One browser; pages go by name."""

    def __init__(self, *arguments: str) -> None:
        self._arguments = arguments
        self._process: asyncio.subprocess.Process | None = None
        self._reading: asyncio.Task[None] | None = None
        self._waiting: dict[int, asyncio.Future[Any]] = {}
        self._asked = 0

    async def start(self) -> None:
        pipe = asyncio.subprocess.PIPE
        self._process = await asyncio.create_subprocess_exec(
            *("node", "e2e/driver.mjs"),
            cwd=PACKAGE,
            env={**os.environ, "CHROMIUM_ARGUMENTS": json.dumps(self._arguments)},
            stdin=pipe,
            stdout=pipe,
            limit=_LINE_BYTES,
        )
        self._reading = asyncio.create_task(self._read(self._process))

    async def stop(self) -> None:
        if self._process is None or self._process.stdin is None or self._reading is None:
            return
        self._process.stdin.close()
        await self._process.wait()
        await self._reading

    async def _read(self, process: asyncio.subprocess.Process) -> None:
        if process.stdout is None:
            raise PageError("the browser has no pipe")
        async for line in process.stdout:
            answer = json.loads(line)
            waiting = self._waiting.pop(answer["id"])
            if not waiting.done():
                waiting.set_result(answer)

    async def ask(self, command: str, **arguments: object) -> Any:
        """One request, one answer; raises `PageError`."""
        if self._process is None or self._process.stdin is None:
            raise PageError("the browser was not started")
        self._asked += 1
        answered = self._waiting[self._asked] = asyncio.get_running_loop().create_future()
        request = {"id": self._asked, "command": command, **arguments}
        self._process.stdin.write(json.dumps(request).encode() + b"\n")
        answer = await asyncio.wait_for(answered, ANSWER_SECONDS)
        if "error" in answer:
            raise PageError(answer["error"])
        return answer["value"]

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
