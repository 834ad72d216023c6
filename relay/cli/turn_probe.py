"""Proves a TURN address (RFC 8656): allocates twice, and passes a packet from one to the other and back."""

from __future__ import annotations

import asyncio
import secrets
import ssl
from contextlib import AsyncExitStack
from dataclasses import dataclass
from enum import StrEnum
from typing import TYPE_CHECKING, Any, Final

from relay.wire.frames import IceServer
from relay.wire.turn_uri import TurnUri

if TYPE_CHECKING:
    from aioice.turn import TurnTransport

PATIENCE: Final = 5.0
"""Seconds for an answer: four tries of STUN over UDP (RFC 8489 section 6.2.1), and ten slow round trips."""
CLOSE_SECONDS: Final = 2.0
UNAUTHORIZED: Final = 401
FORBIDDEN: Final = 403
PRIVATE_PEERS: Final = ("127.0.0.1", "10.0.0.1", "172.16.0.1", "192.168.0.1", "169.254.169.254")
"""One of each kind that a TURN server must not send to (RFC 8656 section 21.1.4)."""
PROBE_PORT: Final = 9
"""Discard (RFC 863): should the packet get through, nothing minds it."""


class Trouble(StrEnum):
    """Why an address does not work."""

    SILENT = "silent"
    CLOSED = "closed"
    UNREACHABLE = "unreachable"
    CERTIFICATE_EXPIRED = "certificate_expired"
    CERTIFICATE_NAME = "certificate_name"
    CERTIFICATE_UNTRUSTED = "certificate_untrusted"
    NO_TLS = "no_tls"
    UNAUTHORIZED = "unauthorized"
    REFUSED = "refused"
    NO_PEER = "no_peer"
    LOST = "lost"


class TurnFailed(Exception):
    """An address does not work; ``detail`` is a STUN error code, if the server said one."""

    def __init__(self, trouble: Trouble, detail: int = 0) -> None:
        super().__init__(trouble.value)
        self.trouble = trouble
        self.detail = detail


@dataclass(frozen=True, slots=True)
class Relayed:
    """What works: the address that the server lent, and how long a packet takes by way of it.

    `certificate_ends`, over TLS, is when the server's certificate expires (Unix seconds).
    """

    address: str
    milliseconds: float
    certificate_ends: float | None = None


class _Received(asyncio.DatagramProtocol):
    def __init__(self) -> None:
        self.packets: asyncio.Queue[bytes | Exception] = asyncio.Queue()
        self.lost = asyncio.Event()

    def datagram_received(self, data: bytes, addr: tuple[str | Any, int]) -> None:  # noqa: ARG002  asyncio's
        self.packets.put_nowait(data)

    def error_received(self, exc: Exception) -> None:
        self.packets.put_nowait(exc)

    def connection_lost(self, exc: Exception | None) -> None:  # noqa: ARG002  asyncio's
        self.lost.set()


class _Allocation:
    def __init__(self, transport: TurnTransport, received: _Received) -> None:
        self.transport = transport
        self.received = received

    @property
    def address(self) -> tuple[str, int]:
        found: tuple[str, int] = self.transport.get_extra_info("sockname")
        return found

    @property
    def certificate_ends(self) -> float | None:
        client: Any = self.transport._TurnTransport__inner_protocol  # type: ignore[attr-defined]  # aioice shows it nowhere
        certificate = client.transport.get_extra_info("peercert")
        return ssl.cert_time_to_seconds(certificate["notAfter"]) if certificate else None

    async def close(self) -> None:
        self.transport.close()
        try:
            async with asyncio.timeout(CLOSE_SECONDS):
                await self.received.lost.wait()
        except TimeoutError:
            return  # the server forgets it by itself in ten minutes


async def prove(uri: TurnUri, server: IceServer, *, patience: float = PATIENCE) -> Relayed:
    """Pass a packet both ways between two allocations at ``uri``. Raises `TurnFailed`."""
    async with AsyncExitStack() as stack:
        here = await _allocate(uri, server, stack, patience)
        there = await _allocate(uri, server, stack, patience)
        # The first packet each way only opens the door for the other side's (RFC 8656 section 9).
        here.transport.sendto(b"", there.address)
        there.transport.sendto(b"", here.address)
        await _pass(here, there, patience)
        began = asyncio.get_running_loop().time()
        await _pass(there, here, patience)
        taken = asyncio.get_running_loop().time() - began
        return Relayed(here.address[0], taken * 1000, here.certificate_ends)


async def refuses(uri: TurnUri, server: IceServer, *, patience: float = PATIENCE) -> bool:
    """Whether the server refuses these credentials. Raises `TurnFailed` if it does not answer at all."""
    async with AsyncExitStack() as stack:
        try:
            await _allocate(uri, server, stack, patience)
        except TurnFailed as error:
            if error.trouble is not Trouble.UNAUTHORIZED:
                raise
            return True
        return False


async def allowed_private_peers(
    uri: TurnUri, server: IceServer, *, patience: float = PATIENCE
) -> tuple[str, ...]:
    """The private addresses that the server would send to; its own kind aside, if it is on a private one."""
    async with AsyncExitStack() as stack:
        allocation = await _allocate(uri, server, stack, patience)
        own = allocation.address[0]
        asked = [peer for peer in PRIVATE_PEERS if peer.partition(".")[0] != own.partition(".")[0]]
        for peer in asked:
            allocation.transport.sendto(b"", (peer, PROBE_PORT))
        refusals = 0
        try:
            async with asyncio.timeout(patience):
                while refusals < len(asked):
                    refusals += _code(await allocation.received.packets.get()) == FORBIDDEN
        except TimeoutError:
            return await _each_alone(allocation, asked)
        return ()


async def _each_alone(allocation: _Allocation, peers: list[str]) -> tuple[str, ...]:
    """Ask again, one after the other: which were they?"""
    allowed = []
    for peer in peers:
        allocation.transport.sendto(b"", (peer, PROBE_PORT))
        try:
            async with asyncio.timeout(1.0):
                answer = await allocation.received.packets.get()
        except TimeoutError:
            answer = b""
        if _code(answer) != FORBIDDEN:
            allowed.append(peer)
    return tuple(allowed)


async def _allocate(uri: TurnUri, server: IceServer, stack: AsyncExitStack, patience: float) -> _Allocation:
    from aioice.stun import TransactionFailed
    from aioice.turn import create_turn_endpoint

    try:
        async with asyncio.timeout(patience):
            transport, received = await create_turn_endpoint(
                _Received,
                server_addr=(uri.host, uri.port),
                username=server.username,
                password=server.credential,
                ssl=ssl.create_default_context() if uri.secure else None,
                transport=uri.transport,
            )
    except TransactionFailed as error:
        code = _code(error)
        raise TurnFailed(Trouble.UNAUTHORIZED if code == UNAUTHORIZED else Trouble.REFUSED, code) from error
    except TimeoutError as error:
        raise TurnFailed(Trouble.SILENT) from error
    except OSError as error:  # TLS's errors too
        raise TurnFailed(_trouble_of(error)) from error
    allocation = _Allocation(transport, received)
    stack.push_async_callback(allocation.close)
    return allocation


async def _pass(sender: _Allocation, receiver: _Allocation, patience: float) -> None:
    """Send until it arrives: a packet over UDP may get lost, and the first may come too early."""
    token = secrets.token_bytes(16)
    tries = 5
    for _ in range(tries):
        sender.transport.sendto(token, receiver.address)
        if await _arrives(token, receiver, patience / tries):
            return
        _check_not_refused(sender)
    raise TurnFailed(Trouble.LOST)


async def _arrives(token: bytes, receiver: _Allocation, patience: float) -> bool:
    try:
        async with asyncio.timeout(patience):
            while True:
                packet = await receiver.received.packets.get()
                if isinstance(packet, Exception):
                    raise TurnFailed(Trouble.NO_PEER, _code(packet))
                if secrets.compare_digest(packet, token):
                    return True
    except TimeoutError:
        return False


def _check_not_refused(sender: _Allocation) -> None:
    while not sender.received.packets.empty():
        packet = sender.received.packets.get_nowait()
        if isinstance(packet, Exception):
            raise TurnFailed(Trouble.NO_PEER, _code(packet))


def _code(answer: object) -> int:
    """The STUN error code in a failed transaction; 0 if there is none."""
    attributes = getattr(getattr(answer, "response", None), "attributes", {})
    code: int = attributes.get("ERROR-CODE", (0, ""))[0]
    return code


_OPENSSL_EXPIRED: Final = 10
_OPENSSL_NAMES: Final = (62, 64)  # of the host, of the address


def _trouble_of(error: OSError) -> Trouble:
    if isinstance(error, ssl.SSLCertVerificationError):
        if error.verify_code == _OPENSSL_EXPIRED:
            return Trouble.CERTIFICATE_EXPIRED
        is_name = error.verify_code in _OPENSSL_NAMES
        return Trouble.CERTIFICATE_NAME if is_name else Trouble.CERTIFICATE_UNTRUSTED
    if isinstance(error, ssl.SSLError):
        return Trouble.NO_TLS
    return Trouble.CLOSED if isinstance(error, ConnectionError) else Trouble.UNREACHABLE
