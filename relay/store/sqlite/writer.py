"""One transaction on the streams: operations in, their outcomes out. Runs on the writer thread alone.

The state of streams in use is cached, so that an append costs its row and little else. What the
rows of `runs` tell is not written twice: a stream's head, its senders' counters and windows are brought up to
date in their own tables only when entries go (`_flush`), and are completed from the entries when a stream is
loaded.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any, Final

import apsw

from relay.core import streams
from relay.core.counters import Sender
from relay.core.operations import (
    AcknowledgeEntries,
    AppendEntries,
    CreateStream,
    EndStream,
    ExpireEntries,
    Operation,
    Outcome,
    StreamView,
    Upkeep,
)
from relay.core.streams import StreamState
from relay.store.sqlite import rows
from relay.store.sqlite.database import roll_back
from relay.wire.errors import ErrorCode
from relay.wire.frames import EntryKind
from relay.wire.ids import DeviceId, EngagementId

# After so many entries a stream's own rows are brought up to date though nothing is erased: what is read
# again when it is loaded stays little, also where a member is away for a month.
SAVE_AFTER_ENTRIES: Final = 4_096
# About 6 KB each: 50 MB at most. A stream that is used again after it fell out costs one load.
CACHED_STREAMS: Final = 8192

_INSERT_RUN: Final = "INSERT INTO runs VALUES (?, ?, ?, ?, ?, ?, ?, ?)"
_INSERT_BODY: Final = "INSERT INTO bodies VALUES (?, ?)"
_LAST_PLACE: Final = "SELECT coalesce(max(place), 0) FROM bodies"
_RUNS: Final = "SELECT position, place, entries FROM runs WHERE position > ? AND position <= ?"
_ERASE_BODIES: Final = "DELETE FROM bodies WHERE place >= ? AND place < ?"
_ERASE_RUNS: Final = "DELETE FROM runs WHERE position > ? AND position <= ? AND position <> ?"
_CUT_RUN: Final = (
    "UPDATE runs SET position = position + :gone, place = place + :gone, entries = entries - :gone,"
    " counter = counter + :gone WHERE position = :position"
)
_SAVE_MEMBERS: Final = "UPDATE streams SET members = ? WHERE no = ?"
_SAVE_STREAM: Final = (
    "UPDATE streams SET head = ?, last_commit = ?, floor = ?, last_time_ms = ?, members = ? WHERE no = ?"
)
_SAVE_SENDER: Final = (
    "INSERT INTO senders (stream, device, last_counter, window) VALUES (?, ?, ?, ?)"
    " ON CONFLICT (stream, device) DO UPDATE"
    " SET last_counter = excluded.last_counter, window = excluded.window"
)
_DUE: Final = (
    "SELECT max(position + entries - 1) FROM runs WHERE position > ? AND position <= ? AND time_ms < ?"
)
_NOTHING: Final = Outcome(0, 0, False, None, 0)


@dataclass(slots=True, eq=False)
class _Cached:
    """A stream's state; `base` is its position 0; `unsaved` senders and what is after `saved` are newer than
    their rows."""

    no: int
    base: int
    state: StreamState
    saved: int
    unsaved: set[DeviceId] = field(default_factory=set)


class Writer:
    """Applies batches to the streams. Not safe for use from two threads at once."""

    def __init__(self, connection: apsw.Connection) -> None:
        self._connection = connection
        self._cache: dict[EngagementId, _Cached] = {}
        self._runs: list[tuple[Any, ...]] = []
        self._bodies: list[bytes] = []
        self._place = int(connection.execute(_LAST_PLACE).get)  # the last body's
        self._history = bytes(connection.execute(rows.SELECT_HISTORY).get)
        self._to_flush: dict[_Cached, None] = {}
        self._to_save_members: dict[_Cached, None] = {}

    def run(self, operations: Sequence[Operation]) -> list[list[Outcome]]:
        """All operations in one durable transaction; raises `apsw.Error`, and then none was done."""
        connection = self._connection
        try:
            connection.execute("BEGIN IMMEDIATE")
            outcomes = [
                self._append(operation) if isinstance(operation, AppendEntries) else [self._do(operation)]
                for operation in operations
            ]
            self._write()
            connection.execute("COMMIT")
        except BaseException:
            self._forget()
            roll_back(connection)
            raise
        self._clear()
        return outcomes

    def view(self, stream: EngagementId) -> StreamView | None:
        """The state of a stream between two transactions."""
        cached = self._load(stream)
        self._trim()
        return cached.state.view(self._history) if cached else None

    def state(self, stream: EngagementId) -> StreamState | None:
        """A stream's state as it is stored, for who copies it; the caller's own."""
        read = self._read_stream(stream)
        return read.state if read else None

    def begin_history(self, history: bytes) -> None:
        """Note durably that the store's history is another one."""
        self._connection.execute("UPDATE history SET id = ?", (history,))
        self._history = history

    def _clear(self) -> None:
        self._runs.clear()
        self._bodies.clear()
        self._to_flush.clear()
        self._to_save_members.clear()
        self._trim()

    def _forget(self) -> None:
        """After a failure the cache is ahead of the file: everything is read again."""
        self._cache.clear()
        self._clear()

    def _trim(self) -> None:
        while len(self._cache) > CACHED_STREAMS:
            del self._cache[next(iter(self._cache))]

    def _append(self, append: AppendEntries) -> list[Outcome]:
        stream, device, counter, kind, after_commit, bodies, *_ = append
        cached = self._cache.get(stream) or self._load(stream)
        if cached is None:
            return [streams.refused(ErrorCode.NOT_FOUND, 0, len(bodies))]
        state = cached.state
        outcomes = streams.append(state, append)
        for seq, time_ms, fresh, _, _, entries in outcomes:
            if fresh:
                place = self._place + len(self._bodies) + 1
                self._runs.append(
                    (cached.base + seq, place, entries, kind, after_commit, time_ms, device, counter)
                )
                self._bodies += bodies[:entries]
                cached.unsaved.add(device)
            counter += entries
            bodies = bodies[entries:]
        if kind is EntryKind.COMMIT and outcomes[0].fresh:
            state.floor = streams.acknowledged_floor(state)
            self._to_flush[cached] = None
        elif state.head - cached.saved >= SAVE_AFTER_ENTRIES:
            self._to_flush[cached] = None
        return outcomes

    def _do(self, operation: Upkeep) -> Outcome:
        if isinstance(operation, CreateStream):
            return self._create(operation)
        cached = self._load(operation.stream)
        if cached is None:
            return streams.refused(ErrorCode.NOT_FOUND, 0)
        if isinstance(operation, AcknowledgeEntries):
            self._acknowledge(cached, operation)
        elif isinstance(operation, ExpireEntries):
            self._expire(cached, operation)
        elif isinstance(operation, EndStream):
            self._end(cached, operation.stream)
            return _NOTHING
        return Outcome(cached.state.floor, 0, False, None, cached.state.last_commit)

    def _create(self, create: CreateStream) -> Outcome:
        self._connection.execute(
            "INSERT OR IGNORE INTO streams (id, incarnation) VALUES (?, ?)",
            (create.stream, create.incarnation),
        )
        cached = self._load(create.stream)
        return Outcome(0, 0, False, None, cached.state.last_commit if cached else 0)

    def _acknowledge(self, cached: _Cached, acknowledge: AcknowledgeEntries) -> None:
        state = cached.state
        if not streams.apply_acknowledgement(state, acknowledge.device, acknowledge.seq):
            return
        floor = streams.acknowledged_floor(state)
        if floor > state.floor:
            state.floor = floor
            self._to_flush[cached] = None
        else:
            self._to_save_members[cached] = None

    def _expire(self, cached: _Cached, expire: ExpireEntries) -> None:
        state = cached.state
        self._insert_all()
        bounds = (cached.base + state.floor, cached.base + state.head, expire.before_ms)
        due = self._connection.execute(_DUE, bounds).get
        if due is not None:
            state.floor = int(due) - cached.base
            self._to_flush[cached] = None
        for device, sender in state.senders.items():
            if sender.forget(expire.forget_ms):
                cached.unsaved.add(device)
                self._to_flush[cached] = None

    def _end(self, cached: _Cached, stream: EngagementId) -> None:
        self._insert_all()
        execute = self._connection.execute
        self._erase(cached, cached.state.head, but=0)
        execute("DELETE FROM senders WHERE stream = ?", (cached.no,))
        execute("DELETE FROM streams WHERE no = ?", (cached.no,))
        self._to_flush.pop(cached, None)
        self._to_save_members.pop(cached, None)
        self._cache.pop(stream, None)

    def _insert_all(self) -> None:
        if self._runs:
            executemany = self._connection.executemany
            executemany(_INSERT_RUN, self._runs)
            executemany(_INSERT_BODY, enumerate(self._bodies, self._place + 1))
            self._place += len(self._bodies)
            self._runs.clear()
            self._bodies.clear()

    def _write(self) -> None:
        self._insert_all()
        for cached in self._to_flush:
            self._flush(cached)
        for cached in self._to_save_members:
            if cached not in self._to_flush:
                members = rows.pack_members(cached.state.members)
                self._connection.execute(_SAVE_MEMBERS, (members, cached.no))

    def _flush(self, cached: _Cached) -> None:
        """Bring the stream's own rows up to its head, then erase what is due: the order of one
        transaction."""
        state = cached.state
        execute = self._connection.execute
        for device in cached.unsaved:
            sender = state.senders[device]
            execute(_SAVE_SENDER, (cached.no, device, sender.last_counter, rows.pack_window(sender)))
        cached.unsaved.clear()
        cached.saved = state.head
        members = rows.pack_members(state.members)
        execute(
            _SAVE_STREAM,
            (state.head, state.last_commit, state.floor, state.last_time_ms, members, cached.no),
        )
        self._erase(cached, state.floor, but=state.last_commit)

    def _erase(self, cached: _Cached, upto: int, *, but: int) -> None:
        """Erase the entries up to a seq, but for one; a run that reaches further is cut."""
        execute = self._connection.execute
        base, last = cached.base, cached.base + upto
        kept = base + but  # a commit: it is alone in its run
        places: list[tuple[int, int]] = []
        cut: tuple[int, int] | None = None
        for position, place, entries in execute(_RUNS, (base, last)):
            if position == kept:
                continue
            gone = min(entries, last - position + 1)
            if gone < entries:
                cut = position, gone
            # In a stream that is alone all of them stand together.
            if places and places[-1][1] == place:
                places[-1] = places[-1][0], place + gone
            else:
                places.append((place, place + gone))
        if not places:
            return
        self._connection.executemany(_ERASE_BODIES, places)
        if cut is not None:
            execute(_CUT_RUN, {"position": cut[0], "gone": cut[1]})
        execute(_ERASE_RUNS, (base, last, kept))

    def _load(self, stream: EngagementId) -> _Cached | None:
        cached = self._cache.get(stream)
        if cached is None:
            cached = self._read_stream(stream)
            if cached is not None:
                self._cache[stream] = cached
        return cached

    def _read_stream(self, stream: EngagementId) -> _Cached | None:
        row = self._connection.execute(rows.SELECT_STREAM, (stream,)).fetchone()
        if row is None:
            return None
        no, incarnation, head, last_commit, floor, last_time_ms, members = row
        state = StreamState(incarnation, head, last_commit, floor, last_time_ms, rows.unpack_members(members))
        for device, last_counter, window in self._connection.execute(rows.SELECT_SENDERS, (no,)):
            state.senders[device] = Sender(last_counter, rows.unpack_window(window))
        cached = _Cached(no, rows.base_of(no), state, head)
        self._replay(cached)
        return cached

    def _replay(self, cached: _Cached) -> None:
        """Complete the state from the entries that are newer than the stream's own row."""
        state = cached.state
        bounds = {
            "base": cached.base,
            "after": cached.base + state.head,
            "end": rows.base_of(cached.no + 1),
        }
        for position, kind, after_commit, time_ms, device, counter, body in self._connection.execute(
            rows.SELECT_NEWER, bounds
        ):
            digest = streams.entry_digest(EntryKind(kind), after_commit, body)
            seq = position - cached.base
            state.senders.setdefault(device, Sender()).remember(counter, seq, time_ms, (digest,))
            cached.unsaved.add(device)
            state.head = seq
            state.last_time_ms = time_ms
