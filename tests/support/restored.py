"""A relay in this process that is set back to an earlier state, as by an operator's restore or a failover."""

from __future__ import annotations

from copy import deepcopy
from dataclasses import dataclass

from tests.support.fake_stream import Log
from tests.support.world import World


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
