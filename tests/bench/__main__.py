"""`python -m tests.bench`: measures the relay and the SDK beside baselines taken in the same run."""

from __future__ import annotations

import argparse
import sys
import tempfile
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Final

from tests.bench import machine
from tests.bench.context import Context
from tests.bench.errors import BenchError
from tests.bench.figures import Figure
from tests.bench.mls_compare import GroupFigure
from tests.bench.mls_picture import draw_groups
from tests.bench.picture import draw
from tests.bench.plan import QUICK, WHOLE
from tests.bench.processes import ROOT
from tests.bench.progress import Progress
from tests.bench.report import notes, table, write_json
from tests.bench.run import MEASUREMENTS, run

_EXAMPLES: Final = f"""measurements: {", ".join(MEASUREMENTS)}

examples:
  make bench                                              everything, in about five minutes
  python -m tests.bench --quick                           everything once, briefly: a first impression
  python -m tests.bench --only throughput --only latency  just these
  python -m tests.bench --strict                          fail if a target is missed

Each figure is the median of its rounds, beside a baseline that alternates with it in the same run; the ratio
is ours divided by the baseline's. Machines differ and are noisy, so compare ratios. The results are also
written to latest.json, latest.svg and mls.svg in the results folder.
"""
_NO_DISK: Final = frozenset({"tmpfs", "ramfs"})
_LOG_CHARS: Final = 2000
_QUIET: Final = 0.25  # of a core; the system's own work for us, such as writing back, is in it
_SYNC_SECONDS: Final = 0.5


def main(argv: Sequence[str] | None = None) -> int:
    """Measure and report; 1 if a target was missed under `--strict`, else 0."""
    options = _parser().parse_args(argv)
    options.results.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(prefix="work-", dir=options.results) as folder:
        context = Context(
            plan=QUICK if options.quick else WHOLE,
            cores=machine.choose_cores(),
            folder=Path(folder),
            progress=Progress(),
            profile=options.profile,
        )
        facts, others = machine.describe(context.folder), machine.Others()
        syncs = machine.syncs_per_second(context.folder, seconds=_SYNC_SECONDS)
        facts["disk"] = f"{facts['file_system']}, {syncs:,.0f} durable appends/s"
        try:
            figures = run(context, options.only or list(MEASUREMENTS))
        except BenchError as error:
            print(f"bench: {error}{_relay_log(context.folder)}", file=sys.stderr)
            return 1
    disturbance = others.share()
    facts["other_programs"] = f"{disturbance:.0%} of a core"
    _store(options.results, figures, facts)
    _print(figures, facts, options.results, disturbance)
    return 1 if options.strict and any(figure.met is False for figure in figures) else 0


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="python -m tests.bench",
        description="Measure speed, memory and latency against baselines taken in the same run.",
        epilog=_EXAMPLES,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("--quick", action="store_true", help="one short round of each (under 40 s)")
    parser.add_argument(
        "--only",
        action="append",
        choices=list(MEASUREMENTS),
        metavar="NAME",
        help="measure this; may be repeated",
    )
    parser.add_argument("--strict", action="store_true", help="exit with 1 if a target is missed")
    parser.add_argument(
        "--results",
        type=Path,
        default=ROOT / "bench-results",
        metavar="FOLDER",
        help="where results go, and whose disk is measured (default: bench-results)",
    )
    parser.add_argument(
        "--profile",
        action="store_true",
        help="run the relay under cProfile (slower); NAME.pstats in the results",
    )
    return parser


def _relay_log(folder: Path) -> str:
    """The end of what the newest relay logged, for whoever has to find out why it failed."""
    logs = sorted(folder.rglob("relay.log"), key=lambda path: path.stat().st_mtime)
    text = logs[-1].read_text(encoding="utf-8", errors="replace").strip() if logs else ""
    return f"\nthe relay's log ends with:\n{text[-_LOG_CHARS:]}" if text else ""


def _store(folder: Path, figures: Sequence[Figure], facts: Mapping[str, str]) -> None:
    write_json(folder / "latest.json", figures, machine=facts)
    groups = [figure for figure in figures if isinstance(figure, GroupFigure)]
    others = [figure for figure in figures if not isinstance(figure, GroupFigure)]
    picture = draw(others, title="Coach Relay beside its baselines", subtitle=_in_short(facts))
    (folder / "latest.svg").write_text(picture, encoding="utf-8")
    if groups:
        picture = draw_groups(groups, subtitle=_in_short(facts))
        (folder / "mls.svg").write_text(picture, encoding="utf-8")


def _print(figures: Sequence[Figure], facts: Mapping[str, str], folder: Path, disturbance: float) -> None:
    print(f"\n{_in_short(facts)}\n\n{table(figures)}\n")
    for note in notes(figures):
        print(f"- {note}")
    if facts["file_system"] in _NO_DISK:
        print(f"- {facts['file_system']} is no disk: durability is free there; choose another --results")
    if machine.choose_cores().load is None:
        print("- there is one core only: server and load share it, so every rate is a lower bound")
    if disturbance > _QUIET:
        print(
            f"- other programs used {disturbance:.0%} of a core meanwhile: measure again on a quiet machine"
        )
    print(f"\nwritten: {folder / 'latest.json'} and the pictures beside it")


def _in_short(facts: Mapping[str, str]) -> str:
    return f"{facts['cpu']}; {facts['disk']}; Python {facts['python']}; {facts['system']}"


if __name__ == "__main__":
    sys.exit(main())
