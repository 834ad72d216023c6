"""Health: /livez says that the process turns its loop, /readyz that it can serve."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Awaitable, Callable
from http import HTTPStatus
from typing import Final

from aiohttp import web

from relay.core.operations import CreateStream, EndStream
from relay.errors import RelayError
from relay.http.problems import Problem
from relay.store import StreamStore
from relay.wire.ids import EngagementId
from relay.wire.limits import INCARNATION_BYTES

CHECK_SECONDS: Final = 3.0  # a store that takes longer does not serve
_PROBE: Final = EngagementId(f"eng_{'A' * 22}")  # one that no portal has: 128 random bits are not zero
REMEMBER_SECONDS: Final = 1.0  # anyone may ask: no more than one look at the disk a second comes of it


def commit_check(streams: StreamStore) -> Callable[[], Awaitable[None]]:
    """Return a check that makes a transaction durable, as every message needs one; it leaves nothing."""

    async def check() -> None:
        await streams.commit([CreateStream(_PROBE, bytes(INCARNATION_BYTES)), EndStream(_PROBE)])

    return check


class Health:
    """The two handlers. `checks` raise `RelayError` when their part cannot serve now."""

    def __init__(self, *checks: Callable[[], Awaitable[None]]) -> None:
        self._checks = checks
        self._draining = False
        self._lock = asyncio.Lock()
        self._checked_at = -REMEMBER_SECONDS
        self._fault = ""

    def routes(self) -> list[web.RouteDef]:
        return [web.get("/livez", self.livez), web.get("/readyz", self.readyz)]

    def drain(self) -> None:
        """From now on the relay is not ready: whoever spreads connections sends no more."""
        self._draining = True

    async def livez(self, _request: web.Request) -> web.Response:
        return web.json_response({"status": "ok"})

    async def readyz(self, _request: web.Request) -> web.Response:
        if self._draining:
            raise Problem(HTTPStatus.SERVICE_UNAVAILABLE, "draining", "The relay is going down.")
        async with self._lock:
            if time.monotonic() - self._checked_at >= REMEMBER_SECONDS:
                self._fault = await self._look()
                self._checked_at = time.monotonic()
        if self._fault:
            raise Problem(HTTPStatus.SERVICE_UNAVAILABLE, self._fault, "The relay cannot store anything now.")
        return web.json_response({"status": "ok"})

    async def _look(self) -> str:
        """The code of what is wrong, or nothing."""
        try:
            async with asyncio.timeout(CHECK_SECONDS):
                for check in self._checks:
                    await check()
        except RelayError as error:
            return str(error.code)
        except TimeoutError:
            return "store_unavailable"
        return ""
