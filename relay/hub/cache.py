"""A bounded cache in front of the Directory: what was put first is dropped first, and no read brings back
the past."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from typing import Generic, TypeVar

_K = TypeVar("_K")
_V = TypeVar("_V")


class Cache(Generic[_K, _V]):
    """At most `most` values, each as the Directory has it."""

    __slots__ = ("_most", "_reading", "_values")

    def __init__(self, most: int) -> None:
        self._most = most
        self._values: dict[_K, _V] = {}
        # Reads under way. A change of the key takes its set away, which tells the readers that they are late.
        self._reading: dict[_K, set[object]] = {}

    def __len__(self) -> int:
        return len(self._values)

    async def read(self, key: _K, load: Callable[[], Awaitable[_V | None]]) -> _V | None:
        """The value, from `load` if it is not here; None, and nothing kept, if that gives None."""
        while True:
            known = self._values.get(key)
            if known is not None:
                return known
            reader = object()
            readers = self._reading.setdefault(key, set())
            readers.add(reader)
            try:
                loaded = await load()
            finally:
                is_current = self._reading.get(key) is readers
                readers.discard(reader)
                if is_current and not readers:
                    del self._reading[key]
            if is_current:
                if loaded is not None:
                    self._keep(key, loaded)
                return loaded

    def put(self, key: _K, value: _V) -> None:
        """Keep what has just been stored."""
        self._reading.pop(key, None)
        self._keep(key, value)

    def drop(self, key: _K) -> None:
        """Forget what has just been changed."""
        self._reading.pop(key, None)
        self._values.pop(key, None)

    def clear(self) -> None:
        """Forget everything: what was changed is not known."""
        self._reading.clear()
        self._values.clear()

    def _keep(self, key: _K, value: _V) -> None:
        self._values[key] = value
        if len(self._values) > self._most:
            del self._values[next(iter(self._values))]
