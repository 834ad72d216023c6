"""A seeded simulation: people talk while connections, programs, answers and the relay's patience fail.

In the end everybody holds every message once, all in one order, and nobody was alarmed: an honest relay on a
bad line never looks like a lying one.
"""

from __future__ import annotations

import random
from contextlib import AsyncExitStack
from pathlib import Path

import pytest

from relay.wire import frames as fr
from relay.wire.ids import DeviceId
from tests.support.fake_relay import Peer
from tests.support.linking import link_device
from tests.support.world import Device, World, alarms

ACTIONS = 70
VAULTS = {"anna": "anna", "ben": "ben", "anna-2": "anna"}


class Simulation:
    """One seeded run."""

    def __init__(self, world: World, seed: int) -> None:
        self.world = world
        self.chance = random.Random(seed)
        self.said: dict[str, list[str]] = {vault: [] for vault in VAULTS}
        self.running: dict[str, tuple[AsyncExitStack, Device]] = {}
        self.trouble = 0.0
        world.relay.lies.append = self.append

    def append(self, peer: Peer, frame: fr.Append) -> list[fr.RelayFrame] | None:
        """An honest relay on a bad day: busy, or cut off before it could answer."""
        dice = self.chance.random()
        if dice < self.trouble / 3:
            code = self.chance.choice(["rate_limited", "store_unavailable", "store_full"])
            return [fr.Refused(frame.stream, frame.counter, code, 0)]
        if dice < self.trouble / 2:
            peer.append_honestly(frame)
            return []
        return [] if dice < self.trouble else None

    async def start(self, vault: str) -> None:
        stack = AsyncExitStack()
        opening = self.world.device(VAULTS[vault], vault=vault, name=VAULTS[vault].capitalize())
        self.running[vault] = (stack, await stack.enter_async_context(opening))

    async def stop(self, vault: str) -> None:
        stack, _ = self.running.pop(vault)
        await stack.aclose()

    async def act(self) -> None:
        action = self.chance.choices(
            [self.say, self.wait, self.restart, self.cut, self.hold, self.vary], [8, 4, 1, 2, 2, 2]
        )[0]
        await action()

    async def say(self) -> None:
        vault = self.chance.choice(sorted(self.running))
        for _ in range(self.chance.choice([1, 1, 1, 5, 40])):
            text = f"{vault} {len(self.said[vault])}"
            self.said[vault].append(text)
            await self.running[vault][1].room.send(text)

    async def wait(self) -> None:
        await self.world.pass_time(self.chance.choice([0.1, 1, 8, 40]))

    async def restart(self) -> None:
        vault = self.chance.choice(sorted(VAULTS))
        if vault in self.running:
            await self.stop(vault)
        else:
            await self.start(vault)
        if not self.running:
            await self.start("anna")

    async def cut(self) -> None:
        self.world.relay.drop_connections()
        self.world.relay.lies.offline = self.chance.random() < 0.3
        await self.world.settle()

    async def hold(self) -> None:
        withheld = self.world.relay.lies.withheld
        device = self.chance.choice(sorted(self.world.relay.devices))
        if device in withheld:
            withheld.discard(device)
            self.world.relay.push_all()
        else:
            withheld.add(DeviceId(device))

    async def vary(self) -> None:
        self.trouble = self.chance.choice([0.0, 0.0, 0.2, 0.6])

    async def finish(self) -> None:
        """Everything works again, and everybody is there."""
        self.trouble = 0.0
        self.world.relay.lies.offline = False
        self.world.relay.lies.withheld.clear()
        for vault in sorted(set(VAULTS) - set(self.running)):
            await self.start(vault)
        self.world.relay.drop_connections()
        for _ in range(6):
            await self.world.pass_time(45)


@pytest.mark.parametrize("seed", range(15))
async def test_a_bad_line_loses_nothing_and_alarms_nobody(seed: int, memory: Path) -> None:
    world = World(memory)
    async with world.pair():
        pass
    link_device(memory, "anna", "anna-2")
    simulation = Simulation(world, seed)
    for vault in VAULTS:
        await simulation.start(vault)
    await world.pass_time(20)
    for _ in range(ACTIONS):
        await simulation.act()
    await simulation.finish()
    devices = [device for _, device in simulation.running.values()]
    assert alarms(*devices) == []
    texts = [await device.texts() for device in devices]
    assert texts[0] == texts[1] == texts[2]
    for vault, said in simulation.said.items():
        assert [text for text in texts[0] if text.rsplit(" ", 1)[0] == vault] == said
    for device in devices:
        assert device.room.outbox == ()
        assert "gap" not in await device.kinds()
    for vault in list(simulation.running):
        await simulation.stop(vault)
