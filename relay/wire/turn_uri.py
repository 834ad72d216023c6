"""TURN addresses as the relay names them and devices read them (RFC 7065)."""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Final

UDP: Final = "udp"
TCP: Final = "tcp"
TURN_PORT: Final = 3478
TURNS_PORT: Final = 5349

_FORM: Final = re.compile(
    r"(?P<scheme>turns?):"
    r"(?P<host>\[[0-9A-Fa-f:.]+\]|[0-9A-Za-z._-]+)"
    r"(?::(?P<port>[0-9]{1,5}))?"
    r"(?:\?transport=(?P<transport>[A-Za-z]+))?"
)


@dataclass(frozen=True, slots=True)
class TurnUri:
    """Where a TURN server is: ``host`` (a name, or an address without brackets), ``port``, how to get there.

    ``secure`` is TLS over TCP; there is no DTLS.
    """

    host: str
    port: int
    transport: str
    secure: bool

    @property
    def way(self) -> str:
        """The transport in words: UDP, TCP or TLS."""
        return "TLS" if self.secure else self.transport.upper()


def parse_turn_uri(text: str, /) -> TurnUri:
    """Parse a turn: or turns: URI (RFC 7065 section 3.1) over UDP, TCP or TLS. Raises ValueError."""
    found = _FORM.fullmatch(text)
    if found is None:
        raise ValueError("a TURN address is turn:HOST:PORT?transport=udp (or tcp), or turns:HOST:PORT")
    secure = found["scheme"] == "turns"
    transport = (found["transport"] or (TCP if secure else UDP)).lower()
    port = int(found["port"] or (TURNS_PORT if secure else TURN_PORT))
    if transport not in (UDP, TCP) or (secure and transport != TCP):
        raise ValueError("a TURN server is reached over udp or tcp, and turns: always over tcp")
    if not 1 <= port <= 65_535:
        raise ValueError("a port is a number from 1 to 65535")
    return TurnUri(found["host"].strip("[]"), port, transport, secure)
