"""The streams of the fake relay: the append rules of PROTOCOL 4, and the handles by which a relay lies."""

from __future__ import annotations

import hashlib
from collections.abc import Callable
from dataclasses import dataclass, field, replace

from relay.wire import Bundle, EntryKind, WireError
from relay.wire import frames as fr
from relay.wire.ids import DeviceId, EngagementId, UserId
from relay.wire.limits import COUNTER_WINDOW


@dataclass(frozen=True, slots=True)
class Stored:
    """One entry as the relay holds it."""

    seq: int
    kind: EntryKind
    after_commit: int
    time_ms: int
    body: bytes
    device: DeviceId
    counter: int

    def seen_by(self, device: DeviceId) -> fr.Entry:
        own = self.device == device
        counter, body = (self.counter, None) if own else (0, self.body)
        return fr.Entry(self.seq, self.kind, self.after_commit, self.time_ms, counter, body)


@dataclass(slots=True)
class Counters:
    last: int = 0
    window: dict[int, tuple[int, bytes]] = field(default_factory=dict)


@dataclass(slots=True)
class Log:
    """One version of a stream; an honest relay has only one of each."""

    entries: list[Stored] = field(default_factory=list)
    head: int = 0
    last_commit: int = 0
    members: dict[DeviceId, int] = field(default_factory=dict)
    """The device's cursor."""
    joined: dict[DeviceId, int] = field(default_factory=dict)
    """The position of the bundle that added the device: it gets nothing from before it."""
    counters: dict[DeviceId, Counters] = field(default_factory=dict)
    set_back: bool = False
    """The relay was restored, and may not know devices any more that were here."""

    @property
    def first(self) -> int:
        return self.entries[0].seq if self.entries else self.head + 1

    def after(self, seq: int) -> list[Stored]:
        return [entry for entry in self.entries if entry.seq > seq]

    def append(
        self, device: DeviceId, frame: fr.Append, time_ms: int, users: dict[DeviceId, UserId]
    ) -> int | str:
        """The position of the entry, or the code that refuses it."""
        refusal = self._refusal(device, frame, users)
        if refusal is not None:
            return refusal
        counters = self.counters.setdefault(device, Counters())
        self.store(
            Stored(self.head + 1, frame.kind, frame.after_commit, time_ms, frame.body, device, frame.counter)
        )
        counters.last = frame.counter
        counters.window[frame.counter] = (self.head, digest(frame))
        counters.window.pop(frame.counter - COUNTER_WINDOW, None)
        return self.head

    def store(self, entry: Stored) -> None:
        """Put an entry at the end, by no rule at all."""
        self.entries.append(entry)
        self.head = entry.seq
        if entry.kind is not EntryKind.COMMIT:
            return
        first = self.last_commit == 0
        self.last_commit = entry.seq
        try:
            bundle = Bundle.parse(entry.body)
        except WireError:
            return
        for removed in set(bundle.removes) - set(bundle.adds):
            self.members.pop(removed, None)
        for added in [entry.device] * first + list(bundle.adds):
            self.members[added] = max(self.members.get(added, 0), entry.seq - 1)
            self.joined[added] = entry.seq

    def _refusal(self, device: DeviceId, frame: fr.Append, users: dict[DeviceId, UserId]) -> int | str | None:
        creates = frame.kind is EntryKind.COMMIT and frame.after_commit == 0 == self.last_commit
        counters = self.counters.setdefault(device, Counters())
        if frame.counter <= counters.last:
            known = counters.window.get(frame.counter)
            if known is None:
                return "duplicate"
            return known[0] if known[1] == digest(frame) else "conflict"
        if device not in self.members and not creates:
            return "stale" if frame.after_commit < self.last_commit else "not_member"
        if frame.counter > counters.last + 1:
            return "counter_gap"
        if frame.after_commit != self.last_commit:
            return "stale" if frame.after_commit < self.last_commit else "ahead"
        if frame.kind is EntryKind.COMMIT:
            try:
                added = Bundle.parse(frame.body).adds
            except WireError:
                return "bundle_invalid"
            if any(name not in users for name in added) and not self.set_back:
                return "not_on_roster"
        return None

    def copy(self) -> Log:
        """A second version of this log, which goes its own way from here."""
        return replace(
            self,
            entries=list(self.entries),
            members=dict(self.members),
            joined=dict(self.joined),
            counters={d: Counters(c.last, dict(c.window)) for d, c in self.counters.items()},
        )

    def truncate(self, head: int) -> None:
        """Forget everything after this position, as a relay restored from an old copy has."""
        gone = [entry for entry in self.entries if entry.seq > head]
        self.entries = [entry for entry in self.entries if entry.seq <= head]
        self.head = head
        self.last_commit = max((e.seq for e in self.entries if e.kind is EntryKind.COMMIT), default=0)
        for entry in gone:
            counters = self.counters[entry.device]
            counters.last = min(counters.last, entry.counter - 1)
            counters.window.pop(entry.counter, None)
        for device, cursor in self.members.items():
            self.members[device] = min(cursor, head)

    def expire(self, first: int) -> None:
        """Erase everything before this position, the newest commit's entry excepted (as retention does)."""
        self.entries = [e for e in self.entries if e.seq >= first or e.seq == self.last_commit]


def digest(frame: fr.Append) -> bytes:
    return hashlib.sha256(b"%d %d " % (frame.kind, frame.after_commit) + frame.body).digest()


@dataclass(slots=True)
class Stream:
    """An engagement's stream: the true log, and a log of its own for each device that is lied to."""

    id: EngagementId
    incarnation: bytes
    log: Log = field(default_factory=Log)
    forks: dict[DeviceId, Log] = field(default_factory=dict)
    tamper: Callable[[DeviceId, fr.Entry], fr.Entry | None] | None = None
    """Alters, or with None withholds, an entry on its way to a device."""

    def log_of(self, device: DeviceId) -> Log:
        return self.forks.get(device, self.log)

    def fork(self, device: DeviceId) -> Log:
        """From now on this device reads and writes a log of its own."""
        self.forks[device] = self.log.copy()
        return self.forks[device]
