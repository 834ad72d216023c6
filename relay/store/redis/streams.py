"""The `StreamStore` in Redis: a script numbers, compares and stores what is for one stream, in one step."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Hashable, Sequence
from itertools import count, islice, repeat
from typing import Any, Final

import msgpack

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
from relay.store.redis.client import HISTORY, Call, RedisClient, Script
from relay.store.redis.news import MAX_TOLD_BYTES, channel_of, pack_wake
from relay.store.redis.together import Apart
from relay.wire.errors import ErrorCode
from relay.wire.frames import EntryKind
from relay.wire.ids import DeviceId, EngagementId
from relay.wire.limits import COUNTER_WINDOW, MAX_MEMBER_DEVICES

_log: Final = logging.getLogger("relay.store")
_LIMITS: Final = (COUNTER_WINDOW, WINDOW_MS, MAX_MEMBER_DEVICES, MAX_HELD_ENTRIES)
# What makes a stream: its keys carry its id in braces, so that a cluster keeps them on one server.
STATE: Final = "coach:{%s}:state"
WINDOW: Final = "coach:{%s}:window"
ENTRIES: Final = "coach:{%s}:entries"
COMMIT: Final = "coach:{%s}:commit"

_Question = tuple[EngagementId, int, int, int]


class RedisStreamStore:
    """Streams in Redis. How durable an answer is, is the servers' setting, and the client's `wait`.

    `node` is the name that other nodes are told in the news of an append; without one nobody is told.
    """

    def __init__(self, client: RedisClient, *, node: bytes = b"") -> None:
        self._client = client
        self._stream = Script("stream.lua")
        self._read = Script("read.lua")
        lane = self.lane
        self._commits: Apart[Sequence[Operation], list[list[Outcome]]] = Apart(
            self._commit_all, lambda operations: lane(operations[0].stream) if operations else ""
        )
        self._reads: Apart[_Question, list[StoredEntry]] = Apart(self._read_all, lambda asked: lane(asked[0]))
        self._views: Apart[EngagementId, StreamView | None] = Apart(self._view_all, lane)
        self._node = node
        is_cluster = client.topology.is_cluster
        self._publish = "SPUBLISH" if is_cluster else "PUBLISH"
        number = "SHARDNUMSUB" if is_cluster else "NUMSUB"
        # Others must not read of what is not yet where `wait` wants it: then they are told afterwards.
        in_script = self._publish if node and not client.wait else ""
        self._limits = _pack((*_LIMITS, in_script, number, node, MAX_TOLD_BYTES))
        self._telling: set[asyncio.Task[None]] = set()
        self._is_open = True

    def lane(self, stream: EngagementId) -> Hashable:
        """The server that has the stream, as far as is known."""
        return self._client.lane(STATE % stream)

    async def commit(self, operations: Sequence[Operation]) -> list[list[Outcome]]:
        """As the interface says; if it raises, some streams' operations may have been done. To do them again
        is safe: an append that was stored gets its first answer."""
        self._check_open()
        return await self._commits.ask(operations)

    async def read(
        self, stream: EngagementId, *, after: int, limit: int, max_bytes: int
    ) -> list[StoredEntry]:
        self._check_open()
        return await self._reads.ask((stream, after, limit, max_bytes))

    async def view(self, stream: EngagementId) -> StreamView | None:
        self._check_open()
        return await self._views.ask(stream)

    async def begin_history(self, history: bytes) -> None:
        self._check_open()
        await self._client.begin_history(history)

    async def check(self) -> None:
        self._check_open()
        await self._client.run(Call("coach:check", ("EXISTS", "coach:check")), again=True)

    async def close(self) -> None:
        if self._is_open:
            self._is_open = False
            await self._commits.settle()
            await self._reads.settle()
            await self._views.settle()
            await asyncio.gather(*self._telling, return_exceptions=True)

    def _check_open(self) -> None:
        if not self._is_open:
            raise StoreUnavailable("the store is closed")

    # Appends and upkeep

    async def _commit_all(self, batches: list[Sequence[Operation]]) -> list[list[list[Outcome]]]:
        outcomes = await self._run([operation for batch in batches for operation in batch])
        rest = iter(outcomes)
        return [list(islice(rest, len(batch))) for batch in batches]

    async def _run(self, operations: Sequence[Operation]) -> list[list[Outcome]]:
        of_stream: dict[EngagementId, list[int]] = {}
        for number, operation in enumerate(operations):
            of_stream.setdefault(operation.stream, []).append(number)
        calls = [
            self._call(stream, [operations[number] for number in numbers])
            for stream, numbers in of_stream.items()
        ]
        # Redis reads some 16 KiB of a connection at a time; it would sync its disk after each.
        answers = await self._client.run_all(calls, again=True, at_once=True)
        outcomes: list[list[Outcome]] = [[]] * len(operations)
        for numbers, packed in zip(of_stream.values(), answers, strict=True):
            for number, rows in zip(numbers, _unpack(packed), strict=True):
                outcomes[number] = [_outcome(row) for row in rows]
        if self._node and self._client.wait:
            self._tell(operations, outcomes)
        return outcomes

    def _call(self, stream: EngagementId, operations: list[Operation]) -> Call:
        plain: list[tuple[Any, ...]] = []
        bodies: list[bytes] = []
        for operation in operations:
            if isinstance(operation, AppendEntries):
                bodies.append(_pack(list(operation.bodies)))
                plain.append(_plain_append(operation, len(bodies)))
            else:
                plain.append(_plain(operation))
        return self._stream.call(_keys(stream), (_pack(plain), self._limits, *bodies))

    def _tell(self, operations: Sequence[Operation], outcomes: Sequence[Sequence[Outcome]]) -> None:
        """Tell other nodes what is now where `wait` wants it."""
        news: dict[EngagementId, tuple[int, int]] = {}
        for operation, its_outcomes in zip(operations, outcomes, strict=True):
            for outcome in its_outcomes:
                if isinstance(operation, AppendEntries) and outcome.code is None:
                    news[operation.stream] = outcome.seq + outcome.entries - 1, outcome.last_commit
        if news:
            task = asyncio.get_running_loop().create_task(self._publish_all(news))
            self._telling.add(task)
            task.add_done_callback(self._telling.discard)

    async def _publish_all(self, news: dict[EngagementId, tuple[int, int]]) -> None:
        calls = []
        for stream, (head, last_commit) in news.items():
            channel = channel_of(stream)
            calls.append(Call(channel, (self._publish, channel, pack_wake(self._node, head, last_commit))))
        try:
            await self._client.run_all(calls, again=True, barrier=False)
        except StoreError as error:  # who was not told looks by itself, soon
            _log.warning("other nodes were not told", extra={"code": str(error.code)})

    # Reading

    async def _read_all(self, questions: list[_Question]) -> list[list[StoredEntry]]:
        calls = [self._read.call(_read_keys(stream), rest) for stream, *rest in questions]
        answers = await self._client.run_all(calls, again=True)
        return [
            _entries(_unpack(packed), after, limit, max_bytes)
            for packed, (_, after, limit, max_bytes) in zip(answers, questions, strict=True)
        ]

    async def _view_all(self, streams: list[EngagementId]) -> list[StreamView | None]:
        calls = [Call(STATE % stream, ("HGETALL", STATE % stream)) for stream in streams]
        answers = await self._client.run_all(calls, again=True)
        # Afterwards: a view must not be older than the history that it is given in.
        history = await self._client.run(Call(HISTORY, ("GET", HISTORY)), again=True) or b""
        self._client.saw_history(history)
        return [
            _view(dict(zip(held[::2], held[1::2], strict=True)), history) if held else None
            for held in answers
        ]


def _keys(stream: EngagementId) -> tuple[str, ...]:
    return STATE % stream, WINDOW % stream, ENTRIES % stream, COMMIT % stream, channel_of(stream)


def _read_keys(stream: EngagementId) -> tuple[str, ...]:
    return STATE % stream, ENTRIES % stream, COMMIT % stream


def _plain_append(append: AppendEntries, place: int) -> tuple[Any, ...]:
    """The append as the script takes it, its bodies in the argument at this place among those of bodies."""
    _, device, counter, kind, after_commit, bodies, now_ms, adds, removes, refusal = append
    code = refusal.value if refusal else ""
    digests = b"".join(entry_digests(kind, after_commit, bodies))
    head = ("append", device, counter, int(kind), after_commit, now_ms, code, adds, removes)
    return *head, len(bodies), digests, place


def _plain(operation: Operation) -> tuple[Any, ...]:
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


def _entries(answer: list[Any], after: int, limit: int, max_bytes: int) -> list[StoredEntry]:
    """The entries of the runs that were asked for: a run may begin before, and reach beyond."""
    floor, *parts = answer
    found: list[StoredEntry] = []
    size = 0
    for described, packed in zip(parts[::2], parts[1::2], strict=True):
        seq, number, after_commit, time_ms, device, counter, _ = _unpack(described)
        kind = EntryKind(number)
        # The newest commit alone is readable below the floor.
        first = max(seq, after + 1, 0 if kind is EntryKind.COMMIT else floor + 1)
        all_bodies = _unpack(packed)[first - seq :]
        bodies = all_bodies[: limit - len(found)]
        size += sum(map(len, bodies))
        while bodies and size > max_bytes and len(found) + len(bodies) > 1:
            size -= len(bodies.pop())
        numbers = zip(
            count(first),
            repeat(kind),
            repeat(after_commit),
            repeat(time_ms),
            repeat(DeviceId(device)),
            count(counter + first - seq),
            bodies,
        )
        found += map(StoredEntry._make, numbers)
        if len(bodies) < len(all_bodies):
            break
    return found


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
        set_back=bool(history),
    )
