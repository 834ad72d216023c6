"""A whole portal in forty lines: it says who its users are and opens engagements. It never touches a key.

Started as `python -m client_sdk.demo.portal` with PORTAL_ID, PORTAL_API_KEY and PORTAL_TOKEN_SECRET, as
`coach-relay portal add` prints them, and RELAY_URL; on PORTAL_PORT (8480; 0: any), which it prints.
"""

from __future__ import annotations

import os
import secrets
import time
from functools import partial
from typing import Any, Final

import aiohttp
import jwt
from aiohttp import web

USERS: Final = {"anna": "coach", "ben": "client"}  # yours are in your database
TOKEN_SECONDS: Final = 600  # at most an hour; the SDK asks for the next one in time
PATIENCE: Final = aiohttp.ClientTimeout(total=10)


def access_token(user: str) -> str:
    """Sign an access token: it lets a device of this user connect, and gives nobody a key."""
    now = int(time.time())
    times = {"iat": now, "nbf": now, "exp": now + TOKEN_SECONDS}
    who = {"iss": os.environ["PORTAL_ID"], "sub": user, "aud": "coach-relay"}
    claims = {**who, **times, "jti": secrets.token_urlsafe(16)}
    return jwt.encode(claims, os.environ["PORTAL_TOKEN_SECRET"], algorithm="HS256")


async def open_engagement() -> tuple[int, Any]:
    """Open an engagement: the relay's status and answer. A real portal does this when two people begin."""
    roster = [{"user": user, "role": role} for user, role in USERS.items()]
    key = {"Authorization": f"Bearer {os.environ['PORTAL_API_KEY']}"}
    try:
        async with (
            aiohttp.ClientSession(os.environ["RELAY_URL"], headers=key, timeout=PATIENCE) as relay,
            relay.post("/v1/engagements", json={"participants": roster}) as answer,
        ):
            return answer.status, await answer.json(content_type=None)
    except (aiohttp.ClientError, TimeoutError) as error:
        raise web.HTTPBadGateway(text="the relay does not answer") from error


async def token(request: web.Request) -> web.Response:
    """Answer with an access token. A real portal takes the user from its session, never from the query."""
    user = request.query.get("user", "")
    if user not in USERS:
        raise web.HTTPForbidden(text="not logged in")
    return web.json_response({"token": access_token(user)}, headers={"Cache-Control": "no-store"})


async def engagement(_request: web.Request) -> web.Response:
    """Open an engagement, and answer as the relay did."""
    status, made = await open_engagement()
    return web.json_response(made, status=status)


def main() -> None:
    app = web.Application()
    app.add_routes([web.get("/token", token), web.post("/engagement", engagement)])
    port = int(os.environ.get("PORTAL_PORT", "8480"))
    web.run_app(app, host="127.0.0.1", port=port, print=partial(print, flush=True))


if __name__ == "__main__":
    main()
