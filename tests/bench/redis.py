"""Durable messages a second on Redis, beside our own SQLite in the same run: one node on one core each."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator

from tests.bench import machine
from tests.bench.context import Context
from tests.bench.errors import BenchError
from tests.bench.figures import MICROSECONDS, Bound, Figure, Target
from tests.bench.servers import Server, relay
from tests.bench.throughput import FIRST_COUNTERS, Sample, sample
from tests.bench.traffic import Bodies, Load
from tests.support import real_redis
from tests.support.real_redis import Servers

_MUST_REACH = Target(Bound.RATIO_AT_LEAST, 0.5)


@contextlib.contextmanager
def redis_server(core: int | None) -> Iterator[Servers]:
    """A Redis with `appendfsync always` on a core; raises `BenchError` where there is none."""
    if real_redis.PROGRAM is None:
        raise BenchError(real_redis.MISSING)
    with contextlib.ExitStack() as stack:
        with machine.pinned(core):
            servers = stack.enter_context(real_redis.real_redis(real_redis.Standalone))
        yield servers


async def measure_redis(context: Context) -> list[Figure]:
    """Alternate a node on Redis and a relay on SQLite, and compare the medians.

    Redis runs on the load's core: it is the node that has one to itself.
    """
    plan, folder, cores = context.plan, context.folder / "redis", context.cores
    folder.mkdir()
    bodies = Bodies(plan.payload_bytes)
    bodies.prepare(max(plan.in_flight, int(FIRST_COUNTERS * plan.seconds / 4)))
    samples: dict[str, list[Sample]] = {"redis": [], "sqlite": []}
    with (
        redis_server(cores.load) as servers,
        relay(folder / "sqlite", core=cores.server, name="sqlite") as embedded,
        relay(
            folder / "redis",
            core=cores.server,
            name="redis",
            settings={"COACH_RELAY_REDIS_URL": servers.url},
            profile=context.profile_path("redis"),
        ) as ours,
    ):
        redis_pid, redis_cpu = servers.servers[0].pid, list[float]()
        context.progress.say(f"redis: connecting {plan.pairs} pairs to each")
        loads: dict[str, tuple[Server, Load]] = {
            server.name: (server, Load(await server.pairs(plan.pairs), bodies, in_flight=plan.in_flight))
            for server in (embedded, ours)
        }
        for number in range(plan.rounds):
            for name, (server, load) in loads.items():
                context.progress.say(f"redis: round {number + 1} of {plan.rounds}, {name}")
                before = machine.cpu_seconds(redis_pid)
                samples[name].append(await sample(server, load, context))
                if name == "redis":
                    sent = samples[name][-1].rate * (plan.warm_up + plan.seconds)
                    redis_cpu.append((machine.cpu_seconds(redis_pid) - before) / sent)
    ours_share = max(one.server_share for one in samples["redis"])
    note = (
        f"on Redis, which shared the load's core, the node used {ours_share:.0%} of its own and the load "
        f"{max(one.generator_share for one in samples['redis']):.0%}"
    )
    return [
        Figure(
            name="durable messages on Redis, fsync always",
            unit="thousand/s",
            rounds=tuple(one.rate / 1000 for one in samples["redis"]),
            baseline_name="the same relay on SQLite",
            baseline_rounds=tuple(one.rate / 1000 for one in samples["sqlite"]),
            target=_MUST_REACH,
            note=note,
        ),
        Figure(
            name="node CPU a message on Redis",
            unit="us",
            rounds=tuple(one.cpu * MICROSECONDS for one in samples["redis"]),
            baseline_name="on SQLite",
            baseline_rounds=tuple(one.cpu * MICROSECONDS for one in samples["sqlite"]),
        ),
        Figure(
            name="Redis's own CPU a message",
            unit="us",
            rounds=tuple(cpu * MICROSECONDS for cpu in redis_cpu),
        ),
    ]
