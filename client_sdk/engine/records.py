"""What the engine keeps in the vault, and its encoding: MessagePack arrays that begin with their version."""

from __future__ import annotations

from dataclasses import dataclass, field, fields
from enum import StrEnum
from typing import Any, Final, Self, cast

from client_sdk.content.packing import PackingError, pack, unpack
from client_sdk.errors import VaultCorrupt

RECORD_VERSION: Final = 1


class Phase(StrEnum):
    """Where this device stands in a conversation."""

    OUTSIDE = "outside"
    """No group state: it creates the group, or waits to be added."""
    MEMBER = "member"
    REJOINING = "rejoining"
    """Out of step with the others: it waits for the stream's end and joins by external commit."""
    REPAIRING = "repairing"
    """The relay lost commits that this device has: they are offered to it again before anything else."""


class Record:
    """Encodes a dataclass whose fields are MessagePack values."""

    __slots__ = ()

    def serialize(self) -> bytes:
        """The record as bytes."""
        values = [getattr(self, f.name) for f in fields(cast(Any, self))]
        return pack([RECORD_VERSION, *values])

    @classmethod
    def parse(cls, data: bytes) -> Self:
        """The record in these bytes; raises `VaultCorrupt`."""
        try:
            values = unpack(data)
            if not isinstance(values, list) or values[0] != RECORD_VERSION:
                raise VaultCorrupt("A record of the vault is of another version.")
            return cls(*map(_tupled, values[1:]))
        except (PackingError, TypeError, ValueError) as error:
            raise VaultCorrupt("A record of the vault is damaged.") from error


def _tupled(value: Any) -> Any:
    return tuple(map(_tupled, value)) if isinstance(value, list) else value


@dataclass(frozen=True, slots=True)
class ConversationRecord(Record):
    """What this device durably knows of one conversation's stream, beside group state, outbox and hashes.

    `cursor` is the last position whose effect is stored here; `last_commit` the last commit entry up to
    there, void or not; `highest_epoch` and `spoken_epoch` count on where a new group takes over; `met` are
    the other users that ever took part. `peers` are of the form (device id, its user, the last position it
    attested).
    """

    phase: Phase = Phase.OUTSIDE
    incarnation: bytes = b""
    cursor: int = 0
    last_commit: int = 0
    highest_epoch: int = -1
    transcript: bytes = field(default=b"", repr=False)
    """The confirmed transcript hash of that epoch."""
    spoken_epoch: int = 0
    """The epoch of our last message in the stream, or of our joining."""
    next_inbox: int = 1
    met: tuple[str, ...] = ()
    admitted: tuple[str, ...] = ()
    """Further users whom a person on this device let in."""
    peers: tuple[tuple[bytes, str, int], ...] = ()
    current_at: int = 0
    """When this device last had the whole stream, in Unix seconds."""
    rejoin_reason: str = ""
    rejoined_at: int = 0
    starts_over: bool = False
    """A person decided to go on with whatever stream the relay has now."""
    alarm: bytes = field(default=b"", repr=False)
    owes_receipt: bool = False
    """Something came since the last message of ours."""
    unread: int = 0
    """Messages of the present epoch that did not open, since the last one that did."""
    read: int = 0
    """The position up to which this user has read, on any of their devices."""
    read_told: int = 0
    """The position up to which the others know it, or are not to know it."""
    reads: tuple[tuple[str, int], ...] = ()
    """The other users, and the position up to which each has read."""
    suite: int = 0
    """The MLS suite of the group that this device was last in; 0: it was in none."""
    entered: int = 0
    """The position of the commit by which this device came in, the last time."""
    kept_from: int = 1
    """What we said from this position on is kept as it was sent: some device may not have it yet."""
    kept_bytes: int = 0
    histories: tuple[tuple[bytes, int, bool], ...] = ()
    """Earlier incarnations of the stream, when each was over, and whether entries were missing then."""
    lost_from: int = 0
    """Where the relay was, as far as is known here, when its incarnation changed: the lowest of late."""
    has_lost: bool = False
    """Whether messages are known that the relay lost and that have not come again."""
    unheard: bool = False
    """In repair something came that this device has no keys for any more."""
    overtaken: bool = False
    """It rejoins because the relay lost the epoch that it was in: another one may have its number."""
    reoffers: tuple[bytes, ...] = ()
    """What of ours the relay lost, and has not got back yet."""
    removed: tuple[bytes, ...] = ()
    """Devices that this one saw leave, the newest last. One that is in the group has to leave again."""
    branch: int = -1
    """In repair: the epoch of the stream as far as it was read. No other history begins before it."""
    floor: int = -1
    """An epoch that the relay lost: nothing is said before the group is as far again."""

    def __post_init__(self) -> None:
        object.__setattr__(self, "phase", Phase(self.phase))


@dataclass(frozen=True, slots=True)
class OutboxRecord(Record):
    """What belongs to an item of the outbox: what it says, and its ciphertext once it is encrypted.

    `content` is the envelope as serialized before counter and attestation are known. `body` is stored with
    the group state that it used up, so that every retry sends the identical bytes.
    """

    id: bytes
    content: bytes = field(repr=False)
    blobs: tuple[str, ...] = ()
    in_history: bool = True
    body: bytes = field(default=b"", repr=False)
    message_counter: int = 0
    """What the ciphertext says inside: its counter, and what it attests."""
    attests: tuple[tuple[int, int, bytes], ...] = field(default=(), repr=False)
    """(epoch, seq, S), first the newest that was seen, then the closing values."""


@dataclass(frozen=True, slots=True)
class CommitRecord(Record):
    """A commit entry that this device accepted, byte for byte: offered again should the relay lose it.

    `epoch` is the one that it began, `at` when it was accepted.
    """

    body: bytes = field(repr=False)
    epoch: int
    at: int
    creates: bool = False
    """Whether it is this device's own first bundle of the stream."""


class CommitReason(StrEnum):
    """Why this device made a commit."""

    CREATE = "create"
    MEMBERSHIP = "membership"
    REJOIN = "rejoin"


@dataclass(frozen=True, slots=True)
class PendingCommit(Record):
    """A commit of ours that is on its way: `epoch_part` and `ratchet_part` count once its entry is seen."""

    id: bytes
    reason: CommitReason
    body: bytes = field(repr=False)
    epoch_part: bytes = field(repr=False)
    ratchet_part: bytes = field(repr=False)

    def __post_init__(self) -> None:
        object.__setattr__(self, "reason", CommitReason(self.reason))


@dataclass(frozen=True, slots=True)
class OpenCall(Record):
    """A call that this device began; what is known of it if the program ends before the call does."""

    call: bytes
    answered_by: str = ""
    device: bytes = b""


@dataclass(frozen=True, slots=True)
class UploadRecord(Record):
    """A file of ours on its way to the relay; `spool` names its sealed copy, `state` how far it is."""

    id: bytes
    sent_ms: int
    name: str = field(repr=False)
    media_type: str
    size: int
    key: bytes = field(repr=False)
    sealed_size: int
    sealed_hash: bytes = field(repr=False)
    spool: str
    state: bytes = b""
