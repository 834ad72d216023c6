"""A device that was away comes back: how long until it has everything that was stored for it."""

from __future__ import annotations

import time
from typing import Final

import aiohttp

from relay.wire.codec import encode
from relay.wire.frames import Open
from relay.wire.ids import EngagementId
from relay.wire.limits import WINDOW_ENTRIES
from tests.bench.context import Context
from tests.bench.device import Device
from tests.bench.figures import Bound, Figure, Target
from tests.bench.servers import RelayServer, forwarder, relay
from tests.bench.traffic import Bodies, Load, Pair, no_garbage_collection

_MUST_REACH: Final = Target(Bound.VALUE_AT_MOST, 0.3)


async def measure_drain(context: Context) -> list[Figure]:
    """Seconds from the first byte of the connection to the last entry; beside it the same number live."""
    plan, folder = context.plan, context.folder / "drain"
    folder.mkdir()
    bodies = Bodies(plan.payload_bytes)
    bodies.prepare(plan.stored * plan.rounds + 1)
    drains: list[float] = []
    stores: list[float] = []
    lives: list[float] = []
    with (
        forwarder(folder, core=context.cores.server) as bare,
        relay(folder / "relay", core=context.cores.server, profile=context.profile_path("drain")) as ours,
    ):
        async with aiohttp.ClientSession() as session:
            pair, client = await ours.pair(session, 0)
        load = Load([pair], bodies, in_flight=WINDOW_ENTRIES)
        live = Load(await bare.pairs(1), bodies, in_flight=WINDOW_ENTRIES)
        for number in range(plan.rounds):
            context.progress.say(
                f"drain: round {number + 1} of {plan.rounds}, {plan.stored} messages through the forwarder"
            )
            with no_garbage_collection():
                lives.append(await _transfer(live, plan.stored))
            context.progress.say(
                f"drain: round {number + 1} of {plan.rounds}, storing {plan.stored} messages, fetching them"
            )
            load.detach_receiver(pair)
            with no_garbage_collection():
                stores.append(await _transfer(load, plan.stored))
                drains.append(await _come_back(ours, load, pair, client))
    return [
        Figure(
            name=f"drain of {plan.stored:,} stored messages",
            unit="s",
            rounds=tuple(drains),
            baseline_name="forwarder, live",
            baseline_rounds=tuple(lives),
            target=_MUST_REACH,
            note="the drain counts from the first byte of the connection, the handshake included",
        ),
        Figure(
            name=f"storing {plan.stored:,} of one sender",
            unit="s",
            rounds=tuple(stores),
            baseline_name="forwarder, live",
            baseline_rounds=tuple(lives),
        ),
    ]


async def _transfer(load: Load, count: int) -> float:
    start = time.perf_counter()
    await load.transfer(count)
    return time.perf_counter() - start


async def _come_back(server: RelayServer, load: Load, pair: Pair, client: Device) -> float:
    start = time.perf_counter()
    receiver = await server.connect(client)
    load.attach_receiver(pair, receiver)
    receiver.send(encode([Open(1, EngagementId(pair.stream), pair.seq + pair.received)]))
    await load.settle(pair.sent)
    return time.perf_counter() - start
