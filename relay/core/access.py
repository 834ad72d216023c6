"""An access token's content once it has been verified (PROTOCOL 3)."""

from __future__ import annotations

from dataclasses import dataclass

from relay.wire.ids import PortalId, UserId


@dataclass(frozen=True, slots=True)
class AccessToken:
    """Permits transport for one user of a portal until `expires` (Unix seconds).

    `token_id` is the `jti`, `issued` the `iat`, and `key` names the portal's key that signed it.
    """

    portal: PortalId
    user: UserId
    expires: int
    token_id: str
    issued: int = 0
    key: str = ""
