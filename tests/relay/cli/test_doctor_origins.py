"""What doctor finds at the addresses that devices use: the certificate, the relay behind it, websockets."""

from __future__ import annotations

import asyncio
import ssl
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from datetime import timedelta
from pathlib import Path

import pytest
from aiohttp import web

from relay.cli import origin_checks
from relay.cli.findings import Finding, Level
from relay.config import load_settings
from tests.relay.cli.processes import relay_process
from tests.relay.cli.test_serve import certificate


async def found(origin: str, *, port: int = 1) -> list[tuple[Level, str]]:
    options = {"public_origins": [origin], "behind_proxy": True, "port": port}
    settings = load_settings(environ={"XDG_DATA_HOME": "/x"}, options=options)

    def look() -> list[Finding]:
        return list(origin_checks.check_origins(settings))

    findings = await asyncio.to_thread(look)
    assert all(one.do for one in findings if one.level is not Level.OK)
    return [(one.level, one.what) for one in findings]


@pytest.fixture
def trusted(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> tuple[Path, Path]:
    cert, key = certificate(tmp_path)  # of localhost, good for 40 days
    monkeypatch.setenv("SSL_CERT_FILE", str(cert))
    return cert, key


@asynccontextmanager
async def other_server(pair: tuple[Path, Path], status: int, body: str) -> AsyncIterator[str]:
    """What is not a relay, or a proxy that does not find one."""

    async def answer(_request: web.Request) -> web.Response:
        return web.Response(status=status, text=body)

    app = web.Application()
    app.router.add_get("/{rest:.*}", answer)
    runner = web.AppRunner(app)
    await runner.setup()
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(*pair)
    site = web.TCPSite(runner, "localhost", 0, ssl_context=context)
    await site.start()
    try:
        yield f"https://localhost:{runner.addresses[0][1]}"
    finally:
        await runner.cleanup()


async def test_a_relay_that_devices_reach(tmp_path: Path, trusted: tuple[Path, Path]) -> None:
    cert, key = trusted
    async with relay_process(tmp_path, "--tls-cert", str(cert), "--tls-key", str(key)) as relay:
        origin = relay.url.replace("127.0.0.1", "localhost")
        good, reached = await found(origin)
        assert good == (Level.OK, f"the certificate of {origin} is good for 39 days")
        assert reached == (Level.OK, f"{origin} reaches a relay, and websockets pass")


async def test_a_certificate_runs_out(trusted: tuple[Path, Path], monkeypatch: pytest.MonkeyPatch) -> None:
    now = origin_checks.now() + timedelta(days=30).total_seconds()
    monkeypatch.setattr(origin_checks, "now", lambda: now)
    async with other_server(trusted, 200, "") as origin:
        assert (await found(origin))[0] == (Level.NOTE, f"the certificate of {origin} expires in 9 days")


async def test_a_certificate_that_nobody_trusts(
    trusted: tuple[Path, Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    async with other_server(trusted, 200, "") as origin:
        ((level, what),) = await found(origin.replace("localhost", "127.0.0.1"))
        assert (level, "not trust" in what) == (Level.FAILED, True)
        monkeypatch.delenv("SSL_CERT_FILE")
        ((level, what),) = await found(origin)
        assert (level, "not trust" in what) == (Level.FAILED, True)


@pytest.mark.parametrize(
    ("status", "body", "level", "told"),
    [
        (502, "Bad Gateway", Level.NOTE, "no relay runs here"),
        (200, "<h1>Welcome to nginx!</h1>", Level.FAILED, "not as a relay does"),
        (404, "", Level.FAILED, "not as a relay does"),
        (200, '{"status": "ok"}', Level.FAILED, "no websocket"),
        (503, '{"code": "store_full"}', Level.FAILED, "not ready: store_full"),
    ],
)
async def test_what_else_may_answer(
    trusted: tuple[Path, Path], status: int, body: str, level: Level, told: str
) -> None:
    async with other_server(trusted, status, body) as origin:
        last = (await found(origin))[-1]
        assert (last[0], told in last[1]) == (level, True), last


async def test_a_proxy_that_does_not_find_the_relay_that_runs(
    tmp_path: Path, trusted: tuple[Path, Path]
) -> None:
    async with relay_process(tmp_path) as relay, other_server(trusted, 502, "") as origin:
        last = (await found(origin, port=int(relay.url.rpartition(":")[2])))[-1]
        assert last == (Level.FAILED, f"{origin} answers 502: the proxy does not reach the relay")


async def test_an_address_that_nobody_serves_may_be_reached_from_elsewhere() -> None:
    ((level, what),) = await found("https://localhost:1")
    assert (level, "this machine cannot reach" in what) == (Level.NOTE, True)
