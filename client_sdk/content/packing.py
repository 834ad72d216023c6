"""Strict MessagePack for what peers send: bounded, duplicate-free, consumed whole, and only plain values."""

from __future__ import annotations

from typing import cast

import msgpack

Value = None | bool | int | float | str | bytes | list["Value"] | dict[str, "Value"]
"""What a body may hold: MessagePack without extension types, and maps with string keys alone."""

MAX_DEPTH = 8
"""Nesting of arrays and maps: our deepest body has four levels, the rest is room for later kinds."""

MAX_COUNT = 2**53 - 1
"""Numbers inside messages stay below it: what every client holds, also one whose numbers are doubles."""


class PackingError(ValueError):
    """The bytes are not one well-formed value within the bounds; each room raises its own error from it."""


def _map_without_duplicates(pairs: list[tuple[object, Value]]) -> dict[str, Value]:
    result: dict[str, Value] = {}
    for key, value in pairs:
        if not isinstance(key, str):
            raise PackingError("a map has a key that is not a string")
        if key in result:
            raise PackingError("a map has the same key twice")
        result[key] = value
    return result


def _check_depth(value: Value, left: int) -> None:
    if not isinstance(value, list | dict):
        if not isinstance(value, None | bool | int | float | str | bytes):
            raise PackingError("a value has a type that is not used here")
        return
    if left == 0:
        raise PackingError(f"nested deeper than {MAX_DEPTH} levels")
    for inner in value if isinstance(value, list) else value.values():
        _check_depth(inner, left - 1)


def unpacker(data: bytes) -> msgpack.Unpacker:
    """An unpacker over exactly these bytes whose every limit is their length."""
    size = max(len(data), 1)
    result = msgpack.Unpacker(
        raw=False,
        strict_map_key=True,
        object_pairs_hook=_map_without_duplicates,
        max_buffer_size=size,
        max_ext_len=0,
    )
    result.feed(data)
    return result


def unpack(data: bytes) -> Value:
    """The one value that these bytes are.

    Raises PackingError for anything else: malformed or trailing bytes, strings that are no UTF-8, doubled
    keys, keys that are no strings, extension types, nesting beyond ``MAX_DEPTH``.
    """
    try:
        reader = unpacker(data)
        value = cast(Value, reader.unpack())
        consumed = reader.tell()
    except PackingError:
        raise
    except (ValueError, msgpack.UnpackException) as error:
        raise PackingError("not well-formed MessagePack") from error
    if consumed != len(data):
        raise PackingError("bytes follow the value")
    _check_depth(value, MAX_DEPTH)
    return value


def pack(value: object) -> bytes:
    """Encode a value; raises PackingError for a lone surrogate, an integer beyond 64 bits and the like."""
    try:
        return cast(bytes, msgpack.packb(value, use_bin_type=True))
    except (ValueError, TypeError, OverflowError) as error:
        raise PackingError("not encodable as MessagePack") from error
