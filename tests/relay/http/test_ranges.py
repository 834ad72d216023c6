"""Byte ranges as RFC 9110 section 14 has them."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from relay.http.ranges import RangeNotSatisfiable, select_range

ETAG = '"AAAAAAAAAAAAAAAAAAAAAA"'


@pytest.mark.parametrize(
    ("header", "selected"),
    [
        (None, None),
        ("bytes=0-0", (0, 1)),
        ("bytes=0-9", (0, 10)),
        ("bytes=0-10", (0, 10)),
        ("bytes=9-", (9, 10)),
        ("bytes=-1", (9, 10)),
        ("bytes=-10", (0, 10)),
        ("bytes=-99", (0, 10)),
        ("BYTES=2-3", (2, 4)),
        ("bytes= 2-3 ", (2, 4)),
        ("bytes=0-0,2-3", None),
        ("bytes=3-2", None),
        ("bytes=", None),
        ("bytes=-", None),
        ("bytes=a-b", None),
        ("bytes=１-２", None),
        ("bytes=1-2x", None),
        ("bytes=+1-2", None),
        ("items=0-1", None),
        ("", None),
        ("bytes=" + "9" * 20 + "-", None),
    ],
)
def test_one_range_is_taken_and_anything_else_ignored(
    header: str | None, selected: tuple[int, int] | None
) -> None:
    assert select_range(header, None, size=10, etag=ETAG) == selected


@pytest.mark.parametrize(
    "header", ["bytes=10-", "bytes=10-11", "bytes=99-99", "bytes=-0", "bytes=" + "9" * 19 + "-"]
)
def test_a_range_beyond_the_end_is_not_satisfiable(header: str) -> None:
    with pytest.raises(RangeNotSatisfiable):
        select_range(header, None, size=10, etag=ETAG)


@pytest.mark.parametrize(
    "if_range", ['W/"AAAAAAAAAAAAAAAAAAAAAA"', '"other"', "Sat, 21 Nov 2026 09:00:00 GMT", "", "*"]
)
def test_another_if_range_gives_the_whole(if_range: str) -> None:
    assert select_range("bytes=0-0", if_range, size=10, etag=ETAG) is None
    assert select_range("bytes=99-", if_range, size=10, etag=ETAG) is None


def test_our_strong_etag_gives_the_range() -> None:
    assert select_range("bytes=0-0", ETAG, size=10, etag=ETAG) == (0, 1)


@given(st.text(alphabet="bytes=0123456789-, \t", max_size=20), st.integers(0, 20))
def test_what_is_selected_lies_inside(header: str, size: int) -> None:
    try:
        selected = select_range("bytes=" + header, None, size=size, etag=ETAG)
    except RangeNotSatisfiable:
        return
    assert selected is None or 0 <= selected[0] < selected[1] <= size
