"""A device that dies at any step of repair goes on where it was; nothing is lost, nothing comes twice.

A first run counts how often each step is passed while Anna's program repairs; then there is a run for each of
these moments, in which it dies there and starts again.
"""

from __future__ import annotations

import asyncio
from collections import Counter
from functools import cache
from pathlib import Path
from tempfile import TemporaryDirectory

import pytest

from relay.wire import frames as fr
from tests.client_sdk.engine import test_crashes as crashes
from tests.client_sdk.engine.test_crashes import STEPS, Bomb
from tests.support.fake_relay import Peer
from tests.support.own_devices import linked
from tests.support.restored import back_up, restore
from tests.support.world import World, alarms, say

REPAIR = (*(f"{work}: {step}" for work in ("compare", "repair", "offer") for step in STEPS),)
AROUND = (
    *(f"{work}: {step}" for work in ("open", "receive", "send") for step in STEPS),
    *("send: encrypted", "send: handed over", "send: acknowledged"),
)

pytestmark = pytest.mark.usefixtures("depot")
SAID = ["anna 1", "anna 2", "ben 1", "ben 2", "laptop 1", "new"]


async def scene(folder: Path, bomb: Bomb) -> None:
    """The relay loses messages, and the commit that let Anna's laptop in; Anna's program dies in repair."""
    world = World(folder)
    async with world.device("anna", name="Anna") as anna:
        await world.settle()
        async with world.device("ben", name="Ben") as ben:
            await world.pass_time(6)
            copy = back_up(world)
            await say(world, anna, "anna 1")
            async with linked(world, anna, "laptop") as laptop:
                await world.pass_time(6)
                await say(world, ben, "ben 1")
                await say(world, laptop, "laptop 1")
                await say(world, anna, "anna 2")
                await say(world, ben, "ben 2")
    await restore(world, copy)
    world.relay.lies.append = _not_bens
    async with world.device("ben") as ben:
        await crashes.run(world, "anna", bomb, ben, [], [])
        world.relay.lies.append = None
    async with (
        world.device("anna") as anna,
        world.device("ben") as ben,
        world.device("anna", vault="laptop") as laptop,
    ):
        await say(world, anna, "new")
        await world.pass_time(40)
        assert alarms(anna, ben, laptop) == []
        assert sorted(await anna.texts()) == SAID
        assert await anna.texts() == await ben.texts() == await laptop.texts()
        assert [device.room.outbox for device in (anna, ben, laptop)] == [()] * 3


@cache
def _passed() -> Counter[str]:
    return run(Bomb())


def _not_bens(peer: Peer, frame: fr.Append) -> list[fr.RelayFrame] | None:
    """For a while it is Anna who brings things back."""
    if peer.user == "anna":
        return None
    return [fr.Refused(frame.stream, frame.counter, "store_unavailable", 0)]


def run(bomb: Bomb) -> Counter[str]:
    shared = Path("/dev/shm")
    with TemporaryDirectory(dir=shared if shared.is_dir() else None) as folder:
        asyncio.run(scene(Path(folder), bomb))
    return bomb.passed


@pytest.mark.parametrize("step", REPAIR + AROUND)
def test_a_crash_in_repair_loses_and_doubles_nothing(step: str) -> None:
    times = _passed()[step]
    if step in REPAIR:
        assert times, "repair passes here"
    for time in range(1, min(times, 3) + 1):
        run(Bomb((step, time)))
