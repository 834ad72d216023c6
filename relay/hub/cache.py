"""A bounded dictionary: what was put first is dropped first. Everything in it is also in the Directory."""

from __future__ import annotations

from typing import Generic, TypeVar

_K = TypeVar("_K")
_V = TypeVar("_V")


class Cache(Generic[_K, _V]):
    """At most `most` values."""

    __slots__ = ("_most", "_values")

    def __init__(self, most: int) -> None:
        self._most = most
        self._values: dict[_K, _V] = {}

    def __len__(self) -> int:
        return len(self._values)

    def get(self, key: _K) -> _V | None:
        """The value, if it is here."""
        return self._values.get(key)

    def put(self, key: _K, value: _V) -> None:
        """Keep a value."""
        self._values[key] = value
        if len(self._values) > self._most:
            del self._values[next(iter(self._values))]

    def drop(self, key: _K) -> None:
        """Forget a value."""
        self._values.pop(key, None)
