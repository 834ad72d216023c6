"""Delivery of one stream to one connection: in order, within a window, from memory when the device keeps
up."""

from __future__ import annotations

from collections import deque
from typing import TYPE_CHECKING, Final

from relay.core.operations import StoredEntry
from relay.hub.settings import CONGESTED_BYTES
from relay.wire.codec import encode_entries, encode_entry
from relay.wire.limits import MIB

if TYPE_CHECKING:
    from relay.hub.rooms import Room
    from relay.hub.session import Session

_FRAME_ENTRIES: Final = 256
_FRAME_BYTES: Final = MIB  # a larger entry has a frame of its own


class Subscription:
    """A stream that a connection has open. `sent`: everything up to it is out, or erased."""

    __slots__ = (
        "_in_flight",
        "_in_flight_bytes",
        "_max_bytes",
        "_max_entries",
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
        self._in_flight: deque[tuple[int, int]] = deque()
        self._in_flight_bytes = 0
        self._packed: list[bytes] = []

    @property
    def wants_reading(self) -> bool:
        """Whether there is something that memory did not give and that may go out now."""
        return (
            self.sent < self.room.head
            and not (self.reading or self.closed or self.session.congested)
            and self.is_member
            and self.takes(0)
        )

    @property
    def room_left(self) -> tuple[int, int]:
        """How many entries and bytes may still be on their way; one entry always may."""
        entries = self._max_entries - len(self._in_flight)
        return max(1, entries), max(0, self._max_bytes - self._in_flight_bytes)

    def takes(self, size: int) -> bool:
        """Whether an entry of this size fits into the window."""
        return not self._in_flight or (
            len(self._in_flight) < self._max_entries and self._in_flight_bytes + size <= self._max_bytes
        )

    def push(self, seq: int, packed: bytes) -> bool:
        """Let an entry that follows on what was sent go out with this turn's flush, if the window takes it.

        What it does not take is read from the store when the device has acknowledged enough.
        """
        size = len(packed)
        if self.session.congested or not self.takes(size):
            return False
        self._note(seq, size)
        self._in_flight.append((seq, size))
        self._packed.append(packed)
        return True

    def push_all(self, first: int, packed: list[bytes]) -> None:
        """`push` for a run of entries that begins at `first`."""
        sizes = list(map(len, packed))
        size = sum(sizes)
        in_flight = self._in_flight
        fits = len(in_flight) + len(packed) <= self._max_entries
        if fits and self._in_flight_bytes + size <= self._max_bytes:
            self._note(first + len(packed) - 1, size)
            in_flight.extend(zip(range(first, first + len(packed)), sizes, strict=True))
            self._packed += packed
            return
        for seq, entry in enumerate(packed, first):
            if not self.push(seq, entry):
                return

    def _note(self, seq: int, size: int) -> None:
        session = self.session
        self.sent = seq
        self._in_flight_bytes += size
        if not self._packed:
            session.queue_entries(self)
        session.out_bytes += size
        if session.out_bytes > CONGESTED_BYTES:
            session.congested = True  # many streams at once must not fill the memory

    def push_read(self, entries: list[StoredEntry]) -> None:
        """Let entries from the store go out, as far as the window reaches."""
        device = self.session.device
        for entry in entries:
            if entry.seq <= self.sent:
                continue  # memory gave it while the store was being read
            if not self.push(entry.seq, pack_entry(entry, own=entry.device == device)):
                return

    def acknowledge(self, seq: int) -> None:
        """Free the window of what the device has stored."""
        in_flight = self._in_flight
        while in_flight and in_flight[0][0] <= seq:
            self._in_flight_bytes -= in_flight.popleft()[1]

    def start_at(self, seq: int) -> None:
        """Begin with the entry at `seq`, which adds the device."""
        self.is_member = True
        self.sent = max(self.sent, seq - 1)

    def take_frames(self) -> list[bytes]:
        """The `Entries` frames of what is to go out."""
        packed, self._packed = self._packed, []
        if len(packed) <= _FRAME_ENTRIES and sum(map(len, packed)) <= _FRAME_BYTES:
            return [encode_entries(self.room.entries_prefix, packed)]
        return [encode_entries(self.room.entries_prefix, run) for run in _runs(packed)]


def pack_entry(entry: StoredEntry, *, own: bool) -> bytes:
    """An entry for its own device, without the body it has already, or for another, without its counter."""
    if own:
        return encode_entry((entry.seq, entry.kind, entry.after_commit, entry.time_ms, entry.counter, None))
    return encode_entry((entry.seq, entry.kind, entry.after_commit, entry.time_ms, 0, entry.body))


def _runs(packed: list[bytes]) -> list[list[bytes]]:
    runs: list[list[bytes]] = [[]]
    size = 0
    for entry in packed:
        if runs[-1] and (len(runs[-1]) == _FRAME_ENTRIES or size + len(entry) > _FRAME_BYTES):
            runs.append([])
            size = 0
        runs[-1].append(entry)
        size += len(entry)
    return runs
