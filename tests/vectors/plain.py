"""Values as JSON: bytes, maps, floats and integers beyond 2^53 are tagged, so that nothing is lost."""

from __future__ import annotations

from collections.abc import Mapping
from enum import Enum
from typing import Any

SAFE = 2**53 - 1


def plain(value: object) -> Any:
    """The value for JSON."""
    if isinstance(value, Enum):
        return value.value
    if isinstance(value, bytes):
        return {"hex": value.hex()}
    if isinstance(value, float):
        return {"float": value}
    if isinstance(value, int) and not isinstance(value, bool) and abs(value) > SAFE:
        return {"int": str(value)}
    if isinstance(value, Mapping):
        return {"map": [[key, plain(item)] for key, item in value.items()]}
    if isinstance(value, list | tuple):
        return [plain(item) for item in value]
    return value


def whole(value: Any) -> Any:
    """The value again: lists as lists, maps as dicts."""
    if isinstance(value, list):
        return [whole(item) for item in value]
    if not isinstance(value, dict):
        return value
    [(tag, inner)] = value.items()
    if tag == "hex":
        return bytes.fromhex(inner)
    if tag == "float":
        return float(inner)
    if tag == "int":
        return int(inner)
    return {key: whole(item) for key, item in inner}
