"""The `StreamStore` in Redis: a script numbers, compares and stores what is for one stream, in one step."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Final

import msgpack
from redis.asyncio import Redis

from relay.core.counters import WINDOW_MS
from relay.core.operations import (
    AcknowledgeEntries,
    AppendEntries,
    CreateStream,
    ExpireEntries,
    Operation,
    Outcome,
    StoredEntry,
    StreamView,
)
from relay.core.streams import MAX_HELD_ENTRIES, entry_digests, incarnation_in
from relay.errors import StoreCorrupt, StoreError, StoreUnavailable
from relay.store.redis.connection import Script, answer
from relay.wire.errors import ErrorCode
from relay.wire.frames import EntryKind
from relay.wire.ids import DeviceId, EngagementId
from relay.wire.limits import COUNTER_WINDOW, MAX_MEMBER_DEVICES

_LIMITS: Final = msgpack.packb((COUNTER_WINDOW, WINDOW_MS, MAX_MEMBER_DEVICES, MAX_HELD_ENTRIES))
# What makes a stream: its keys carry its id in braces, so that a cluster keeps them on one node.
_STATE: Final = "coach:{%s}:state"
_WINDOW: Final = "coach:{%s}:window"
_ENTRIES: Final = "coach:{%s}:entries"
_COMMIT: Final = "coach:{%s}:commit"
_HISTORY: Final = "coach:history"


@dataclass(slots=True)
class _Call:
    """Operations that wait to be done, and what became of them."""

    operations: Sequence[Operation]
    outcomes: list[list[Outcome]] | None = None
    error: BaseException | None = None


class RedisStreamStore:
    """Streams in Redis. How durable an answer is, is the server's setting: `appendfsync always` for the
    promise that the relay makes."""

    def __init__(self, client: Redis) -> None:
        self._client = client
        self._stream = Script(client, "stream.lua")
        self._read = Script(client, "read.lua")
        self._waiting: list[_Call] = []
        self._turn = asyncio.Lock()
        self._is_open = True

    async def commit(self, operations: Sequence[Operation]) -> list[list[Outcome]]:
        """As the interface says; if it raises, some streams' operations may have been done. To do them again
        is safe: an append that was stored gets its first answer."""
        self._check_open()
        call = _Call(operations)
        self._waiting.append(call)
        async with self._turn:
            if call.outcomes is None and call.error is None:
                await self._commit_waiting()
        if call.error is not None:
            if isinstance(call.error, StoreError):
                raise type(call.error)(*call.error.args) from call.error
            raise StoreUnavailable("the call that was to do it was cancelled") from call.error
        return call.outcomes or []

    async def _commit_waiting(self) -> None:
        """What came while the last batch was under way goes out together, in the order in which it came."""
        calls, self._waiting = self._waiting, []
        try:
            outcomes = await self._run([operation for call in calls for operation in call.operations])
        except BaseException as error:
            for call in calls:
                call.error = error
            if not isinstance(error, StoreError):
                raise
            return
        for call in calls:
            call.outcomes, outcomes = outcomes[: len(call.operations)], outcomes[len(call.operations) :]

    async def _run(self, operations: Sequence[Operation]) -> list[list[Outcome]]:
        of_stream: dict[EngagementId, list[int]] = {}
        for number, operation in enumerate(operations):
            of_stream.setdefault(operation.stream, []).append(number)
        calls = [
            (_keys(stream), (_pack([_plain(operations[number]) for number in numbers]), _LIMITS))
            for stream, numbers in of_stream.items()
        ]
        answers = await self._stream.run_all(calls)
        outcomes: list[list[Outcome]] = [[]] * len(operations)
        for numbers, packed in zip(of_stream.values(), answers, strict=True):
            for number, rows in zip(numbers, _unpack(packed), strict=True):
                outcomes[number] = [_outcome(row) for row in rows]
        return outcomes

    async def read(
        self, stream: EngagementId, *, after: int, limit: int, max_bytes: int
    ) -> list[StoredEntry]:
        self._check_open()
        state, _, entries, commit = _keys(stream)
        packed = await self._read.run((state, entries, commit), (after, limit, max_bytes))
        return [
            StoredEntry(seq, EntryKind(kind), after_commit, time_ms, DeviceId(device), counter, body)
            for seq, kind, after_commit, time_ms, device, counter, body in _unpack(packed)
        ]

    async def view(self, stream: EngagementId) -> StreamView | None:
        self._check_open()
        history: Any = await answer(self._client.get(_HISTORY))
        held: Any = await answer(self._client.hgetall(_STATE % stream))
        return _view(held, history or b"") if held else None

    async def begin_history(self, history: bytes) -> None:
        self._check_open()
        await answer(self._client.set(_HISTORY, history))

    async def check(self) -> None:
        self._check_open()
        await answer(self._client.ping())

    async def close(self) -> None:
        if self._is_open:
            self._is_open = False
            await self._client.aclose()

    def _check_open(self) -> None:
        if not self._is_open:
            raise StoreUnavailable("the store is closed")


def _keys(stream: EngagementId) -> tuple[str, str, str, str]:
    return _STATE % stream, _WINDOW % stream, _ENTRIES % stream, _COMMIT % stream


def _plain(operation: Operation) -> tuple[Any, ...]:
    """The operation as the script takes it."""
    if isinstance(operation, AppendEntries):
        _, device, counter, kind, after_commit, bodies, now_ms, adds, removes, refusal = operation
        code = refusal.value if refusal else ""
        contents = list(bodies), entry_digests(kind, after_commit, bodies)
        return "append", device, counter, int(kind), after_commit, now_ms, code, adds, removes, *contents
    if isinstance(operation, CreateStream):
        return "create", operation.incarnation
    if isinstance(operation, AcknowledgeEntries):
        return "acknowledge", operation.device, operation.seq
    if isinstance(operation, ExpireEntries):
        return "expire", operation.before_ms, operation.forget_ms
    return ("end",)


def _pack(value: object) -> bytes:
    # Redis's own MessagePack knows no binary type: texts and bytes are one to it.
    packed: bytes = msgpack.packb(value, use_bin_type=False)
    return packed


def _unpack(packed: bytes) -> Any:
    return msgpack.unpackb(packed, raw=True, max_bin_len=0)


def _outcome(row: list[Any]) -> Outcome:
    seq, time_ms, fresh, code, last_commit, entries = row
    return Outcome(
        seq, time_ms, bool(fresh), ErrorCode(code.decode()) if code else None, last_commit, entries
    )


def _view(held: dict[bytes, bytes], history: bytes) -> StreamView:
    members = {
        DeviceId(name[2:]): msgpack.unpackb(value) for name, value in held.items() if name[:2] == b"m:"
    }
    incarnation = held.get(b"incarnation")
    if incarnation is None:
        raise StoreCorrupt("a stream in Redis has no incarnation")
    return StreamView(
        incarnation=incarnation_in(history, incarnation),
        head=int(held.get(b"head", 0)),
        last_commit=int(held.get(b"last_commit", 0)),
        floor=int(held.get(b"floor", 0)),
        members={device: cursor for device, (cursor, _) in members.items()},
        joined={device: joined for device, (_, joined) in members.items()},
        last_counters={DeviceId(name[2:]): int(value) for name, value in held.items() if name[:2] == b"c:"},
    )
