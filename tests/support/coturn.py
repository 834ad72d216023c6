"""The real coturn with the file that we ship; ports, paths, the secret and what loopback needs differ."""

from __future__ import annotations

import asyncio
import ipaddress
import secrets
import shutil
import ssl
import time
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any, Final

import pytest
from aioice import stun, turn
from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat
from cryptography.x509.oid import NameOID

from relay.core.ice import turn_server
from relay.wire.frames import IceServer
from relay.wire.turn_uri import parse_turn_uri
from tests.support.ports import free_port

CONFIGURATION: Final = Path(__file__).resolve().parents[2] / "deploy" / "coturn" / "turnserver.conf"
PROGRAM: Final = shutil.which("turnserver")
START_SECONDS: Final = 60.0
LOOPBACK: Final = ("--allow-loopback-peers", "--allowed-peer-ip=127.0.0.1")
"""What calls on one machine need, and no other may have."""

requires_coturn = pytest.mark.skipif(
    PROGRAM is None, reason="coturn is not installed: apt-get install coturn, or run `make setup` as root"
)


@dataclass(frozen=True, slots=True, kw_only=True)
class Coturn:
    """A coturn that answers."""

    host: str
    port: int
    tls_port: int
    secret: str = field(repr=False)
    certificate: Path
    output: Path

    @property
    def urls(self) -> tuple[str, ...]:
        """Its addresses as an operator names them: UDP, TCP, TLS."""
        plain = f"turn:{self.host}:{self.port}?transport="
        return (f"{plain}udp", f"{plain}tcp", f"turns:{self.host}:{self.tls_port}?transport=tcp")

    def server(self, *urls: str, name: str = "test", minted: int | None = None) -> IceServer:
        """What the relay tells a device, minted now or at another time (Unix seconds)."""
        now = int(time.time()) if minted is None else minted
        return turn_server(urls or self.urls, self.secret.encode(), name, now=now)[0]


class Received(asyncio.DatagramProtocol):
    """What arrives at an allocation, and what its server refuses."""

    def __init__(self) -> None:
        self.packets: asyncio.Queue[bytes] = asyncio.Queue()
        self.errors: asyncio.Queue[Exception] = asyncio.Queue()
        self.lost = asyncio.Event()

    def datagram_received(self, data: bytes, addr: tuple[str, int]) -> None:
        self.packets.put_nowait(data)

    def error_received(self, exc: Exception) -> None:
        self.errors.put_nowait(exc)

    def connection_lost(self, exc: Exception | None) -> None:
        self.lost.set()


class Allocation:
    """An allocation (RFC 8656 section 3.2), asked by aioice's client."""

    def __init__(self, client: Any, transport: Any, received: Received) -> None:
        self._client = client
        self.transport = transport
        self.received = received

    @property
    def address(self) -> tuple[str, int]:
        """The relayed transport address."""
        found: tuple[str, int] = self.transport.get_extra_info("sockname")
        return found

    async def ask(self, method: str, **attributes: object) -> int:
        """Send an authenticated request; 0 for success, else the error code (RFC 8656 section 19)."""
        request = stun.Message(message_method=stun.Method[method], message_class=stun.Class.REQUEST)
        for name, value in attributes.items():
            request.attributes[name.replace("_", "-")] = value
        try:
            async with asyncio.timeout(START_SECONDS):
                await self._client.request_with_retry(request)
        except stun.TransactionFailed as error:
            return int(error.response.attributes["ERROR-CODE"][0])
        return 0

    def indicate(self, peer: tuple[str, int], data: bytes) -> None:
        """Send data in an indication, without a channel, and without being told what became of it."""
        message = stun.Message(message_method=stun.Method.SEND, message_class=stun.Class.INDICATION)
        message.attributes["XOR-PEER-ADDRESS"] = peer
        message.attributes["DATA"] = data
        self._client.send_stun(message, self._client.server)

    async def permit(self, peer: str, index: int) -> tuple[int, int]:
        """What CreatePermission and ChannelBind say for a peer; ``index`` is another for each."""
        told = await self.ask("CREATE_PERMISSION", XOR_PEER_ADDRESS=(peer, 9))
        bound = await self.ask("CHANNEL_BIND", CHANNEL_NUMBER=0x4000 + index, XOR_PEER_ADDRESS=(peer, 9))
        return told, bound

    async def close(self) -> None:
        """Give it up."""
        self.transport.close()
        async with asyncio.timeout(START_SECONDS):
            await self.received.lost.wait()


async def allocate(coturn: Coturn, url: str, server: IceServer | None = None) -> Allocation:
    """Make an allocation over a transport; raises what aioice does."""
    uri, told = parse_turn_uri(url), server or coturn.server()
    context = ssl.create_default_context(cafile=coturn.certificate) if uri.secure else None
    async with asyncio.timeout(START_SECONDS):
        transport, received = await turn.create_turn_endpoint(
            Received,
            server_addr=(uri.host, uri.port),
            username=told.username,
            password=told.credential,
            ssl=context,
            transport=uri.transport,
        )
    return Allocation(transport._TurnTransport__inner_protocol, transport, received)  # type: ignore[attr-defined]  # aioice has no other way to send a request of our own


def family_attribute(monkeypatch: pytest.MonkeyPatch, family: str) -> None:
    """Have aioice ask for relayed addresses of a family ("v4", "v6"), which it cannot by itself."""
    entry = (0x0017, "REQUESTED-ADDRESS-FAMILY", stun.pack_unsigned, stun.unpack_unsigned)
    monkeypatch.setitem(stun.ATTRIBUTES_BY_NAME, entry[1], entry)
    unwrapped = turn.TurnClientMixin.request

    async def request(self: Any, message: stun.Message) -> Any:
        if message.message_method is stun.Method.ALLOCATE:
            message.attributes.pop("MESSAGE-INTEGRITY", None)
            message.attributes[entry[1]] = {"v4": 1, "v6": 2}[family] << 24
        return await unwrapped(self, message)

    monkeypatch.setattr(turn.TurnClientMixin, "request", request)


def make_certificate(folder: Path, *addresses: str, days: int = 30) -> tuple[Path, Path]:
    """A certificate of localhost and ``addresses``, and its key; ``days`` below 0: it expired so long ago."""
    key = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "localhost")])
    now = datetime.now(UTC)
    names = [x509.DNSName("localhost"), *(x509.IPAddress(ipaddress.ip_address(one)) for one in addresses)]
    made = (
        x509.CertificateBuilder()
        .subject_name(name)
        .issuer_name(name)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - timedelta(days=60))
        .not_valid_after(now + timedelta(days=days))
        .add_extension(x509.SubjectAlternativeName(names), critical=False)
        .sign(key, hashes.SHA256())
    )
    certificate, secret_key = folder / "turn.pem", folder / "turn.key"
    certificate.write_bytes(made.public_bytes(Encoding.PEM))
    secret_key.write_bytes(key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption()))
    return certificate, secret_key


def command(
    folder: Path, *extra: str, host: str, port: int, tls_port: int, secret: str, days: int = 30
) -> list[str]:
    """How coturn is started with the shipped file; writes its certificate."""
    certificate, key = make_certificate(folder, host, days=days)
    return [
        str(PROGRAM),
        "-c",
        str(CONFIGURATION),
        f"--listening-ip={host}",
        f"--relay-ip={host}",
        f"--listening-port={port}",
        f"--tls-listening-port={tls_port}",
        f"--cert={certificate}",
        f"--pkey={key}",
        f"--static-auth-secret={secret}",
        "--pidfile=",
        *extra,
    ]


@asynccontextmanager
async def coturn_process(
    folder: Path, *extra: str, host: str = "127.0.0.1", days: int = 30, prefix: Sequence[str] = ()
) -> AsyncIterator[Coturn]:
    """Run coturn until the end of the block; ``prefix`` is a command that runs it somewhere else."""
    port, tls_port = (3478, 443) if prefix else (free_port(), free_port())
    secret, output = secrets.token_hex(16), folder / "coturn.log"
    line = command(folder, *extra, host=host, port=port, tls_port=tls_port, secret=secret, days=days)
    with output.open("wb") as log:
        process = await asyncio.create_subprocess_exec(*prefix, *line, stdout=log, stderr=log, cwd=folder)
    made = Coturn(
        host=host,
        port=port,
        tls_port=tls_port,
        secret=secret,
        certificate=folder / "turn.pem",
        output=output,
    )
    try:
        if not prefix:
            await _answers(process, made)
        yield made
    finally:
        if process.returncode is None:
            process.terminate()
        async with asyncio.timeout(START_SECONDS):
            await process.wait()


async def _answers(process: asyncio.subprocess.Process, coturn: Coturn) -> None:
    async with asyncio.timeout(START_SECONDS):
        for port in (coturn.port, coturn.tls_port):
            while not await _connects(coturn.host, port):
                assert process.returncode is None, coturn.output.read_text()
                await asyncio.sleep(0.05)  # between two looks at another process


async def _connects(host: str, port: int) -> bool:
    try:
        _, writer = await asyncio.open_connection(host, port)
    except OSError:
        return False
    writer.close()
    await writer.wait_closed()
    return True
