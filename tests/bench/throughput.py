"""Durable messages a second, and what each costs, beside the bare forwarder and bare group commit."""

from __future__ import annotations

import time
from dataclasses import dataclass
from typing import Final

from tests.bench import machine
from tests.bench.context import Context
from tests.bench.figures import MICROSECONDS, Bound, Figure, Target
from tests.bench.groupcommit import BATCH
from tests.bench.processes import measure
from tests.bench.servers import Server, forwarder, relay
from tests.bench.traffic import Bodies, Load, no_garbage_collection

_MUST_REACH: Final = Target(Bound.RATIO_AT_LEAST, 0.2)
_SATURATED: Final = 0.95  # share of its core above which the generator, not the server, may set the pace
FIRST_COUNTERS: Final = 40_000


@dataclass(frozen=True, slots=True)
class Sample:
    """What one round showed: messages a second, CPU seconds a message, shares of the cores."""

    rate: float
    cpu: float
    server_share: float
    generator_share: float


async def measure_throughput(context: Context) -> list[Figure]:
    """Alternate the forwarder, the relay and bare group commit, and compare the medians."""
    plan, folder = context.plan, context.folder / "throughput"
    folder.mkdir()
    bodies = Bodies(plan.payload_bytes)
    bodies.prepare(max(plan.in_flight, int(FIRST_COUNTERS * plan.seconds / 4)))
    samples: dict[str, list[Sample]] = {"forwarder": [], "relay": []}
    commits: list[float] = []
    with (
        forwarder(folder, core=context.cores.server) as bare,
        relay(
            folder / "relay", core=context.cores.server, profile=context.profile_path("throughput")
        ) as ours,
    ):
        context.progress.say(f"throughput: connecting {plan.pairs} pairs to the forwarder and to the relay")
        loads: dict[str, tuple[Server, Load]] = {
            server.name: (server, Load(await server.pairs(plan.pairs), bodies, in_flight=plan.in_flight))
            for server in (bare, ours)
        }
        for number in range(plan.rounds):
            for name, (server, load) in loads.items():
                context.progress.say(f"throughput: round {number + 1} of {plan.rounds}, {name}")
                samples[name].append(await sample(server, load, context))
            path = str(folder / f"commit-{number}.db")
            figures = measure(
                ["-m", "tests.bench.groupcommit", path, "full", str(plan.seconds / 2)],
                core=context.cores.server,
            )
            commits.append(figures["rows_per_second"])
    return _figures(samples, commits)


async def sample(server: Server, load: Load, context: Context) -> Sample:
    """One round of a load."""
    with no_garbage_collection():
        load.start()
        await load.run(context.plan.warm_up)
        before, start = _clocks(server.pid), time.perf_counter()
        count = await load.run(context.plan.seconds)
        elapsed = time.perf_counter() - start
        cpu, own = (after - earlier for after, earlier in zip(_clocks(server.pid), before, strict=True))
        await load.stop()
    return Sample(count / elapsed, cpu / max(count, 1), cpu / elapsed, own / elapsed)


def _clocks(server: int) -> tuple[float, float]:
    """Processor time of the server and of the generator."""
    return machine.cpu_seconds(server), time.process_time()


def _figures(samples: dict[str, list[Sample]], commits: list[float]) -> list[Figure]:
    ours, bare = samples["relay"], samples["forwarder"]
    busy = max(sample.generator_share for sample in ours)
    busy_bare = max(sample.generator_share for sample in bare)
    note = (
        f"the load generator used {busy:.0%} of its core against the relay and {busy_bare:.0%} against the "
        f"forwarder, the relay {max(sample.server_share for sample in ours):.0%} of its own"
    )
    if busy > _SATURATED:
        note += "; the generator was saturated, so the relay's rate is a lower bound"
    if busy_bare > _SATURATED:
        note += "; against the forwarder the generator was saturated, so its rate is a lower bound"
    rates = tuple(sample.rate / 1000 for sample in ours)
    return [
        Figure(
            name="durable messages",
            unit="thousand/s",
            rounds=rates,
            baseline_name="forwarder, stores nothing",
            baseline_rounds=tuple(sample.rate / 1000 for sample in bare),
            target=_MUST_REACH,
            note=note,
        ),
        Figure(
            name="the same, of the disk's limit",
            unit="thousand/s",
            rounds=rates,
            baseline_name=f"group commit, {BATCH} rows each",
            baseline_rounds=tuple(rate / 1000 for rate in commits),
        ),
        Figure(
            name="server CPU a message",
            unit="us",
            rounds=tuple(sample.cpu * MICROSECONDS for sample in ours),
            baseline_name="forwarder",
            baseline_rounds=tuple(sample.cpu * MICROSECONDS for sample in bare),
        ),
    ]
