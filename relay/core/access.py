"""An access token's content once it has been verified (PROTOCOL 3)."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

from relay.wire.ids import PortalId, UserId

MAX_LIFE_SECONDS: Final = 3600  # a stolen token is useless within the hour
LEEWAY_SECONDS: Final = 30  # how far portal and relay clocks may differ
MAX_TOKEN_ID_CHARS: Final = 128  # a UUID, a ULID or a hash fits


@dataclass(frozen=True, slots=True)
class AccessToken:
    """Permits transport for one user of a portal until `expires` (Unix seconds).

    `token_id` is the `jti`, `issued` the `iat`, and `key` names the portal's key that signed it. The portal
    may have `max_connections` (0: without bound).
    """

    portal: PortalId
    user: UserId
    expires: int
    token_id: str
    issued: int = 0
    key: str = ""
    max_connections: int = 0
