"""A real conversation, with faults, at a relay that logs as much as it can: nothing of it is in its log, its
answers or its files but what docs/OPERATIONS.md says that it keeps."""

from __future__ import annotations

import asyncio
import dataclasses
import json
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from contextlib import AbstractAsyncContextManager
from pathlib import Path

import aiohttp
import pytest

from client_sdk import CheckIn, Client, Engagement
from client_sdk.demo.search import Needle, chunks_of, search
from client_sdk.engine import CheckInItem, FileItem, TextItem
from relay.wire import frames as fr
from relay.wire.ids import EngagementId
from tests.support.real_relay import RealRelay
from tests.support.wire_client import Gone, WireClient, WirePortal

USERS = {"anna-user-canary": "coach", "ben-user-canary": "client"}
NAMES = {"anna-user-canary": "Annamaria Coachcanary", "ben-user-canary": "Benedikt Clientcanary"}
TEXT, AWAY = "the text that nobody else may read", "what was said while he was away"
PROMPT, ANSWER = "how much energy is in the canary?", "a canary answers in its own words"
FILE_NAME = "letter-of-the-canary.pdf"
PASSPHRASES = {user: f"passphrase of {user}" for user in USERS}


@pytest.fixture
async def relay(tmp_path: Path) -> AsyncIterator[RealRelay]:
    relay = RealRelay(tmp_path / "relay-side", options=("--log-level", "debug"))
    (tmp_path / "relay-side").mkdir()
    await relay.start()
    yield relay
    await relay.kill()


class Tokens:
    """Every access token that was given out."""

    def __init__(self, relay: RealRelay) -> None:
        self._relay = relay
        self.given: list[str] = []

    def source(self, user: str) -> Callable[[], Awaitable[str]]:
        fetch = self._relay.token_for(user)

        async def fetch_and_note() -> str:
            self.given.append(await fetch())
            return self.given[-1]

        return fetch_and_note


def secrets_in(value: object, name: str = "") -> Iterator[tuple[str, bytes]]:
    """Every secret in a group's state, found by the names of its fields."""
    if dataclasses.is_dataclass(value) and not isinstance(value, type):
        for one in dataclasses.fields(value):
            yield from secrets_in(getattr(value, one.name), f"{name}.{one.name}")
    elif isinstance(value, dict):
        for part in value.values():
            yield from secrets_in(part, name)
    elif isinstance(value, tuple | list):
        for part in value:
            yield from secrets_in(part, name)
    elif isinstance(value, bytes) and len(value) >= 16 and any(w in name for w in ("secret", "private")):
        yield name, value


def keys_of(client: Client, room: Engagement) -> Iterator[Needle]:
    """What this device must never let go."""
    record = client._engine.account.record
    for name in ("device", "identity", "recovery"):
        yield Needle(f"{record.user}'s private {name} key", getattr(record, name), text=False)
    found = list(secrets_in(room._conversation.standing.group))
    assert len(found) >= 5
    for name, value in found:
        yield Needle(f"{record.user}'s {name}", value, text=False)


async def talk(relay: RealRelay, folder: Path, tokens: Tokens, engagement: str) -> list[Needle]:
    """Everything that is said, and the keys it was said under."""
    plan = folder / FILE_NAME
    plan.write_bytes(b"".join(b"line %d of the letter of the canary\n" % n for n in range(4000)))

    def opened(user: str) -> AbstractAsyncContextManager[Client]:
        return Client.open(
            folder / f"{user}.vault",
            passphrase=PASSPHRASES[user],
            relay=relay.url,
            token=tokens.source(user),
            name=NAMES[user],
        )

    anna_user, ben_user = USERS
    needles = [Needle("a piece of the file", piece, text=False) for piece in chunks_of(plan, every=20_000)]
    async with opened(anna_user) as anna:
        room = await anna.engagement(engagement)
        async with opened(ben_user) as ben:
            theirs = await ben.engagement(engagement)
            await room.wait_joined()
            await room.send(TEXT)
            await room.send(CheckIn(PROMPT))
            await room.send_file(plan)
            async for item in theirs.items():
                if isinstance(item, CheckInItem):
                    await theirs.answer(item, {item.questions[0].id: 7})
                if isinstance(item, FileItem):
                    needles.append(Needle("the file's key", item.key, text=False))
                    break
            await theirs.send(ANSWER)
            async for item in room.items():
                if isinstance(item, TextItem) and item.text == ANSWER:
                    break
            needles += keys_of(ben, theirs)
        await room.send(AWAY)
        await room.send_file(plan)
        await room.wait_sent()
        needles += keys_of(anna, room)
    return needles


async def provoke(relay: RealRelay, tokens: Tokens, engagement: str) -> list[str]:
    """Things go wrong, with canaries in them; every answer of the relay."""
    portal, said = WirePortal(relay.portal), []
    for token in (portal.token("anna-user-canary", exp=1), "header-canary.payload-canary.signature-canary"):
        tokens.given.append(token)
        async with WireClient.dial(relay.url) as device:
            said.append(str(await device.prove(portal.id, token)))
    async with WireClient.connect(relay.url, portal, "mallory-user-canary") as device:
        await device.open(EngagementId(engagement))
        await device.send_bytes(b"a message like a canary, and no frame")
        try:
            said.append(str(await device.wait_for(fr.Goodbye)))
        except Gone:
            said.append("gone")
    async with aiohttp.ClientSession(relay.url) as http:
        for method, path, body in (
            ("GET", "/nowhere-canary?name=canary", None),
            ("POST", "/v1/engagements", {"participants": [{"user": "canary", "role": "role-of-canary"}]}),
            ("GET", "/v1/blobs/name-of-a-canary", None),
            ("GET", "/readyz?canary", None),
        ):
            for headers in (portal.bearer, {"Authorization": "Bearer api-key-of-a-canary"}):
                async with http.request(method, path, json=body, headers=headers) as answer:
                    said.append(await answer.text())
    return said


async def test_nothing_that_was_said_stands_anywhere(relay: RealRelay, tmp_path: Path) -> None:
    tokens = Tokens(relay)
    engagement = await relay.create_engagement(**USERS)
    async with asyncio.timeout(150):
        needles = await talk(relay, tmp_path, tokens, engagement)
        answers = await provoke(relay, tokens, engagement)
    await relay.kill()  # nothing is tidied up: what was in the write-ahead log stays there
    needles += [Needle("what was said", text.encode()) for text in (TEXT, AWAY, PROMPT, ANSWER)]
    needles += [Needle("a name", name.encode()) for name in (*NAMES.values(), FILE_NAME)]
    needles += [Needle("a passphrase", phrase.encode()) for phrase in PASSPHRASES.values()]
    needles += [Needle("an access token", token.encode()) for token in tokens.given]
    needles += [Needle("its signature", token.rpartition(".")[2].encode()) for token in tokens.given]
    needles.append(Needle("the portal's API key", relay.portal["PORTAL_API_KEY"].encode()))

    kept = search([relay.data], needles)
    assert kept.files >= 4
    assert kept.hits == ()
    users = [Needle(user, user.encode()) for user in USERS]
    assert search([relay.data], users).found() == set(USERS), "what it does keep is found by the same search"

    more = [*users, Needle("an engagement", engagement.encode())]
    more += [Needle("a canary", word.encode()) for word in ("canary?", "-canary", "/nowhere", "127.0.0.1")]
    more += [Needle("a blob's id", blob.name.encode()) for blob in (relay.data / "blobs").glob("[!.]*")]
    more.append(Needle("the portal's secret", relay.portal["PORTAL_TOKEN_SECRET"].encode()))
    (tmp_path / "told").mkdir()
    (tmp_path / "told" / "answers").write_text("\n".join(answers))
    (tmp_path / "told" / "log").write_bytes(relay.log.read_bytes())
    assert search([tmp_path / "told"], needles + more, shortest=7).hits == ()
    events = {json.loads(line)["event"] for line in relay.log.read_text().splitlines()}
    assert {"request", "connection ends"} <= events, "and it did log"
