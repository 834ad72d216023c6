"""What `doctor` looks at for calls: each TURN address, proved from end to end, and what it is to let in."""

from __future__ import annotations

import asyncio
import ipaddress
import secrets
import socket
import time
from collections.abc import Coroutine, Generator, Iterator
from importlib.util import find_spec
from typing import Any, Final, TypeVar

from relay.cli.findings import Finding, failed, note, ok
from relay.cli.turn_probe import (
    PATIENCE,
    Relayed,
    Trouble,
    TurnFailed,
    allowed_private_peers,
    prove,
    refuses,
)
from relay.config import Settings
from relay.core.ice import TURN_SECONDS, turn_server
from relay.wire.frames import IceServer
from relay.wire.turn_uri import TurnUri, parse_turn_uri

T = TypeVar("T")

NAME: Final = "doctor"
CERTIFICATE_DAYS: Final = 14
YEAR: Final = 366 * 24 * 3600

GOODBYE_SECONDS: Final = 0.1
"""For connections that were given up to close: TLS says goodbye first."""

_OPEN: Final = (
    "On {host} and in the firewall before it, let in {protocol} on port {port}; and see that coturn runs."
)
_DO: Final = {
    Trouble.SILENT: _OPEN,
    Trouble.CLOSED: "Nothing listens there: see that coturn runs with this port in its configuration. It "
    "keeps TLS shut, and says nothing, when its user cannot read cert or pkey, or not listen below 1024.",
    Trouble.UNREACHABLE: "This machine has no way there: check the address, and this machine's own firewall.",
    Trouble.CERTIFICATE_EXPIRED: "Renew the certificate of {host}, and restart coturn.",
    Trouble.CERTIFICATE_NAME: "Give coturn a certificate for {host}, or write that name in turn_urls.",
    Trouble.CERTIFICATE_UNTRUSTED: "Devices will not trust it either: give coturn the whole chain "
    "(fullchain.pem) of a certificate from an authority that they know.",
    Trouble.NO_TLS: "Something else than a TLS server answers there: check tls-listening-port of coturn.",
    Trouble.REFUSED: "Its code is {detail}. With 486 or 508 a quota of coturn's configuration is reached.",
    Trouble.NO_PEER: "It does not send to the address that it lent itself: set relay-ip to the machine's "
    "address, behind NAT external-ip, and see that denied-peer-ip does not name its public one.",
    Trouble.LOST: "On {host} and in the firewall before it, let in UDP on ports min-port to max-port "
    "of coturn (49152 to 65535); behind NAT set external-ip.",
}
_WHAT: Final = {
    Trouble.SILENT: "does not answer",
    Trouble.CLOSED: "refuses the connection",
    Trouble.UNREACHABLE: "cannot be reached",
    Trouble.CERTIFICATE_EXPIRED: "has a certificate that has expired",
    Trouble.CERTIFICATE_NAME: "has a certificate of another name",
    Trouble.CERTIFICATE_UNTRUSTED: "has a certificate that is not trusted here",
    Trouble.NO_TLS: "does not speak TLS",
    Trouble.REFUSED: "lets us in, but lends no address",
    Trouble.NO_PEER: "lends addresses, but no packet may pass between two of them",
    Trouble.LOST: "lends addresses, but no packet passes between two of them",
}


def check_turn(settings: Settings) -> Iterator[Finding]:
    """Every TURN address: credentials, transport, a packet from end to end."""
    if not settings.turn_urls:
        yield note(
            "no TURN server is configured: calls between strict networks will not connect",
            "Set up coturn (deploy/coturn), and name it in turn_urls.",
        )
        return
    if find_spec("aioice") is None:
        yield failed("TURN cannot be tried: aioice is not installed", 'Install "coach-relay[relay]".')
        return
    uris = [parse_turn_uri(url) for url in settings.turn_urls]
    proved: dict[str, TurnUri] = {}  # one address of each host that works
    for uri in uris:
        if (yield from _address(uri, settings)):
            proved.setdefault(uri.host, uri)
    for uri in proved.values():
        yield from _server(uri, settings)
    for host in dict.fromkeys(uri.host for uri in uris):
        yield ok(_to_open([uri for uri in uris if uri.host == host]))


def minted(settings: Settings, *, at: float | None = None, lasts: int = TURN_SECONDS) -> IceServer:
    """A credential as the relay would mint it at a time (Unix seconds; None: now) to last so long."""
    now = int(_now() if at is None else at) + lasts - TURN_SECONDS
    name = f"{NAME}{secrets.token_hex(4)}"  # another each time: quotas are counted by name
    return turn_server(settings.turn_urls, settings.turn_secret.encode(), name, now=now)[0]


def _address(uri: TurnUri, settings: Settings) -> Generator[Finding, None, bool]:
    """One address; returns whether it works."""
    where = f"TURN over {uri.way} ({uri.host}:{uri.port})"
    try:
        socket.getaddrinfo(uri.host, uri.port)
    except OSError:
        yield failed(f"{where}: there is no such host", "Correct turn_urls, or the host's entry in the DNS.")
        return False
    try:
        relayed = _run(prove(uri, minted(settings), patience=PATIENCE))
    except TurnFailed as error:
        yield _failure(where, uri, error, settings)
        return False
    yield _relayed(where, relayed)
    if relayed.certificate_ends is not None:
        yield from _certificate(where, relayed.certificate_ends - _now())
    return True


def _certificate(where: str, left: float) -> Iterator[Finding]:
    days = int(left // (24 * 3600))
    if days < CERTIFICATE_DAYS:
        yield note(f"the certificate of {where} expires in {days} days", "Renew it, and restart coturn.")


def _failure(where: str, uri: TurnUri, error: TurnFailed, settings: Settings) -> Finding:
    if error.trouble is Trouble.UNAUTHORIZED:
        return _unauthorized(where, uri, settings)
    protocol = "UDP" if uri.transport == "udp" else "TCP"
    what, do = what_and_do(
        error.trouble, host=uri.host, port=uri.port, protocol=protocol, detail=error.detail
    )
    return failed(f"{where} {what}", do)


def what_and_do(trouble: Trouble, **about: str | int) -> tuple[str, str]:
    """A trouble in words, and what to do about it."""
    return _WHAT[trouble], _DO[trouble].format(**about)


def _unauthorized(where: str, uri: TurnUri, settings: Settings) -> Finding:
    """Tell a wrong secret from a clock that is ahead: to that one a credential for a year is still good."""
    try:
        clock = not _run(refuses(uri, minted(settings, lasts=YEAR)))
    except TurnFailed:
        clock = False
    if clock:
        return failed(
            f"{where} holds our credentials for expired: its clock is ahead of this one by an hour or more",
            "Set both clocks right, and keep them so (chrony, systemd-timesyncd).",
        )
    return failed(
        f"{where} refuses our credentials",
        "Give coturn's static-auth-secret the value of the relay's turn_secret, and set use-auth-secret.",
    )


def _relayed(where: str, relayed: Relayed) -> Finding:
    address = ipaddress.ip_address(relayed.address)
    if address.is_loopback:
        return note(f"{where} works, on this machine alone", "For a trial that is enough.")
    if not address.is_global:
        return failed(
            f"{where} works here, but lends {address}, which only its own network can reach",
            "Set external-ip in coturn's configuration to its public address.",
        )
    return ok(f"{where} works: a packet passes from end to end in {relayed.milliseconds:.0f} ms")


def _server(uri: TurnUri, settings: Settings) -> Iterator[Finding]:
    """What is the same over every transport: whom it refuses, and where it does not send."""
    try:
        yield _expiry(uri, settings)
        yield _peers(uri, settings)
    except TurnFailed as error:
        yield _failure(f"TURN over {uri.way} ({uri.host}:{uri.port})", uri, error, settings)


def _expiry(uri: TurnUri, settings: Settings) -> Finding:
    wrong = minted(settings)._replace(credential=secrets.token_urlsafe(20))
    if not _run(refuses(uri, wrong)):
        return failed(
            f"{uri.host} lets in anybody, with any password",
            "Set use-auth-secret in coturn's configuration, and take no-auth out of it.",
        )
    if not _run(refuses(uri, minted(settings, at=_now() - TURN_SECONDS - 60))):
        return failed(
            f"{uri.host} accepts a credential that has expired: its clock is behind this one",
            "Set both clocks right, and keep them so (chrony, systemd-timesyncd).",
        )
    return ok(f"{uri.host} refuses wrong and expired credentials, and its clock agrees with this one")


def _peers(uri: TurnUri, settings: Settings) -> Finding:
    allowed = _run(allowed_private_peers(uri, minted(settings)))
    if allowed:
        return failed(
            f"{uri.host} sends to private addresses ({', '.join(allowed)}): callers reach what is behind it",
            "Take the denied-peer-ip lines of deploy/coturn/turnserver.conf into its configuration.",
        )
    return ok(f"{uri.host} does not send to private addresses")


def _to_open(uris: list[TurnUri]) -> str:
    ports = {("UDP" if uri.transport == "udp" else "TCP", uri.port) for uri in uris}
    named = ", ".join(f"{protocol} {port}" for protocol, port in sorted(ports))
    return f"the firewall before {uris[0].host} must let in from everywhere: {named}, and UDP 49152 to 65535"


def _now() -> float:
    return time.time()


def _run(probe: Coroutine[Any, Any, T]) -> T:
    return asyncio.run(_and_close(probe))


async def _and_close(probe: Coroutine[Any, Any, T]) -> T:
    try:
        return await probe
    finally:
        await asyncio.sleep(GOODBYE_SECONDS)
