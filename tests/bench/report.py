"""What a person reads (a table) and what a program reads (JSON)."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Final

from tests.bench.figures import Bound, Figure, Target

_HEAD: Final = ("figure", "ours", "baseline", "", "ratio", "target", "")
_NUMERIC: Final = {1, 2, 4}


def table(figures: Sequence[Figure]) -> str:
    """Figures as text, columns aligned."""
    rows = [_HEAD, *(_row(figure) for figure in figures)]
    widths = [max(len(row[column]) for row in rows) for column in range(len(_HEAD))]
    lines = [
        "  ".join(
            cell.rjust(width) if column in _NUMERIC else cell.ljust(width)
            for column, (cell, width) in enumerate(zip(row, widths, strict=True))
        ).rstrip()
        for row in rows
    ]
    return "\n".join([lines[0], "-" * max(map(len, lines)), *lines[1:]])


def notes(figures: Sequence[Figure]) -> list[str]:
    """What must be known to read the figures, each note once."""
    return list(dict.fromkeys(figure.note for figure in figures if figure.note))


def _row(figure: Figure) -> tuple[str, ...]:
    return (
        figure.name,
        f"{number(figure.value)} {figure.unit}",
        f"{number(figure.baseline)} {figure.unit}" if figure.baseline is not None else "",
        figure.baseline_name,
        number(figure.ratio) if figure.ratio is not None else "",
        target_text(figure.target, figure.unit),
        {True: "met", False: "MISSED", None: ""}[figure.met],
    )


def target_text(target: Target | None, unit: str) -> str:
    """A target in a few characters, such as `ratio >= 0.2` or `<= 25 KB`."""
    if target is None:
        return ""
    limit = number(target.limit)
    match target.bound:
        case Bound.RATIO_AT_LEAST:
            return f"ratio >= {limit}"
        case Bound.RATIO_AT_MOST:
            return f"ratio <= {limit}"
        case Bound.VALUE_AT_MOST:
            return f"<= {limit} {unit}"


def number(value: float) -> str:
    """Three significant digits, no exponent."""
    if value == 0 or abs(value) >= 100:
        return f"{value:,.0f}"
    text = f"{value:.3g}"
    return text if "e" not in text else f"{value:.6f}"


def write_json(path: Path, figures: Sequence[Figure], *, machine: Mapping[str, object]) -> None:
    """Everything measured, each round too."""
    content = {
        "machine": dict(machine),
        "figures": [
            {
                "name": figure.name,
                "unit": figure.unit,
                "value": figure.value,
                "rounds": figure.rounds,
                "baseline_name": figure.baseline_name or None,
                "baseline": figure.baseline,
                "baseline_rounds": figure.baseline_rounds,
                "ratio": figure.ratio,
                "target": target_text(figure.target, figure.unit) or None,
                "met": figure.met,
                "note": figure.note or None,
            }
            for figure in figures
        ],
    }
    path.write_text(json.dumps(content, indent=1) + "\n", encoding="utf-8")
