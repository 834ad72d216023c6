"""One part of an archive: sealed for the holder of the recovery words alone, signed by who wrote it.

The device that writes an archive cannot read it, nor can who steals that device: only the recovery words can.
Portal, user, engagement, series, number and the part before are bound into the sealing, so that no part
opens in another's place (docs/PROTOCOL.md section 16).
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace
from typing import Any, Final, Self

import nacl.exceptions
import nacl.signing

from client_sdk.content.packing import MAX_COUNT, PackingError, pack, unpack
from client_sdk.content.padding import padded_length
from client_sdk.engine.handed import handed_item
from client_sdk.engine.records import Record
from client_sdk.errors import ArchiveDamaged
from client_sdk.identity import KeyPair, RecoverySeed, SignatureInvalid, verify_signature
from client_sdk.mls import SUITE_3, MLSError
from client_sdk.vault import HistoryItem
from relay.wire.ids import EngagementId, PortalId, UserId, label

FORMAT: Final = 1
HEAD_BYTES: Final = 32
NO_HEAD: Final = bytes(HEAD_BYTES)
_LENGTH_BYTES: Final = 4
_GONE_FIELDS: Final = 1
_WRITER: Final = "archive writer"
_COLUMNS: Final = (
    *("id", "seq", "sent_ms", "sender_user", "sender_device"),
    *("kind", "text", "payload", "mine", "about"),
)
"""Of an item's row, without the conversation."""


@dataclass(frozen=True, slots=True)
class ArchiveRecord(Record):
    """How far the archive of a conversation is: `pending` is a part on its way, up to `pending_upto`."""

    series: bytes
    parts: int = 0
    head: bytes = NO_HEAD
    upto: int = 0
    pending: bytes = field(default=b"", repr=False)
    pending_upto: int = 0
    told: int = 0
    """The number of parts that the others were last told of, and when, in Unix seconds."""
    told_at: int = 0


@dataclass(frozen=True, slots=True)
class Progress(Record):
    """How far a series has come back: after a cut it goes on there."""

    parts: int = 0
    head: bytes = NO_HEAD


@dataclass(frozen=True, slots=True)
class Place:
    """Where a part stands; `previous` is the head of the part before."""

    portal: PortalId
    user: UserId
    engagement: EngagementId
    series: bytes
    number: int = 1
    previous: bytes = NO_HEAD

    @property
    def context(self) -> bytes:
        """All of it as bytes, to be bound."""
        return pack([self.portal, self.user, self.engagement, self.series, self.number, self.previous])

    def after(self, part: bytes) -> Self:
        """The place behind this part."""
        return replace(self, number=self.number + 1, previous=head_of(part))


@dataclass(frozen=True, slots=True)
class Restored:
    """How much of an earlier series counts: what was restored from it."""

    engagement: str
    series: bytes
    parts: int
    head: bytes


@dataclass(frozen=True, slots=True)
class Writer:
    """The recovery key's word that a device may write this user's archives from now on.

    Of series whose writer has a lower `rank` only what `before` names counts: so nobody who has an earlier
    device adds to them after a recovery.
    """

    device_key: bytes
    rank: int
    before: Sequence[Restored] = ()

    def signed(self, portal: PortalId, user: UserId, recovery: KeyPair) -> bytes:
        """As it stands in the first part of each series."""
        before = [[known.engagement, known.series, known.parts, known.head] for known in self.before]
        body = pack([FORMAT, portal, user, self.device_key, self.rank, before])
        return pack([body, recovery.sign(_WRITER, body)])

    @classmethod
    def verify(cls, data: bytes, portal: PortalId, user: UserId, recovery_key: bytes) -> Self:
        """The writer in these bytes; raises `ArchiveDamaged` if the recovery key did not sign it."""
        try:
            body, signature = _fields(unpack(data), bytes, bytes)
            verify_signature(recovery_key, _WRITER, body, signature)
            form, its_portal, its_user, device_key, rank, before = _fields(
                unpack(body), int, str, str, bytes, int, list
            )
            if (form, its_portal, its_user) != (FORMAT, portal, user):
                raise ValueError("of another user")
            known = [Restored(*_fields(one, str, bytes, int, bytes)) for one in before]
            return cls(device_key, rank, known)
        except (PackingError, ValueError, SignatureInvalid) as error:
            raise ArchiveDamaged("A series of the archive was not begun by a device of its owner.") from error


@dataclass(frozen=True, slots=True)
class Changed:
    """An item of the history as it is now; None if it is gone."""

    id: bytes
    item: HistoryItem | None


@dataclass(frozen=True, slots=True)
class Content:
    """What a part holds; `writer` is the `Writer` of the series, in its first part.

    `at_ms` is when it was written; `people` are of the form (user, trust record, name).
    """

    at_ms: int
    changed: Sequence[Changed] = ()
    people: Sequence[tuple[str, bytes, str]] = ()
    writer: bytes = field(default=b"", repr=False)

    def serialize(self) -> bytes:
        """The content as bytes."""
        rows = [[c.id] if c.item is None else [c.id, *c.item.to_row()[2:]] for c in self.changed]
        return pack([FORMAT, self.at_ms, rows, [list(person) for person in self.people], self.writer])

    @classmethod
    def parse(cls, data: bytes, engagement: EngagementId) -> Self:
        """The content in these bytes; raises `ArchiveDamaged`."""
        try:
            form, at_ms, rows, people, writer = _fields(unpack(data), int, int, list, list, bytes)
            if form != FORMAT:
                raise ArchiveDamaged("A part of the archive was written by a newer version of the app.")
            changed = [_changed(engagement, row) for row in rows]
            return cls(at_ms, changed, [_fields(one, str, bytes, str) for one in people], writer)
        except (PackingError, ValueError) as error:
            raise ArchiveDamaged("A part of the archive is not one that a device wrote.") from error


def _changed(engagement: EngagementId, row: object) -> Changed:
    if not isinstance(row, list):
        raise ValueError("an item of another form")
    if len(row) == _GONE_FIELDS:
        (gone,) = _fields(row, bytes)
        return Changed(gone, None)
    item = handed_item(engagement, dict(zip(_COLUMNS, row, strict=False)))
    return Changed(item.id, item)


def _fields(value: object, *kinds: type) -> Any:
    """The elements of a list of exactly these kinds, numbers not below 0; raises `ValueError`."""
    if not isinstance(value, list) or tuple(map(type, value)) != kinds:
        raise ValueError("a value of another form")
    if any(type(element) is int and not 0 <= element <= MAX_COUNT for element in value):
        raise ValueError("a number out of range")
    return tuple(value)


def head_of(part: bytes) -> bytes:
    """What the next part names as the one before."""
    return hashlib.sha256(label("archive part") + part).digest()


def seal_part(
    place: Place, content: Content, *, recovery_key: bytes, device: KeyPair, rng: Callable[[int], bytes]
) -> bytes:
    """The part as the relay keeps it."""
    plain = content.serialize()
    whole = _LENGTH_BYTES + len(plain)
    padded = len(plain).to_bytes(_LENGTH_BYTES, "big") + plain + bytes(padded_length(whole) - whole)
    public = bytes(nacl.signing.VerifyKey(recovery_key).to_curve25519_public_key())
    output, sealed = SUITE_3.hpke.seal(public, label("archive") + place.context, padded, rng)
    return pack([FORMAT, output, sealed, device.sign("archive", _signed(place, output, sealed))])


@dataclass(frozen=True, slots=True)
class Opened:
    """What came out of a part, and what its writer signed."""

    content: Content
    signed: bytes
    signature: bytes

    def check(self, device_key: bytes) -> None:
        """Whether this device wrote it; raises `ArchiveDamaged`."""
        try:
            verify_signature(device_key, "archive", self.signed, self.signature)
        except SignatureInvalid as error:
            raise ArchiveDamaged(
                "A part of the archive was not written by the device that began it."
            ) from error


def open_part(place: Place, part: bytes, seed: RecoverySeed) -> Opened:
    """Open a part that stands at this place, with the recovery words; raises `ArchiveDamaged`."""
    private = bytes(nacl.signing.SigningKey(seed.key.private).to_curve25519_private_key())
    try:
        form, output, sealed, signature = _fields(unpack(part), int, bytes, bytes, bytes)
        if form != FORMAT:
            raise ArchiveDamaged("A part of the archive was written by a newer version of the app.")
        padded = SUITE_3.hpke.open(private, output, label("archive") + place.context, sealed)
    except (PackingError, ValueError, MLSError) as error:
        raise ArchiveDamaged(
            "A part of the archive was altered, or stands in another one's place."
        ) from error
    length = int.from_bytes(padded[:_LENGTH_BYTES], "big")
    content = Content.parse(padded[_LENGTH_BYTES : _LENGTH_BYTES + length], place.engagement)
    return Opened(content, _signed(place, output, sealed), signature)


def _signed(place: Place, output: bytes, sealed: bytes) -> bytes:
    return place.context + hashlib.sha256(output + sealed).digest()
