"""Requests to the relay's blobs (docs/PROTOCOL.md section 14), and what a refusal means."""

from __future__ import annotations

from collections.abc import AsyncIterator, Awaitable, Callable, Mapping
from contextlib import asynccontextmanager
from http import HTTPStatus
from typing import Final

import aiohttp

from client_sdk.attachments.errors import BlobGone, TransferRefused
from client_sdk.attachments.retrying import TryAgain

Access = Callable[[], Awaitable[tuple[str, str]]]
"""Gives the relay's base URL (no slash at its end) and a bearer token; called again when it has expired."""

TIMEOUT: Final = aiohttp.ClientTimeout(total=None, sock_connect=15, sock_read=30)
"""Silence, not slowness, ends a request."""
_PASSING_STATUS: Final = frozenset(
    {HTTPStatus.REQUEST_TIMEOUT, HTTPStatus.CONFLICT, HTTPStatus.LOCKED, HTTPStatus.TOO_EARLY}
    | {HTTPStatus.TOO_MANY_REQUESTS}
)
_GONE: Final = frozenset({HTTPStatus.NOT_FOUND, HTTPStatus.GONE})


class Blobs:
    """The relay's blobs as one device may see them."""

    def __init__(self, session: aiohttp.ClientSession, access: Access) -> None:
        self._session = session
        self._access = access
        self._granted: tuple[str, str] | None = None

    @asynccontextmanager
    async def request(
        self,
        method: str,
        blob: str | None = None,
        *,
        headers: Mapping[str, str],
        body: Callable[[], AsyncIterator[memoryview]] | None = None,
        timeout: aiohttp.ClientTimeout = TIMEOUT,
    ) -> AsyncIterator[aiohttp.ClientResponse]:
        """A response with a status of success; a token that has expired is renewed once.

        Raises `TryAgain`, `BlobGone`, `TransferRefused`, or what aiohttp raises when the connection fails.
        """
        for last in (False, True):
            base, token = await self._grant()
            async with self._session.request(
                method,
                f"{base}/v1/blobs" + (f"/{blob}" if blob else ""),
                headers={**headers, "Authorization": f"Bearer {token}"},
                data=body() if body else None,
                timeout=timeout,
                allow_redirects=False,  # the token is for this relay alone
            ) as response:
                if response.status == HTTPStatus.UNAUTHORIZED and not last:
                    self._granted = None
                    continue
                check_status(response.status)
                yield response
                return

    async def _grant(self) -> tuple[str, str]:
        if self._granted is None:
            self._granted = await self._access()
        return self._granted


def check_status(status: int) -> None:
    """Raise what an unsuccessful status means; a range that cannot be served is for the caller to judge."""
    if status in (HTTPStatus.OK, HTTPStatus.CREATED, HTTPStatus.NO_CONTENT, HTTPStatus.PARTIAL_CONTENT):
        return
    if status in _PASSING_STATUS or status >= HTTPStatus.INTERNAL_SERVER_ERROR:
        raise TryAgain(f"HTTP status {status}")
    if status in _GONE:
        raise BlobGone("The relay no longer has this file.")
    raise TransferRefused(f"The relay refused the transfer (HTTP status {status}).", status=status)
