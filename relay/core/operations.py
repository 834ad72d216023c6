"""What can be asked of a stream, as data: a store takes a batch of these and answers each."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

from relay.wire.errors import ErrorCode
from relay.wire.frames import EntryKind
from relay.wire.ids import DeviceId, EngagementId


class CreateStream(NamedTuple):
    """Make an empty stream; one that exists stays as it is. `incarnation` is 16 random bytes."""

    stream: EngagementId
    incarnation: bytes


class AppendEntries(NamedTuple):
    """Append entries of one device under the rules of PROTOCOL 4: one for each body.

    Their counters are consecutive, `counter` the first. A commit comes alone. `adds` and `removes` are the
    bundle's. `refusal` is what rules 6 and 7 say from records outside the stream (`not_on_roster`,
    `blob_not_found`): it takes its turn after the rules before it, so that a retry of a stored entry is still
    recognised.
    """

    stream: EngagementId
    device: DeviceId
    counter: int
    kind: EntryKind
    after_commit: int
    bodies: Sequence[bytes]
    now_ms: int
    adds: tuple[DeviceId, ...] = ()
    removes: tuple[DeviceId, ...] = ()
    refusal: ErrorCode | None = None


class AcknowledgeEntries(NamedTuple):
    """A device has stored everything up to `seq`."""

    stream: EngagementId
    device: DeviceId
    seq: int


class ExpireEntries(NamedTuple):
    """Erase what was appended before `before_ms`, and forget counters remembered since before `forget_ms`."""

    stream: EngagementId
    before_ms: int
    forget_ms: int


class EndStream(NamedTuple):
    """Erase the stream with everything that it has."""

    stream: EngagementId


Upkeep = CreateStream | AcknowledgeEntries | ExpireEntries | EndStream
Operation = AppendEntries | Upkeep


class Outcome(NamedTuple):
    """What became of an operation, or of the next `entries` entries of an append.

    With a `code` nothing was done. `fresh` is true if entries were appended now, false if this is the first
    answer to one again; `seq` and `time_ms` are the first entry's, and the others follow it with the same
    time; `last_commit` is the stream's afterwards. For acknowledgements and erasures `seq` is the floor.
    """

    seq: int
    time_ms: int
    fresh: bool
    code: ErrorCode | None
    last_commit: int
    entries: int = 1


class StoredEntry(NamedTuple):
    """An entry as a store holds it."""

    seq: int
    kind: EntryKind
    after_commit: int
    time_ms: int
    device: DeviceId
    counter: int
    body: bytes


class StreamView(NamedTuple):
    """A stream's state as others see it. Entries up to `floor` are erased, the newest commit excepted.

    `set_back`: the store was restored, or lost something; records of that time may be missing.
    """

    incarnation: bytes
    head: int
    last_commit: int
    floor: int
    members: dict[DeviceId, int]
    joined: dict[DeviceId, int]
    last_counters: dict[DeviceId, int]
    set_back: bool = False

    @property
    def first(self) -> int:
        """The seq from which on nothing is missing: the newest commit, kept beyond its time, may stand alone
        before it."""
        return self.floor if 0 < self.last_commit == self.floor else self.floor + 1
