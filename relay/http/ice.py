"""The STUN and TURN servers that the operator configured, with a fresh TURN password each time."""

from __future__ import annotations

import secrets
from collections.abc import Sequence

from relay.config import Settings
from relay.core.ice import TURN_SECONDS, turn_server
from relay.hub import IceServersFor
from relay.wire.frames import IceServer

NAME_BYTES = 8  # enough that two calls do not share a name in the TURN server's logs


def ice_servers(settings: Settings, /) -> IceServersFor:
    """Return what the hub asks for the servers to use from a time (Unix seconds) on."""

    def servers(now: int) -> tuple[Sequence[IceServer], int]:
        found = [IceServer(settings.stun_urls, None, None)] if settings.stun_urls else []
        if not settings.turn_urls:
            return found, now + TURN_SECONDS
        name = secrets.token_hex(NAME_BYTES)  # random: the TURN server learns no user
        turn, expires = turn_server(settings.turn_urls, settings.turn_secret.encode(), name, now=now)
        return [*found, turn], expires

    return servers
