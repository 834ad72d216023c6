"""Short-lived TURN credentials in the form that coturn's `use-auth-secret` checks."""

from __future__ import annotations

import base64
import hmac
from collections.abc import Sequence
from typing import Final

from relay.wire.frames import IceServer

TURN_SECONDS: Final = 3600
"""How long a credential opens allocations. Those that are open outlive it: coturn looks at the expiry when
one is made, and a call that has to make another asks for a fresh credential first.
"""


def turn_server(urls: Sequence[str], secret: bytes, name: str, *, now: int) -> tuple[IceServer, int]:
    """A TURN server with a credential of its own, and when that expires (Unix seconds).

    `name` stands in the TURN server's logs: pass a random one, never a user's id.
    """
    expires = now + TURN_SECONDS
    username = f"{expires}:{name}"
    # HMAC-SHA1 is what the TURN REST convention fixes; it does not rest on collision resistance.
    credential = base64.b64encode(hmac.digest(secret, username.encode("utf-8"), "sha1")).decode("ascii")
    return IceServer(tuple(urls), username, credential), expires
