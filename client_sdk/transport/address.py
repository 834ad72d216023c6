"""Where a relay is, and the origin that a device signs when it connects (PROTOCOL 2.1)."""

from __future__ import annotations

import ipaddress
from dataclasses import dataclass

from yarl import URL

from client_sdk.errors import UsageError


@dataclass(frozen=True, slots=True, kw_only=True)
class RelayAddress:
    """`origin` has the form of RFC 6454 section 6.2; `connect` is the websocket's URL, `base` is for HTTP."""

    origin: str
    connect: str
    base: str


def relay_address(url: str, *, allow_insecure: bool = False) -> RelayAddress:
    """The address behind a relay's http or https URL.

    Plain http is for this machine alone: with another host it raises `UsageError` unless `allow_insecure` is
    true (messages stay sealed even then, but the access token and who talks to whom do not).
    """
    try:
        parsed = URL(url)
        host, port = parsed.host, parsed.port
    except ValueError:
        raise UsageError("The relay's address is not a URL.") from None
    if parsed.scheme not in ("http", "https") or not host or port is None:
        raise UsageError("The relay's address must begin with https:// (or http:// on this machine).")
    if parsed.user or parsed.password or parsed.query_string or parsed.fragment:
        raise UsageError("The relay's address is scheme, host, port and path alone.")
    if parsed.scheme == "http" and not allow_insecure and not _is_loopback(host):
        raise UsageError("A relay on another machine is reached by https:// only.")
    base = parsed.with_path(parsed.path.rstrip("/") + "/")
    connect = (base / "v1" / "connect").with_scheme("wss" if parsed.scheme == "https" else "ws")
    return RelayAddress(origin=str(parsed.origin()), connect=str(connect), base=str(base).rstrip("/"))


def _is_loopback(host: str) -> bool:
    if host == "localhost" or host.endswith(".localhost"):
        return True
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return False
