"""`coach-relay serve` as a process: how it starts, how it ends, what survives."""

from __future__ import annotations

import asyncio
import json
import random
import secrets
import signal
import socket
import ssl
import sys
import time
from collections.abc import AsyncIterator
from datetime import UTC, datetime, timedelta
from io import BytesIO
from pathlib import Path
from typing import Any

import aiohttp
import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat
from cryptography.x509.oid import NameOID

from relay.blobs import PART_BYTES
from relay.hub import NewKeys, Portals
from relay.store.sqlite import SqliteDirectory
from relay.wire import frames as fr
from relay.wire.codec import decode_from_relay, encode
from tests.relay.cli.processes import PATIENCE, RelayProcess, environment, relay_process, start
from tests.relay.http.support import PORTAL, Peers

SERVE = (sys.executable, "-m", "relay.cli.main", "serve")
TUS = {"Tus-Resumable": "1.0.0"}


async def add_portal(data: str) -> NewKeys:
    """As the CLI does: beside the relay that runs."""
    directory = SqliteDirectory.open(Path(data))
    try:
        return await Portals(directory, clock=time.time, rng=secrets.token_bytes).add(PORTAL)
    finally:
        await directory.close()


async def peers_of(relay: RelayProcess, http: aiohttp.ClientSession) -> Peers:
    """A portal of the relay and its users."""
    return Peers(relay.url, http, {PORTAL: await add_portal(relay.data)})


async def refused(folder: Path, *options: str, **env: str) -> str:
    """Start a relay that must not start; what it says."""
    process = await start([*SERVE, *options], environment(**env), folder)
    async with asyncio.timeout(PATIENCE):
        output, errors = await process.communicate()
    assert process.returncode == 1
    assert output == b""
    assert errors.startswith(b"coach-relay: ")
    assert b"Traceback" not in errors
    return errors.decode()


# -- the beginning -----------------------------------------------------------------------------------


async def test_it_starts_without_configuration_and_says_where(tmp_path: Path) -> None:
    command = (*SERVE, "--port", "0")
    async with relay_process(tmp_path, command=command, XDG_DATA_HOME=str(tmp_path / "xdg")) as relay:
        assert relay.url.startswith("http://127.0.0.1:")
        assert relay.data == str(tmp_path / "xdg" / "coach-relay")
        async with aiohttp.ClientSession(relay.url) as http, http.get("/readyz") as answer:
            assert answer.status == 200
        assert await relay.stop() == 0


async def test_a_file_and_the_environment_configure_it(tmp_path: Path) -> None:
    config = tmp_path / "relay.toml"
    config.write_text('port = 1\nlog_level = "debug"\n')
    async with relay_process(
        tmp_path,
        "--config",
        str(config),
        "--host",
        "::1",
        command=SERVE,
        COACH_RELAY_PORT="0",
        COACH_RELAY_DATA_DIR=str(tmp_path / "d"),
    ) as relay:
        assert relay.url.startswith("http://[::1]:")
        assert relay.data == str(tmp_path / "d")
        assert await relay.stop() == 0


async def test_wrong_settings_are_one_sentence(tmp_path: Path) -> None:
    assert "port" in await refused(tmp_path, "--port", "99999")
    assert "the nearest one is COACH_RELAY_PORT" in await refused(tmp_path, COACH_RELAY_PROT="1")
    assert "unencrypted" in await refused(
        tmp_path, "--host", "0.0.0.0", "--public-origin", "https://r.example"
    )
    assert "cannot be read" in await refused(tmp_path, "--config", "missing.toml")


async def test_an_address_in_use_is_named(tmp_path: Path) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        said = await refused(tmp_path, "--port", str(port), "--data-dir", str(tmp_path / "d"))
    assert str(port) in said
    assert "another" in said


async def test_two_relays_never_share_a_folder(tmp_path: Path) -> None:
    async with relay_process(tmp_path) as relay:
        said = await refused(tmp_path, "--port", "0", "--data-dir", relay.data)
        assert "another relay has this data folder open" in said
        assert await relay.stop() == 0
    async with relay_process(tmp_path) as again:
        assert await again.stop() == 0


async def test_a_damaged_database_is_never_served(tmp_path: Path) -> None:
    async with relay_process(tmp_path) as relay:
        await relay.stop()
    path = Path(relay.data) / "directory.db"
    path.write_bytes(b"not a database, and long enough to look like one" * 100)
    before = path.read_bytes()
    assert "directory.db" in await refused(tmp_path, "--port", "0", "--data-dir", relay.data)
    assert path.read_bytes() == before


# -- TLS ---------------------------------------------------------------------------------------------


def certificate(folder: Path) -> tuple[Path, Path]:
    key = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "localhost")])
    now = datetime.now(UTC)
    made = (
        x509.CertificateBuilder()
        .subject_name(name)
        .issuer_name(name)
        .public_key(key.public_key())
        .serial_number(1)
        .not_valid_before(now - timedelta(hours=1))
        .not_valid_after(now + timedelta(days=40))
        .add_extension(x509.SubjectAlternativeName([x509.DNSName("localhost")]), critical=False)
        .sign(key, hashes.SHA256())
    )
    cert_file, key_file = folder / "cert.pem", folder / "key.pem"
    cert_file.write_bytes(made.public_bytes(Encoding.PEM))
    key_file.write_bytes(key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption()))
    return cert_file, key_file


async def test_it_ends_tls_itself(tmp_path: Path) -> None:
    cert, key = certificate(tmp_path)
    async with relay_process(tmp_path, "--tls-cert", str(cert), "--tls-key", str(key)) as relay:
        url = relay.url.replace("127.0.0.1", "localhost")
        assert url.startswith("https://")
        context = ssl.create_default_context(cafile=cert)
        async with aiohttp.ClientSession(url) as http:
            async with http.get("/livez", ssl=context) as answer:
                assert answer.status == 200
                assert answer.headers["Strict-Transport-Security"]
            async with http.ws_connect("/v1/connect", ssl=context) as web:
                await web.send_bytes(encode([fr.Hello((1,), b"c" * 32)]))
                assert isinstance(decode_from_relay(await web.receive_bytes())[0], fr.Challenge)
                await web.send_bytes(bytes(2**20))
                (goodbye,) = decode_from_relay(await web.receive_bytes())
                assert isinstance(goodbye, fr.Goodbye)
                assert goodbye.code == "too_big"
            old = ssl.create_default_context(cafile=cert)
            with pytest.warns(DeprecationWarning, match="TLSv1_1"):
                old.maximum_version = ssl.TLSVersion.TLSv1_1
            with pytest.raises(aiohttp.ClientConnectorError):
                await http.get("/livez", ssl=old)
        assert await relay.stop() == 0


async def test_a_certificate_that_is_none_is_named(tmp_path: Path) -> None:
    cert, key = certificate(tmp_path)
    key.write_text("not a key")
    said = await refused(
        tmp_path, "--port", "0", "--data-dir", "d", "--tls-cert", str(cert), "--tls-key", str(key)
    )
    assert "tls_key" in said


# -- the end -----------------------------------------------------------------------------------------


@pytest.mark.parametrize("signum", [signal.SIGTERM, signal.SIGINT])
async def test_a_signal_ends_it_in_order(tmp_path: Path, signum: signal.Signals) -> None:
    async with relay_process(tmp_path) as relay, aiohttp.ClientSession(relay.url) as http:
        peers = await peers_of(relay, http)
        async with peers.device("anna") as device:
            relay.process.send_signal(signum)
            goodbye = await device.wait_for(fr.Goodbye)
            assert goodbye.code == "draining"
            assert await device.next() is None
            assert device.socket.close_code == 1000
        assert await relay.ended() == 0
        said = await relay.errors()
    events = [json.loads(line)["event"] for line in said.splitlines()]
    assert events[0] == "started"
    assert events[-2:] == ["draining", "stopped"] or events[-1] == "stopped"


class Upload:
    """An upload of one device by tus."""

    def __init__(
        self, relay: RelayProcess, http: aiohttp.ClientSession, path: str, access: dict[str, str]
    ) -> None:
        self.file = Path(relay.data) / "blobs" / path.rpartition("/")[2]
        self.http = http
        self.path = path
        self.headers = TUS | access

    @classmethod
    async def create(cls, relay: RelayProcess, http: aiohttp.ClientSession, size: int) -> Upload:
        peers = await peers_of(relay, http)
        engagement = await peers.engagement("anna")
        access = await peers.blob_access(engagement, "anna")
        async with http.post("/v1/blobs", headers=TUS | access | {"Upload-Length": str(size)}) as answer:
            assert answer.status == 201
            return cls(relay, http, answer.headers["Location"], access)

    async def patch(self, offset: int, body: Any) -> int:
        kind = {"Content-Type": "application/offset+octet-stream", "Upload-Offset": str(offset)}
        async with self.http.patch(self.path, data=body, headers=self.headers | kind) as answer:
            assert answer.status == 204, await answer.text()
            return int(answer.headers["Upload-Offset"])


async def test_an_upload_may_finish_while_it_stops(tmp_path: Path) -> None:
    begin, end = random.randbytes(PART_BYTES + 5), b"the end"
    going_on = asyncio.Event()

    async def body() -> AsyncIterator[bytes]:
        yield begin
        await going_on.wait()
        yield end

    async with relay_process(tmp_path) as relay, aiohttp.ClientSession(relay.url) as http:
        upload = await Upload.create(relay, http, len(begin + end))
        patching = asyncio.create_task(upload.patch(0, body()))
        async with asyncio.timeout(PATIENCE):
            while not (upload.file / "000000").exists():
                await http.get("/livez")
            relay.process.send_signal(signal.SIGTERM)
            while (await http.get("/readyz")).status != 503:
                pass
        going_on.set()
        assert await patching == len(begin + end)
        assert await relay.ended() == 0


async def silent_peer(relay: RelayProcess) -> tuple[asyncio.StreamReader, asyncio.StreamWriter]:
    """A websocket that answers nothing, not even a closing handshake."""
    reader, writer = await asyncio.open_connection("127.0.0.1", int(relay.url.rpartition(":")[2]))
    writer.write(
        b"GET /v1/connect HTTP/1.1\r\nHost: x\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"
        b"Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: MDEyMzQ1Njc4OWFiY2RlZg==\r\n\r\n"
    )
    await reader.readuntil(b"\r\n\r\n")
    return reader, writer


async def test_it_waits_for_nobody_beyond_its_bound(tmp_path: Path) -> None:
    async with relay_process(tmp_path, COACH_RELAY_DRAIN_SECONDS="1") as relay:
        _reader, writer = await silent_peer(relay)
        began = time.monotonic()
        assert await relay.stop() == 0
        assert time.monotonic() - began < 4
        writer.close()


async def test_a_second_signal_is_final(tmp_path: Path) -> None:
    async with relay_process(tmp_path, COACH_RELAY_DRAIN_SECONDS="60") as relay:
        reader, writer = await silent_peer(relay)
        relay.process.send_signal(signal.SIGTERM)
        assert await reader.readexactly(2)  # the goodbye: it is draining
        began = time.monotonic()
        assert await relay.stop() == 128 + signal.SIGTERM
        assert time.monotonic() - began < 2
        writer.close()


async def test_acknowledged_bytes_survive_sigkill(tmp_path: Path) -> None:
    content = random.randbytes(5_000_000)
    pieces = (content[:1], content[1:1_000_000], content[1_000_000:3_500_000])
    async with relay_process(tmp_path) as relay, aiohttp.ClientSession(relay.url) as http:
        upload = await Upload.create(relay, http, len(content))
        offset = 0
        for piece in pieces:
            offset = await upload.patch(offset, BytesIO(piece))
        relay.process.kill()
        assert await relay.ended() == -signal.SIGKILL
    async with relay_process(tmp_path) as again, aiohttp.ClientSession(again.url) as http:
        async with http.head(upload.path, headers=upload.headers) as answer:
            assert int(answer.headers["Upload-Offset"]) == offset == 3_500_000
        upload.http = http
        assert await upload.patch(offset, BytesIO(content[offset:])) == len(content)
        async with http.get(upload.path, headers=upload.headers) as answer:
            assert await answer.read() == content
        assert await again.stop() == 0


async def test_sigkill_in_the_middle_of_a_body_loses_no_part_that_was_stored(tmp_path: Path) -> None:
    content = random.randbytes(3 * PART_BYTES)

    async def body() -> AsyncIterator[bytes]:
        yield content[: 2 * PART_BYTES + 77]
        await asyncio.Event().wait()

    async with relay_process(tmp_path) as relay, aiohttp.ClientSession(relay.url) as http:
        upload = await Upload.create(relay, http, len(content))
        patching = asyncio.create_task(upload.patch(0, body()))
        async with asyncio.timeout(PATIENCE):
            while not (upload.file / "000001").exists():
                await http.get("/livez")
        relay.process.kill()
        with pytest.raises(aiohttp.ClientError):
            await patching
    async with relay_process(tmp_path) as again, aiohttp.ClientSession(again.url) as http:
        async with http.head(upload.path, headers=upload.headers) as answer:
            offset = int(answer.headers["Upload-Offset"])
        assert offset >= 2 * PART_BYTES
        upload.http = http
        assert await upload.patch(offset, BytesIO(content[offset:])) == len(content)
        async with http.get(upload.path, headers=upload.headers) as answer:
            assert await answer.read() == content
        assert await again.stop() == 0


async def test_a_device_talks_over_tls(tmp_path: Path) -> None:
    cert, key = certificate(tmp_path)
    async with relay_process(tmp_path, "--tls-cert", str(cert), "--tls-key", str(key)) as relay:
        url = relay.url.replace("127.0.0.1", "localhost")
        secured = aiohttp.TCPConnector(ssl=ssl.create_default_context(cafile=cert))
        async with aiohttp.ClientSession(url, connector=secured) as http:
            peers = Peers(url, http, {PORTAL: await add_portal(relay.data)})
            engagement = await peers.engagement("anna")
            async with peers.device("anna") as anna:
                await anna.create_group(engagement)
                large = [fr.Ephemeral(engagement, bytes(32 * 1024)) for _ in range(50)]
                await anna.send(*large, fr.ListEngagements(1))
                await anna.wait_for(fr.Engagements)
        assert await relay.stop() == 0
