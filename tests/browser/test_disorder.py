"""Random sequences: browser engines and the Python SDK do as they like, and see the same in the end."""

from __future__ import annotations

import asyncio
import os
import random
import secrets
from collections.abc import Awaitable, Callable
from contextlib import AsyncExitStack
from pathlib import Path
from typing import Any

import pytest

from client_sdk import REACTIONS, CheckIn, Question, Retracted
from client_sdk.engagement import Engagement
from client_sdk.engine.items import CheckInAnswerItem, CheckInItem, TextItem
from tests.browser import marks
from tests.browser.peers import Room
from tests.browser.world import World, back_up, set_back, until

PATIENCE = 150
STEPS = int(os.environ.get("DISORDER_STEPS", "40"))
SEEDS = range(int(os.environ.get("DISORDER_SEEDS", "3")))
"""So many orders in an ordinary run; DISORDER_SEEDS=50 tries more, DISORDER_STEPS makes them longer."""

pytestmark = marks.in_node()

Shown = tuple[str, str, str, bool, tuple[tuple[str, tuple[str, ...]], ...]]
"""An item as people see it: its id, kind, words, whether it was edited, and who reacted."""


class Browser:
    """Somebody with the browser's engine."""

    def __init__(self, world: World, user: str, engagement: str) -> None:
        self._world, self.user, self._engagement = world, user, engagement
        self.room = Room(world.peers, user, engagement)
        self.offline = False

    async def start(self) -> None:
        self.room = await self._world.room(self.user, self._engagement)

    async def send(self, text: str, reply_to: str | None) -> None:
        await self.room.call("send", secrets.token_hex(16), text, reply_to)

    async def edit(self, item: str, text: str) -> None:
        await self.room.call("edit", item, text)

    async def retract(self, item: str) -> None:
        await self.room.call("retract", item)

    async def react(self, item: str, emoji: str, *, on: bool) -> None:
        await self.room.call("react", item, emoji, on)

    async def check_in(self, prompt: str) -> None:
        question: dict[str, Any] = {"id": "1", "text": prompt, "answer": "scale", "choices": []}
        await self.room.call("checkIn", secrets.token_hex(16), prompt, [{**question, "min": 1, "max": 10}])

    async def answer(self, item: str, value: int) -> None:
        await self.room.call("answer", secrets.token_hex(16), item, {"1": value})

    async def away(self) -> None:
        """Go offline, or come back."""
        self.offline = not self.offline
        await self._world.peers.ask("offline", name=self.user, offline=self.offline)

    async def again(self) -> None:
        """End as a page does that is reloaded."""
        await self._world.peers.ask("close", name=self.user)
        self.offline = False
        await self.start()

    async def loses_its_keys(self) -> None:
        """Its store is damaged where the group is: it has to come back by external commit."""
        await self._world.peers.ask("close", name=self.user)
        await self._world.peers.ask("damage", token_of=self.user, engagement=self._engagement)
        await self.start()

    async def calm(self) -> bool:
        state = await self.room.state()
        assert state["alarm"] is None
        waits = any(item["state"] == "waiting" for item in await self.room.history())
        return state["waiting"] is None and state["caughtUp"] and state["member"] and not waits

    async def shown(self) -> list[Shown]:
        return [
            (
                item["id"],
                item["kind"],
                words_of(item),
                item["edited"],
                tuple((one["emoji"], tuple(sorted(one["users"]))) for one in item["reactions"]),
            )
            for item in await self.room.history()
            if item["kind"] != "gap"
        ]


def words_of(item: dict[str, Any]) -> str:
    if item["kind"] == "checkin.answer":
        return f"{item['checkIn']} {item['answers']['1']}"
    return str(item.get("text", item.get("prompt", "")))


class Python:
    """Somebody with the Python SDK."""

    def __init__(self, world: World, user: str, engagement: str) -> None:
        self._world, self.user, self._engagement = world, user, engagement
        self._stack = AsyncExitStack()
        self.room: Engagement

    async def start(self) -> None:
        client = await self._stack.enter_async_context(self._world.python(self.user))
        self.room = await client.engagement(self._engagement)

    async def send(self, text: str, reply_to: str | None) -> None:
        await self.room.send(text, reply_to=None if reply_to is None else bytes.fromhex(reply_to))

    async def edit(self, item: str, text: str) -> None:
        await self.room.edit(bytes.fromhex(item), text)

    async def retract(self, item: str) -> None:
        await self.room.retract(bytes.fromhex(item))

    async def react(self, item: str, emoji: str, *, on: bool) -> None:
        await self.room.react(bytes.fromhex(item), emoji, on=on)

    async def check_in(self, prompt: str) -> None:
        await self.room.send(CheckIn(prompt, (Question("1", prompt),)))

    async def answer(self, item: str, value: int) -> None:
        found = await self.room.item(bytes.fromhex(item))
        if isinstance(found, CheckInItem):
            await self.room.answer(found, {"1": value})

    async def away(self) -> None:
        await self.again()

    async def again(self) -> None:
        await self.stop()
        await self.start()

    async def stop(self) -> None:
        await self._stack.aclose()

    async def calm(self) -> bool:
        assert self.room.alarm is None
        await self.room.wait_caught_up()
        return not self.room.outbox

    async def shown(self) -> list[Shown]:
        return [one for item in reversed(await self.room.history(limit=500)) if (one := self._shown(item))]

    def _shown(self, item: Any) -> Shown | None:
        match item:
            case TextItem():
                kind, words = "text", item.text
            case CheckInItem():
                kind, words = "checkin", item.prompt
            case CheckInAnswerItem():
                kind, words = "checkin.answer", f"{item.checkin.hex()} {item.answers['1']}"
            case Retracted():
                kind, words = "retracted", ""
            case _:
                return None
        reactions = tuple(
            (one.emoji, tuple(sorted([*(person.user for person in one.others), *[self.user] * one.mine])))
            for one in item.reactions
        )
        return (item.id.hex(), kind, words, item.edited, reactions)


Somebody = Browser | Python


@pytest.mark.timeout(2 * PATIENCE)
@pytest.mark.parametrize("seed", SEEDS)
async def test_whatever_happens_all_see_the_same(world: World, tmp_path: Path, seed: int) -> None:
    """In the middle the relay is set back to what it was some steps before."""
    chance = random.Random(seed)
    names = [f"{name}{seed}" for name in ("ann", "bob", "cat")]
    engagement = await world.relay.create_engagement(
        **dict(zip(names, ("coach", "client", "supervisor"), strict=True))
    )
    ann, bob, cat = (
        Browser(world, names[0], engagement),
        Python(world, names[1], engagement),
        Browser(world, names[2], engagement),
    )
    everybody: list[Somebody] = [ann, bob, cat]
    async with asyncio.timeout(PATIENCE):
        await bob.start()
        await ann.start()
        await ann.room.call("admit", bob.user)
        await bob.room.admit(bob.room.people.named(ann.user))
        await bob.room.wait_joined()
        await cat.start()
        await ann.room.call("admit", cat.user)
        await bob.room.admit(bob.room.people.named(cat.user))
        await until(lambda: joined(cat))
        await bob.send("begin", None)
        await settle(everybody)
        try:
            copied, lost = sorted(chance.sample(range(STEPS), 2))
            for step in range(STEPS):
                if step == copied:
                    await back_up(world, tmp_path / "copy")
                if step == lost:
                    await set_back(world, tmp_path / "copy")
                await one_step(chance, everybody, step)
            for browser in (ann, cat):
                if browser.offline:
                    await browser.away()
            await settle(everybody)
            views = [await somebody.shown() for somebody in everybody]
            assert views[0] == views[1] == views[2]
            assert len(views[0]) > STEPS / 6
            await ann.loses_its_keys()
            await settle(everybody)
            assert await ann.room.gaps() != []
            for somebody in everybody:
                await somebody.send(f"{somebody.user} is here", None)
            await settle(everybody)
            views = [await somebody.shown() for somebody in everybody]
            assert views[0] == views[1] == views[2]
        finally:
            await bob.stop()
            for browser in (ann, cat):
                await world.peers.ask("close", name=browser.user)


async def joined(somebody: Browser) -> bool:
    member: bool = (await somebody.room.state())["member"]
    return member


async def one_step(chance: random.Random, everybody: list[Somebody], step: int) -> None:
    somebody = chance.choice(everybody)
    shown = await somebody.shown()
    mine = [one for one in await own_texts(somebody) if one]
    items = [one for one in shown if one[1] in ("text", "checkin", "checkin.answer")]
    asked = [one[0] for one in shown if one[1] == "checkin"]
    words = f"{step} by {somebody.user}"

    async def react() -> None:
        await somebody.react(
            chance.choice(items)[0], chance.choice(list(REACTIONS)), on=chance.random() < 0.7
        )

    actions: list[tuple[int, Callable[[], Awaitable[None]]]] = [
        (6, lambda: somebody.send(words, chance.choice(items)[0] if items and step % 3 == 0 else None)),
        (3 * bool(mine), lambda: somebody.edit(chance.choice(mine), f"{words}, edited")),
        (1 * bool(mine), lambda: somebody.retract(chance.choice(mine))),
        (3 * bool(items), react),
        (1, lambda: somebody.check_in(words)),
        (2 * bool(asked), lambda: somebody.answer(chance.choice(asked), chance.randint(1, 10))),
        (2, somebody.away),
        (1, somebody.again),
    ]
    await chance.choices([action for _, action in actions], [weight for weight, _ in actions])[0]()


async def own_texts(somebody: Somebody) -> list[str]:
    if isinstance(somebody, Browser):
        return [
            item["id"] for item in await somebody.room.history() if item["mine"] and item["kind"] == "text"
        ]
    return [
        item.id.hex()
        for item in await somebody.room.history(limit=500)
        if item.mine and isinstance(item, TextItem)
    ]


async def settle(everybody: list[Somebody]) -> None:
    """Nothing waits, and all have the same items."""

    async def settled() -> bool:
        for somebody in everybody:
            if not await somebody.calm():
                return False
        views = [await somebody.shown() for somebody in everybody]
        return views[0] == views[1] == views[2]

    await until(settled)
