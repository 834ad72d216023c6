"""What an idle, authenticated connection costs the server in memory."""

from __future__ import annotations

import asyncio
import time
from typing import Final

from tests.bench import machine
from tests.bench.context import Context
from tests.bench.figures import Bound, Figure, Target
from tests.bench.servers import Server, forwarder, relay

_MUST_REACH: Final = Target(Bound.VALUE_AT_MOST, 25.0)
_FIRST: Final = 50  # connections before the measured ones: the first of everything costs more


async def measure_memory(context: Context) -> list[Figure]:
    """Resident memory a connection, each server fresh so that no freed memory is used again."""
    folder = context.folder / "memory"
    folder.mkdir()
    room = machine.allow_open_files(context.plan.idle + _FIRST)
    count = min(context.plan.idle, room - _FIRST)
    note = (
        ""
        if count == context.plan.idle
        else f"only {count} connections: the limit of open files (ulimit -n) allows no more"
    )
    with forwarder(folder, core=context.cores.server) as bare:
        context.progress.say(f"memory: {count} idle connections to the forwarder")
        baseline, _ = await _per_connection(bare, count, context.plan.settle_seconds)
    with relay(folder / "relay", core=context.cores.server, profile=context.profile_path("memory")) as ours:
        context.progress.say(f"memory: {count} idle, authenticated connections to the relay")
        value, seconds = await _per_connection(ours, count, context.plan.settle_seconds)
    return [
        Figure(
            name=f"memory of an idle connection ({count:,})",
            unit="KB",
            rounds=(value,),
            baseline_name="forwarder",
            baseline_rounds=(baseline,),
            target=_MUST_REACH,
            note=note,
        ),
        Figure(name="handshakes (token, proof, new device)", unit="/s", rounds=(count / seconds,)),
    ]


async def _per_connection(server: Server, count: int, settle: float) -> tuple[float, float]:
    """Kilobytes a connection, and the seconds that connecting took."""
    first = await server.idle(range(_FIRST))
    await asyncio.sleep(settle)
    before, start = machine.resident_bytes(server.pid), time.perf_counter()
    sockets = await server.idle(range(_FIRST, _FIRST + count))
    seconds = time.perf_counter() - start
    await asyncio.sleep(settle)
    used = machine.resident_bytes(server.pid) - before
    for socket in first + sockets:
        socket.close()
    return used / count / 1000, seconds
