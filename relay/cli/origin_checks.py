"""What `doctor` looks at from outside: the addresses that devices use, as the proxy in front serves them."""

from __future__ import annotations

import http.client
import json
import secrets
import socket
import ssl
import time
from base64 import b64encode
from collections.abc import Iterator
from contextlib import closing
from http import HTTPStatus
from typing import Final
from urllib.parse import urlsplit

from relay.cli.findings import Finding, failed, note, ok
from relay.config import Settings

PATIENCE: Final = 5.0  # for each answer: a device would long have given up
CERTIFICATE_DAYS: Final = 14
MAX_ANSWER_BYTES: Final = 4096
DAY_SECONDS: Final = 24 * 3600

_ELSEWHERE: Final = (
    "See from another network whether it opens there. Many machines cannot reach their own public address; "
    "else correct public_origins, the name's entry in the DNS, or the firewall (TCP {port})."
)


def check_origins(settings: Settings) -> Iterator[Finding]:
    """Each https origin: its name, its certificate, and whether answers and websockets of a relay pass."""
    for origin in settings.public_origins:
        if origin.startswith("https://"):
            yield from _origin(origin, listens=something_listens(settings))


def _origin(origin: str, *, listens: bool) -> Iterator[Finding]:
    try:
        days = _certificate_days(origin)
    except ssl.SSLError as error:
        why = getattr(error, "verify_message", "") or error.reason or "no TLS"
        yield failed(
            f"{origin} shows a certificate that devices will not trust: {why}",
            "Give the proxy a good one of that name, with its whole chain (fullchain.pem).",
        )
        return
    except OSError as error:
        why = error.strerror or "no answer"
        port = urlsplit(origin).port or 443
        yield note(f"this machine cannot reach {origin}: {why}", _ELSEWHERE.format(port=port))
        return
    if days < CERTIFICATE_DAYS:
        yield note(f"the certificate of {origin} expires in {days} days", "See why it was not renewed.")
    else:
        yield ok(f"the certificate of {origin} is good for {days} days")
    yield _answer(origin, listens=listens)


def _certificate_days(origin: str) -> int:
    parts = urlsplit(origin)
    host = parts.hostname or ""
    with (
        socket.create_connection((host, parts.port or 443), PATIENCE) as plain,
        ssl.create_default_context().wrap_socket(plain, server_hostname=host) as connection,
    ):
        ends = (connection.getpeercert() or {}).get("notAfter")
    left = ssl.cert_time_to_seconds(str(ends)) - now()
    return int(left // DAY_SECONDS)


def _answer(origin: str, *, listens: bool) -> Finding:
    """What comes back by way of the proxy."""
    try:
        status, body = _ask(origin, "/readyz", {})
        upgraded, _ = _ask(origin, "/v1/connect", _upgrade())
    except (OSError, http.client.HTTPException) as error:
        return failed(f"{origin} breaks off: {type(error).__name__}", "Look into the proxy's log.")
    if status >= HTTPStatus.INTERNAL_SERVER_ERROR and not _is_ours(body):
        if not listens:
            return note(f"{origin} answers {status}: no relay runs here", "Start the relay.")
        return failed(
            f"{origin} answers {status}: the proxy does not reach the relay",
            "Name the relay's host and port in the proxy's configuration.",
        )
    if not _is_ours(body):
        return failed(
            f"{origin} answers, but not as a relay does ({status})",
            "Something else is served at that name: see deploy/proxy for how the proxy hands on.",
        )
    if upgraded != HTTPStatus.SWITCHING_PROTOCOLS and status == HTTPStatus.OK:
        return failed(
            f"{origin} lets no websocket through ({upgraded}): no device can connect",
            "Let the proxy hand on Upgrade and Connection, as in deploy/proxy.",
        )
    if status != HTTPStatus.OK:
        return failed(
            f"the relay at {origin} is not ready: {_code(body)}", "Its log says why; see what failed above."
        )
    return ok(f"{origin} reaches a relay, and websockets pass")


def _upgrade() -> dict[str, str]:
    """The head of a websocket's request (RFC 6455 section 4.1)."""
    return {
        "Connection": "Upgrade",
        "Upgrade": "websocket",
        "Sec-WebSocket-Version": "13",
        "Sec-WebSocket-Key": b64encode(secrets.token_bytes(16)).decode(),
    }


def now() -> float:
    return time.time()


def _ask(origin: str, path: str, headers: dict[str, str]) -> tuple[int, bytes]:
    parts = urlsplit(origin)
    with closing(http.client.HTTPSConnection(parts.hostname or "", parts.port, timeout=PATIENCE)) as asking:
        asking.request("GET", path, headers=headers)
        with asking.getresponse() as answer:
            if answer.status == HTTPStatus.SWITCHING_PROTOCOLS:
                return answer.status, b""
            return answer.status, answer.read(MAX_ANSWER_BYTES)


def _is_ours(body: bytes) -> bool:
    return bool(_code(body))


def _code(body: bytes) -> str:
    """What a relay's answer says of itself: a status, or a problem's code (RFC 9457)."""
    try:
        said = json.loads(body)
    except ValueError:
        return ""
    return str(said.get("code") or said.get("status") or "") if isinstance(said, dict) else ""


def something_listens(settings: Settings) -> bool:
    """Whether anything, most likely this relay, has the address that it listens on."""
    try:
        socket.create_connection((settings.host, settings.port), timeout=PATIENCE).close()
    except OSError:
        return False
    return True
