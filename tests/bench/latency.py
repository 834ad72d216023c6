"""How long one message takes at a modest rate, beside bare group commit and the bare forwarder."""

from __future__ import annotations

from typing import Final

from tests.bench.context import Context
from tests.bench.figures import MILLISECONDS, Bound, Figure, Target, percentile
from tests.bench.processes import measure
from tests.bench.servers import forwarder, relay
from tests.bench.traffic import Bodies, Load, no_garbage_collection

_MUST_REACH: Final = Target(Bound.RATIO_AT_MOST, 5.0)
_MEDIAN, _TAIL = 0.5, 0.99


async def measure_latency(context: Context) -> list[Figure]:
    """From when a message was due until its receiver has it; beside it, until a bare commit is durable."""
    plan, folder = context.plan, context.folder / "latency"
    folder.mkdir()
    bodies = Bodies(plan.payload_bytes)
    taken: dict[str, list[list[float]]] = {"group commit": [], "forwarder": [], "relay": []}
    with (
        forwarder(folder, core=context.cores.server) as bare,
        relay(folder / "relay", core=context.cores.server, profile=context.profile_path("latency")) as ours,
    ):
        context.progress.say(f"latency: connecting {plan.pairs} pairs to the forwarder and to the relay")
        loads = {
            server.name: Load(await server.pairs(plan.pairs), bodies, in_flight=plan.in_flight)
            for server in (bare, ours)
        }
        for load in loads.values():  # the first messages find everything cold
            await load.pace(rate=plan.rate, seconds=plan.warm_up)
        for number in range(plan.rounds):
            context.progress.say(
                f"latency: round {number + 1} of {plan.rounds}, bare group commit at {plan.rate}/s"
            )
            path = str(folder / f"commit-{number}.db")
            arguments = [
                "-m",
                "tests.bench.groupcommit",
                path,
                "paced",
                str(plan.paced_seconds),
                str(plan.rate),
            ]
            taken["group commit"].append(measure(arguments, core=context.cores.server)["latencies"])
            for name, load in loads.items():
                context.progress.say(f"latency: round {number + 1} of {plan.rounds}, {name} at {plan.rate}/s")
                with no_garbage_collection():
                    taken[name].append(await load.pace(rate=plan.rate, seconds=plan.paced_seconds))
    return _figures(taken, plan.rate)


def _figures(taken: dict[str, list[list[float]]], rate: int) -> list[Figure]:
    def rounds(name: str, share: float) -> tuple[float, ...]:
        return tuple(percentile(values, share) * MILLISECONDS for values in taken[name])

    def figure(label: str, share: float, baseline: str, target: Target | None) -> Figure:
        return Figure(
            name=f"{label} delivery at {rate:,}/s",
            unit="ms",
            rounds=rounds("relay", share),
            baseline_name=baseline,
            baseline_rounds=rounds(baseline, share),
            target=target,
        )

    return [
        figure("p50", _MEDIAN, "group commit", None),
        figure("p99", _TAIL, "group commit", _MUST_REACH),
        figure("p99", _TAIL, "forwarder", None),
    ]
