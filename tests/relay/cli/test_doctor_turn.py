"""`coach-relay doctor` and TURN: the real coturn, working and broken in every way that operators meet."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from relay.cli import turn_checks, turn_probe
from relay.cli.findings import Finding, Level
from relay.cli.main import main
from relay.cli.turn_checks import check_turn
from relay.config import load_settings
from relay.core.ice import TURN_SECONDS
from tests.support.coturn import LOOPBACK, Coturn, coturn_process, requires_coturn
from tests.support.ports import free_port

Looked = list[Finding]


@pytest.fixture
async def coturn(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[Coturn]:
    async with coturn_process(tmp_path, *LOOPBACK) as running:
        monkeypatch.setenv("SSL_CERT_FILE", str(running.certificate))
        yield running


async def looked(*urls: str, secret: str) -> Looked:
    """What doctor finds; it has an event loop of its own, so it gets a thread of its own."""
    settings = load_settings(environ={}, options={"turn_urls": urls, "turn_secret": secret, "data_dir": "/x"})
    return await asyncio.to_thread(lambda: list(check_turn(settings)))


def failures(findings: Looked) -> Looked:
    return [finding for finding in findings if finding.level is Level.FAILED]


def said(findings: Looked) -> str:
    return "\n".join(f"{finding.what}: {finding.do}" for finding in findings)


def test_without_turn_it_says_what_is_missing() -> None:
    (finding,) = check_turn(load_settings(environ={}, options={"data_dir": "/x"}))
    assert (finding.level, "coturn" in finding.do) == (Level.NOTE, True)


@requires_coturn
async def test_it_proves_every_transport_and_names_the_ports(coturn: Coturn) -> None:
    findings = await looked(*coturn.urls, secret=coturn.secret)
    assert failures(findings) == []
    told = said(findings)
    for way, port in (("UDP", coturn.port), ("TCP", coturn.port), ("TLS", coturn.tls_port)):
        assert f"TURN over {way} (127.0.0.1:{port}) works" in told
    assert "refuses wrong and expired credentials" in told
    assert "does not send to private addresses" in told
    for named in (f"TCP {coturn.port}", f"TCP {coturn.tls_port}", f"UDP {coturn.port}", "UDP 49152 to 65535"):
        assert named in findings[-1].what


@requires_coturn
async def test_the_command_says_it_and_its_exit_code_too(
    coturn: Coturn, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("COACH_RELAY_TURN_URLS", ",".join(coturn.urls))
    monkeypatch.setenv("COACH_RELAY_DATA_DIR", str(tmp_path / "data"))
    for secret, code in ((coturn.secret, 0), ("another", 1)):
        monkeypatch.setenv("COACH_RELAY_TURN_SECRET", secret)
        assert await asyncio.to_thread(main, ["doctor"]) == code
    assert "static-auth-secret" in capsys.readouterr().out


@requires_coturn
async def test_a_wrong_secret(coturn: Coturn) -> None:
    findings = failures(await looked(*coturn.urls, secret="another"))
    assert len(findings) == 3
    assert all("refuses our credentials" in finding.what for finding in findings)
    assert all("turn_secret" in finding.do for finding in findings)


@requires_coturn
async def test_a_certificate_that_expired(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    async with coturn_process(tmp_path, *LOOPBACK, days=-1) as coturn:
        monkeypatch.setenv("SSL_CERT_FILE", str(coturn.certificate))
        (finding,) = failures(await looked(*coturn.urls, secret=coturn.secret))
    assert "expired" in finding.what
    assert "Renew" in finding.do


@requires_coturn
@pytest.mark.parametrize(("days", "told"), [(3, True), (30, False)])
async def test_a_certificate_that_expires_soon(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, days: int, told: bool
) -> None:
    async with coturn_process(tmp_path, *LOOPBACK, days=days) as coturn:
        monkeypatch.setenv("SSL_CERT_FILE", str(coturn.certificate))
        findings = await looked(coturn.urls[2], secret=coturn.secret)
    assert failures(findings) == []
    assert ("expires in 2 days" in said(findings)) is told


@requires_coturn
async def test_a_certificate_of_another_name_or_of_nobody(
    coturn: Coturn, monkeypatch: pytest.MonkeyPatch
) -> None:
    (finding,) = failures(await looked(f"turns:127.0.0.2:{coturn.tls_port}", secret=coturn.secret))
    assert "refuses the connection" in finding.what  # coturn listens on 127.0.0.1 alone
    monkeypatch.delenv("SSL_CERT_FILE")
    (finding,) = failures(await looked(coturn.urls[2], secret=coturn.secret))
    assert "not trusted" in finding.what


@requires_coturn
async def test_ports_that_are_closed(coturn: Coturn, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(turn_checks, "PATIENCE", 1.0)
    shut = free_port()
    urls = (f"turn:127.0.0.1:{shut}", f"turn:127.0.0.1:{shut}?transport=tcp", f"turns:127.0.0.1:{shut}")
    findings = failures(await looked(*urls, coturn.urls[0], secret=coturn.secret))
    assert len(findings) == 3
    assert f"let in UDP on port {shut}" in findings[0].do
    assert "Nothing listens there" in findings[1].do
    assert "Nothing listens there" in findings[2].do


async def test_something_else_answers_on_the_port_of_tls() -> None:
    async def website(_reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writer.write(b"HTTP/1.1 400 Bad Request\r\n\r\n")
        writer.close()
        await writer.wait_closed()

    async with await asyncio.start_server(website, "127.0.0.1", 0) as server:
        port = server.sockets[0].getsockname()[1]
        (finding,) = failures(await looked(f"turns:127.0.0.1:{port}", secret="x"))
    assert "does not speak TLS" in finding.what


async def test_a_host_that_does_not_exist() -> None:
    (finding,) = failures(await looked("turn:turn.invalid", secret="x"))
    assert "no such host" in finding.what


@requires_coturn
async def test_addresses_that_no_packet_passes(tmp_path: Path) -> None:
    async with coturn_process(tmp_path) as coturn:  # as shipped: loopback is no peer
        (finding,) = failures(await looked(coturn.urls[0], secret=coturn.secret))
    assert "no packet may pass" in finding.what
    assert "external-ip" in finding.do


@requires_coturn
async def test_a_server_that_sends_to_private_addresses(tmp_path: Path) -> None:
    allowed = ("10.0.0.1", "169.254.169.254")
    async with coturn_process(
        tmp_path, *LOOPBACK, *(f"--allowed-peer-ip={address}" for address in allowed)
    ) as coturn:
        (finding,) = failures(await looked(coturn.urls[0], secret=coturn.secret))
    assert "(10.0.0.1, 169.254.169.254)" in finding.what
    assert "denied-peer-ip" in finding.do


@requires_coturn
@pytest.mark.parametrize(("ahead", "word"), [(-2 * TURN_SECONDS, "ahead"), (2 * TURN_SECONDS, "behind")])
async def test_clocks_that_differ(
    coturn: Coturn, monkeypatch: pytest.MonkeyPatch, ahead: int, word: str
) -> None:
    clock = time.time
    monkeypatch.setattr(turn_checks, "_now", lambda: clock() + ahead)
    (finding,) = failures(await looked(coturn.urls[0], secret=coturn.secret))
    assert f"its clock is {word}" in finding.what


@requires_coturn
async def test_a_server_that_lets_in_anybody(coturn: Coturn, monkeypatch: pytest.MonkeyPatch) -> None:
    async def never(*_: object, **__: object) -> bool:
        return False

    monkeypatch.setattr(turn_checks, "refuses", never)
    (finding,) = failures(await looked(coturn.urls[0], secret=coturn.secret))
    assert "with any password" in finding.what


def test_every_trouble_is_put_into_words() -> None:
    for trouble in turn_probe.Trouble:
        if trouble is not turn_probe.Trouble.UNAUTHORIZED:
            assert turn_checks.what_and_do(trouble, host="h", port=1, protocol="UDP", detail=2)
