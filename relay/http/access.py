"""Who a device speaks for: its access token, its portal's key and, for a page, its portal's origins."""

from __future__ import annotations

from contextvars import ContextVar
from dataclasses import replace
from typing import Final

from relay.core.access import AccessToken
from relay.core.portals import PortalRecord
from relay.errors import AccessRefused, NotFound
from relay.http.tokens import TokenKey, no_key, registered_key, token_key, unverified, verify_token
from relay.hub import Portals
from relay.wire.errors import ErrorCode
from relay.wire.ids import PortalId

PAGE_ORIGIN: Final[ContextVar[str | None]] = ContextVar("PAGE_ORIGIN", default=None)
"""The Origin header of the connection whose message is being received; None: not from a browser's page."""


class TokenAccess:
    """Verifies access tokens for the hub. Portals are read afresh each time: changed keys count at once."""

    def __init__(self, portals: Portals, *, own_origins: tuple[str, ...] = ()) -> None:
        self._portals = portals
        self._own_origins = own_origins  # of the relay's own frame, where it serves the browser's element

    async def verify(self, token: str, now: int) -> AccessToken:
        """Return what a token grants to the connection that shows it; raises `AccessRefused` or `StoreError`.

        An unknown portal or key looks like a wrong signature, in the error and in the work.
        """
        claimed = unverified(token)
        record = await self._find(claimed.issuer)
        keys = [key for key in token_keys(record, now) if key.kid == claimed.kid] if record else []
        granted = _verify(token, keys, claimed.kid, now)
        origin = PAGE_ORIGIN.get()
        if origin is not None and (record is None or origin not in (*record.origins, *self._own_origins)):
            raise AccessRefused(ErrorCode.TOKEN_INVALID, "the page's origin is not one of its portal's")
        return replace(granted, max_connections=record.quotas.connections) if record else granted

    async def _find(self, portal: PortalId) -> PortalRecord | None:
        try:
            return await self._portals.read(portal)
        except NotFound:
            return None


def token_keys(record: PortalRecord, now: int) -> list[TokenKey]:
    """The keys that sign a portal's tokens now: at most one without `kid`, but while a rotation overlaps."""
    secrets = [token_key(secret, until=until) for secret, until in record.token_secrets(now)]
    return [*secrets, *[registered_key(key.public) for key in record.token_keys]]


def _verify(token: str, keys: list[TokenKey], kid: str | None, now: int) -> AccessToken:
    """What the token grants under the first key that it verifies with; raises `AccessRefused`."""
    refused = AccessRefused(ErrorCode.TOKEN_INVALID, "no such portal or key")
    for key in keys or [no_key(kid)]:
        try:
            granted = verify_token(token, key=key, now=now)
        except AccessRefused as error:
            refused = error
            if error.code is ErrorCode.TOKEN_EXPIRED:
                break  # its signature was good: no other key made it
            continue
        if keys:
            return granted
    raise refused
