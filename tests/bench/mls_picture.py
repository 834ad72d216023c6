"""MLS by group size as small charts: suites downwards, operations across, both scales logarithmic."""

from __future__ import annotations

import math
from collections.abc import Sequence
from html import escape
from typing import Final

from tests.bench.mls_compare import WHAT, GroupFigure
from tests.bench.report import number

_WIDTH: Final = 180
_HEIGHT: Final = 130
_LEFT: Final = 90
_TOP: Final = 90
_GAP: Final = 26
_ROW_GAP: Final = 54
_OURS, _THEIRS, _GREY = "#2f6f9f", "#b5483a", "#5b6b78"


def draw_groups(figures: Sequence[GroupFigure], *, subtitle: str) -> str:
    """An SVG; each chart goes from the smallest to the largest time of its operation in any suite."""
    suites = list(dict.fromkeys(figure.suite for figure in figures))
    width = _LEFT + len(WHAT) * (_WIDTH + _GAP)
    height = _TOP + len(suites) * (_HEIGHT + _ROW_GAP)
    parts = [
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {width} {height}" '
        'font-family="system-ui, sans-serif" font-size="12" fill="#1d2b36" role="img">',
        "<title>MLS by group size</title>",
        f'<rect width="{width}" height="{height}" fill="#ffffff"/>',
        '<text x="16" y="26" font-size="18" font-weight="600">MLS by group size, in microseconds</text>',
        f'<text x="16" y="46" fill="{_GREY}">{escape(subtitle)}</text>',
        f'<text x="16" y="66" fill="{_OURS}">Coach Relay</text>',
        f'<text x="110" y="66" fill="{_THEIRS}">ts-mls in Node, the same run</text>',
    ]
    for row, suite in enumerate(suites):
        top = _TOP + row * (_HEIGHT + _ROW_GAP)
        parts.append(f'<text x="16" y="{top + _HEIGHT // 2}">suite {escape(suite)}</text>')
        for column, what in enumerate(WHAT):
            same = [figure for figure in figures if figure.what == what]
            chart = [figure for figure in same if figure.suite == suite]
            parts += _chart(chart, same, _LEFT + column * (_WIDTH + _GAP), top, what)
    return "\n".join([*parts, "</svg>"]) + "\n"


def _chart(
    chart: Sequence[GroupFigure], same: Sequence[GroupFigure], left: int, top: int, what: str
) -> list[str]:
    times = [value for figure in same for value in (figure.value, figure.baseline) if value]
    sizes = [figure.members for figure in chart]
    across, up = _scale(sizes, left + 14, left + _WIDTH - 14), _scale(times, top + _HEIGHT - 8, top + 14)
    parts = [
        f'<rect x="{left}" y="{top}" width="{_WIDTH}" height="{_HEIGHT}" fill="none" stroke="#d6dde2"/>',
        f'<text x="{left + 4}" y="{top - 6}" font-weight="600">{what}</text>',
    ]
    for size in sizes:
        place = f'x="{_at(across, size):.1f}" y="{top + _HEIGHT + 14}" text-anchor="middle"'
        parts.append(f'<text {place} font-size="10" fill="{_GREY}">{size}</text>')
    ours = [(figure.members, figure.value) for figure in chart]
    theirs = [(figure.members, figure.baseline) for figure in chart if figure.baseline is not None]
    for points, color, below in ((ours, _OURS, 12), (theirs, _THEIRS, -5)):
        if not points:
            continue
        spots = [(_at(across, size), _at(up, value)) for size, value in points]
        line = " ".join(f"{x:.1f},{y:.1f}" for x, y in spots)
        parts.append(f'<polyline points="{line}" fill="none" stroke="{color}" stroke-width="2"/>')
        for (x, y), (_, value) in zip(spots, points, strict=True):
            parts.append(
                f'<text x="{x:.1f}" y="{y + below:.1f}" text-anchor="middle" font-size="9" '
                f'fill="{color}">{number(value)}</text>'
            )
    return parts


_Scale = tuple[float, float, float, float]


def _scale(values: Sequence[float], start: float, end: float) -> _Scale:
    """The logarithms of the least and the greatest value, and where they lie."""
    return math.log(min(values)), math.log(max(values)), start, end


def _at(scale: _Scale, value: float) -> float:
    low, high, start, end = scale
    share = (math.log(value) - low) / (high - low) if high > low else 0.5
    return start + share * (end - start)
