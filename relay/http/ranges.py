"""Byte ranges (RFC 9110 section 14) and If-Range (section 13.1.5), for one range at a time."""

from __future__ import annotations

import re
from typing import Final

_match_range: Final = re.compile(
    r"bytes=[ \t]*(?:([0-9]{1,19})-([0-9]{1,19})?|-([0-9]{1,19}))[ \t]*", re.I | re.A
).fullmatch


class RangeNotSatisfiable(ValueError):
    """The range names no byte of the representation: 416."""


def select_range(
    range_header: str | None, if_range: str | None, *, size: int, etag: str
) -> tuple[int, int] | None:
    """Return (start, end), end excluded, or None for the whole of it.

    A header that is not one byte range is ignored, as section 14.2 allows, and so is one whose If-Range is
    not our strong `etag`. Raises `RangeNotSatisfiable`.
    """
    matched = _match_range(range_header) if range_header else None
    if matched is None or (if_range is not None and if_range.strip() != etag):
        return None
    first, last, suffix = matched.groups()
    if suffix is not None:
        start, end = max(size - int(suffix), 0), size
    else:
        start, end = int(first), min(int(last) + 1, size) if last else size
        if last and int(last) < int(first):
            return None  # not a valid range, so not a range at all (section 14.1.1)
    if start >= end:
        raise RangeNotSatisfiable
    return start, end
