"""The Authorization header (RFC 6750 section 2.1)."""

from __future__ import annotations

from typing import Final

from aiohttp import web

from relay.http.problems import unauthorized

MAX_CHARS: Final = 512  # an API key and a blob token are shorter


def bearer(request: web.Request, what: str) -> str:
    """Return the bearer credentials of a request; raises `Problem` (401), which says `what` they must be."""
    scheme, _space, credentials = request.headers.get("Authorization", "").partition(" ")
    if scheme.lower() != "bearer" or not 0 < len(credentials) <= MAX_CHARS:
        raise unauthorized(f"Authorization must be Bearer and {what}.")
    return credentials
