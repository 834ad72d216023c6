"""A crash between any two steps, of who moves a conversation to the stronger suite and of who follows."""

from __future__ import annotations

import copy
import shutil
from collections.abc import Callable
from pathlib import Path

import pytest

from client_sdk.mls import SUITE_3, SUITE_XWING
from tests.client_sdk.engine.test_crashes import STEPS, Bomb, run
from tests.support.suites import Versions
from tests.support.world import Device, World

SAYS = {who: [f"{who} {number}" for number in range(2)] for who in ("anna", "ben")}
BOUNDARIES = [
    *(f"{work}: {step}" for work in ("commit", "receive") for step in STEPS),
    *("send: handed over", "send: acknowledged", "receive: acknowledged"),
]


def suites_of(*devices: Device) -> list[int]:
    groups = [device.conversation.standing.group for device in devices]
    return [group.suite.id for group in groups if group is not None]


async def prepare(folder: Path) -> World:
    """A conversation of suite 3 between two people whose programs are new from now on."""
    world = World(folder)
    with pytest.MonkeyPatch.context() as patch:
        Versions(patch, "anna", "ben")
        async with world.pair() as (anna, ben):
            assert suites_of(anna, ben) == [SUITE_3.id] * 2
    await world.pass_time(10_000)  # nobody sleeps any more
    world.relay.received.clear()
    return world


def again(prepared: World, folder: Path) -> World:
    """The same world once more, vaults included, to go another way from here."""
    shutil.copytree(prepared.folder, folder)
    world = copy.copy(prepared)
    world.time = copy.deepcopy(prepared.time)
    world.relay = copy.deepcopy(prepared.relay, {id(prepared.time): world.time})
    world.folder = folder
    return world


async def scene(world: World, user: str, bomb: Callable[[str], None]) -> None:
    """Both go on talking while it moves; the program of `user` may die anywhere in it."""
    other = "ben" if user == "anna" else "anna"
    unsaid = list(SAYS[user])
    async with world.device(other) as friend:
        await run(world, user, bomb, friend, unsaid, SAYS[other])
        await run(world, user, lambda _name: None, friend, unsaid, [])
        async with world.device(user) as device:
            await world.pass_time(20)
            await check(device, friend)


async def check(device: Device, friend: Device) -> None:
    mine, theirs = await device.texts(), await friend.texts()
    assert mine == theirs, "both see the same, in the same order"
    for who, texts in SAYS.items():
        assert [text for text in mine if text.startswith(who)] == texts, "everything once, in its order"
    assert suites_of(device, friend) == [SUITE_XWING.id] * 2
    assert device.room.alarm is friend.room.alarm is None
    assert "gap" not in await device.kinds() + await friend.kinds()
    assert device.room.outbox == friend.room.outbox == ()
    assert device.conversation.standing.pending is friend.conversation.standing.pending is None


@pytest.mark.parametrize("user", ["anna", "ben"])
async def test_a_crash_anywhere_loses_and_doubles_nothing(user: str, memory: Path) -> None:
    (memory / "prepared").mkdir()
    prepared = await prepare(memory / "prepared")
    runs = 0
    for boundary in BOUNDARIES:
        for moment in range(1, 100):
            bomb = Bomb((boundary, moment))
            folder = memory / f"{boundary} {moment}"
            await scene(again(prepared, folder), user, bomb)
            shutil.rmtree(folder)
            runs += 1
            if not bomb.exploded:
                assert moment > 1, "the boundary was never passed"
                break
    assert runs > len(BOUNDARIES)
