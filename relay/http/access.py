"""Who a device speaks for: its access token, its portal's key and, for a page, its portal's origins."""

from __future__ import annotations

from contextvars import ContextVar
from typing import Final

from relay.core.access import AccessToken
from relay.core.portals import PortalRecord
from relay.errors import AccessRefused, NotFound
from relay.http.tokens import NO_KEY, token_key, unverified_issuer, verify_token
from relay.hub import Portals
from relay.wire.errors import ErrorCode
from relay.wire.ids import PortalId

PAGE_ORIGIN: Final[ContextVar[str | None]] = ContextVar("PAGE_ORIGIN", default=None)
"""The Origin header of the connection whose message is being received; None: not from a browser's page."""


class TokenAccess:
    """Verifies access tokens for the hub. Portals are read afresh each time: changed keys count at once."""

    def __init__(self, portals: Portals) -> None:
        self._portals = portals

    async def verify(self, token: str, now: int) -> AccessToken:
        """Return what a token grants to the connection that shows it; raises `AccessRefused` or `StoreError`.

        An unknown portal looks like a wrong signature, in the error and in the work.
        """
        record = await self._find(unverified_issuer(token))
        granted = verify_token(token, key=token_key(record.token_secret) if record else NO_KEY, now=now)
        origin = PAGE_ORIGIN.get()
        if origin is not None and (record is None or origin not in record.origins):
            raise AccessRefused(ErrorCode.TOKEN_INVALID, "the page's origin is not one of its portal's")
        return granted

    async def _find(self, portal: PortalId) -> PortalRecord | None:
        try:
            return await self._portals.read(portal)
        except NotFound:
            return None
