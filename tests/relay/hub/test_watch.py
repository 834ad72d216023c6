"""What the hub counts about its work."""

from __future__ import annotations

import pytest

from relay.hub.watch import BOUNDS, CALL_PATHS, Distribution, Watch
from relay.wire.errors import ErrorCode


@pytest.mark.parametrize(
    ("seconds", "place"),
    [(-5.0, 0), (0.0, 0), (0.001, 0), (0.0011, 1), (0.3, 8), (10.0, 12), (10.1, 13), (1e9, 13)],
)
def test_a_time_is_counted_in_its_place(seconds: float, place: int) -> None:
    found = Distribution()
    found.add(seconds, 3)
    assert found.counts[place] == sum(found.counts) == 3
    assert found.seconds == max(0.0, seconds) * 3


def test_bounds_rise() -> None:
    assert list(BOUNDS) == sorted(set(BOUNDS))
    assert len(Distribution().counts) == len(BOUNDS) + 1


def test_codes_and_words_are_ours_alone() -> None:
    watch = Watch()
    for code in (ErrorCode.STALE, ErrorCode.STALE.value, "anna@203.0.113.7"):
        watch.refuse(code)
    for path in (*CALL_PATHS, "anna"):
        watch.call(path)
    assert watch.refused == {"stale": 2, "internal": 1}
    assert watch.calls == {**dict.fromkeys(CALL_PATHS, 1), "other": 1}
