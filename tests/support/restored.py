"""A relay in this process, or a vault, that is set back to an earlier state."""

from __future__ import annotations

import shutil
from copy import deepcopy
from dataclasses import dataclass

from tests.support.fake_stream import Log
from tests.support.world import World, say


@dataclass(frozen=True, slots=True)
class Copy:
    """What the relay had at one time: its stream, and who was known to it."""

    log: Log
    devices: dict[object, object]
    manifests: dict[object, object]
    key_packages: dict[object, object]
    last_resorts: dict[object, object]


_NAMES = ("devices", "manifests", "key_packages", "last_resorts")


def back_up(world: World) -> Copy:
    """A consistent copy of what the relay has now."""
    log = world.relay.streams[world.stream].log.copy()
    return Copy(log, *(deepcopy(getattr(world.relay, name)) for name in _NAMES))


async def restore(world: World, copy: Copy, *, says_so: bool = True) -> None:
    """Set the relay back; every connection breaks, and devices come back."""
    stream = world.relay.streams[world.stream]
    stream.log = copy.log.copy()
    stream.log.set_back = says_so
    for name in _NAMES:
        setattr(world.relay, name, deepcopy(getattr(copy, name)))
    if says_so:
        stream.incarnation = world.relay.random(16)
    world.relay.drop_connections()
    await world.settle()


async def set_vault_back(world: World) -> None:
    """Anna speaks before and after her vault is copied, and then the copy takes its place."""
    async with world.device("anna", name="Anna") as anna:
        await world.pass_time(6)
        await say(world, anna, "before the copy")
    shutil.copy(world.folder / "anna.vault", world.folder / "copy")
    async with world.device("anna") as anna:
        await say(world, anna, "after the copy")
        await world.pass_time(6)
    shutil.copy(world.folder / "copy", world.folder / "anna.vault")
