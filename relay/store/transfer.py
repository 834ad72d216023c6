"""From one store into another: everything that a relay keeps, and a second reading that shows it arrived."""

from __future__ import annotations

import hashlib
from collections.abc import AsyncIterator, Callable, Iterable
from typing import Final, NamedTuple, Protocol

from relay.core.operations import StoredEntry
from relay.core.streams import StreamState
from relay.errors import StoreCorrupt
from relay.wire.ids import EngagementId
from relay.wire.limits import COUNTER_WINDOW, MIB

PAGE_STREAMS: Final = 256
PAGE_ENTRIES: Final = 512
PAGE_BYTES: Final = 8 * MIB  # of entries in memory at once; records come 64 at a time, of half a MiB at most
PAGE_RECORDS: Final = 64

Tell = Callable[[str], None]
"""Told how far it is."""


class Marks(NamedTuple):
    """What a store keeps of itself: the name of its history, and the last version that it gave a record."""

    history: bytes
    last_version: int


class Counts(NamedTuple):
    """What was moved."""

    streams: int = 0
    entries: int = 0
    records: int = 0


class Side(Protocol):
    """A store that no relay uses meanwhile. Every method may raise `StoreError`."""

    async def streams(self) -> list[EngagementId]:
        """All streams, in order."""
        ...

    async def state(self, stream: EngagementId) -> StreamState:
        """A stream's state, complete and apart from the store's history."""
        ...

    async def entries(self, stream: EngagementId, after: int) -> list[StoredEntry]:
        """A page of the entries after a seq; the newest commit, kept beyond its time, is the first."""
        ...

    async def spaces(self) -> list[str]:
        """The spaces that have records, in order."""
        ...

    async def records(self, space: str, after: str) -> list[tuple[str, bytes]]:
        """A page of a space's records after a key, in key order."""
        ...

    async def marks(self) -> Marks:
        """What it keeps of itself."""
        ...


class Target(Side, Protocol):
    """A side that can be filled, from `begin` to `finish`; until then no relay may use it."""

    async def begin(self) -> None:
        """Take hold of it; raises `StoreInUse` or `InvalidRequest` if it is used, or not empty."""
        ...

    async def put_entries(self, stream: EngagementId, state: StreamState, entries: list[StoredEntry]) -> None:
        """Store entries that follow on those before."""
        ...

    async def put_state(self, stream: EngagementId, state: StreamState) -> None:
        """Store a stream's state, once its entries are there."""
        ...

    async def put_records(self, space: str, records: dict[str, bytes]) -> None:
        """Store records."""
        ...

    async def put_marks(self, marks: Marks, spaces: Iterable[str]) -> None:
        """Go on with versions, in these spaces, and with the history where the other store was."""
        ...

    async def finish(self) -> None:
        """Make everything durable, and let relays use it."""
        ...


async def copy_all(source: Side, target: Target, spaces: Iterable[str], tell: Tell) -> Counts:
    """Put everything that one store has into the other, which is empty; `begin` and `finish` are the
    caller's."""
    streams, entries, records = await source.streams(), 0, 0
    for number, stream in enumerate(streams, 1):
        state = await source.state(stream)
        async for page in pages(source, stream):
            await target.put_entries(stream, state, page)
            entries += len(page)
        await target.put_state(stream, state)
        if number % PAGE_STREAMS == 0:
            tell(f"{number} of {len(streams)} conversations, {entries} messages")
    tell(f"{len(streams)} conversations, {entries} messages")
    found = await source.spaces()
    await target.put_marks(await source.marks(), sorted({*found, *spaces}))
    for space in found:
        async for batch in record_pages(source, space):
            await target.put_records(space, dict(batch))
            records += len(batch)
    tell(f"{records} records")
    return Counts(len(streams), entries, records)


async def compare(source: Side, target: Side, tell: Tell) -> Counts:
    """Read both stores whole, and hold them against each other; raises `StoreCorrupt` on the first
    difference."""
    streams = await source.streams()
    _same(streams, await target.streams(), "the conversations")
    _same((await source.marks()).history, (await target.marks()).history, "the history")
    entries = records = 0
    for number, stream in enumerate(streams, 1):
        ours, count = await stream_digest(source, stream)
        theirs, _ = await stream_digest(target, stream)
        _same(ours, theirs, "a conversation")
        entries += count
        if number % PAGE_STREAMS == 0:
            tell(f"{number} of {len(streams)} conversations are the same")
    spaces = await source.spaces()
    _same(spaces, await target.spaces(), "the kinds of records")
    for space in spaces:
        ours, count = await space_digest(source, space)
        theirs, _ = await space_digest(target, space)
        _same(ours, theirs, f"the records of {space}")
        records += count
    return Counts(len(streams), entries, records)


def _same(one: object, other: object, what: str) -> None:
    if one != other:
        raise StoreCorrupt(f"{what} did not arrive as they were: nothing was changed at the source")


async def pages(side: Side, stream: EngagementId) -> AsyncIterator[list[StoredEntry]]:
    """All entries of a stream, a page at a time."""
    after = 0
    while page := await side.entries(stream, after):
        yield page
        after = page[-1].seq


async def record_pages(side: Side, space: str) -> AsyncIterator[list[tuple[str, bytes]]]:
    """All records of a space, a page at a time."""
    after = ""
    while page := await side.records(space, after):
        yield page
        after = page[-1][0]


async def stream_digest(side: Side, stream: EngagementId) -> tuple[bytes, int]:
    """A hash of everything that a store has of a stream, and the number of its entries."""
    found, count = hashlib.sha256(), 0
    for part in _state_parts(await side.state(stream)):
        _add(found, part)
    async for page in pages(side, stream):
        for seq, kind, after_commit, time_ms, device, counter, body in page:
            _add(found, repr((seq, int(kind), after_commit, time_ms, counter)).encode() + device)
            _add(found, body)
        count += len(page)
    return found.digest(), count


def _state_parts(state: StreamState) -> Iterable[bytes]:
    yield state.incarnation
    yield repr((state.head, state.last_commit, state.floor, state.last_time_ms)).encode()
    for device, member in sorted(state.members.items()):
        yield device + repr((member.cursor, member.joined)).encode()
    for device, sender in sorted(state.senders.items()):
        yield device + repr(sender.last_counter).encode()
        last = sender.last_counter
        for counter in range(max(1, last - COUNTER_WINDOW + 1), last + 1):
            known = sender.recall(counter, 0)
            yield repr((counter, known.seq, known.time_ms)).encode() + known.digest if known else b""


async def space_digest(side: Side, space: str) -> tuple[bytes, int]:
    """A hash of everything that a store has in a space, and the number of its records."""
    found, count = hashlib.sha256(), 0
    async for page in record_pages(side, space):
        for key, value in page:
            _add(found, key.encode())
            _add(found, value)
        count += len(page)
    return found.digest(), count


def _add(found: hashlib._Hash, part: bytes) -> None:
    found.update(len(part).to_bytes(8, "big") + part)
