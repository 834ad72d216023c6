"""Which portal asks: its API key, and how often it may."""

from __future__ import annotations

import time
from http import HTTPStatus
from typing import Final

from aiohttp import web

from relay.core.limits import Rate, TokenBucket
from relay.core.portals import PortalRecord
from relay.errors import AccessRefused
from relay.http.bearer import bearer
from relay.http.problems import RETRY_AFTER_SECONDS, Problem, unauthorized
from relay.hub import Hub
from relay.wire.ids import PortalId

PORTAL_RATE: Final = Rate(per_second=100, burst=1000)  # a portal that registers all its engagements at once


class PortalAccess:
    """Lets portals in to the portal API."""

    def __init__(self, hub: Hub) -> None:
        self._hub = hub
        self._buckets: dict[PortalId, TokenBucket] = {}

    async def authenticate(self, request: web.Request) -> PortalId:
        """Return the portal whose API key a request has; raises `Problem`."""
        return (await self.record(request)).id

    async def record(self, request: web.Request) -> PortalRecord:
        """Return all about the portal whose API key a request has; raises `Problem`."""
        key = bearer(request, "the portal's API key")
        try:
            record = await self._hub.portals.authenticate(key)
        except AccessRefused:
            raise unauthorized("The API key is not one of a portal.") from None
        self._check_rate(record.id)
        return record

    def _check_rate(self, portal: PortalId) -> None:
        now = time.monotonic()
        if not self._buckets.setdefault(portal, TokenBucket(PORTAL_RATE, now)).take(now):
            raise Problem(
                HTTPStatus.TOO_MANY_REQUESTS,
                "rate_limited",
                "Too many requests; try again later.",
                headers={"Retry-After": str(RETRY_AFTER_SECONDS)},
            )
