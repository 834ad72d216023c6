"""A browser that is removed without seeing it, and added again, comes back with a gap, as in Python."""

from __future__ import annotations

import asyncio

import pytest

from client_sdk import Client, Engagement
from tests.browser import marks
from tests.browser.peers import Room
from tests.browser.world import PATIENCE, World, has, python_has, say, texts, until
from tests.support.removing import add, add_again, claim, pass_over, remove

pytestmark = marks.in_node()


async def alarm_of(room: Room) -> str | None:
    alarm = (await room.state())["alarm"]
    return None if alarm is None else str(alarm["code"])


async def is_stopped(room: Room) -> bool:
    waiting = (await room.state())["waiting"]
    return waiting is not None and waiting["code"] == "stopped"


async def out_and_in(world: World, client: Client, room: Engagement, peer: Room, where: str) -> Room:
    """The peer's device leaves and comes back, and is told neither."""
    if where == "away":
        await world.peers.ask("close", name=peer.name)
    await remove(room, peer.name)
    await room.send("while it is out")
    if where == "reconnecting":
        await world.peers.ask("offline", name=peer.name, offline=True)
        await world.peers.ask("offline", name=peer.name, offline=False)
        await until(lambda: is_stopped(peer))
    if where != "away":
        await say(peer, "written while out")
    await add_again(client, room, peer.name)
    await room.send("let in again")
    return await world.room(peer.name, peer._id) if where == "away" else peer


@pytest.mark.parametrize("where", ["connected", "reconnecting", "away"])
async def test_removed_without_seeing_it_and_added_again(world: World, where: str) -> None:
    python, browser = f"{where}-coach", f"{where}-client"
    engagement = await world.relay.create_engagement(**{python: "coach", browser: "client"})
    async with asyncio.timeout(PATIENCE), world.python(python) as client:
        room = await client.engagement(engagement)
        peer = await world.room(browser, engagement)
        await room.wait_joined()
        await say(peer, "before")
        await python_has(room, "before")
        await room.wait_until(lambda: not room.outbox)
        peer = await out_and_in(world, client, room, peer, where)
        await has(peer, "let in again")
        await say(peer, "here I am")
        await python_has(room, "here I am")
        assert await alarm_of(peer) is None
        assert room.alarm is None
        (gap,) = await peer.gaps()
        assert gap.startswith("This device was removed from the conversation, and let in again later.")
        own = [] if where == "away" else ["written while out"]
        waited = "while it is out"  # nobody was there to hear it
        assert sorted(await peer.texts()) == sorted(["before", waited, "let in again", "here I am", *own])
        assert await texts(room) == await peer.texts()
        await world.peers.ask("close", name=browser)


async def test_added_again_by_keys_that_it_does_not_have_any_more(world: World) -> None:
    """The Welcome does not open, but what a member has signed shows that it is one for this device."""
    engagement = await world.relay.create_engagement(kim="coach", lou="client")
    async with asyncio.timeout(PATIENCE), world.python("kim") as client:
        room = await client.engagement(engagement)
        peer = await world.room("lou", engagement)
        await room.wait_joined()
        await say(peer, "before")
        await python_has(room, "before")
        await room.wait_until(lambda: not room.outbox)
        package = await claim(client, room, "lou")
        await world.peers.ask("close", name="lou")
        await remove(room, "lou")
        await world.peers.ask("forget_keys", token_of="lou")
        await add(room, package)
        peer = await world.room("lou", engagement)
        await say(peer, "here I am")
        await python_has(room, "here I am")
        await room.send("so you are")
        await has(peer, "so you are")
        assert await alarm_of(peer) is None
        assert room.alarm is None
        (gap,) = await peer.gaps()
        assert gap.startswith("This device was added by keys that it does not have any more.")
        assert await peer.texts() == await texts(room) == ["before", "here I am", "so you are"]
        await world.peers.ask("close", name="lou")


async def test_a_rogue_that_has_the_relay_pass_over_what_was_said_lets_nobody_in(world: World) -> None:
    engagement = await world.relay.create_engagement(ivy="coach", jon="client")
    async with asyncio.timeout(PATIENCE), world.python("ivy") as client:
        room = await client.engagement(engagement)
        peer = await world.room("jon", engagement)
        await room.wait_joined()
        await say(peer, "before")
        await python_has(room, "before")
        await world.peers.ask("close", name="jon")
        await room.send("hidden")
        await room.wait_sent()
        await pass_over(room, "jon")
        peer = await world.room("jon", engagement)

        async def alarms() -> bool:
            return await alarm_of(peer) == "cloned_device"

        await until(alarms)
        assert await peer.texts() == ["before"]
        assert await peer.gaps() == []
        await world.peers.ask("close", name="jon")
