"""The attest log: this device's stream hashes, and whether peers' attestations agree (PROTOCOL 8)."""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from typing import Self, cast

from relay.wire.frames import EntryKind

from ..content.envelope import MOST_CLOSINGS, Attest
from ..content.packing import pack, unpack
from ..errors import ContentMalformed, RecordInvalid
from . import stream_hash
from .alarms import StreamForked, StreamSkipped

RECENT = 256
"""Positions of the current epoch whose hash is remembered: the relay's delivery window, so that whoever sends
while online attests a position in it. An older one cannot be compared; the sender's next message can."""

CLOSINGS = 64
"""Closed epochs whose last hash is remembered: eight times what one message carries."""

_FORMAT = 1


@dataclass(frozen=True, slots=True)
class AttestLog:
    """Where this device stands in a stream, and the hashes up to there. Frozen: each step gives the next log.

    ``last_commit`` is the position of the newest commit entry, void ones included: what an append names.
    """

    epoch: int
    seq: int
    last_commit: int
    recent: tuple[bytes, ...] = field(repr=False)
    """S of the newest positions of this epoch, the last of them that of ``seq``."""
    closings: tuple[Attest, ...] = field(repr=False, default=())

    @classmethod
    def begin(
        cls, *, seq: int, after_commit: int, body_hash: bytes, epoch: int, epoch_authenticator: bytes
    ) -> Self:
        """At the commit by which this device created the group, was added to it, or rejoined."""
        entry = _entry(seq, EntryKind.COMMIT, after_commit, body_hash)
        start = stream_hash.after_commit(epoch_authenticator=epoch_authenticator, entry=entry)
        return cls(epoch=epoch, seq=seq, last_commit=seq, recent=(start,))

    def after_entry(self, *, seq: int, kind: EntryKind, after_commit: int, body_hash: bytes) -> Self:
        """Behind a message or a void commit; raises StreamSkipped or StreamForked."""
        self._check_next(seq, after_commit)
        entry = _entry(seq, kind, after_commit, body_hash)
        newest = stream_hash.after_entry(previous=self.recent[-1], entry=entry)
        last_commit = seq if kind is EntryKind.COMMIT else self.last_commit
        return replace(self, seq=seq, last_commit=last_commit, recent=(*self.recent[1 - RECENT :], newest))

    def after_commit(
        self, *, seq: int, after_commit: int, body_hash: bytes, epoch: int, epoch_authenticator: bytes
    ) -> Self:
        """Behind an accepted commit, whose new epoch is given; raises StreamSkipped or StreamForked."""
        self._check_next(seq, after_commit)
        entry = _entry(seq, EntryKind.COMMIT, after_commit, body_hash)
        start = stream_hash.after_commit(epoch_authenticator=epoch_authenticator, entry=entry)
        closings = (*self.closings, self.attest)[-CLOSINGS:]
        return replace(self, epoch=epoch, seq=seq, last_commit=seq, recent=(start,), closings=closings)

    @property
    def attest(self) -> Attest:
        """What this device attests now."""
        return Attest(self.epoch, self.seq, self.recent[-1])

    def closings_since(self, epoch: int) -> tuple[Attest, ...]:
        """The closing values from ``epoch`` (that of one's last message) on, at most the newest 8."""
        return tuple(c for c in self.closings if c.epoch >= epoch)[-MOST_CLOSINGS:]

    def check(self, attest: Attest, closings: tuple[Attest, ...], *, entry_seq: int) -> None:
        """Whether the message at ``entry_seq`` attests what this log, standing just before it, says too.

        Its sender had processed the newest commit (or the relay would have refused the message), and
        cannot have seen the message's own position. Positions this log no longer holds are not compared.
        Raises StreamForked.
        """
        if attest.epoch != self.epoch or not self.last_commit <= attest.seq < entry_seq:
            raise self._forked(attest, entry_seq)
        known = self.hash_at(attest.seq)
        if known is not None and known != attest.hash:
            raise self._forked(attest, entry_seq)
        mine = {closing.epoch: closing for closing in self.closings}
        for closing in closings:
            if closing.epoch >= self.epoch or mine.get(closing.epoch, closing) != closing:
                raise self._forked(closing, entry_seq)

    def hash_at(self, seq: int) -> bytes | None:
        """S at a position of the current epoch; None if this log does not hold it."""
        back = self.seq - seq
        return self.recent[-1 - back] if 0 <= back < len(self.recent) else None

    def _check_next(self, seq: int, after_commit: int) -> None:
        if seq != self.seq + 1:
            raise StreamSkipped(expected=self.seq + 1, got=seq)
        if after_commit != self.last_commit:
            raise StreamForked(seq=seq, last_commit=self.last_commit, after_commit=after_commit)

    def _forked(self, attest: Attest, entry_seq: int) -> StreamForked:
        return StreamForked(
            entry=entry_seq,
            attested_epoch=attest.epoch,
            attested_seq=attest.seq,
            attested_hash=attest.hash,
            own_epoch=self.epoch,
            own_seq=self.seq,
            own_hash=self.hash_at(attest.seq) or self.recent[-1],
        )

    def serialize(self) -> bytes:
        """Encode for the vault, at most about 12 KiB."""
        closings = [[c.epoch, c.seq, c.hash] for c in self.closings]
        return pack([_FORMAT, self.epoch, self.seq, self.last_commit, b"".join(self.recent), closings])

    @classmethod
    def parse(cls, data: bytes) -> Self:
        """Decode from the vault; raises RecordInvalid."""
        try:
            version, epoch, seq, last_commit, joined, closings = cast(list[object], unpack(data))
            if version != _FORMAT or not all(type(n) is int for n in (epoch, seq, last_commit)):
                raise ValueError("a field of another form")
            size = stream_hash.HASH_BYTES
            hashes = cast(bytes, joined)
            if not isinstance(joined, bytes) or not joined or len(joined) % size:
                raise ValueError("hashes of another form")
            return cls(
                epoch=cast(int, epoch),
                seq=cast(int, seq),
                last_commit=cast(int, last_commit),
                recent=tuple(hashes[i : i + size] for i in range(0, len(hashes), size)),
                closings=tuple(Attest(*c) for c in cast(list[tuple[int, int, bytes]], closings)),
            )
        except (ValueError, TypeError, ContentMalformed) as error:
            raise RecordInvalid("A stored attest log is damaged. Restore the vault from a backup.") from error


def _entry(seq: int, kind: EntryKind, after_commit: int, body_hash: bytes) -> bytes:
    return stream_hash.entry_hash(seq=seq, kind=int(kind), after_commit=after_commit, body_hash=body_hash)
