"""Files: how fast they are sealed and opened beside bare secretstream, and in how much memory."""

from __future__ import annotations

import os
from collections import defaultdict
from pathlib import Path
from typing import Any, Final

from tests.bench.context import Context
from tests.bench.figures import Bound, Figure, Target
from tests.bench.processes import measure

_MB: Final = 1_000_000
_MIB: Final = 1024 * 1024
_HALF: Final = Target(Bound.RATIO_AT_LEAST, 0.5)
_SAME_MEMORY: Final = Target(Bound.RATIO_AT_MOST, 1.1)
_NOTE: Final = (
    "bare secretstream, file to file, reads, encrypts, writes and syncs: no hash, no padding, no checks"
)

_Taken = defaultdict[tuple[str, str], list[float]]
"""What a round gave, by what was measured and by work (seal, open): rates in MB/s, peaks in MiB."""


def measure_files(context: Context) -> list[Figure]:
    """Seal and open a small and a large file, alternating with bare secretstream."""
    plan, folder = context.plan, context.folder / "files"
    folder.mkdir()
    sources = {"small": folder / "small", "large": folder / "large"}
    sizes = {"small": plan.small_file, "large": plan.large_file}
    for name, path in sources.items():
        _write_noise(path, sizes[name])
    taken: _Taken = defaultdict(list)
    for number in range(plan.rounds):
        context.progress.say(f"files: round {number + 1} of {plan.rounds}, bare secretstream")
        _bare(taken, sources["large"], plan.large_file, folder)
        for name, path in sources.items():
            context.progress.say(
                f"files: round {number + 1} of {plan.rounds}, {_size(sizes[name])} sealed and opened"
            )
            for work, figures in _round_trip(path, folder).items():
                taken[f"{name} rate", work].append(sizes[name] / figures["seconds"] / _MB)
                taken[f"{name} peak", work].append(figures["peak"] / _MIB)
    return _figures(taken, _size(plan.small_file), _size(plan.large_file))


def _bare(taken: _Taken, source: Path, size: int, folder: Path) -> None:
    spool, opened = folder / "bare-spool", folder / "bare-opened"
    for name, arguments in (
        ("bare", ["bare", str(source), str(spool), str(opened)]),
        ("memory", ["memory", str(size)]),
    ):
        for work, seconds in _run(*arguments).items():
            taken[f"{name} rate", work].append(size / seconds / _MB)
    spool.unlink()
    opened.unlink()


def _round_trip(path: Path, folder: Path) -> dict[str, dict[str, float]]:
    spool = folder / "spool"
    sealed = _run("seal", str(path), str(spool))
    opened = _run("open", str(spool), str(folder), *sealed["sealed"])
    spool.unlink()
    Path(opened["path"]).unlink()
    return {"seal": sealed, "open": opened}


def _run(*arguments: str) -> Any:
    return measure(["-m", "tests.bench.filework", *arguments], core=None)


def _figures(taken: _Taken, small: str, large: str) -> list[Figure]:
    def figure(
        name: str, unit: str, ours: str, work: str, label: str, baseline: str, target: Target | None
    ) -> Figure:
        return Figure(
            name=name,
            unit=unit,
            rounds=tuple(taken[ours, work]),
            baseline_name=label,
            baseline_rounds=tuple(taken[baseline, work]),
            target=target,
            note=_NOTE,
        )

    figures: list[Figure] = []
    for work in ("seal", "open"):
        file_to_file, in_memory = "bare secretstream, file to file", "bare secretstream, in memory"
        figures += [
            figure(f"{work} a file of {large}", "MB/s", "large rate", work, file_to_file, "bare rate", _HALF),
            figure("the same, of memory speed", "MB/s", "large rate", work, in_memory, "memory rate", None),
            figure(
                f"peak memory to {work} {large}",
                "MiB",
                "large peak",
                work,
                f"to {work} {small}",
                "small peak",
                _SAME_MEMORY,
            ),
        ]
    return figures


def _size(size: int) -> str:
    return f"{size // _MIB} MiB" if size >= _MIB else f"{size // 1024} KiB"


def _write_noise(path: Path, size: int) -> None:
    with path.open("wb") as file:
        for start in range(0, size, _MIB):
            file.write(os.urandom(min(_MIB, size - start)))
