"""Validators of single fields: each turns what MessagePack gave into a typed value; all raise `WireError`."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any, Final, TypeVar

from relay.wire.errors import ErrorCode, WireError
from relay.wire.frames import EntryKind
from relay.wire.limits import MAX_UINT

Field = Callable[[Any], Any]
_T = TypeVar("_T", bound=tuple[Any, ...])


def _malformed(detail: str) -> WireError:
    return WireError(ErrorCode.MALFORMED, detail)


def uint(value: object) -> int:
    """An integer from 0 below 2^63."""
    if type(value) is int and 0 <= value <= MAX_UINT:
        return value
    raise _malformed("an unsigned integer was due")


def positive(value: object) -> int:
    """An integer from 1 below 2^63."""
    if type(value) is int and 0 < value <= MAX_UINT:
        return value
    raise _malformed("a positive integer was due")


def boolean(value: object) -> bool:
    """True or false."""
    if value is True or value is False:
        return value
    raise _malformed("a boolean was due")


_KINDS: Final = {kind.value: kind for kind in EntryKind}


def entry_kind(value: object) -> EntryKind:
    """0 or 1, as an `EntryKind`."""
    kind = _KINDS.get(value) if type(value) is int else None
    if kind is None:
        raise _malformed("an entry kind was due")
    return kind


def binary(longest: int) -> Field:
    """Bytes, at most so many."""

    def check(value: object) -> bytes:
        if type(value) is not bytes:
            raise _malformed("bytes were due")
        if len(value) > longest:
            raise WireError(ErrorCode.TOO_BIG, "bytes beyond their bound")
        return value

    return check


def fixed(length: int) -> Field:
    """Bytes, exactly so many."""

    def check(value: object) -> bytes:
        if type(value) is bytes and len(value) == length:
            return value
        raise _malformed("bytes of a fixed length were due")

    return check


def text(longest: int) -> Field:
    """A string of at most so many characters."""

    def check(value: object) -> str:
        if type(value) is not str:
            raise _malformed("a string was due")
        if len(value) > longest:
            raise WireError(ErrorCode.TOO_BIG, "a string beyond its bound")
        return value

    return check


def one_of(*choices: str) -> Field:
    """One of these strings."""
    known = {choice: choice for choice in choices}

    def check(value: object) -> str:
        if type(value) is str and value in known:
            return value
        raise _malformed("a string outside its list")

    return check


def optional(field: Field) -> Field:
    """nil, or the field."""

    def check(value: object) -> Any:
        return None if value is None else field(value)

    return check


def many(field: Field, *, most: int, least: int = 0) -> Field:
    """An array of the field, as a tuple."""

    def check(value: object) -> tuple[Any, ...]:
        if type(value) is not list:
            raise _malformed("an array was due")
        if len(value) > most:
            raise WireError(ErrorCode.TOO_BIG, "an array beyond its bound")
        if len(value) < least:
            raise _malformed("an array with too few elements")
        return tuple([field(element) for element in value])

    return check


def record(kind: Callable[..., _T], *fields: Field) -> Field:
    """An array with exactly these fields, as a named tuple."""

    def check(value: object) -> _T:
        if type(value) is not list:
            raise _malformed("an array was due")
        return read_record(kind, fields, value)

    return check


def read_record(kind: Callable[..., _T], fields: Sequence[Field], values: list[Any]) -> _T:
    """The named tuple of these values, each validated by its field."""
    if len(values) != len(fields):
        raise _malformed("a wrong number of fields")
    return kind(*[field(value) for field, value in zip(fields, values, strict=True)])
