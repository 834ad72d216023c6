"""Two people and the real relay, each in a process or a vault of their own."""

from __future__ import annotations

import asyncio
from contextlib import AbstractAsyncContextManager, AsyncExitStack
from pathlib import Path

from client_sdk import CheckIn, CheckInAnswer, Client, Engagement, File, Text
from tests.support.real_relay import RealRelay

PATIENCE = 150


def client(relay: RealRelay, folder: Path, user: str) -> AbstractAsyncContextManager[Client]:
    return Client.open(
        folder / f"{user}.vault",
        key=user.encode().ljust(32, b"."),
        relay=relay.url,
        token=relay.token_for(user),
        name=user.capitalize(),
    )


async def texts(room: Engagement) -> list[str]:
    items = await room.history(limit=500)
    return [item.text for item in reversed(items) if isinstance(item, Text)]


async def test_the_example_of_the_architecture(relay: RealRelay, tmp_path: Path) -> None:
    engagement = await relay.create_engagement(anna="coach", ben="client")
    plan = tmp_path / "plan.pdf"
    plan.write_bytes(b"what we agreed on " * 10_000)
    async with asyncio.timeout(PATIENCE), client(relay, tmp_path, "anna") as me:
        room = await me.engagement(engagement)
        assert str(room.people) == "ben (client), not yet joined"
        async with client(relay, tmp_path, "ben") as ben:
            theirs = await ben.engagement(engagement)
            await room.wait_joined()
            await room.send("How was the week?")
            await room.send(CheckIn("Energy today, 1 to 10?"))
            await room.send_file(plan)
            heard: list[object] = []
            async for item in theirs.items():
                heard.append(item)
                match item:
                    case Text():
                        assert item.sender.name == "Anna"
                        assert str(item.sender) == "Anna (coach), not yet verified"
                        await theirs.send("Long, but good.")
                    case CheckIn():
                        (question,) = item.questions
                        await theirs.answer(item, {question.id: 7})
                    case File():
                        saved = await item.save(tmp_path / "inbox")
                        assert saved.read_bytes() == plan.read_bytes()
                        break
            kinds = [kind for item in heard for kind in (Text, CheckIn, File) if isinstance(item, kind)]
            assert kinds == [Text, CheckIn, File]
            async for item in room.items():
                if isinstance(item, CheckInAnswer):
                    assert list(item.answers.values()) == [7]
                    break
            await room.wait_sent()
            assert room.outbox == ()
            (person,) = room.people
            assert str(person) == "Ben (client), not yet verified"
            assert person.safety_number == ben.safety_number
            assert str(await room.verify(person)) == "Ben (client), verified"


async def test_what_is_said_to_somebody_who_is_away(relay: RealRelay, tmp_path: Path) -> None:
    engagement = await relay.create_engagement(anna="coach", ben="client")
    async with asyncio.timeout(PATIENCE):
        async with client(relay, tmp_path, "anna") as anna, client(relay, tmp_path, "ben") as ben:
            room, theirs = await anna.engagement(engagement), await ben.engagement(engagement)
            await asyncio.gather(room.wait_joined(), theirs.wait_joined())
        async with client(relay, tmp_path, "anna") as anna:
            room = await anna.engagement(engagement)
            for number in range(100):
                await room.send(f"thought {number}")
            await room.wait_sent()
        async with client(relay, tmp_path, "ben") as ben:
            theirs = await ben.engagement(engagement)
            await theirs.wait_caught_up()
            assert await texts(theirs) == [f"thought {number}" for number in range(100)]


async def test_the_relay_is_killed_in_the_middle_and_nothing_is_lost(
    relay: RealRelay, tmp_path: Path
) -> None:
    engagement = await relay.create_engagement(anna="coach", ben="client")
    async with asyncio.timeout(2 * PATIENCE), AsyncExitStack() as stack:
        anna = await stack.enter_async_context(client(relay, tmp_path, "anna"))
        ben = await stack.enter_async_context(client(relay, tmp_path, "ben"))
        room, theirs = await anna.engagement(engagement), await ben.engagement(engagement)
        await asyncio.gather(room.wait_joined(), theirs.wait_joined())

        async def talk(where: Engagement, who: str, *, other: Engagement) -> None:
            for number in range(60):
                await where.send(f"{who} {number}")
                if number % 10 == 0:  # some of it is answered, some is on its way when the relay dies
                    await reached(other, number)

        talking = asyncio.gather(talk(room, "anna", other=theirs), talk(theirs, "ben", other=room))
        for killed_at in (10, 30, 60):
            await reached(room, killed_at)
            await relay.kill()
            await relay.start()
        await talking
        await asyncio.gather(room.wait_sent(), theirs.wait_sent())
        await anna._engine.wait_until(lambda: len(_positions(room)) == 120)
        await ben._engine.wait_until(lambda: len(_positions(theirs)) == 120)
        ours, hers = await texts(theirs), await texts(room)
        assert ours == hers
        for who in ("anna", "ben"):
            assert [text for text in hers if text.startswith(who)] == [f"{who} {n}" for n in range(60)]


async def reached(room: Engagement, seq: int) -> None:
    """Wait until this device has the stream up to there."""
    await room.wait_until(lambda: room._conversation.standing.record.cursor >= seq)


def _positions(room: Engagement) -> list[int]:
    with room._engine.vault.transaction() as tx:
        found = tx.history(room.id, limit=500)
    return [item.seq for item in found if item.kind == "text" and item.seq is not None]
