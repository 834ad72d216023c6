"""Three nodes on one Redis: what a message costs, how soon a dead node's devices are back, a restart."""

from __future__ import annotations

import asyncio
import contextlib
import os
import signal
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Final

import aiohttp

from relay.wire.codec import decode_from_relay, encode
from relay.wire.frames import Append, Entries, EntryKind, Open
from relay.wire.ids import EngagementId
from tests.bench import device as dev
from tests.bench import machine
from tests.bench.context import Context
from tests.bench.device import Device
from tests.bench.errors import BenchError
from tests.bench.figures import MICROSECONDS, Bound, Figure, Target, percentile
from tests.bench.redis import redis_server
from tests.bench.servers import RelayServer, in_parallel, relay
from tests.bench.throughput import FIRST_COUNTERS
from tests.bench.traffic import Bodies, Load, Pair, no_garbage_collection
from tests.bench.websocket import WebSocket
from tests.nodes.people import all_said, compare, conversations
from tests.nodes.relays import relays

NODES: Final = 3
_CPU: Final = Target(Bound.RATIO_AT_MOST, 1.3)
_BACK: Final = Target(Bound.VALUE_AT_MOST, 5.0)
_MOVING: Final = Target(Bound.VALUE_AT_MOST, 2.0)
_EACH: Final = 10  # devices in a conversation, beside the one that speaks
_FIRST_WAIT: Final = 0.25  # as the SDK: exponential with full jitter
_MOST_WAIT: Final = 30.0
_PATIENCE: Final = 60.0
_TALKING_PAIRS: Final = 10
_TALKING_PACE: Final = 0.1


async def measure_nodes(context: Context) -> list[Figure]:
    """The three measurements, one after the other, all nodes on the server's core."""
    folder = context.folder / "nodes"
    folder.mkdir()
    with redis_server(context.cores.load) as servers:
        settings = {"COACH_RELAY_REDIS_URL": servers.url}
        with contextlib.ExitStack() as stack:
            nodes: list[RelayServer] = []
            for number in range(NODES):
                portal = nodes[0].portal if nodes else None
                place = folder / f"node{number}"
                nodes.append(
                    stack.enter_context(
                        relay(place, core=context.cores.server, settings=settings, portal=portal)
                    )
                )
            figures = await _cost(context, nodes)
            figures += await _death(context, nodes)
        servers.empty()
        with machine.pinned(context.cores.server):
            figures += await _rolling(context, folder / "rolling", servers.url)
    return figures


# What a message costs


async def _cost(context: Context, nodes: Sequence[RelayServer]) -> list[Figure]:
    """CPU a message of all nodes, a pair's devices always at two of them, beside one node with both."""
    plan = context.plan
    bodies = Bodies(plan.payload_bytes)
    bodies.prepare(max(plan.in_flight, int(FIRST_COUNTERS * plan.seconds / 4)))
    context.progress.say(f"nodes: connecting {plan.pairs} pairs to one node, and as many to three")
    async with aiohttp.ClientSession() as session:
        one = await in_parallel(lambda n: _pair(session, nodes[0], nodes[0], n), range(plan.pairs))
        apart = await in_parallel(
            lambda n: _pair(session, nodes[n % NODES], nodes[(n + 1) % NODES], n),
            range(plan.pairs, 2 * plan.pairs),
        )
    loads = {
        "one": Load(one, bodies, in_flight=plan.in_flight),
        "three": Load(apart, bodies, in_flight=plan.in_flight),
    }
    costs: dict[str, list[float]] = {"one": [], "three": []}
    rates: dict[str, list[float]] = {"one": [], "three": []}
    for number in range(plan.rounds):
        for name, load in loads.items():
            context.progress.say(f"nodes: round {number + 1} of {plan.rounds}, {name}")
            with no_garbage_collection():
                load.start()
                await load.run(plan.warm_up)
                before = sum(machine.cpu_seconds(node.pid) for node in nodes)
                count = max(1, await load.run(plan.seconds))
                costs[name].append((sum(machine.cpu_seconds(n.pid) for n in nodes) - before) / count)
                rates[name].append(count / plan.seconds / 1000)
                await load.stop()
    for pair in (*one, *apart):
        pair.sender.close()
        pair.receiver.close()
    return [
        Figure(
            name="CPU a message, summed over three nodes",
            unit="us",
            rounds=tuple(cost * MICROSECONDS for cost in costs["three"]),
            baseline_name="one node with everybody",
            baseline_rounds=tuple(cost * MICROSECONDS for cost in costs["one"]),
            target=_CPU,
            note="sender and receiver of each message are at different nodes, all of which share one core",
        ),
        Figure(
            name="durable messages over three nodes",
            unit="thousand/s",
            rounds=tuple(rates["three"]),
            baseline_name="one node with everybody",
            baseline_rounds=tuple(rates["one"]),
        ),
    ]


async def _pair(session: aiohttp.ClientSession, theirs: RelayServer, ours: RelayServer, number: int) -> Pair:
    coach, client = Device(f"coach-{number}"), Device(f"client-{number}")
    stream = await theirs.engagement(session, coach.user, client.user)
    sender, receiver = await theirs.connect(coach), await ours.connect(client)
    await dev.create_group(sender, stream, (client.id,))
    await dev.open_new_stream(sender, stream)
    await dev.open_new_stream(receiver, stream)
    return Pair(stream, sender, receiver, counter=1, seq=1)


# The death of a node


@dataclass(slots=True)
class _Listener:
    """A device that was at the node that dies, and when it had the message that was sent afterwards."""

    device: Device
    stream: EngagementId
    socket: WebSocket
    back: float = 0.0


async def _death(context: Context, nodes: Sequence[RelayServer]) -> list[Figure]:
    """From SIGKILL until each device of that node has a message that was sent after it."""
    dying, *left = nodes
    groups = max(1, context.plan.connected // _EACH)
    context.progress.say(f"nodes: connecting {groups * _EACH} devices to the node that dies")
    async with aiohttp.ClientSession() as session:
        made = await in_parallel(lambda n: _group(session, left[0], dying, n), range(groups))
    listeners = [listener for _, _, its in made for listener in its]
    context.progress.say("nodes: a node dies")
    died = time.perf_counter()
    os.kill(dying.pid, signal.SIGKILL)
    for socket, stream, _ in made:
        socket.send(encode([Append(stream, 2, EntryKind.MESSAGE, 1, b"are you back?")]))
    async with asyncio.timeout(_PATIENCE), asyncio.TaskGroup() as group:
        for number, listener in enumerate(listeners):
            group.create_task(_come_back(listener, left, number))
    seconds = sorted(listener.back - died for listener in listeners)
    for socket, _, its in made:
        socket.close()
        for listener in its:
            listener.socket.close()
    return [
        Figure(
            name=f"a node with {len(listeners):,} devices dies: back and delivering, p99",
            unit="s",
            rounds=(percentile(seconds, 0.99),),
            target=_BACK,
            note=f"half of them were back after {percentile(seconds, 0.5):.2f} s",
        )
    ]


async def _group(
    session: aiohttp.ClientSession, alive: RelayServer, dying: RelayServer, number: int
) -> tuple[WebSocket, EngagementId, list[_Listener]]:
    speaker = Device(f"speaker-{number}")
    others = [Device(f"listener-{number}-{other}") for other in range(_EACH)]
    stream = await alive.engagement(session, speaker.user, *[other.user for other in others])
    sockets = [await dying.connect(other) for other in others]
    socket = await alive.connect(speaker)
    await dev.create_group(socket, stream, tuple(other.id for other in others))
    for one in sockets:
        await dev.open_new_stream(one, stream)
    return socket, stream, [_Listener(d, stream, s) for d, s in zip(others, sockets, strict=True)]


async def _come_back(listener: _Listener, left: Sequence[RelayServer], number: int) -> None:
    """As the SDK: after a random wait to whichever node the balancer gives, and open the stream."""
    most = _FIRST_WAIT
    while not listener.back:
        await asyncio.sleep(int.from_bytes(os.urandom(2), "big") / 65_536 * most)
        most = min(_MOST_WAIT, most * 2)
        with contextlib.suppress(BenchError, OSError, TimeoutError):
            listener.socket = await left[number % len(left)].connect(listener.device)
            listener.socket.send(encode([Open(1, listener.stream, 1)]))
            while not listener.back:
                for frame in decode_from_relay(await listener.socket.receive()):
                    if isinstance(frame, Entries):
                        listener.back = time.perf_counter()


# A rolling restart


async def _rolling(context: Context, folder: Path, url: str) -> list[Figure]:
    """Each node is stopped in order and started again while people talk; nothing is lost or there twice."""
    folder.mkdir()
    lines = context.plan.lines
    async with relays(folder, [url] * NODES) as found:
        talkers = await conversations(found, _TALKING_PAIRS, lines=lines, pace=_TALKING_PACE)
        context.progress.say(f"nodes: {2 * _TALKING_PAIRS} devices talk while each node is restarted")
        talking = asyncio.create_task(all_said(talkers, within=_PATIENCE + lines * _TALKING_PACE * 2))
        for node in found.nodes:
            await found.restart(node)
        await talking
    compare(talkers)  # raises AssertionError if something is lost, there twice, or in another order
    late = [seconds for talker in talkers for seconds in talker.late]
    moves = sum(talker.connections - 1 for talker in talkers)
    return [
        Figure(
            name="rolling restart under load: delivery, p99",
            unit="s",
            rounds=(percentile(late, 0.99),),
            target=_MOVING,
            note=f"{moves} moves of {len(talkers)} devices; histories compared: nothing lost, nothing twice",
        )
    ]
