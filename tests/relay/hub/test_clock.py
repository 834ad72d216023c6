"""A clock that is set: what is counted in seconds goes on, and what is a date follows it."""

from __future__ import annotations

import pytest

from relay.core.limits import Rate, RateLimits
from relay.hub.leases import Leases
from relay.hub.nodes import HERE
from relay.hub.settings import PRESENT_SECONDS
from relay.hub.watch import behind
from relay.store import MemoryDirectory
from relay.wire import frames as fr
from relay.wire.limits import HANDSHAKE_SECONDS
from tests.relay.hub.support import ANNA, PORTAL, Clock, Device, connected_pair, make_hub
from tests.relay.hub.switchboard import several

JUMPS = pytest.mark.parametrize("jump", [-86_400, -5, 1800], ids=["back", "a little back", "forth"])
SLOW = RateLimits(requests=Rate(per_second=1, burst=8))


class Jumpy:
    """A hub, the date that it reads, and the seconds that pass."""

    def __init__(self) -> None:
        self.date, self.steady = Clock(), Clock()
        self.steady.now = 17.0
        self.hub = make_hub(clock=self.date, steady=self.steady, rates=SLOW)

    def passes(self, seconds: float) -> None:
        self.date.now += seconds
        self.steady.now += seconds


@pytest.fixture
async def jumpy() -> Jumpy:
    made = Jumpy()
    await made.hub.start()
    return made


async def allowed(device: Device) -> int:
    """How many requests are answered with no time between."""
    answers = [frame for number in range(1, 20) for frame in await device.say(fr.ListEngagements(number))]
    return sum(isinstance(frame, fr.Engagements) for frame in answers)


@JUMPS
async def test_a_rate_goes_on_and_a_jump_gives_nothing(jumpy: Jumpy, jump: int) -> None:
    anna = await Device(jumpy.hub, ANNA).connect()
    assert await allowed(anna) == 8
    jumpy.date.now += jump
    assert await allowed(anna) == 0
    jumpy.passes(3)
    assert await allowed(anna) == 3
    await jumpy.hub.close()


@JUMPS
async def test_the_handshake_has_its_time(jumpy: Jumpy, jump: int) -> None:
    anna = Device(jumpy.hub, ANNA)
    anna.attach()
    jumpy.date.now += jump
    jumpy.passes(HANDSHAKE_SECONDS - 1)
    jumpy.hub.tick()
    still_there = not anna.sink.closed
    jumpy.passes(1)
    jumpy.hub.tick()
    assert still_there
    assert anna.sink.closed
    await jumpy.hub.close()


async def test_the_sweep_goes_on(jumpy: Jumpy, monkeypatch: pytest.MonkeyPatch) -> None:
    hub = jumpy.hub
    hub.tick()
    await hub.settle()
    swept: list[int] = []

    async def run(now_ms: int) -> int:
        swept.append(now_ms)
        return 0

    monkeypatch.setattr(hub.sweep, "run", run)
    jumpy.date.now -= 86_400
    jumpy.passes(hub.settings.sweep_seconds)
    hub.tick()
    await hub.settle()
    assert swept == [int(jumpy.date.now * 1000)]
    await hub.close()


async def test_what_waits_is_told_as_long_as_it_waits(jumpy: Jumpy) -> None:
    pair = await connected_pair(jumpy.hub)
    await pair.anna.say(pair.anna.message(pair.stream))
    jumpy.passes(7)
    jumpy.date.now += 1800
    assert behind(jumpy.hub).seconds == 7
    await jumpy.hub.close()


async def test_a_node_that_is_gone_does_not_stay_because_the_date_was_set_back() -> None:
    steady = Clock()
    async with several(steady=steady) as nodes:
        hub, node = nodes.hubs[0], nodes.hubs[1].bus.node
        nodes.hubs[1].nodes.tell(HERE, {PORTAL: 3})
        await nodes.settle()
        assert hub.nodes.connections_elsewhere(PORTAL) == 3
        nodes.clock.now -= 3600
        steady.now += PRESENT_SECONDS + 1
        assert not hub.nodes.is_present(node)
        assert hub.nodes.connections_elsewhere(PORTAL) == 0


@pytest.mark.parametrize(("ahead", "has_it"), [(5, False), (3600, True)], ids=["a little", "an hour"])
async def test_a_lease_of_a_node_that_died_with_a_wrong_clock_does_not_hold_for_hours(
    ahead: float, has_it: bool
) -> None:
    clocks, directory = (Clock(), Clock()), MemoryDirectory()
    died, other = (
        Leases(directory, name, clock, clock) for name, clock in zip((b"one", b"two"), clocks, strict=True)
    )
    clocks[0].now += ahead
    assert await died.take("sweep", 10)
    assert await other.take("sweep", 10) is has_it
