"""docs/EMBEDDING.md: its relay and its portal run as printed, its headers and lists are the true ones."""

from __future__ import annotations

import asyncio
import re
import shutil
import subprocess
import sys
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping
from dataclasses import dataclass
from pathlib import Path

import aiohttp
import pytest
import pytest_asyncio

from client_sdk import Client
from relay.http.element_files import NAMES
from tests.docs.embedding import TEXT, Followed, followed, headers, missing, snippet, snippets
from tests.relay.cli.processes import ROOT, environment

BROWSER = ROOT / "client_sdk" / "browser"
EXAMPLE = "https://relay.example"

pytestmark = pytest.mark.timeout(120)
needs_files = pytest.mark.skipif(missing() is not None, reason=str(missing()))


@pytest_asyncio.fixture(loop_scope="module", scope="module")
async def done(tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[Followed]:
    async with followed(tmp_path_factory.mktemp("embedding")) as made:
        yield made


@dataclass(frozen=True, slots=True)
class Got:
    """An answer, read to its end."""

    status: int
    headers: Mapping[str, str]
    text: str


async def get(http: aiohttp.ClientSession, url: str, **query: str) -> Got:
    async with http.get(url, params=query) as answer:
        return Got(answer.status, answer.headers.copy(), await answer.text())


async def lets_in(done: Followed, tmp_path: Path, token: Callable[[], Awaitable[str]], user: str) -> None:
    """The relay takes these tokens, as this user's."""
    async with Client.open(
        tmp_path / f"{user}.vault", key=b"k" * 32, relay=done.relay, token=token, name=user
    ) as me:
        await asyncio.wait_for(me.wait_online(), 20)
        assert me.user == user


@needs_files
@pytest.mark.asyncio(loop_scope="module")
async def test_the_portal_shows_the_page_and_gives_tokens_that_count(done: Followed, tmp_path: Path) -> None:
    async with aiohttp.ClientSession(f"http://127.0.0.1:{done.portal}") as http:
        page = await get(http, "/", user="anna")
        assert re.search(r'engagement="eng_[\w-]{22}" name="Anna"', page.text)
        assert f'src="{done.relay}/element/coach-relay-loader.js"' in page.text
        assert (await get(http, "/", user="eve")).status == 403

        async def token() -> str:
            return (await get(http, "/token", user="anna")).text

        await lets_in(done, tmp_path, token, "anna")


@needs_files
@pytest.mark.asyncio(loop_scope="module")
async def test_node_signs_the_same_tokens(done: Followed, tmp_path: Path) -> None:
    node = shutil.which("node")
    if node is None:
        pytest.skip("node is not installed")
    (tmp_path / "token.mjs").write_text(
        snippet("js", "createHmac") + '\nprocess.stdout.write(accessToken("ben"));\n', encoding="utf-8"
    )

    async def token() -> str:
        command = [node, str(tmp_path / "token.mjs")]
        env = environment(**done.secrets)
        return await asyncio.to_thread(subprocess.check_output, command, env=env, text=True)

    await lets_in(done, tmp_path, token, "ben")


@needs_files
@pytest.mark.asyncio(loop_scope="module")
async def test_the_headers_are_the_ones_that_relay_and_portal_send(done: Followed) -> None:
    of_page, of_frame = (headers(block) for block in snippets("http")[:2])
    async with aiohttp.ClientSession() as http:
        page = await get(http, f"http://localhost:{done.portal}/", user="anna")
        for name, value in of_page.items():
            sent = page.headers[name].replace(done.relay, EXAMPLE)
            assert [part for part in value.split("; ") if part not in sent.split("; ")] == []
        parent = f"http://localhost:{done.portal}"
        frame = await get(http, f"{done.relay}/element/frame.html", parent=parent)
        script = await get(http, f"{done.relay}/element/frame.js")
        loader = await get(http, f"{done.relay}/element/coach-relay-loader.js")
    assert frame.status == 200
    origins = f"{done.relay} {done.relay.replace('127.0.0.1', 'localhost')}"
    ways = f"{origins} {origins.replace('http:', 'ws:')}"
    pages = f"http://127.0.0.1:{done.portal} {parent}"
    for name, value in of_frame.items():
        expected = value.replace(f"{EXAMPLE} wss://relay.example", ways).replace(
            "https://portal.example", pages
        )
        assert frame.headers[name] == expected, name
    last_five = list(of_frame)[-6:]
    for name in set(last_five) - {"Cross-Origin-Embedder-Policy"}:
        assert script.headers[name] == loader.headers[name] == of_frame[name]


def test_the_environment_of_the_first_step(tmp_path: Path) -> None:
    script = f"set -e\n{snippet('sh', '-m venv')}command -v pip"
    done = subprocess.run(
        ["/bin/sh", "-c", script], cwd=tmp_path, capture_output=True, text=True, timeout=100, check=True
    )
    assert done.stdout.strip() == str(tmp_path / ".venv" / "bin" / "pip")


@needs_files
def test_where_the_files_are() -> None:
    command = snippet("sh", "importlib.resources").strip()
    done = subprocess.run(
        ["/bin/sh", "-c", command.replace("python", sys.executable, 1)],
        env=environment(),
        capture_output=True,
        text=True,
        timeout=60,
        check=True,
    )
    assert done.stdout.strip().endswith("client_sdk/browser_files")
    for name in NAMES:
        assert name in TEXT or name == "coach-relay.js"


def test_the_properties_of_its_look_are_all_there() -> None:
    source = (BROWSER / "src" / "element" / "theme.ts").read_text(encoding="utf-8")
    there = set(re.findall(r'"(--coach-relay-[a-z-]+)"', source))
    assert there
    assert set(re.findall(r"--coach-relay-[a-z-]+", TEXT)) == there


def table_after(heading: str) -> set[str]:
    """The names in the first column of the table that begins with this line."""
    rows = TEXT.partition(heading)[2].partition("\n\n")[0].splitlines()[2:]
    return {name for row in rows for name in re.findall(r"`([\w-]+)`", row.split("|")[1])}


def test_attributes_and_events_are_the_ones_that_there_are() -> None:
    loader = (BROWSER / "src" / "loader" / "loader.ts").read_text(encoding="utf-8")
    watched = re.search(r"const WATCHED = \[(.*?)\]", loader, re.DOTALL)
    assert watched is not None
    assert table_after("| Attribute | |") == set(re.findall(r'"([\w-]+)"', watched[1]))
    protocol = (BROWSER / "src" / "loader" / "protocol.ts").read_text(encoding="utf-8")
    details = protocol.partition("export interface Details {")[2].partition("\n}")[0]
    events = set(re.findall(r'^  "?([\w-]+)"?: ', details, re.MULTILINE))
    assert events == table_after("| Event | `detail` | |")


def test_the_codes_of_loader_and_frame_are_explained() -> None:
    sources = [*(BROWSER / "src" / "loader").glob("*.ts"), *(BROWSER / "src" / "frame").glob("*.ts")]
    text = "\n".join(path.read_text(encoding="utf-8") for path in sources)
    codes = set(re.findall(r'LoaderError\(\s*"(\w+)"|code: "(\w+)"', text))
    assert len(codes) > 5
    explained = table_after("| `code` of `error`, or what you see | What it means, and what to do |")
    assert {first or second for first, second in codes} <= explained
