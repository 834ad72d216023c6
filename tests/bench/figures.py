"""A figure: what we measured, the baseline of the same run, and what was to be reached."""

from __future__ import annotations

import statistics
from collections.abc import Sequence
from dataclasses import dataclass
from enum import StrEnum
from typing import Final


class Bound(StrEnum):
    """What a target bounds."""

    RATIO_AT_LEAST = "ratio at least"
    RATIO_AT_MOST = "ratio at most"
    VALUE_AT_MOST = "at most"


@dataclass(frozen=True, slots=True)
class Target:
    """What a figure should reach; a ratio is ours divided by the baseline's."""

    bound: Bound
    limit: float

    def met(self, value: float, ratio: float | None) -> bool:
        """Whether it is reached; a ratio without a baseline is not."""
        if self.bound is Bound.VALUE_AT_MOST:
            return value <= self.limit
        if ratio is None:
            return False
        return ratio >= self.limit if self.bound is Bound.RATIO_AT_LEAST else ratio <= self.limit


@dataclass(frozen=True, slots=True, kw_only=True)
class Figure:
    """`value` and `baseline` are medians of the rounds, in `unit`."""

    name: str
    unit: str
    rounds: tuple[float, ...]
    baseline_name: str = ""
    baseline_rounds: tuple[float, ...] = ()
    target: Target | None = None
    note: str = ""

    @property
    def value(self) -> float:
        return statistics.median(self.rounds)

    @property
    def baseline(self) -> float | None:
        return statistics.median(self.baseline_rounds) if self.baseline_rounds else None

    @property
    def ratio(self) -> float | None:
        return self.value / self.baseline if self.baseline else None

    @property
    def met(self) -> bool | None:
        """None without a target."""
        return None if self.target is None else self.target.met(self.value, self.ratio)


def percentile(values: Sequence[float], share: float) -> float:
    """The smallest of the values that at least this share of them does not exceed."""
    if not values:
        raise ValueError("no values, no percentile")
    ordered = sorted(values)
    return ordered[max(0, -(-int(share * 1_000_000) * len(ordered) // 1_000_000) - 1)]


MICROSECONDS: Final = 1e6
MILLISECONDS: Final = 1e3
