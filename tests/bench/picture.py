"""The figures as horizontal bars: for each ours and the baseline, on a scale of their own."""

from __future__ import annotations

from collections.abc import Sequence
from html import escape
from typing import Final

from tests.bench.figures import Bound, Figure
from tests.bench.report import number, target_text

_WIDTH: Final = 1060
_LEFT: Final = 300
_BAR_SPACE: Final = 400
_BAR: Final = 14
_ROW: Final = 48
_TOP: Final = 64
_OURS, _MISSED, _BASELINE, _MARK = "#2f6f9f", "#b5483a", "#b9c4cc", "#1d2b36"


def draw(figures: Sequence[Figure], *, title: str, subtitle: str) -> str:
    """An SVG of the figures, top to bottom; the line across a bar is its target."""
    height = _TOP + _ROW * len(figures) + 16
    parts = [
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {_WIDTH} {height}" '
        'font-family="system-ui, sans-serif" font-size="13" fill="#1d2b36" role="img">',
        f"<title>{escape(title)}</title>",
        f'<rect width="{_WIDTH}" height="{height}" fill="#ffffff"/>',
        f'<text x="16" y="26" font-size="18" font-weight="600">{escape(title)}</text>',
        f'<text x="16" y="46" fill="#5b6b78">{escape(subtitle)}</text>',
    ]
    for index, figure in enumerate(figures):
        parts += _row(figure, _TOP + index * _ROW)
    return "\n".join([*parts, "</svg>"]) + "\n"


def _row(figure: Figure, top: int) -> list[str]:
    limit = _limit(figure)
    scale = _BAR_SPACE / (max(figure.value, figure.baseline or 0.0, limit or 0.0) or 1.0)
    color = _MISSED if figure.met is False else _OURS
    parts = [
        f'<text x="{_LEFT - 12}" y="{top + 13}" text-anchor="end">{escape(figure.name)}</text>',
        *_bar(top, figure.value * scale, color, f"{number(figure.value)} {figure.unit}"),
    ]
    target = target_text(figure.target, figure.unit)
    if target:
        text = f"target {target}{'' if figure.met else ' (missed)'}"
        place = f'x="{_LEFT - 12}" y="{top + 31}" text-anchor="end"'
        parts.append(f'<text {place} fill="#5b6b78" font-size="11">{escape(text)}</text>')
    if figure.baseline is not None:
        text = f"{number(figure.baseline)} {figure.unit}, {figure.baseline_name}"
        parts += _bar(top + _BAR + 3, figure.baseline * scale, _BASELINE, text)
    if limit is not None:
        x = _LEFT + limit * scale
        place = f'x1="{x:.1f}" x2="{x:.1f}" y1="{top - 3}" y2="{top + _BAR + 3}"'
        parts.append(f'<line {place} stroke="{_MARK}" stroke-width="2"/>')
    return parts


def _bar(top: int, width: float, color: str, text: str) -> list[str]:
    return [
        f'<rect x="{_LEFT}" y="{top}" width="{max(width, 1.0):.1f}" height="{_BAR}" fill="{color}"/>',
        f'<text x="{_LEFT + width + 8:.1f}" y="{top + 12}" font-size="12">{escape(text)}</text>',
    ]


def _limit(figure: Figure) -> float | None:
    """Where our bar should reach, or end, in the figure's unit."""
    if figure.target is None:
        return None
    if figure.target.bound is Bound.VALUE_AT_MOST:
        return figure.target.limit
    return None if figure.baseline is None else figure.target.limit * figure.baseline
