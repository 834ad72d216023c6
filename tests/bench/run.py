"""The measurements by name, and how one is run."""

from __future__ import annotations

from collections.abc import Callable, Coroutine, Iterable
from typing import Any, Final

import uvloop

from tests.bench import machine
from tests.bench.context import Context
from tests.bench.drain import measure_drain
from tests.bench.figures import Figure
from tests.bench.files import measure_files
from tests.bench.latency import measure_latency
from tests.bench.memory import measure_memory
from tests.bench.mls import measure_mls
from tests.bench.mls_compare import measure_groups
from tests.bench.nodes import measure_nodes
from tests.bench.redis import measure_redis
from tests.bench.throughput import measure_throughput

Measurement = Callable[[Context], list[Figure]]


def _with_load(work: Callable[[Context], Coroutine[Any, Any, list[Figure]]]) -> Measurement:
    """A measurement whose load this process makes, on the load's core."""

    def measured(context: Context) -> list[Figure]:
        with machine.pinned(context.cores.load):
            return uvloop.run(work(context))

    return measured


MEASUREMENTS: Final[dict[str, Measurement]] = {
    "throughput": _with_load(measure_throughput),
    "latency": _with_load(measure_latency),
    "drain": _with_load(measure_drain),
    "memory": _with_load(measure_memory),
    "mls": measure_mls,
    "mls-groups": measure_groups,
    "files": measure_files,
    "redis": _with_load(measure_redis),
    "nodes": _with_load(measure_nodes),
}


def run(context: Context, names: Iterable[str]) -> list[Figure]:
    """The figures of these measurements, one after the other."""
    return [figure for name in names for figure in MEASUREMENTS[name](context)]
