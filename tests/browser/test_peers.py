"""The browser's engine with the Python SDK: coming back, and moving to a stronger suite."""

from __future__ import annotations

import asyncio

import pytest

from client_sdk import Protection, WaitReason
from client_sdk.delivery.alarms import ALARMS
from relay.core.operations import ExpireEntries
from relay.store.sqlite.streams import SqliteStreamStore
from relay.wire.ids import EngagementId
from tests.browser import marks
from tests.browser.peers import PeerError, Room
from tests.browser.world import PATIENCE, World, has, python_has, say, texts, until
from tests.support.real_relay import RealRelay
from tests.support.suites import Versions

pytestmark = marks.in_node()


async def test_who_was_away_for_too_long_comes_back_with_a_visible_gap(world: World) -> None:
    engagement = await world.relay.create_engagement(anna="coach", ben="client")
    async with asyncio.timeout(PATIENCE), world.python("anna") as anna:
        room = await anna.engagement(engagement)
        ben = await world.room("ben", engagement)
        await room.wait_joined()
        said = await say(ben, "before")
        await python_has(room, "before")
        await until(lambda: is_in(ben, said, "delivered"))
        await say(ben, "perhaps not heard")
        await python_has(room, "perhaps not heard")
        await world.peers.ask("close", name="ben")
        await room.send("in between")
        await room.wait_sent()
        await forget(world.relay, engagement)
        await world.peers.ask("shift", ms=31 * 86_400_000)
        ben = await world.room("ben", engagement)
        await until(lambda: gap_in(ben))
        await world.peers.ask("shift", ms=-31 * 86_400_000)
        assert await ben.gaps() == ["This device was away for longer than messages are kept."]
        await room.send("after")
        await has(ben, "after")
        await say(ben, "I am back")
        await python_has(room, "I am back")
        heard = ["before", "perhaps not heard", "after", "I am back"]
        assert sorted(await ben.texts()) == sorted(heard)
        assert [text for text in await texts(room) if text != "in between"] == await ben.texts()
        assert (await ben.state())["alarm"] is None
        assert room.alarm is None
        await world.peers.ask("close", name="ben")


async def is_in(room: Room, item: str, state: str) -> bool:
    found = await room.call("item", item)
    return found is not None and found["state"] == state


async def gap_in(room: Room) -> bool:
    return bool(await room.gaps())


async def forget(relay: RealRelay, engagement: str) -> None:
    """The relay's store as it is when the retention is over: the newest commit alone is left."""
    await relay.stop()
    store = SqliteStreamStore.open(relay.data)
    try:
        await store.commit([ExpireEntries(EngagementId(engagement), 2**52, 0)])
    finally:
        await store.close()
    await relay.start()


async def test_a_person_goes_on_after_something_was_withheld(world: World) -> None:
    engagement = await world.relay.create_engagement(carl="coach", dora="client")
    async with asyncio.timeout(PATIENCE), world.python("carl") as carl:
        room = await carl.engagement(engagement)
        dora = await world.room("dora", engagement)
        await room.wait_joined()
        await say(dora, "before")
        await python_has(room, "before")
        await world.peers.ask("close", name="dora")
        await room.send("withheld")
        await room.wait_sent()
        await forget(world.relay, engagement)
        dora = await world.room("dora", engagement)
        await until(lambda: alarmed(dora))
        alarm = (await dora.state())["alarm"]
        assert alarm["code"] == "stream_skipped"
        assert "The relay left out a part of the conversation" in alarm["message"]
        with pytest.raises(PeerError, match="stream_skipped"):
            await say(dora, "not now")
        await dora.call("goOn")
        await until(lambda: gap_in(dora))
        await say(dora, "all the same")
        await python_has(room, "all the same")
        assert (await dora.gaps())[0].startswith("You decided to go on after an alarm.")
        await world.peers.ask("close", name="dora")


async def alarmed(room: Room) -> bool:
    return (await room.state())["alarm"] is not None


@pytest.mark.parametrize("first", ["the browser", "python"])
async def test_a_conversation_moves_to_a_stronger_suite_when_all_can(
    world: World, monkeypatch: pytest.MonkeyPatch, first: str
) -> None:
    """Both were made by older programs; each is updated, the one named first, and either makes the move."""
    python, peer = ("eva", "finn") if first == "python" else ("gus", "hana")
    versions = Versions(monkeypatch, python)
    engagement = await world.relay.create_engagement(**{python: "coach", peer: "client"})
    async with asyncio.timeout(PATIENCE):
        async with world.python(python) as client:
            room = await client.engagement(engagement)
            other = await world.room(peer, engagement, old=True)
            await room.wait_joined()
            await say(other, "one")
            await python_has(room, "one")
            assert "not yet" in (await other.state())["protection"]
            await world.peers.ask("close", name=peer)
        versions.update([python])
        if first == "python":
            async with world.python(python) as client:
                await (await client.engagement(engagement)).wait_caught_up()
        other = await world.room(peer, engagement)
        async with world.python(python) as client:
            again = await client.engagement(engagement)
            await until(lambda: moved(other))
            await again.wait_until(lambda: again.protection.name == "FROM_NOW_ON")
            await say(other, "two")
            await python_has(again, "two")
            await again.send("three")
            await has(other, "three")
            assert await texts(again) == await other.texts() == ["one", "two", "three"]
            assert (await other.state())["alarm"] is None
            assert again.alarm is None
            assert await other.gaps() == []
        await world.peers.ask("close", name=peer)


async def moved(room: Room) -> bool:
    return "before everybody had updated" in (await room.state())["protection"]


async def test_people_are_told_the_same_by_both(world: World) -> None:
    told = await world.peers.ask("sentences", who="Anna")
    assert told["alarms"] == {code: alarm().sentence_about("Anna") for code, alarm in ALARMS.items()}
    assert set(told["protection"]) == {str(protection) for protection in Protection}
    ours = {reason.value for reason in WaitReason}
    assert set(told["reasons"]) <= ours


async def test_who_started_anew_is_let_in_when_somebody_has_decided(world: World) -> None:
    engagement = await world.relay.create_engagement(ina="coach", jon="client")
    async with asyncio.timeout(PATIENCE):
        ina = await world.room("ina", engagement)
        async with world.python("jon") as jon:
            room = await jon.engagement(engagement)
            await room.wait_joined()
            await room.send("before")
            await has(ina, "before")
        for path in world.vaults.glob("jon.vault*"):
            path.unlink()
        async with world.python("jon") as jon:
            room = await jon.engagement(engagement)
            await until(lambda: alarmed(ina))
            alarm = (await ina.state())["alarm"]
            assert (alarm["code"], alarm["user"]) == ("identity_changed", "jon")
            assert alarm["message"].startswith("Jon appears with a new security key.")
            with pytest.raises(PeerError, match="identity_changed"):
                await say(ina, "to whom?")
            number = await ina.call("safetyNumber", "jon")
            assert number == jon.safety_number
            await ina.call("acceptIdentity", "jon")
            await room.wait_joined()
            await say(ina, "welcome back")
            await python_has(room, "welcome back")
            await room.send("thank you")
            await has(ina, "thank you")
            people = {one["user"]: one for one in await ina.call("people")}
            assert (people["jon"]["trust"], people["jon"]["devices"]) == ("unverified", 1)
            assert (await ina.state())["alarm"] is None
        await world.peers.ask("close", name="ina")
