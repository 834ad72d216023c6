"""Over the real relay: a device that is removed without seeing it, and added again, comes back with a gap."""

from __future__ import annotations

import asyncio
from contextlib import AsyncExitStack
from pathlib import Path

import pytest

from client_sdk import Client, Engagement
from client_sdk.delivery import ClonedDevice
from client_sdk.engine.entering import LET_IN_AGAIN
from client_sdk.engine.items import Gap
from client_sdk.engine.records import Phase
from tests.faults.people import client_of, texts, until_heard
from tests.support.real_relay import RealRelay
from tests.support.removing import add_again, pass_over, remove


async def joined(client: Client, engagement: str) -> Engagement:
    room = await client.engagement(engagement)
    await room.wait_joined()
    return room


async def gaps(room: Engagement) -> list[str]:
    return [item.reason for item in await room.history(limit=500) if isinstance(item, Gap)]


@pytest.mark.parametrize("where", ["connected", "reconnecting", "away"])
async def test_removed_without_seeing_it_and_added_again(
    relay: RealRelay, tmp_path: Path, where: str
) -> None:
    engagement = await relay.create_engagement(anna="coach", ben="client")
    async with asyncio.timeout(150), AsyncExitStack() as stack:
        anna = await stack.enter_async_context(client_of(relay, tmp_path, "anna"))
        async with AsyncExitStack() as bens:
            ben = await bens.enter_async_context(client_of(relay, tmp_path, "ben"))
            room, his = await joined(anna, engagement), await joined(ben, engagement)
            await his.send("before")
            await until_heard(room, "before")
            await his.wait_sent()
            if where == "away":
                await bens.aclose()
            await remove(room, "ben")
            await room.send("while he is out")
            if where == "reconnecting":
                await relay.kill()
                await relay.start()
                await ben._engine.wait_until(lambda: his._conversation.stopped == "not_member")
                assert his._conversation.standing.record.phase is Phase.MEMBER
                await anna._engine.wait_until(lambda: room._conversation.caught_up)
            if where != "away":
                await his.send("written while out")
            await add_again(anna, room, "ben")
            await room.send("let in again")
            if where == "away":
                ben = await bens.enter_async_context(client_of(relay, tmp_path, "ben"))
                his = await ben.engagement(engagement)
            await until_heard(his, "let in again")
            await his.send("here I am")
            await until_heard(room, "here I am")
            await his.wait_sent()
            assert room.alarm is None
            assert his.alarm is None
            assert await gaps(his) == [LET_IN_AGAIN]
            assert await gaps(room) == []
            own = [] if where == "away" else ["written while out"]
            waited = "while he is out"  # nobody was there to hear it
            assert sorted(await texts(his)) == sorted(["before", waited, "let in again", "here I am", *own])
            assert await texts(room) == await texts(his)


async def test_a_rogue_that_has_the_relay_pass_over_what_was_said_lets_nobody_in(
    relay: RealRelay, tmp_path: Path
) -> None:
    engagement = await relay.create_engagement(anna="coach", ben="client")
    async with asyncio.timeout(150), client_of(relay, tmp_path, "anna") as anna:
        async with client_of(relay, tmp_path, "ben") as ben:
            room, his = await joined(anna, engagement), await joined(ben, engagement)
            await his.send("before")
            await until_heard(room, "before")
        await room.send("hidden")
        await room.wait_sent()
        await pass_over(room, "ben")
        async with client_of(relay, tmp_path, "ben") as ben:
            his = await ben.engagement(engagement)
            await ben._engine.wait_until(lambda: his.alarm is not None)
            assert isinstance(his.alarm, ClonedDevice)
            assert await gaps(his) == []
            assert await texts(his) == ["before"]
