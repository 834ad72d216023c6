"""A crash between any two steps of sending and of receiving loses nothing and duplicates nothing.

Every boundary between two steps has a name, at which `Environment.step` is called. For each of them there are
as many runs as it is passed in one; in each the program dies at another of these moments, and starts again.
In the end both histories must hold everything once, in one order.
"""

from __future__ import annotations

import asyncio
import contextlib
from collections import Counter
from collections.abc import Callable
from pathlib import Path

import pytest

from tests.support.fake_time import settle
from tests.support.world import Device, World

STEPS = ("begin", "made", "stored", "durable")
ANNA_SAYS = [f"anna {n}" for n in range(3)]
BEN_SAYS = [f"ben {n}" for n in range(3)]


class Crash(BaseException):
    """The program dies here."""


class Bomb:
    """Counts the steps; raises at the wanted one and at each after it: a dead program does nothing more."""

    def __init__(self, at: tuple[str, int] | None = None) -> None:
        self.passed: Counter[str] = Counter()
        self.exploded = False
        self._at = at

    def __call__(self, name: str) -> None:
        if self.exploded:
            raise Crash
        self.passed[name] += 1
        if (name, self.passed[name]) == self._at:
            self.exploded = True
            raise Crash


async def scene(world: World, user: str, bomb: Callable[[str], None], *, first: bool) -> None:
    """Anna and Ben meet and talk; the program of `user` may die anywhere in it."""
    other = "ben" if user == "anna" else "anna"
    says = {"anna": ANNA_SAYS, "ben": BEN_SAYS}
    unsaid = list(says[user])
    if first:
        await run(world, user, bomb, None, unsaid, [])
    async with world.device(other, name=other) as friend:
        await run(world, user, bomb, friend, unsaid, says[other])
        await run(world, user, lambda _name: None, friend, unsaid, [])
        async with world.device(user) as device:
            await world.pass_time(20)
            await check(device, friend, says)


async def run(
    world: World,
    user: str,
    step: Callable[[str], None],
    friend: Device | None,
    unsaid: list[str],
    friend_says: list[str],
) -> None:
    """One life of the program: it says what the person has not said yet; ends by a crash or by itself."""
    up = asyncio.Event()
    dying = asyncio.create_task(live(world, user, step, unsaid, up))
    waiting = asyncio.create_task(up.wait())
    await asyncio.wait([dying, waiting], return_when=asyncio.FIRST_COMPLETED)
    waiting.cancel()
    await settle()
    await world.time.advance(3)
    if friend is not None:
        for text in friend_says:
            await friend.room.send(text)
            await settle()
    await world.time.advance(12)
    if not dying.done():
        dying.cancel()
    with contextlib.suppress(Crash, asyncio.CancelledError):
        await dying


async def live(
    world: World, user: str, step: Callable[[str], None], unsaid: list[str], up: asyncio.Event
) -> None:
    async with world.device(user, name=user, step=step) as device:
        up.set()
        await settle()
        while unsaid:
            before = await device.texts()
            if unsaid[0] not in before:
                await device.room.send(unsaid[0])
            unsaid.pop(0)
            await settle()
        await device.engine.wait_until(lambda: False)


async def check(device: Device, friend: Device, says: dict[str, list[str]]) -> None:
    mine, theirs = await device.texts(), await friend.texts()
    assert mine == theirs, "both see the same, in the same order"
    for who, texts in says.items():
        assert [text for text in mine if text.startswith(who)] == texts, "everything once, in its order"
    assert device.room.alarm is None
    assert friend.room.alarm is None
    assert "gap" not in await device.kinds() + await friend.kinds()
    assert device.room.outbox == friend.room.outbox == ()


SPEAKING = [
    *(f"{work}: {step}" for work in ("open", "receive", "say", "send", "receipt") for step in STEPS),
    *("send: encrypted", "send: handed over", "send: acknowledged", "receive: acknowledged"),
]
MEETING = [f"commit: {step}" for step in STEPS]


@pytest.mark.parametrize("first", [True, False], ids=["who comes first", "who comes second"])
@pytest.mark.parametrize("user", ["anna", "ben"])
async def test_the_boundaries_are_these(user: str, first: bool, memory: Path) -> None:
    bomb = Bomb()
    await scene(World(memory), user, bomb, first=first)
    assert set(bomb.passed) == {*SPEAKING, *(MEETING if first else [])}


@pytest.mark.parametrize("first", [True, False], ids=["who comes first", "who comes second"])
@pytest.mark.parametrize("boundary", [*SPEAKING, *MEETING])
async def test_a_crash_anywhere_loses_and_doubles_nothing(boundary: str, first: bool, memory: Path) -> None:
    for moment in range(1, 100):
        bomb = Bomb((boundary, moment))
        folder = memory / str(moment)
        folder.mkdir()
        await scene(World(folder), "anna", bomb, first=first)
        if not bomb.exploded:
            assert moment > 1 or (boundary in MEETING and not first), "the boundary was never passed"
            return
    raise AssertionError("the scene never ends")
