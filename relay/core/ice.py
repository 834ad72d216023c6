"""Short-lived TURN credentials in the form that coturn's `use-auth-secret` checks."""

from __future__ import annotations

import base64
import hmac
from collections.abc import Sequence
from typing import Final

from relay.wire.frames import IceServer

TURN_SECONDS: Final = 12 * 3600  # the longest session that keeps its relay candidate


def turn_server(urls: Sequence[str], secret: bytes, name: str, *, now: int) -> tuple[IceServer, int]:
    """A TURN server with a credential of its own, and when that expires (Unix seconds).

    `name` stands in the TURN server's logs: pass a random one, never a user's id.
    """
    expires = now + TURN_SECONDS
    username = f"{expires}:{name}"
    # HMAC-SHA1 is what the TURN REST convention fixes; it does not rest on collision resistance.
    credential = base64.b64encode(hmac.digest(secret, username.encode("utf-8"), "sha1")).decode("ascii")
    return IceServer(tuple(urls), username, credential), expires
