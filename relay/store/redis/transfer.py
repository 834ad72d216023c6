"""A Redis as one side of a move; while it is written to, a mark keeps relays out of it."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Iterable
from contextlib import asynccontextmanager
from typing import Any, Final

import msgpack

from relay.core.counters import Sender
from relay.core.operations import StoredEntry
from relay.core.streams import DIGEST_BYTES, Member, StreamState
from relay.errors import InvalidRequest, NotFound, StoreInUse
from relay.store.redis.client import HISTORY, MOVING, Call, RedisClient
from relay.store.redis.connection import Command
from relay.store.redis.directory import RedisDirectory
from relay.store.redis.news import channel_of
from relay.store.redis.streams import (
    COMMIT,
    ENTRIES,
    STATE,
    WINDOW,
    RedisStreamStore,
)
from relay.store.transfer import PAGE_BYTES, PAGE_ENTRIES, PAGE_RECORDS, Marks
from relay.wire.ids import DeviceId, EngagementId
from relay.wire.limits import COUNTER_WINDOW

EVENTS: Final = "events"
"""The topic that every node of a relay follows, from its start to its end."""

_STREAMS: Final = ("coach:{", "}:state")
_SPACES: Final = ("coach:{", "}:records")
_VERSIONS: Final = "coach:{%s}:versions"
_SCAN_COUNT: Final = 1_000
_ERASE_COUNT: Final = 500
_OURS: Final = "coach:*"
# What the client itself has written when it has met a server: not yet data of a relay.
_META: Final = "coach:{history}:"


class RedisSide:
    """What a Redis holds, read, and written."""

    def __init__(self, client: RedisClient) -> None:
        self._client = client
        self._store = RedisStreamStore(client)
        self._directory = RedisDirectory(client)

    async def close(self) -> None:
        await self._store.close()
        await self._directory.close()
        await self._client.close()

    # Reading

    async def streams(self) -> list[EngagementId]:
        return [EngagementId(one) for one in await self._named(*_STREAMS) if one.startswith("eng_")]

    async def state(self, stream: EngagementId) -> StreamState:
        held, slots = await self._hash(STATE % stream), await self._hash(WINDOW % stream)
        if b"incarnation" not in held:
            raise NotFound("a conversation is gone: does a relay run?")
        return StreamState(
            incarnation=held[b"incarnation"],
            head=int(held.get(b"head", 0)),
            last_commit=int(held.get(b"last_commit", 0)),
            floor=int(held.get(b"floor", 0)),
            last_time_ms=int(held.get(b"time", 0)),
            members=_members(held),
            senders=_senders(held, slots),
        )

    async def entries(self, stream: EngagementId, after: int) -> list[StoredEntry]:
        return await self._store.read(stream, after=after, limit=PAGE_ENTRIES, max_bytes=PAGE_BYTES)

    async def spaces(self) -> list[str]:
        found = await self._named(*_SPACES)
        return [space for space in found if await self._directory.count(space, "")]

    async def records(self, space: str, after: str) -> list[tuple[str, bytes]]:
        return await self._directory.scan(space, "", after=after, limit=PAGE_RECORDS)

    async def marks(self) -> Marks:
        history = await self._run(("GET", HISTORY), key=HISTORY)
        names = [_VERSIONS % space for space in await self._named("coach:{", "}:versions")]
        versions = [int(await self._run(("GET", name), key=name) or 0) for name in names]
        return Marks(history or b"", max(versions, default=0))

    # Writing

    async def begin(self) -> None:
        if await self._run(("EXISTS", MOVING), key=MOVING):
            await self._erase()  # what an earlier move left that was cut off
        if [key for key in await self._keys(_OURS) if key != MOVING and not key.startswith(_META)]:
            raise InvalidRequest(
                "this Redis holds a relay's data already; use another one, or another database"
            )
        await self._run(("SET", MOVING, "under way"), key=MOVING)

    async def put_entries(self, stream: EngagementId, state: StreamState, entries: list[StoredEntry]) -> None:
        commands: list[Command] = []
        for entry in entries:
            run, bodies = _stored(entry)
            if entry.seq > state.floor:
                commands.append(("XADD", ENTRIES % stream, f"{entry.seq}-0", "r", run, "b", bodies))
            if entry.seq == state.last_commit:
                commands.append(("SET", COMMIT % stream, _pack((run, bodies))))
        await self._run_all(commands, key=STATE % stream)

    async def put_state(self, stream: EngagementId, state: StreamState) -> None:
        numbers = {
            "head": state.head,
            "last_commit": state.last_commit,
            "floor": state.floor,
            "time": state.last_time_ms,
        }
        fields: list[str | bytes | int] = ["incarnation", state.incarnation]
        for name, value in numbers.items():
            fields += [name, value]
        for device, member in state.members.items():
            fields += [b"m:" + device, _pack((member.cursor, member.joined))]
        slots: list[bytes] = []
        for device, sender in state.senders.items():
            fields += [b"c:" + device, sender.last_counter]
            slots += _slots(device, sender)
        commands: list[Command] = [("HSET", STATE % stream, *fields)]
        if slots:
            commands.append(("HSET", WINDOW % stream, *slots))
        await self._run_all(commands, key=STATE % stream)

    async def put_records(self, space: str, records: dict[str, bytes]) -> None:
        await self._directory.put_many(space, records)

    async def put_marks(self, marks: Marks, spaces: Iterable[str]) -> None:
        for space in spaces:
            name = _VERSIONS % space
            await self._run(("SET", name, marks.last_version), key=name)
        if marks.history:
            await self._run(("SET", HISTORY, marks.history), key=HISTORY)

    async def finish(self) -> None:
        await self._run(("DEL", MOVING), key=MOVING)

    # Inside

    async def check_unused(self) -> None:
        """Raise `StoreInUse` if a relay's node follows what happens here."""
        channel = channel_of(EVENTS)
        word = "SHARDNUMSUB" if self._client.topology.is_cluster else "NUMSUB"
        _, listeners = await self._run(("PUBSUB", word, channel), key=channel)
        if listeners:
            raise StoreInUse(f"{listeners} nodes of a relay use this Redis")

    async def _run(self, command: Command, *, key: str) -> Any:
        return await self._client.run(Call(key, command), again=True)

    async def _hash(self, key: str) -> dict[bytes, bytes]:
        answer = await self._run(("HGETALL", key), key=key)
        return dict(zip(answer[::2], answer[1::2], strict=True))

    async def _run_all(self, commands: list[Command], *, key: str) -> None:
        """Commands on keys of one slot. None is sent twice: a move whose connection breaks begins anew."""
        await self._client.run_all([Call(key, command) for command in commands], again=False)

    async def _named(self, before: str, after: str) -> list[str]:
        """What stands in the braces of the keys of a form, in order."""
        keys = await self._keys(f"{before}*{after}")
        return sorted(key.removeprefix(before).removesuffix(after) for key in keys)

    async def _keys(self, pattern: str) -> list[str]:
        await self._client.topology.refresh()
        found: set[str] = set()
        for server in self._client.topology.servers():
            cursor: Any = b"0"
            while True:
                (answer,) = await server.send([("SCAN", cursor, "MATCH", pattern, "COUNT", _SCAN_COUNT)])
                if isinstance(answer, Exception):
                    raise answer
                cursor, keys = answer
                found |= {key.decode("ascii") for key in keys}
                if cursor == b"0":
                    break
        return sorted(found)

    async def _erase(self) -> None:
        keys = [key for key in await self._keys(_OURS) if key != MOVING]
        for start in range(0, len(keys), _ERASE_COUNT):
            some = keys[start : start + _ERASE_COUNT]
            await self._client.run_all([Call(key, ("UNLINK", key)) for key in some], again=True)
            await asyncio.sleep(0)


def _stored(entry: StoredEntry) -> tuple[bytes, bytes]:
    """An entry as the run that stream.lua would have made of it alone."""
    seq, kind, after_commit, time_ms, device, counter, body = entry
    return _pack((seq, int(kind), after_commit, time_ms, device, counter, 1)), _pack((body,))


def _slots(device: DeviceId, sender: Sender) -> list[bytes]:
    found: list[bytes] = []
    last = sender.last_counter
    for counter in range(max(1, last - COUNTER_WINDOW + 1), last + 1):
        known = sender.recall(counter, 0)
        if known is not None:
            found.append(device + str(counter % COUNTER_WINDOW).encode("ascii"))
            found.append(_pack((counter, known.seq, known.time_ms, known.digest)))
    return found


def _members(held: dict[bytes, bytes]) -> dict[DeviceId, Member]:
    found = {DeviceId(name[2:]): _unpack(value) for name, value in held.items() if name[:2] == b"m:"}
    return {device: Member(cursor, joined) for device, (cursor, joined) in found.items()}


def _senders(held: dict[bytes, bytes], slots: dict[bytes, bytes]) -> dict[DeviceId, Sender]:
    senders = {DeviceId(name[2:]): Sender() for name in held if name[:2] == b"c:"}
    size = len(next(iter(senders), b""))
    remembered = sorted((_unpack(value)[0], name, value) for name, value in slots.items())
    for counter, name, value in remembered:
        sender = senders.get(DeviceId(name[:size]))
        if sender is not None:
            _, seq, time_ms, digests = _unpack(value)
            each = [digests[i : i + DIGEST_BYTES] for i in range(0, len(digests), DIGEST_BYTES)]
            sender.remember(counter, seq, time_ms, each)
    for device, sender in senders.items():
        sender.last_counter = int(held[b"c:" + device])
    return senders


def _pack(value: object) -> bytes:
    # As stream.lua packs: it knows no binary type.
    packed: bytes = msgpack.packb(value, use_bin_type=False)
    return packed


def _unpack(packed: bytes) -> Any:
    return msgpack.unpackb(packed, raw=True)


@asynccontextmanager
async def redis_side(client: RedisClient) -> AsyncIterator[RedisSide]:
    """A Redis to read from or to write to; raises `StoreInUse` while a relay uses it."""
    side = RedisSide(client)
    try:
        await client.topology.refresh()
        await side.check_unused()
        yield side
    finally:
        await side.close()
