"""docs/EMBEDDING.md in a real Chromium: its portal's page and its snippets, as printed but for addresses."""

from __future__ import annotations

import asyncio
import json
import secrets
import sys
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final

import aiohttp
import jwt
import pytest
import pytest_asyncio
from aiohttp import web

from client_sdk import Client
from relay.http.element_files import element_folder
from tests.browser import marks
from tests.browser.chromium import Chromium
from tests.browser.conftest import Browsers
from tests.browser.embedded import FRAME
from tests.browser.stage import reads
from tests.docs.embedding import Followed, followed, snippet
from tests.relay.cli.processes import environment

PATIENCE: Final = 200
PRINTED: Final = "http://127.0.0.1:8470"
EXAMPLE: Final = "https://relay.example"

pytestmark = [*marks.with_the_element(), pytest.mark.timeout(300)]

# What a person does in the frame of a page.
PERSON: Final = """
const one = await frame(part);
const reads = (words) => one.getByText(words).first().waitFor({ timeout: 60000 });
const click = (name) => one.getByRole("button", { name, exact: typeof name === "string" }).first().click();
const write = async (words) => {
  await one.getByRole("textbox", { name: "Write a message" }).fill(words);
  await click("Send");
};
"""
ENTER: Final = """
await click(/first device/);
await click("Later"); // the recovery kit
return null;
"""


@dataclass(slots=True)
class Reader:
    """Somebody who followed the document, and a web server of one more origin of the portal."""

    done: Followed
    chromium: Chromium
    origin: str = ""
    texts: dict[str, tuple[str, str]] = field(default_factory=dict)
    """What the server has, and its content type, by path."""
    policy: str = ""
    """The Content-Security-Policy of /interface."""

    async def _page(self, request: web.Request) -> web.Response:
        text, kind = self.texts[request.path]
        headers = {"Content-Security-Policy": self.policy} if request.path == "/interface" else {}
        return web.Response(text=text, content_type=kind, headers=headers)

    async def _token(self, request: web.Request) -> web.Response:
        return web.Response(text=self.token(request.query["user"]))

    def token(self, user: str) -> str:
        """An access token of the portal that the document has one register."""
        now = int(time.time())
        claims = {
            "iss": self.done.secrets["PORTAL_ID"],
            "sub": user,
            "aud": "coach-relay",
            "iat": now,
            "nbf": now,
            "exp": now + 600,
            "jti": secrets.token_urlsafe(16),
        }
        return jwt.encode(claims, self.done.secrets["PORTAL_TOKEN_SECRET"], algorithm="HS256")

    async def engagement(self, **roster: str) -> str:
        """A new one, of these people."""
        people = [{"user": user, "role": role} for user, role in roster.items()]
        key = {"Authorization": f"Bearer {self.done.secrets['PORTAL_API_KEY']}"}
        async with (
            aiohttp.ClientSession(self.done.relay, headers=key) as relay,
            relay.post("/v1/engagements", json={"participants": people}) as answer,
        ):
            made: str = (await answer.json())["id"]
            return made

    def app(self) -> web.Application:
        made = web.Application()
        made.add_routes([web.get("/token", self._token), web.get("/{path:.*}", self._page)])
        return made

    def python(self, folder: Path, user: str) -> Any:
        """This person with the Python SDK."""

        async def token() -> str:
            return self.token(user)

        vault, key = folder / f"{user}.vault", user.encode().ljust(32, b".")
        return Client.open(vault, key=key, relay=self.done.relay, token=token, name=user.capitalize())

    async def person(self, page: str, does: str, **values: object) -> Any:
        """What a person does in the frame of this page."""
        return await self.chromium.script(page, PERSON + does, part=FRAME, **values)


@asynccontextmanager
async def reading(folder: Path, browser: Chromium) -> AsyncIterator[Reader]:
    async with followed(folder) as done:
        reader = Reader(done, browser)
        runner = web.AppRunner(reader.app())
        await runner.setup()
        await web.TCPSite(runner, "127.0.0.1", 0).start()
        reader.origin = f"http://own.localhost:{runner.addresses[0][1]}"
        try:
            await let_embed(reader)
            yield reader
        finally:
            await runner.cleanup()


async def let_embed(reader: Reader) -> None:
    """The server's own origin is one of the portal's too."""
    port = reader.done.portal
    origins = (f"http://localhost:{port}", f"http://127.0.0.1:{port}", reader.origin)
    setting = await asyncio.create_subprocess_exec(
        *(sys.executable, "-m", "relay.cli.main", "portal", "set-origins", "growth", *origins),
        *("--data-dir", str(reader.done.folder / "data")),
        stdout=asyncio.subprocess.DEVNULL,
        env=environment(),
    )
    assert await setting.wait() == 0


@pytest_asyncio.fixture(loop_scope="session", scope="module")
async def shared_reader(
    tmp_path_factory: pytest.TempPathFactory, browsers: Browsers
) -> AsyncIterator[Reader]:
    async with reading(tmp_path_factory.mktemp("reader"), await browsers()) as made:
        yield made


@pytest_asyncio.fixture(loop_scope="session")
async def reader(shared_reader: Reader) -> AsyncIterator[Reader]:
    yield shared_reader
    await shared_reader.chromium.forget()


async def test_the_portals_page_as_printed_lets_two_people_talk(reader: Reader) -> None:
    """Step 3: two windows of one browser, whose two origins have a store each."""
    port = reader.done.portal
    async with asyncio.timeout(PATIENCE):
        await reader.chromium.ask("open", name="anna", url=f"http://localhost:{port}/?user=anna")
        ben = f"http://127.0.0.1:{port}/?user=ben"
        await reader.chromium.ask("open", name="ben", url=ben, beside="anna")
        for page in ("anna", "ben"):
            await reader.person(page, ENTER)
        await reader.person("anna", "await write('How was the week?'); return null")
        await reader.person("ben", "await reads('How was the week?'); await write('Long.'); return null")
        await reader.person("anna", "await reads('Long.'); return null")
        assert await reader.chromium.ask("errors") == []


async def test_the_elements_snippets_work_together_in_one_page(reader: Reader, tmp_path: Path) -> None:
    """The script tag with its hash, a token by event, what is unread in the title, colours and size."""
    engagement = await reader.engagement(cleo="coach", dan="client")
    hashes = json.loads((element_folder() / "hashes.json").read_text(encoding="utf-8"))["files"]
    page = snippet("html", "integrity").replace(EXAMPLE, reader.done.relay)
    page = page.replace("sha384-…", hashes["coach-relay-loader.js"]).replace("eng_…", engagement)
    page += '<link rel="stylesheet" href="/own.css"><script src="/own.js" defer></script>'
    script = snippet("js", "token-request") + f"{{{snippet('js', 'document.title')}}}"
    head = '<!doctype html><meta charset="utf-8"><title>My portal</title><link rel="icon" href="data:,">'
    reader.texts |= {
        "/own": (head + page, "text/html"),
        "/own.css": (snippet("css", "coach-relay {"), "text/css"),
        "/own.js": (script, "text/javascript"),
    }
    async with asyncio.timeout(PATIENCE), reader.python(tmp_path, "dan") as dan:
        room = await dan.engagement(engagement)
        await reader.chromium.ask("open", name="cleo", url=f"{reader.origin}/own?user=cleo")
        await reader.person("cleo", ENTER)  # the token came, so the event was answered
        # Nobody looks at the page: as when its tab is in the background.
        hide = """const value = "hidden";
            Object.defineProperty(document, "visibilityState", { value, configurable: true });"""
        await reader.person("cleo", "await one.evaluate(hide); return null", hide=hide)
        await room.wait_joined()
        await room.send("Long, but good.")
        title = "while (document.title !== wanted) await new Promise((f) => setTimeout(f, 20)); return true"
        assert await reader.chromium.run("cleo", title, wanted="(1) My portal")
        unread = "return document.querySelector('coach-relay').getAttribute('unread')"
        assert await reader.chromium.run("cleo", unread) == "1"
        # Somebody looks again: it has been read.
        show = """Object.defineProperty(document, "visibilityState", { value: "visible" });
            document.dispatchEvent(new Event("visibilitychange"));"""
        await reader.person("cleo", "await one.evaluate(show); return null", show=show)
        assert await reader.chromium.run("cleo", title, wanted="My portal")
        assert await reader.chromium.run("cleo", unread) == "0"
        height = "document.querySelector('coach-relay').getBoundingClientRect().height"
        assert await reader.chromium.run("cleo", f"return {height} === innerHeight") is True
        accent = """getComputedStyle(document.querySelector("main").firstElementChild)
            .getPropertyValue("--coach-relay-accent").trim()"""
        assert await reader.person("cleo", "return one.evaluate(accent)", accent=accent) == "#2b6f5b"
        assert await reader.chromium.ask("errors") == []


async def test_an_interface_of_ones_own_is_heard(reader: Reader, tmp_path: Path) -> None:
    """createCoachRelay in a page of its own origin, under a strict policy."""
    engagement = await reader.engagement(eve="coach", finn="client")
    relay = reader.done.relay
    printed = (
        snippet("http", "script-src 'self' https://relay.example 'wasm-unsafe-eval'")
        .partition(": ")[2]
        .strip()
    )
    reader.policy = printed.replace("wss://relay.example", relay.replace("http", "ws")).replace(
        EXAMPLE, relay
    )
    page = '<!doctype html><meta charset="utf-8"><title>Own</title><link rel="icon" href="data:,">'
    page += '<script type="module" src="/interface.js"></script>'
    script = snippet("js", "createCoachRelay").replace(PRINTED, relay)
    reader.texts |= {"/interface": (page, "text/html"), "/interface.js": (script, "text/javascript")}
    async with asyncio.timeout(PATIENCE), reader.python(tmp_path, "finn") as finn:
        room = await finn.engagement(engagement)
        url = f"{reader.origin}/interface?user=eve&engagement={engagement}"
        await reader.chromium.ask("open", name="eve", url=url)
        assert await reads(aiter(room.items())) == "How was the week?"
        assert await reader.chromium.ask("errors") == []
