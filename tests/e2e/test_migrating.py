"""A relay moves from SQLite to Redis and back, and the people who talk by it notice nothing but the pause."""

from __future__ import annotations

import asyncio
import sys
from collections.abc import Iterator
from contextlib import AbstractAsyncContextManager
from pathlib import Path

import pytest

from client_sdk import Client, Engagement, Text
from tests.relay.cli.processes import PATIENCE as PROCESS_SECONDS
from tests.relay.cli.processes import environment, start
from tests.support import real_redis
from tests.support.real_relay import RealRelay

PATIENCE = 150


@pytest.fixture
def redis_url() -> Iterator[str]:
    if real_redis.PROGRAM is None:
        pytest.skip(real_redis.MISSING)
    with real_redis.real_redis(real_redis.Standalone) as made:
        yield made.url


async def migrate(source: str, target: str, folder: Path, **env: str) -> tuple[int, str]:
    """Run the command; its exit code and what it said."""
    words = [sys.executable, "-m", "relay.cli.main", "migrate", "--from", source, "--to", target]
    process = await start(words, environment(**env), folder)
    async with asyncio.timeout(PROCESS_SECONDS):
        out, errors = await process.communicate()
    return process.returncode or 0, (out + errors).decode()


def person(relay: RealRelay, folder: Path, user: str) -> AbstractAsyncContextManager[Client]:
    return Client.open(
        folder / f"{user}.vault",
        key=user.encode().ljust(32, b"."),
        relay=relay.url,
        token=relay.token_for(user),
        name=user.capitalize(),
    )


async def said(room: Engagement, text: str) -> None:
    """Wait until somebody says so, here."""
    async for item in room.items():
        if isinstance(item, Text) and item.text == text:
            return


async def test_from_sqlite_to_redis_and_back(relay: RealRelay, redis_url: str, tmp_path: Path) -> None:
    folder, back = f"sqlite:{relay.data}", tmp_path / "back"
    engagement = await relay.create_engagement(anna="coach", ben="client")
    async with asyncio.timeout(PATIENCE), person(relay, tmp_path, "anna") as anna:
        async with person(relay, tmp_path, "ben") as ben:
            room, theirs = await anna.engagement(engagement), await ben.engagement(engagement)
            await asyncio.gather(room.wait_joined(), theirs.wait_joined())
            await room.send("Before.")
            await said(theirs, "Before.")
        await room.send("While Ben was away.")
        await room.wait_sent()

        code, output = await migrate(folder, redis_url, tmp_path)
        assert code == 1
        assert "another relay has this data folder open" in output
        await relay.stop()
        code, output = await migrate(folder, redis_url, tmp_path)
        assert code == 0, output
        assert "Nothing is missing: 1 conversations with " in output

        relay.move(COACH_RELAY_REDIS_URL=redis_url)
        await relay.start()
        async with person(relay, tmp_path, "ben") as ben:
            theirs = await ben.engagement(engagement)
            await said(theirs, "While Ben was away.")
            await theirs.send("By Redis.")
            await said(room, "By Redis.")
            code, output = await migrate(redis_url, f"sqlite:{back}", tmp_path)
            assert code == 1
            assert "use this Redis" in output

            await relay.stop()
            code, output = await migrate(redis_url, f"sqlite:{back}", tmp_path)
            assert code == 0, output
            relay.move(data=back)
            await relay.start()
            await room.send("And back.")
            await said(theirs, "And back.")
            texts = [item.text for item in await theirs.history() if isinstance(item, Text)]
            assert sorted(texts) == ["And back.", "Before.", "By Redis.", "While Ben was away."]
            await asyncio.gather(room.wait_sent(), theirs.wait_sent())  # they would raise an alarm


@pytest.mark.parametrize(
    ("source", "target", "told"),
    [
        ("sqlite:", "redis://127.0.0.1:1", "sqlite:/var/lib/coach-relay"),
        ("sqlite:nowhere", "redis://127.0.0.1:1", "no relay's data"),
        ("postgres://x", "sqlite:there", "sqlite:FOLDER or a Redis"),
        ("redis://127.0.0.1:1", "sqlite:there", "Redis"),
        ("sqlite:a", "sqlite:a", "the same store"),
    ],
)
async def test_what_cannot_be_moved_is_said(source: str, target: str, told: str, tmp_path: Path) -> None:
    code, output = await migrate(source, target, tmp_path)
    assert code == 1
    assert told in output
    assert output.count("\n") == 1


async def test_the_password_may_stand_alone_in_the_environment(redis_url: str, tmp_path: Path) -> None:
    """The relay that moves to Redis has no redis_url yet."""
    env = {"COACH_RELAY_REDIS_PASSWORD": "a-password"}
    for source, target in ((redis_url, "sqlite:there"), ("sqlite:nowhere", redis_url)):
        code, output = await migrate(source, target, tmp_path, **env)
        assert code == 1
        assert "redis_url is missing" not in output
        assert "password" in output or "no relay's data" in output
