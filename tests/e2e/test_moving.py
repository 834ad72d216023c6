"""A conversation from before an update moves to post-quantum keys at a real relay, killed meanwhile."""

from __future__ import annotations

import asyncio
from pathlib import Path

import pytest

from client_sdk import Client, Engagement, Protection
from tests.faults.people import client_of, pair, texts, until_heard
from tests.support.real_relay import RealRelay
from tests.support.suites import Versions

PATIENCE = 150


async def until_protected(client: Client, room: Engagement) -> None:
    await client._engine.wait_until(lambda: room.protection is Protection.FROM_NOW_ON)


async def test_it_moves_and_nothing_is_lost(
    relay: RealRelay, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    versions = Versions(monkeypatch, "anna", "ben")
    engagement = await relay.create_engagement(anna="coach", ben="client")
    async with asyncio.timeout(PATIENCE):
        async with pair(relay, tmp_path, engagement) as (anna, ben):
            await anna.send("before")
            await until_heard(ben, "before")
            assert anna.protection is ben.protection is Protection.NOT_YET
        versions.update(["anna", "ben"])
        async with client_of(relay, tmp_path, "anna") as one:
            anna = await one.engagement(engagement)
            await anna.wait_caught_up()
            await anna.send("while Ben is away")
            async with client_of(relay, tmp_path, "ben") as other:
                ben = await other.engagement(engagement)
                await relay.kill()
                await relay.start()
                await asyncio.gather(until_protected(one, anna), until_protected(other, ben))
                await ben.send("after")
                await asyncio.gather(until_heard(anna, "after"), until_heard(ben, "while Ben is away"))
                await asyncio.gather(anna.wait_sent(), ben.wait_sent())
                # Which of both was first depends on whether the relay had Anna's when it was killed.
                said = await texts(anna)
                assert said == await texts(ben)
                assert sorted(said) == ["after", "before", "while Ben is away"]
        async with client_of(relay, tmp_path, "anna") as one, client_of(relay, tmp_path, "ben") as other:
            anna, ben = await one.engagement(engagement), await other.engagement(engagement)
            await anna.send("and again")
            await until_heard(ben, "and again")
            assert await texts(anna) == await texts(ben) == [*said, "and again"]
            assert anna.alarm is ben.alarm is None
