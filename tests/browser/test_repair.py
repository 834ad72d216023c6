"""A relay that was restored from a copy gets back what it lost, from browsers and from Python alike."""

from __future__ import annotations

import asyncio
import shutil
from pathlib import Path
from typing import Any

import pytest

from client_sdk import Client
from client_sdk.engagement import Engagement
from tests.browser import marks
from tests.browser.peers import PeerError, Room
from tests.browser.world import (
    PATIENCE,
    World,
    back_up,
    has,
    python_has,
    say,
    set_back,
    texts,
    until,
)
from tests.e2e.own_devices import linked, opened

pytestmark = marks.in_node()


async def calm(room: Room) -> bool:
    state = await room.state()
    waits = any(item["state"] == "waiting" for item in await room.history())
    return state["alarm"] is None and state["waiting"] is None and state["caughtUp"] and not waits


async def same(room: Engagement, peer: Room, wanted: list[str]) -> None:
    """Wait until both have exactly this, in one order, and nothing waits."""

    async def holds() -> bool:
        found = await texts(room)
        return (
            sorted(found) == sorted(wanted)
            and found == await peer.texts()
            and not room.outbox
            and await calm(peer)
        )

    await until(holds)
    assert room.alarm is None
    assert not room.repairing


@pytest.mark.parametrize("holder", ["the browser", "python", "both"])
async def test_messages_that_the_relay_lost_are_there_again(
    world: World, tmp_path: Path, holder: str
) -> None:
    names = {"the browser": ("anna", "ben"), "python": ("carl", "dora"), "both": ("eva", "finn")}[holder]
    python, browser = names
    engagement = await world.relay.create_engagement(**{python: "coach", browser: "client"})
    async with asyncio.timeout(PATIENCE):
        async with world.python(python) as client:
            room = await client.engagement(engagement)
            peer = await world.room(browser, engagement)
            await room.wait_joined()
            await say(peer, "one")
            await python_has(room, "one")
            await room.send("two")
            await has(peer, "two")
            copy = await back_up(world, tmp_path / "copy")
            if holder == "both":
                await say(peer, "three")
                await python_has(room, "three")
                await room.send("four")
                await has(peer, "four")
                await set_back(world, copy)
                await same(room, peer, ["one", "two", "three", "four"])
            elif holder == "python":
                await world.peers.ask("close", name=browser)
                await room.send("three")
                await room.wait_sent()
                await set_back(world, copy)
                peer = await world.room(browser, engagement)
                await same(room, peer, ["one", "two", "three"])
        if holder == "the browser":
            await say(peer, "three")
            await until(lambda: calm(peer))
            await set_back(world, copy)
        async with world.python(python) as client:
            room = await client.engagement(engagement)
            await python_has(room, "three")
            await room.send("six")
            await has(peer, "six")
            await say(peer, "seven")
            await python_has(room, "seven")
            assert await texts(room) == await peer.texts()
            assert await peer.gaps() == []
            assert (await peer.state())["alarm"] is None
            assert room.alarm is None
        await world.peers.ask("close", name=browser)


@pytest.mark.parametrize("author", ["browser", "python"])
async def test_what_was_taken_back_has_one_place_for_all(world: World, tmp_path: Path, author: str) -> None:
    """Also for whoever never saw it: the relay lost it, and somebody else spoke before it was back."""
    python, browser = f"pia-{author}", f"bea-{author}"
    engagement = await world.relay.create_engagement(**{python: "coach", browser: "client"})

    async def python_says(*words: str) -> None:
        async with world.python(python) as client:
            room = await client.engagement(engagement)
            said = [await room.send(text) for text in words]
            await room.wait_sent()
            if len(said) > 1:
                await room.retract(said[1])
            await room.wait_sent()

    async def browser_says(*words: str) -> None:
        peer = await world.room(browser, engagement)
        said = [await say(peer, text) for text in words]
        await until(lambda: calm(peer))
        if len(said) > 1:
            await peer.call("retract", said[1])
        await until(lambda: calm(peer))
        await world.peers.ask("close", name=browser)

    async with asyncio.timeout(PATIENCE):
        async with world.python(python) as client:
            room = await client.engagement(engagement)
            peer = await world.room(browser, engagement)
            await room.wait_joined()
            await say(peer, "before")
            await python_has(room, "before")
            await world.peers.ask("close", name=browser)
        copy = await back_up(world, tmp_path / "copy")
        says, other_says = (browser_says, python_says) if author == "browser" else (python_says, browser_says)
        await says("one", "a mistake", "three")
        await set_back(world, copy)
        await other_says("meanwhile")
        async with world.python(python) as client:
            room = await client.engagement(engagement)
            peer = await world.room(browser, engagement)
            await same(room, peer, ["before", "meanwhile", "one", "three"])
            shown = [item.id.hex() for item in reversed(await room.history())]
            assert shown == [item["id"] for item in await peer.history()]
            [gone] = [item for item in await peer.history() if item["kind"] == "retracted"]
            assert shown.index(gone["id"]) == 3
        await world.peers.ask("close", name=browser)


async def alarm_of(room: Room) -> str | None:
    alarm = (await room.state())["alarm"]
    return None if alarm is None else str(alarm["code"])


async def alarmed(room: Room) -> bool:
    return await alarm_of(room) is not None


async def admitted(room: Engagement, peer: Room, python: str) -> None:
    """Both let the other in: with a third person on the roster each of them is asked."""
    await peer.call("admit", python)
    await room.admit(room.people.named(peer.name))
    await room.wait_joined()


async def has_devices(room: Room, user: str, count: int) -> bool:
    """Whether it sees so many devices of this user take part."""
    people: list[dict[str, Any]] = await room.call("people")
    return any(one["user"] == user and one["devices"] == count for one in people)


@pytest.mark.parametrize("holder", ["the browser", "python", "both"])
async def test_a_device_that_came_in_since_and_what_all_said(
    world: World, tmp_path: Path, holder: str
) -> None:
    """The lost tail has a change of the devices; one side is away at first."""
    number = ["the browser", "python", "both"].index(holder)
    python, browser, third = (f"{name}{number}" for name in ("gus", "hana", "ivo"))
    engagement = await world.relay.create_engagement(
        **{python: "coach", browser: "client", third: "supervisor"}
    )
    async with asyncio.timeout(PATIENCE):
        async with world.python(python) as client:
            room = await client.engagement(engagement)
            peer = await world.room(browser, engagement)
            await admitted(room, peer, python)
            await say(peer, "one")
            await python_has(room, "one")
            copy = await back_up(world, tmp_path / "copy")
            await room.send("before the change")
            await has(peer, "before the change")
            other = await world.room(third, engagement)
            await peer.call("admit", third)
            await room.admit(room.people.named(third))
            await say(other, "let in")
            await python_has(room, "let in")
            await has(peer, "let in")
            await say(peer, "behind the change")
            await python_has(room, "behind the change")
            wanted = ["one", "before the change", "let in", "behind the change"]
            if holder == "both":
                await set_back(world, copy)
                await same(room, peer, wanted)
        if holder == "python":
            await world.peers.ask("close", name=browser)
        if holder != "both":
            await set_back(world, copy)
        async with world.python(python) as client:
            room = await client.engagement(engagement)
            if holder == "python":
                peer = await world.room(browser, engagement)
            await same(room, peer, wanted)
            await say(other, "and all of us")
            await has(peer, "and all of us")
            await same(room, peer, [*wanted, "and all of us"])
            assert await other.texts() == (await texts(room))[-len(await other.texts()) :]
            for one in (peer, other):
                assert await one.gaps() == []
                assert await alarm_of(one) is None
        for name in (browser, third):
            await world.peers.ask("close", name=name)


async def test_who_was_let_in_after_the_loss_says_its_words_again_to_who_comes_back(
    world: World, tmp_path: Path
) -> None:
    """It knows of no loss; and who comes back holds a lost change, and has no keys for what was said."""
    engagement = await world.relay.create_engagement(vera="coach", wim="client", xena="supervisor")
    async with asyncio.timeout(PATIENCE):
        async with world.python("vera") as client:
            room = await client.engagement(engagement)
            peer = await world.room("wim", engagement)
            await admitted(room, peer, "vera")
            await say(peer, "before")
            await python_has(room, "before")
            await until(lambda: calm(peer))
            copy = await back_up(world, tmp_path / "copy")
            await world.peers.ask("close", name="wim")
            async with linked(world.relay, world.vaults, client, "veras laptop"):
                await room.send("with the laptop")
                await room.wait_sent()
        await set_back(world, copy)
        peer = await world.room("wim", engagement)
        other = await world.room("xena", engagement)
        await peer.call("admit", "xena")
        await say(other, "from who knows of no loss")
        await has(peer, "from who knows of no loss")
        async with world.python("vera") as client:
            room = await client.engagement(engagement)
            await python_has(room, "from who knows of no loss")
            await has(peer, "with the laptop")
            assert (await texts(room)).count("from who knows of no loss") == 1
            assert (await peer.texts()).count("from who knows of no loss") == 1
            assert room.alarm is None
            assert await alarm_of(peer) is None
        for name in ("wim", "xena"):
            await world.peers.ask("close", name=name)


async def back_up_before_a_removal(
    world: World, folder: Path, owner: Client, peer: Room, engagement: str
) -> Path:
    """A copy in which the owner's laptop takes part, which has spoken; the owner removes it behind that."""
    async with linked(world.relay, world.vaults, owner, f"{owner.user}s laptop") as laptop:
        lost = await laptop.engagement(engagement)
        await lost.send("from the laptop")
        await has(peer, "from the laptop")
        copy = await back_up(world, folder / "copy")
    (device,) = [one for one in owner.devices.all if not one.is_this]
    await owner.devices.remove(device)
    await until(lambda: has_devices(peer, owner.user, 1))
    return copy


async def test_a_device_that_was_removed_since_stays_out(world: World, tmp_path: Path) -> None:
    engagement = await world.relay.create_engagement(jana="coach", kurt="client")
    async with asyncio.timeout(PATIENCE):
        async with opened(world.relay, world.vaults, "jana") as jana:
            room = await jana.engagement(engagement)
            peer = await world.room("kurt", engagement)
            await room.wait_joined()
            copy = await back_up_before_a_removal(world, tmp_path, jana, peer, engagement)
            await say(peer, "without the laptop")
            await python_has(room, "without the laptop")
        # Only the browser brings it back: the owner's own device is away.
        await set_back(world, copy)
        await until(lambda: calm(peer))
        async with opened(world.relay, world.vaults, "jana", "janas laptop") as thief:
            stays_out = await thief.engagement(engagement)
            await say(peer, "still without it")
            async with opened(world.relay, world.vaults, "jana") as jana:
                room = await jana.engagement(engagement)
                await same(room, peer, ["from the laptop", "without the laptop", "still without it"])
            assert await texts(stays_out) == ["from the laptop"]
        assert await peer.gaps() == []
        await world.peers.ask("close", name="kurt")


async def copy_silently(world: World, folder: Path) -> Path:
    """The relay's data as they lie on its disk, without a word to it."""
    await world.relay.stop()
    shutil.copytree(world.relay.data, folder)
    await world.relay.start()
    return folder


async def put_back_silently(world: World, copy: Path) -> None:
    """Such data in place of those that the relay has."""
    await world.relay.kill()
    shutil.rmtree(world.relay.data)
    shutil.copytree(copy, world.relay.data)
    await world.relay.start()


async def test_an_earlier_copy_without_a_word_about_it_is_an_alarm(world: World, tmp_path: Path) -> None:
    engagement = await world.relay.create_engagement(lena="coach", max="client")
    async with asyncio.timeout(PATIENCE), world.python("lena") as client:
        room = await client.engagement(engagement)
        peer = await world.room("max", engagement)
        await room.wait_joined()
        await say(peer, "one")
        await python_has(room, "one")
        copy = await copy_silently(world, tmp_path / "copy")
        await say(peer, "two")
        await python_has(room, "two")
        await put_back_silently(world, copy)
        await until(lambda: alarmed(peer))
        assert await alarm_of(peer) == "stream_rolled_back"
        assert await peer.texts() == ["one", "two"]
        await world.peers.ask("close", name="max")


async def test_a_history_that_comes_a_second_time_is_an_alarm(world: World, tmp_path: Path) -> None:
    engagement = await world.relay.create_engagement(nora="coach", otto="client")
    async with asyncio.timeout(PATIENCE), world.python("nora") as client:
        room = await client.engagement(engagement)
        peer = await world.room("otto", engagement)
        await room.wait_joined()
        copy = await back_up(world, tmp_path / "copy")
        await say(peer, "one")
        await python_has(room, "one")
        await set_back(world, copy)
        await same(room, peer, ["one"])
        first = await copy_silently(world, tmp_path / "first")
        await say(peer, "two")
        await python_has(room, "two")
        await set_back(world, copy)
        await same(room, peer, ["one", "two"])
        await put_back_silently(world, first)
        await until(lambda: alarmed(peer))
        assert await alarm_of(peer) == "stream_replaced"
        with pytest.raises(PeerError, match="stream_replaced"):
            await say(peer, "nothing is sent now")
        await world.peers.ask("close", name="otto")


async def test_a_removed_device_that_is_faster_is_out_before_anything_is_said(
    world: World, tmp_path: Path
) -> None:
    """The relay forgets its removal, and while all who know of it are away it lets somebody else in."""
    engagement = await world.relay.create_engagement(petra="coach", quin="client", rosa="supervisor")
    async with asyncio.timeout(PATIENCE):
        async with opened(world.relay, world.vaults, "petra") as petra:
            room = await petra.engagement(engagement)
            peer = await world.room("quin", engagement)
            await admitted(room, peer, "petra")
            copy = await back_up_before_a_removal(world, tmp_path, petra, peer, engagement)
            await say(peer, "without the laptop")
            await python_has(room, "without the laptop")
        await world.peers.ask("close", name="quin")
        await set_back(world, copy)
        async with opened(world.relay, world.vaults, "petra", "petras laptop") as thief:
            back = await thief.engagement(engagement)
            rosa = await world.room("rosa", engagement)
            await back.admit(back.people.named("rosa"))
            await until(lambda: is_member(rosa))
            peer = await world.room("quin", engagement)
            await until(lambda: calm(peer))
            await say(peer, "the laptop does not read this")
            await has(rosa, "the laptop does not read this")
            assert "the laptop does not read this" not in await texts(back)
            assert "without the laptop" not in await texts(back)
        assert await alarm_of(peer) is None
        assert len(await peer.gaps()) == 1, "it says that others went on first"
        async with opened(world.relay, world.vaults, "petra") as petra:
            room = await petra.engagement(engagement)
            await python_has(room, "the laptop does not read this")
            await room.send("I am here too")
            await has(peer, "I am here too")
            await has(rosa, "I am here too")
            assert room.alarm is None
        for name in ("quin", "rosa"):
            await world.peers.ask("close", name=name)


async def is_member(room: Room) -> bool:
    member: bool = (await room.state())["member"]
    return member


async def test_a_page_that_dies_again_and_again_while_it_repairs_loses_and_doubles_nothing(
    world: World, tmp_path: Path
) -> None:
    """Each of its lives has a few writes more than the one before."""
    engagement = await world.relay.create_engagement(susa="coach", till="client", ulla="supervisor")
    async with asyncio.timeout(PATIENCE), world.python("susa") as client:
        room = await client.engagement(engagement)
        peer = await world.room("till", engagement)
        await admitted(room, peer, "susa")
        await say(peer, "one")
        await python_has(room, "one")
        copy = await back_up(world, tmp_path / "copy")
        await say(peer, "two")
        await python_has(room, "two")
        other = await world.room("ulla", engagement)
        await peer.call("admit", "ulla")
        await until(lambda: is_member(other))
        for text in ("three", "four", "five"):
            await say(peer, text)
            await python_has(room, text)
        await world.peers.ask("close", name="till")
        await set_back(world, copy)
        lives = 0
        for writes in range(0, 60, 4):
            await world.peers.open("till", world.relay.url)
            await world.peers.ask("crash", name="till", after=writes)
            peer = Room(world.peers, "till", engagement)
            if await survives(world, peer):
                break
            lives += 1
        assert lives > 2, "it died in the middle of it"
        peer = await world.room("till", engagement)
        await same(room, peer, ["one", "two", "three", "four", "five"])
        await say(peer, "six")
        await python_has(room, "six")
        assert await peer.gaps() == []
        for name in ("till", "ulla"):
            await world.peers.ask("close", name=name)


async def survives(world: World, peer: Room) -> bool:
    """Whether the page lives until it is done."""
    try:
        await peer.call("open")
        await until(lambda: calm(peer))
    except PeerError:
        return False
    alive: bool = await world.peers.ask("alive", name=peer.name)
    return alive
