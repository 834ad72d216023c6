"""What a device remembers of the stream, and how far a relay that lost entries still agrees with it.

docs/PROTOCOL.md section 4.1. Pure.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import astuple, dataclass, field, fields
from typing import Any, Final, Self, cast

from relay.wire.frames import Entry, EntryKind

from ..content.envelope import Attest
from ..content.packing import pack, unpack
from ..errors import RecordInvalid
from .alarms import StreamReplaced
from .attest import RECENT, AttestLog
from .stream_hash import HASH_BYTES

MOST_PASSED: Final = 4096
"""Entries that a device remembers, about 200 bytes each: what two people say in weeks. A relay that lost more
of a stream than that is an alarm."""

MOST_COMPARED: Final = 255
"""Entries that are read again to see whether the relay still has them: they fit into its delivery window."""

MOST_LOSSES: Final = 8
"""Times in a day that entries may be missing by a new incarnation before it is no bad luck any more. Each of
them lets a relay that lies put into another order what was said since."""

MOST_HISTORIES: Final = 32
"""New incarnations in a day of any kind: a database may fail over now and then, and lose nothing by it."""

HISTORIES_SECONDS: Final = 86_400
MOST_REMEMBERED: Final = 64
"""Earlier incarnations of a stream that are known: none of them can ever come again."""

UNKNOWN: Final = bytes(HASH_BYTES)
"""Stands for a stream hash of an epoch whose keys this device does not have any more."""

_FORMAT: Final = 1


@dataclass(frozen=True, slots=True)
class Passed:
    """One entry that this device has processed. ``counter`` is that of its append if it is our own, else 0.

    Of a message also: its id, who sent it (``device``), its counter inside, and what it attests.
    """

    seq: int
    kind: int
    after_commit: int
    body_hash: bytes = field(repr=False)
    stream_hash: bytes = field(repr=False)
    epoch: int
    counter: int = 0
    at: int = 0
    """When it was processed here, in Unix seconds."""
    id: bytes = b""
    device: bytes = b""
    message_counter: int = 0
    attest_epoch: int = -1
    attest_seq: int = 0
    attest_hash: bytes = field(default=b"", repr=False)

    @property
    def own(self) -> bool:
        return self.counter > 0

    @property
    def last_commit(self) -> int:
        """The newest commit entry when this one had passed."""
        return self.seq if self.kind == EntryKind.COMMIT else self.after_commit

    @property
    def attest(self) -> Attest | None:
        return Attest(self.attest_epoch, self.attest_seq, self.attest_hash) if self.attest_hash else None

    def is_same(self, entry: Entry, body_hash: bytes | None) -> bool:
        """Whether the relay's entry at this position is this one; ``body_hash`` is None for our own."""
        if (entry.seq, int(entry.kind), entry.after_commit) != (self.seq, self.kind, self.after_commit):
            return False
        if body_hash is None:
            return self.own and entry.counter == self.counter
        return not self.own and body_hash == self.body_hash

    def serialize(self) -> bytes:
        """Encode for the vault."""
        return pack([_FORMAT, *astuple(self)])

    @classmethod
    def parse(cls, data: bytes) -> Self:
        """Decode from the vault; raises RecordInvalid."""
        try:
            version, *values = cast(list[object], unpack(data))
            if version != _FORMAT:
                raise ValueError("another version")
            passed = cls(*cast(list[Any], values))
            kinds = [type(getattr(passed, one.name)) for one in fields(passed)]
            if kinds != [int if one.type == "int" else bytes for one in fields(passed)]:
                raise ValueError("a field of another form")
            if len(passed.stream_hash) != HASH_BYTES or len(passed.body_hash) != HASH_BYTES:
                raise ValueError("a hash of another length")
        except (ValueError, TypeError) as error:
            raise RecordInvalid("A stored entry of the stream is damaged. Restore the vault.") from error
        return passed


class Comparison:
    """Reads the newest entries that both have once more; ``agreed`` is how far the streams are the same.

    ``passed`` are the remembered entries up to ``upto``, the newest position that both have, at most
    ``MOST_COMPARED`` and without gaps; ``first`` is the relay's first position that is not erased, and
    ``entered`` the one by which this device came in: before that it knows nothing.
    """

    def __init__(self, passed: Mapping[int, Passed], *, upto: int, first: int, entered: int) -> None:
        self._passed = passed
        self._upto = upto
        self.base = min(passed, default=upto + 1) - 1
        """Compared are the positions after this one."""
        self.agreed: int | None = None
        """The last position up to which nothing differs, once that is known; -1 if the first one differed."""
        self._next = max(self.base + 1, first)
        self._lacks_beginning = self._next == self.base + 1 != entered
        self._settle()

    @property
    def same_upto(self) -> int:
        """The last position that was read again and is the same, or that is erased."""
        return self._next - 1

    def feed(self, entry: Entry, body_hash: bytes | None) -> None:
        """The relay's next entry; what lies outside the comparison changes nothing."""
        known = self._passed.get(entry.seq)
        if self.agreed is not None or known is None or entry.seq > self._upto:
            return
        if entry.seq < self._next:
            if not known.is_same(entry, body_hash):  # the newest commit, kept beyond its time
                self.agreed = -1
        elif entry.seq > self._next or not known.is_same(entry, body_hash):
            first_differs = self._lacks_beginning and self._next == self.base + 1
            self.agreed = -1 if first_differs else self._next - 1
        else:
            self._next += 1
            self._settle()

    def _settle(self) -> None:
        if self._next > self._upto:
            self.agreed = self._upto


def log_at(passed: Sequence[Passed], closings: Sequence[Attest]) -> AttestLog | None:
    """The attest log as it was behind the last of these entries, which stand in order; None if unknown."""
    if not passed or passed[-1].stream_hash == UNKNOWN:
        return None
    last = passed[-1]
    recent: list[bytes] = []
    for row in reversed(passed[-RECENT:]):
        if row.stream_hash == UNKNOWN or row.epoch != last.epoch or row.seq != last.seq - len(recent):
            break
        recent.append(row.stream_hash)
    kept = tuple(closing for closing in closings if closing.epoch < last.epoch and closing.seq <= last.seq)
    return AttestLog(last.epoch, last.seq, last.last_commit, tuple(reversed(recent)), kept)


Histories = tuple[tuple[bytes, int, bool], ...]
"""Incarnations that a stream had, the oldest first: each with the time at which it was another one, and
whether entries were missing then."""


def after_incarnation(known: Histories, before: bytes, now: bytes, *, at: int, lost: bool) -> Histories:
    """The stream's incarnation is another one; raises StreamReplaced if that cannot be bad luck any more."""
    lately = [was_lost for _, since, was_lost in known if abs(at - since) < HISTORIES_SECONDS]
    returned = any(now == earlier for earlier, *_ in known)
    losses = sum(lately) + lost
    if returned or len(lately) >= MOST_HISTORIES or losses > MOST_LOSSES:
        raise StreamReplaced(before=before, now=now, in_a_day=len(lately) + 1, losses=losses)
    return (*known, (before, at, lost))[-MOST_REMEMBERED:]
