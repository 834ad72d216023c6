"""What the application gets: each message as an object of its content's class, with who, when and where.

A received text is a `Text`, so `match item: case Text(): ...` works with the very class that is sent.
"""

from __future__ import annotations

from dataclasses import dataclass, field, fields
from datetime import UTC, datetime
from enum import StrEnum
from pathlib import Path
from typing import ClassVar, Final, Protocol

from client_sdk.attachments import OnProgress
from client_sdk.content import (
    CallEnded,
    CallInvite,
    CheckIn,
    CheckInAnswer,
    Content,
    Edit,
    File,
    Profile,
    Reaction,
    Receipt,
    Retract,
    Text,
    Unknown,
)
from client_sdk.engine.people import Person
from client_sdk.errors import UsageError

_LAST_MS: Final = int(datetime(9999, 12, 31, tzinfo=UTC).timestamp() * 1000)
"""A sender may claim any time; the calendar ends here."""


class Delivery(StrEnum):
    """How far a message of ours has come."""

    WAITING = "waiting"
    """On this device alone; `room.outbox` says why."""
    SENT = "sent"
    """The relay holds it durably."""
    DELIVERED = "delivered"
    """A device of somebody else has it."""
    READ = "read"
    """Somebody else has read it, as far as they tell."""


@dataclass(frozen=True, slots=True)
class Reacted:
    """One reaction to an item: whether this user gave it, and which others did, in that order."""

    emoji: str
    mine: bool
    others: tuple[Person, ...]


@dataclass(frozen=True, slots=True)
class Seen:
    """How far somebody else is: up to which position they have everything, and up to which they have read.

    An item of ours with a `seq` up to `delivered` is on a device of theirs; up to `read` they have read it.
    """

    person: Person
    delivered: int
    read: int


class Keeper(Protocol):
    """What an item asks of the conversation that it came from."""

    async def save_file(
        self, file: File, folder: Path, *, overwrite: bool, progress: OnProgress | None
    ) -> Path:
        """Download and open a file."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Origin:
    """Where an item comes from. `seq` is its position in the conversation, None while it waits here."""

    id: bytes
    sender: Person
    sent_ms: int
    seq: int | None
    mine: bool
    delivery: Delivery
    keeper: Keeper = field(repr=False, compare=False)
    edited: bool = False
    reactions: tuple[Reacted, ...] = ()
    delivered_to: tuple[Person, ...] = ()
    read_by: tuple[Person, ...] = ()


class Item:
    """What all items have."""

    __slots__ = ()
    origin: Origin

    @property
    def id(self) -> bytes:
        """16 bytes that name the item for ever: the same at each delivery and on each device."""
        return self.origin.id

    @property
    def sender(self) -> Person:
        """Who said it, as known when the item was read."""
        return self.origin.sender

    @property
    def sent_at(self) -> datetime:
        """When, by the sender's clock; in UTC."""
        return datetime.fromtimestamp(min(self.origin.sent_ms, _LAST_MS) / 1000, UTC)

    @property
    def seq(self) -> int | None:
        """Its position in the conversation, the same for everybody; None while it waits on this device."""
        return self.origin.seq

    @property
    def mine(self) -> bool:
        """Whether this user said it."""
        return self.origin.mine

    @property
    def delivery(self) -> Delivery:
        """How far it has come, if it is ours."""
        return self.origin.delivery

    @property
    def delivered_to(self) -> tuple[Person, ...]:
        """The others who have it on a device, if it is ours; those who have read it included."""
        return self.origin.delivered_to

    @property
    def read_by(self) -> tuple[Person, ...]:
        """The others who have read it, if it is ours and they tell."""
        return self.origin.read_by

    @property
    def edited(self) -> bool:
        """Whether its author has changed it since; only the newest words are kept."""
        return self.origin.edited

    @property
    def reactions(self) -> tuple[Reacted, ...]:
        """The reactions to it, in the order of `REACTIONS`."""
        return self.origin.reactions


@dataclass(frozen=True, slots=True, kw_only=True)
class TextItem(Item, Text):
    """A text in a conversation."""

    origin: Origin


@dataclass(frozen=True, slots=True, kw_only=True)
class CheckInItem(Item, CheckIn):
    """A check-in in a conversation; answer it with `room.answer(item, {...})`."""

    origin: Origin


@dataclass(frozen=True, slots=True, kw_only=True)
class CheckInAnswerItem(Item, CheckInAnswer):
    """The answers to a check-in."""

    origin: Origin


@dataclass(frozen=True, slots=True, kw_only=True)
class ProfileItem(Item, Profile):
    """Somebody said what they want to be called."""

    origin: Origin


@dataclass(frozen=True, slots=True, kw_only=True)
class FileItem(Item, File):
    """A file in a conversation."""

    origin: Origin

    async def save(
        self, folder: str | Path, *, overwrite: bool = False, progress: OnProgress | None = None
    ) -> Path:
        """Download, check and open the file into a folder; returns its path.

        Nothing stands under the file's name before all of it is checked. Cancelled, or cut off, it goes on
        from there the next time. Raises `AttachmentError`.
        """
        return await self.origin.keeper.save_file(self, Path(folder), overwrite=overwrite, progress=progress)


@dataclass(frozen=True, slots=True, kw_only=True)
class CallInviteItem(Item, CallInvite):
    """Somebody called; whether it still rings, a `Ring` says."""

    origin: Origin


@dataclass(frozen=True, slots=True, kw_only=True)
class CallEndedItem(Item, CallEnded):
    """How a call went, told by who called; `elsewhere` names another device of this user that took part."""

    origin: Origin
    elsewhere: str = ""

    @property
    def missed(self) -> bool:
        """Whether somebody called and this user did not take it."""
        return not self.mine and self.outcome in ("missed", "cancelled")


@dataclass(frozen=True, slots=True, kw_only=True)
class UnknownItem(Item, Unknown):
    """Something that this version does not know: show `fallback`."""

    origin: Origin


@dataclass(frozen=True, slots=True, kw_only=True)
class Retracted(Item):
    """Its author took it back: nothing of what it said is on this device any more."""

    KIND: ClassVar[str] = "retracted"

    origin: Origin


class Change(StrEnum):
    """What somebody did with an item."""

    EDITED = "edited"
    RETRACTED = "retracted"
    REACTED = "reacted"
    REACTION_TAKEN_BACK = "reaction_taken_back"


@dataclass(frozen=True, slots=True, kw_only=True)
class Changed(Item):
    """An item has changed; `sender` is who did it, `item` the item as it is now. Only `items()` gives it."""

    KIND: ClassVar[str] = "changed"

    origin: Origin
    change: Change
    item: AnyItem
    emoji: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class Gap(Item):
    """Here something is missing from this device's history; `reason` says why."""

    KIND: ClassVar[str] = "gap"

    origin: Origin
    reason: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Alarm(Item):
    """A security alarm was raised: sending has stopped until a person decides (`room.alarm`)."""

    KIND: ClassVar[str] = "alarm"

    origin: Origin
    code: str
    sentence: str


AnyItem = (
    TextItem
    | CheckInItem
    | CheckInAnswerItem
    | ProfileItem
    | FileItem
    | CallInviteItem
    | CallEndedItem
    | UnknownItem
    | Retracted
    | Gap
    | Alarm
)

_ITEMS: Final[dict[type[Content], type[AnyItem]]] = {
    Text: TextItem,
    CheckIn: CheckInItem,
    CheckInAnswer: CheckInAnswerItem,
    Profile: ProfileItem,
    File: FileItem,
    CallInvite: CallInviteItem,
    CallEnded: CallEndedItem,
    Unknown: UnknownItem,
}


def item_of(content: Content, origin: Origin) -> AnyItem:
    """The item of what was said; raises `UsageError` for a receipt and for what is about another item."""
    if isinstance(content, Receipt | Edit | Retract | Reaction):
        raise UsageError("This is no item of its own.")
    values = {f.name: getattr(content, f.name) for f in fields(content)}
    return _ITEMS[type(content)](origin=origin, **values)
