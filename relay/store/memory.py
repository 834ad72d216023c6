"""Stores that forget everything with the process: for tests, and as the plain statement of what a store
does."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from itertools import count as counting

from relay.core import streams
from relay.core.operations import (
    AcknowledgeEntries,
    AppendEntries,
    CreateStream,
    EndStream,
    ExpireEntries,
    Operation,
    Outcome,
    StoredEntry,
    StreamView,
    Upkeep,
)
from relay.core.streams import StreamState
from relay.errors import RecordConflict, StoreUnavailable
from relay.store.interface import ABSENT, Record
from relay.wire.errors import ErrorCode
from relay.wire.ids import EngagementId


class MemoryStreamStore:
    """A `StreamStore` in dictionaries."""

    def __init__(self) -> None:
        self._states: dict[EngagementId, StreamState] = {}
        self._entries: dict[EngagementId, dict[int, StoredEntry]] = {}
        self._history = b""
        self._open = True

    def lane(self, stream: EngagementId) -> str:
        del stream
        return ""

    async def commit(self, operations: Sequence[Operation]) -> list[list[Outcome]]:
        await self.check()
        return [
            self._append(operation) if isinstance(operation, AppendEntries) else [self._do(operation)]
            for operation in operations
        ]

    async def read(
        self, stream: EngagementId, *, after: int, limit: int, max_bytes: int
    ) -> list[StoredEntry]:
        await self.check()
        held = self._entries.get(stream, {})
        found: list[StoredEntry] = []
        size = 0
        for seq in sorted(seq for seq in held if seq > after)[:limit]:
            size += len(held[seq].body)
            if found and size > max_bytes:
                break
            found.append(held[seq])
        return found

    async def view(self, stream: EngagementId) -> StreamView | None:
        await self.check()
        state = self._states.get(stream)
        return state.view(self._history) if state else None

    async def begin_history(self, history: bytes) -> None:
        await self.check()
        self._history = history

    async def check(self) -> None:
        if not self._open:
            raise StoreUnavailable("the store is closed")

    async def close(self) -> None:
        self._open = False

    def _do(self, operation: Upkeep) -> Outcome:
        if isinstance(operation, CreateStream):
            return self._create(operation)
        state = self._states.get(operation.stream)
        if state is None:
            return streams.refused(ErrorCode.NOT_FOUND, 0)
        if isinstance(operation, EndStream):
            del self._states[operation.stream], self._entries[operation.stream]
            return Outcome(0, 0, False, None, 0)
        if isinstance(operation, AcknowledgeEntries):
            streams.apply_acknowledgement(state, operation.device, operation.seq)
            floor = streams.acknowledged_floor(state)
        else:
            floor = self._expire(state, operation)
        self._erase(state, operation.stream, floor)
        return Outcome(state.floor, 0, False, None, state.last_commit)

    def _create(self, create: CreateStream) -> Outcome:
        if create.stream not in self._states:
            self._states[create.stream] = StreamState(create.incarnation)
            self._entries[create.stream] = {}
        return Outcome(0, 0, False, None, self._states[create.stream].last_commit)

    def _append(self, append: AppendEntries) -> list[Outcome]:
        stream, device, counter, kind, after_commit, bodies, *_ = append
        state = self._states.get(stream)
        if state is None:
            return [streams.refused(ErrorCode.NOT_FOUND, 0, len(bodies))]
        outcomes = streams.append(state, append)
        done = 0
        for outcome in outcomes:
            for number in range(done, done + outcome.entries if outcome.fresh else 0):
                seq = outcome.seq + number - done
                self._entries[stream][seq] = StoredEntry(
                    seq, kind, after_commit, outcome.time_ms, device, counter + number, bodies[number]
                )
            done += outcome.entries
        self._erase(state, stream, streams.acknowledged_floor(state))
        return outcomes

    def _expire(self, state: StreamState, expire: ExpireEntries) -> int:
        for sender in state.senders.values():
            sender.forget(expire.forget_ms)
        held = self._entries[expire.stream].values()
        due = [entry.seq for entry in held if entry.time_ms < expire.before_ms]
        return max(due, default=0)

    def _erase(self, state: StreamState, stream: EngagementId, floor: int) -> None:
        state.floor = max(state.floor, floor)
        held = self._entries[stream]
        for seq in [seq for seq in held if seq <= state.floor and seq != state.last_commit]:
            del held[seq]


class MemoryDirectory:
    """A `Directory` in a dictionary."""

    def __init__(self) -> None:
        self._records: dict[tuple[str, str], Record] = {}
        self._versions = counting(ABSENT + 1)
        self._open = True

    async def get(self, space: str, key: str) -> Record | None:
        self._check()
        return self._records.get((space, key))

    async def put(self, space: str, key: str, value: bytes, *, expect: int | None = None) -> int:
        self._expect(space, key, expect)
        record = self._records[space, key] = Record(bytes(value), next(self._versions))
        return record.version

    async def put_many(self, space: str, records: Mapping[str, bytes]) -> None:
        for key, value in records.items():
            await self.put(space, key, value)

    async def delete(self, space: str, key: str, *, expect: int | None = None) -> None:
        self._expect(space, key, expect)
        self._records.pop((space, key), None)

    async def scan(self, space: str, prefix: str, *, after: str = "", limit: int) -> list[tuple[str, bytes]]:
        keys = [key for key in self._keys(space, prefix) if key > after]
        return [(key, self._records[space, key].value) for key in keys[:limit]]

    async def take(self, space: str, prefix: str) -> tuple[str, bytes] | None:
        keys = self._keys(space, prefix)
        return (keys[0], self._records.pop((space, keys[0])).value) if keys else None

    async def count(self, space: str, prefix: str) -> int:
        return len(self._keys(space, prefix))

    async def close(self) -> None:
        self._open = False

    def _keys(self, space: str, prefix: str) -> list[str]:
        self._check()
        return sorted(key for place, key in self._records if place == space and key.startswith(prefix))

    def _expect(self, space: str, key: str, expect: int | None) -> None:
        self._check()
        record = self._records.get((space, key))
        if expect is not None and expect != (record.version if record else ABSENT):
            raise RecordConflict("the record changed meanwhile")

    def _check(self) -> None:
        if not self._open:
            raise StoreUnavailable("the store is closed")
