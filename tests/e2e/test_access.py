"""Access tokens in the SDK's hands at the real relay: renewed, taken back, signed by the portal itself."""

from __future__ import annotations

import asyncio
import json
import time
from collections.abc import Awaitable, Callable
from contextlib import AbstractAsyncContextManager
from pathlib import Path

import aiohttp
import jwt
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat

from client_sdk import Client, Text
from relay.cli.main import main
from relay.core.token_keys import key_id
from tests.support.real_relay import RealRelay

PATIENCE = 150
LIFE_SECONDS = 3
Token = Callable[[], Awaitable[str]]


class Counted:
    """A portal that counts the tokens it gives, each for a few seconds."""

    def __init__(self, relay: RealRelay, user: str, life: int = 600) -> None:
        self._relay = relay
        self._user = user
        self._life = life
        self.given = 0
        self._more = asyncio.Condition()

    async def __call__(self) -> str:
        async with self._more:
            self.given += 1
            self._more.notify_all()
        now = int(time.time())
        times = {"iat": now, "nbf": now, "exp": now + self._life}
        portal = self._relay.portal
        who = {"iss": portal["PORTAL_ID"], "sub": self._user, "aud": "coach-relay"}
        claims = {**who, "jti": f"t{self.given}"}
        return jwt.encode(claims | times, portal["PORTAL_TOKEN_SECRET"], algorithm="HS256")

    async def wait_given(self, count: int) -> None:
        async with self._more:
            await self._more.wait_for(lambda: self.given >= count)


def open_client(
    relay: RealRelay, folder: Path, user: str, token: Token
) -> AbstractAsyncContextManager[Client]:
    vault = folder / f"{user}.vault"
    return Client.open(
        vault, key=user.encode().ljust(32, b"."), relay=relay.url, token=token, name=user.capitalize()
    )


def farewells(relay: RealRelay) -> list[str]:
    """Why the relay has ended connections, so far."""
    lines = [json.loads(line) for line in relay.log.read_text().splitlines() if line.startswith("{")]
    return [line["code"] for line in lines if line["event"] == "connection ends"]


async def test_a_conversation_outlives_its_tokens(relay: RealRelay, tmp_path: Path) -> None:
    """Each token is good for three seconds; five of them follow each other on one connection."""
    engagement = await relay.create_engagement(anna="coach", ben="client")
    token = Counted(relay, "anna", LIFE_SECONDS)
    async with (
        asyncio.timeout(PATIENCE),
        open_client(relay, tmp_path, "anna", token) as anna,
        open_client(relay, tmp_path, "ben", relay.token_for("ben")) as ben,
    ):
        room, theirs = await anna.engagement(engagement), await ben.engagement(engagement)
        await room.wait_joined()
        for number in range(5):
            await token.wait_given(number + 2)
            await room.send(f"message {number}")
        heard: list[str] = []
        async for item in theirs.items():
            if isinstance(item, Text):
                heard.append(item.text)
            if len(heard) == 5:
                break
        assert heard == [f"message {number}" for number in range(5)]
        assert farewells(relay) == [], "no connection ended meanwhile"


async def test_after_a_revocation_the_client_comes_back_with_a_fresh_token(
    relay: RealRelay, tmp_path: Path
) -> None:
    engagement = await relay.create_engagement(anna="coach", ben="client")
    token = Counted(relay, "anna")
    async with (
        asyncio.timeout(PATIENCE),
        open_client(relay, tmp_path, "anna", token) as anna,
        open_client(relay, tmp_path, "ben", relay.token_for("ben")) as ben,
    ):
        room, theirs = await anna.engagement(engagement), await ben.engagement(engagement)
        await room.wait_joined()
        key = {"Authorization": f"Bearer {relay.portal['PORTAL_API_KEY']}"}
        async with (
            aiohttp.ClientSession(relay.url, headers=key) as portal,
            portal.post("/v1/users/anna/revoke-tokens", json={}) as answer,
        ):
            assert answer.status == 204
        await token.wait_given(2)
        await room.send("still here")
        async for item in theirs.items():
            if isinstance(item, Text):
                assert item.text == "still here"
                break
        assert set(farewells(relay)) == {"token_revoked"}


async def test_a_portal_that_signs_with_its_own_key(relay: RealRelay, tmp_path: Path) -> None:
    private = Ed25519PrivateKey.generate()
    public = tmp_path / "public.pem"
    public.write_bytes(private.public_key().public_bytes(Encoding.PEM, PublicFormat.SubjectPublicKeyInfo))
    portal = relay.portal["PORTAL_ID"]
    arguments = ["portal", "key", "add", portal, str(public), "--data-dir", str(relay.data)]
    assert await asyncio.to_thread(main, arguments) == 0
    kid = key_id(private.public_key().public_bytes_raw())

    async def token() -> str:
        now = int(time.time())
        claims = {"iss": portal, "sub": "anna", "aud": "coach-relay", "jti": str(now)}
        times = {"iat": now, "nbf": now, "exp": now + 600}
        return jwt.encode(claims | times, private, algorithm="EdDSA", headers={"kid": kid})

    engagement = await relay.create_engagement(anna="coach", ben="client")
    async with (
        asyncio.timeout(PATIENCE),
        open_client(relay, tmp_path, "anna", token) as anna,
        open_client(relay, tmp_path, "ben", relay.token_for("ben")) as ben,
    ):
        room, theirs = await anna.engagement(engagement), await ben.engagement(engagement)
        await room.wait_joined()
        await room.send("signed by ourselves")
        async for item in theirs.items():
            if isinstance(item, Text):
                assert item.text == "signed by ourselves"
                break
