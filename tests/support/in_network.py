"""A person in a call, or the portal, as a process of their own: `python -m tests.support.in_network JSON`.

The settings come as one JSON object, what happens goes out as JSON lines.
"""

from __future__ import annotations

import asyncio
import json
import secrets
import sys
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import aiohttp
import jwt

from client_sdk import Client, Engagement, Ring
from client_sdk.calls import Call, CallSettings, Phase, media_from_file

PATIENCE = 90.0
Settings = Mapping[str, Any]


def tell(**facts: object) -> None:
    """One line of what happens."""
    print(json.dumps(facts), flush=True)


async def engage(given: Settings) -> None:
    """The portal opens an engagement of Anna and Ben."""
    people = [{"user": "anna", "role": "coach"}, {"user": "ben", "role": "client"}]
    headers = {"Authorization": f"Bearer {given['PORTAL_API_KEY']}"}
    async with (
        aiohttp.ClientSession(given["relay"], headers=headers) as http,
        http.post("/v1/engagements", json={"participants": people}) as answer,
    ):
        answer.raise_for_status()
        tell(engagement=(await answer.json())["id"])


async def take_part(given: Settings) -> None:
    """Ring or answer, and tell of each state until the call's end."""
    user = str(given["user"])

    async def token() -> str:
        now = int(time.time())
        claims = {"iss": given["PORTAL_ID"], "sub": user, "aud": "coach-relay", "jti": secrets.token_hex(16)}
        times = {"iat": now, "nbf": now, "exp": now + 600}
        return jwt.encode({**claims, **times}, given["PORTAL_TOKEN_SECRET"], algorithm="HS256")

    async with Client.open(
        Path(given["folder"]) / f"{user}.vault",
        key=user.encode().ljust(32, b"."),
        relay=given["relay"],
        token=token,
        name=user.capitalize(),
        allow_insecure=True,
        call_settings=CallSettings(relay_only=given["relay_only"]),
    ) as me:
        room = await me.engagement(given["engagement"])
        await room.wait_joined()
        call = await _begin(room, given)
        await _stay(call, float(given["seconds"]))
        await room.wait_sent()


async def _begin(room: Engagement, given: Settings) -> Call:
    media = await media_from_file(given["film"], loop=True)
    if given["user"] == "anna":
        return await room.call(media=media, record=given["record"])
    async for item in room.items():
        if isinstance(item, Ring):
            return await item.accept(media=media, record=given["record"])
    raise AssertionError("items never end")


async def _stay(call: Call, seconds: float) -> None:
    state, told = Phase.IDLE, 0
    hang_up = asyncio.get_running_loop().time() + seconds
    while state is not Phase.ENDED:
        try:
            async with asyncio.timeout_at(hang_up if call.role.value == "caller" else None):
                state = await call.next_state(state)
        except TimeoutError:
            await call.hang_up()
            continue
        if state is Phase.CONNECTED and call.attempt != told:
            told = call.attempt
            tell(call=call.id.hex(), attempt=told, words=call.words)
    end = await call.ended()
    tell(ended=end.outcome.value, reason=end.reason, seconds=end.seconds, call=call.id.hex())


async def main() -> None:
    """Do what the settings name."""
    given = json.loads(sys.argv[1])
    async with asyncio.timeout(PATIENCE):
        await {"engage": engage, "call": take_part}[given["do"]](given)


if __name__ == "__main__":
    asyncio.run(main())
