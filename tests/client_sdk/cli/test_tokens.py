"""Where access tokens come from."""

from __future__ import annotations

import asyncio
import shlex
import sys
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager

import pytest
from aiohttp import web
from aiohttp.test_utils import TestServer

from client_sdk.cli.errors import CliError, Exit
from client_sdk.cli.settings import Settings
from client_sdk.cli.tokens import token_source

TOKEN = "eyJh.eyJz.c2ln"


@pytest.fixture(autouse=True)
def _no_token_around(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("COACH_TOKEN", raising=False)


@pytest.fixture
async def portal() -> AsyncIterator[TestServer]:
    async def answer(request: web.Request) -> web.Response:
        kinds = {
            "json": web.json_response({"token": TOKEN}),
            "plain": web.Response(text=TOKEN + "\n"),
            "html": web.Response(text="<html>please log in</html>", content_type="text/html"),
            "endless": web.Response(body=b"a.b." + b"x" * 100_000),
            "forbidden": web.Response(status=403),
            "number": web.json_response({"token": 7}),
            "list": web.json_response([TOKEN]),
        }
        return kinds[request.match_info["kind"]]

    app = web.Application()
    app.router.add_get("/{kind}", answer)
    server = TestServer(app)
    await server.start_server()
    yield server
    await server.close()


@pytest.mark.parametrize("kind", ["json", "plain"])
async def test_a_portal_may_answer_in_json_or_plainly(portal: TestServer, kind: str) -> None:
    fetch = token_source(Settings(token_url=str(portal.make_url(f"/{kind}"))))
    assert await fetch() == TOKEN


@pytest.mark.parametrize("kind", ["html", "endless", "forbidden", "number", "list"])
async def test_anything_else_is_refused_with_the_address(portal: TestServer, kind: str) -> None:
    url = str(portal.make_url(f"/{kind}"))
    with pytest.raises(CliError) as caught:
        await token_source(Settings(token_url=url))()
    assert url in str(caught.value)
    assert caught.value.exit_code is Exit.RELAY
    assert "--token-url" in caught.value.do


async def test_an_answer_that_comes_in_pieces_is_read_to_its_end() -> None:
    async def answer(request: web.Request) -> web.StreamResponse:
        response = web.StreamResponse()
        await response.prepare(request)
        for piece in (b'{"token"', b': "', TOKEN.encode(), b'"}'):
            await response.write(piece)
            await asyncio.sleep(0.01)  # for each to be a packet of its own
        return response

    async with one_page(answer) as url:
        assert await token_source(Settings(token_url=url))() == TOKEN


async def test_a_portal_that_is_too_slow_is_told_as_that(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("client_sdk.cli.tokens.PATIENCE", 0.2)
    asked = asyncio.Event()

    async def answer(_request: web.Request) -> web.StreamResponse:
        asked.set()
        await asyncio.Event().wait()
        raise AssertionError

    async with one_page(answer) as url:
        with pytest.raises(CliError, match="did not answer within 0 s"):
            await token_source(Settings(token_url=url))()
    assert asked.is_set()


@pytest.mark.parametrize(("kind", "said"), [("html", "web page"), ("endless", "too long")])
async def test_what_the_portal_gave_instead_is_named(portal: TestServer, kind: str, said: str) -> None:
    with pytest.raises(CliError, match=said):
        await token_source(Settings(token_url=str(portal.make_url(f"/{kind}"))))()


@asynccontextmanager
async def one_page(answer: Callable[[web.Request], Awaitable[web.StreamResponse]]) -> AsyncIterator[str]:
    """The address of a portal that has one page."""
    app = web.Application()
    app.router.add_get("/", answer)
    async with TestServer(app) as server:
        yield str(server.make_url("/"))


async def test_a_portal_that_is_not_there(unused_tcp_port: int) -> None:
    with pytest.raises(CliError, match="cannot be reached"):
        await token_source(Settings(token_url=f"http://127.0.0.1:{unused_tcp_port}/token"))()


async def test_an_address_that_is_none() -> None:
    with pytest.raises(CliError, match="no web address"):
        await token_source(Settings(token_url="not an address"))()


async def test_a_command_gives_the_token() -> None:
    assert await token_source(Settings(token_command=f"echo {TOKEN}"))() == TOKEN


async def test_a_command_that_fails_is_named() -> None:
    with pytest.raises(CliError, match="“exit 3” ended with exit code 3"):
        await token_source(Settings(token_command="exit 3"))()


async def test_a_command_that_hangs_is_ended(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("client_sdk.cli.tokens.PATIENCE", 0.2)
    command = f"exec {shlex.quote(sys.executable)} -c 'import signal; signal.pause()'"
    with pytest.raises(CliError, match="took longer"):
        await token_source(Settings(token_command=command))()


async def test_the_environment_gives_the_token(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("COACH_TOKEN", f" {TOKEN}\n")
    assert await token_source(Settings())() == TOKEN


def test_no_source_at_all_is_wrong_usage() -> None:
    with pytest.raises(CliError) as caught:
        token_source(Settings())
    assert caught.value.exit_code is Exit.USAGE
    assert "COACH_TOKEN" in caught.value.do
