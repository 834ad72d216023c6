"""What the relay needs of a store: `StreamStore` for entries (hot, batched) and `Directory` for records.

Both are narrow and take opaque bytes, so that another backend is a day's work; tests/conformance is their
contract. Every method may raise `StoreError`: `StoreFull` when there is no space, `StoreUnavailable` for
anything passing.
"""

from __future__ import annotations

from collections.abc import Awaitable, Hashable, Mapping, Sequence
from typing import NamedTuple, Protocol

from relay.core.operations import Operation, Outcome, StoredEntry, StreamView
from relay.wire.ids import EngagementId


class StreamStore(Protocol):
    """Streams of entries under the rules of `relay.core.streams`. The state of one stream decides about
    it."""

    def lane(self, stream: EngagementId) -> Hashable:
        """What a stream shares with others whose operations may hold up its own, or fail with them. It may
        become another one. A store all of whose streams do has one lane."""
        ...

    def commit(self, operations: Sequence[Operation]) -> Awaitable[list[list[Outcome]]]:
        """Do the operations in order; what to await returns when they are durable, with the outcomes of each:
        one, or for an append as many as its entries need.

        If it raises, nothing was done: the same operations may be tried again. Calls may overlap; a store
        makes one transaction of what has come together. A cancelled call's operations may have been done.
        """
        ...

    async def read(
        self, stream: EngagementId, *, after: int, limit: int, max_bytes: int
    ) -> list[StoredEntry]:
        """The entries after a seq, in order: at most `limit`, bodies of at most `max_bytes`, yet at least
        one."""
        ...

    async def view(self, stream: EngagementId) -> StreamView | None:
        """The state of a stream with all that is committed; None if there is no such stream."""
        ...

    async def begin_history(self, history: bytes) -> None:
        """From now on `view` gives every stream's incarnation in this history (`streams.incarnation_in`),
        durably: what had been acknowledged may be missing, and devices have to compare and to repair.

        `history` has not been used before; 1 to 64 bytes.
        """
        ...

    async def check(self) -> None:
        """Raise `StoreError` if the store could not serve now."""
        ...

    async def close(self) -> None:
        """Finish what has been accepted, then refuse everything with `StoreUnavailable`."""
        ...


class Record(NamedTuple):
    """A record with the version that compare-and-set compares: another after every change, never used
    again."""

    value: bytes
    version: int


ABSENT = 0
"""The version that `Directory.put` expects of a record that must not exist yet."""


class Directory(Protocol):
    """Records by space and key. Keys are printable ASCII, ordered by their bytes; values are opaque."""

    async def get(self, space: str, key: str) -> Record | None:
        """The record, or None."""
        ...

    async def put(self, space: str, key: str, value: bytes, *, expect: int | None = None) -> int:
        """Store a record durably; its new version.

        With `expect` only if its version is that (`ABSENT`: if there is none); raises `RecordConflict`
        otherwise.
        """
        ...

    async def put_many(self, space: str, records: Mapping[str, bytes]) -> None:
        """Store many records of a space durably, whatever was there; all of them or none."""
        ...

    async def delete(self, space: str, key: str, *, expect: int | None = None) -> None:
        """Remove a record durably if it is there; with `expect`, raises `RecordConflict` if it has another
        version."""
        ...

    async def scan(self, space: str, prefix: str, *, after: str = "", limit: int) -> list[tuple[str, bytes]]:
        """The records whose keys begin with `prefix` and come after `after`, in key order: at most
        `limit`."""
        ...

    async def take(self, space: str, prefix: str) -> tuple[str, bytes] | None:
        """Remove and return the first record whose key begins with `prefix`: durably, and to one caller
        only."""
        ...

    async def count(self, space: str, prefix: str) -> int:
        """How many keys begin with `prefix`."""
        ...

    async def close(self) -> None:
        """Refuse everything from now on with `StoreUnavailable`."""
        ...
