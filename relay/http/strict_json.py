"""JSON read the one way that every reader agrees on: names once, no NaN, UTF-8."""

from __future__ import annotations

import json
from typing import Any


def loads(data: bytes, /) -> Any:
    """Return the value; raises ValueError. The caller has bounded the size."""
    try:
        return json.loads(data.decode("utf-8"), object_pairs_hook=_unique, parse_constant=_refuse)
    except RecursionError:
        raise ValueError("nested too deeply") from None


def _unique(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    found = dict(pairs)
    if len(found) != len(pairs):  # readers differ in which one they take (RFC 8725 section 2.4)
        raise ValueError("a name stands twice")
    return found


def _refuse(constant: str) -> None:
    raise ValueError(f"{constant} is not JSON")
