"""Delivery of one stream to one connection: in order, within a window, from memory when the device keeps
up."""

from __future__ import annotations

from collections import deque
from itertools import islice
from typing import TYPE_CHECKING, Final, NamedTuple

from relay.core.operations import StoredEntry
from relay.errors import Ended, NotFound
from relay.hub.settings import CONGESTED_BYTES
from relay.wire.codec import encode_entries, encode_own_run, encode_run
from relay.wire.limits import MIB

if TYPE_CHECKING:
    from relay.hub.rooms import Room
    from relay.hub.session import Session

_FRAME_ENTRIES: Final = 256
_FRAME_BYTES: Final = MIB  # a larger entry has a frame of its own


class _Run(NamedTuple):
    """Entries that are out since a time (by the steady clock) and not acknowledged; `size` is what they take
    together."""

    seq: int
    entries: int
    size: int
    since: float


class Subscription:
    """A stream that a connection has open. `sent`: everything up to it is out, or erased.

    Raises `NotFound` or `Ended` if the roster changed since the room was entered: what is open passes rule 1.
    """

    __slots__ = (
        "_in_flight",
        "_in_flight_bytes",
        "_in_flight_entries",
        "_max_bytes",
        "_max_entries",
        "_opened_ms",
        "_packed",
        "acknowledged",
        "closed",
        "device",
        "is_member",
        "reading",
        "room",
        "sent",
        "session",
    )

    def __init__(self, session: Session, room: Room, after: int) -> None:
        if session.user not in room.users:
            raise NotFound("no such engagement")
        if room.record.ended:
            raise Ended("the engagement has ended")
        settings = session.hub.settings
        self.session = session
        self.device = session.device
        self.room = room
        self.sent = after
        self.acknowledged = 0
        self.is_member = session.device in room.joined
        self.reading = False
        self.closed = False
        self._max_entries = settings.window_entries
        self._max_bytes = settings.window_bytes
        self._in_flight: deque[_Run] = deque()
        self._in_flight_entries = 0
        self._in_flight_bytes = 0
        self._opened_ms = session.hub.clock() * 1000
        self._packed: list[tuple[int, bytes]] = []

    @property
    def wants_reading(self) -> bool:
        """Whether there is something that memory did not give and that may go out now."""
        return (
            self.sent < self.room.head
            and not (self.reading or self.closed or self.session.congested)
            and self.is_member
            and self.takes(1, 0)
        )

    @property
    def waits_for_nothing(self) -> bool:
        """`wants_reading`, and no acknowledgement is due that would begin it."""
        return not self._in_flight and self.wants_reading

    @property
    def waits_since(self) -> float | None:
        """The time (by the steady clock) at which the oldest of what is not acknowledged went out."""
        return self._in_flight[0].since if self._in_flight else None

    @property
    def room_left(self) -> tuple[int, int]:
        """How many entries and bytes may still be on their way; one entry always may."""
        entries = self._max_entries - self._in_flight_entries
        return max(1, entries), max(0, self._max_bytes - self._in_flight_bytes)

    def takes(self, entries: int, size: int) -> bool:
        """Whether so many entries of this size together fit into the window."""
        if not self._in_flight:
            return entries == 1 or (entries <= self._max_entries and size <= self._max_bytes)
        return (
            self._in_flight_entries + entries <= self._max_entries
            and self._in_flight_bytes + size <= self._max_bytes
        )

    def offer(self, seq: int, entries: int, packed: bytes) -> bool:
        """`push` for entries that came together; if there is room for some of them only, those are read."""
        is_out = self.push(seq, entries, packed)
        if not is_out and self.wants_reading:
            self.session.hub.read_for(self)
        return is_out

    def push(self, seq: int, entries: int, packed: bytes) -> bool:
        """Let entries that follow on what was sent go out with this turn's flush, if the window takes them.

        What it does not take is read from the store when the device has acknowledged enough.
        """
        session = self.session
        size = len(packed)
        if self.sent != seq - 1 or session.congested or not self.takes(entries, size):
            return False
        self.sent = seq + entries - 1
        self._in_flight.append(_Run(seq, entries, size, session.hub.steady()))
        self._in_flight_entries += entries
        self._in_flight_bytes += size
        if not self._packed:
            session.queue_entries(self)
        self._packed.append((entries, packed))
        session.out_bytes += size
        if session.out_bytes > CONGESTED_BYTES:
            session.congested = True  # many streams at once must not fill the memory
        return True

    def push_read(self, entries: list[StoredEntry]) -> None:
        """Let entries from the store go out, as far as the window reaches."""
        head = self.room.head
        left = [entry for entry in entries if entry.seq > self.sent]  # memory may have given some meanwhile
        start = 0
        while start < len(left):
            entry = left[start]
            if not self.is_member:
                return  # a bundle that came while the store was being read removed it
            self.sent = min(entry.seq - 1, head)  # what was before it is erased
            if entry.seq > head:
                return  # its transaction is about to be handed out, and brings it in its turn
            end = _end_of_run(left, start, head)
            if not self._push_run(left[start:end]):
                end = start + 1  # as far as the window reaches
                if not self._push_run([entry]):
                    return
            start = end

    def _push_run(self, run: list[StoredEntry]) -> bool:
        """`push` for entries of one append, which come from the store."""
        first = run[0]
        if first.device == self.device:
            packed = encode_own_run(
                first.seq, first.kind, first.after_commit, first.time_ms, first.counter, len(run)
            )
        else:
            bodies = [entry.body for entry in run]
            packed = encode_run(first.seq, first.kind, first.after_commit, first.time_ms, bodies)
        if not self.push(first.seq, len(run), packed):
            return False
        if first.time_ms >= self._opened_ms:  # another node's, or the device was slow; older ones wait for it
            hub = self.session.hub
            hub.watch.delivered.add(hub.clock() - first.time_ms / 1000, len(run))
        return True

    def acknowledge(self, seq: int) -> None:
        """Free the window of what the device has stored."""
        in_flight = self._in_flight
        while in_flight and in_flight[0].seq <= seq:
            run = in_flight.popleft()
            done = min(run.entries, seq - run.seq + 1)
            freed = run.size * done // run.entries
            self._in_flight_entries -= done
            self._in_flight_bytes -= freed
            if done < run.entries:
                in_flight.appendleft(_Run(seq + 1, run.entries - done, run.size - freed, run.since))

    def start_at(self, seq: int) -> None:
        """Begin with the entry at `seq`, which adds the device."""
        self.is_member = True
        self.sent = max(self.sent, seq - 1)

    def take_frames(self) -> list[bytes]:
        """The `Entries` frames of what is to go out."""
        packed, self._packed = self._packed, []
        frames: list[bytes] = []
        run: list[bytes] = []
        entries = size = 0
        for its_entries, its_bytes in packed:
            if run and (entries + its_entries > _FRAME_ENTRIES or size + len(its_bytes) > _FRAME_BYTES):
                frames.append(encode_entries(self.room.entries_prefix, entries, run))
                run, entries, size = [], 0, 0
            run.append(its_bytes)
            entries += its_entries
            size += len(its_bytes)
        frames.append(encode_entries(self.room.entries_prefix, entries, run))
        return frames


def _end_of_run(entries: list[StoredEntry], start: int, head: int) -> int:
    """The index behind the entries that came with the one at `start`."""
    first = entries[start]
    same, ahead = first[1:5], first.counter - first.seq
    end = start + 1
    for seq, entry in enumerate(islice(entries, end, start + _FRAME_ENTRIES), first.seq + 1):
        if entry[0] != seq or entry[5] - seq != ahead or seq > head or entry[1:5] != same:
            break
        end += 1
    return end
