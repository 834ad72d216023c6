"""What was said, on its way into the history and to the application."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Final

from client_sdk.content import (
    Attest,
    BodyInvalid,
    CallEnded,
    CallInvite,
    CheckIn,
    CheckInAnswer,
    Content,
    Edit,
    Envelope,
    File,
    Profile,
    Reaction,
    Receipt,
    Retract,
    Text,
    Unknown,
)
from client_sdk.engine import spaces
from client_sdk.engine.records import Record
from client_sdk.engine.standing import Work
from client_sdk.vault import HistoryItem, Transaction
from relay.wire.ids import EngagementId

GAP: Final = "gap"
ALARM: Final = "alarm"
RETRACTED: Final = "retracted"
_ID_BYTES: Final = 16
SILENT: Final = (Receipt, Profile)
"""What no application is given as something said."""


@dataclass(frozen=True, slots=True)
class Said(Record):
    """The payload of an item of the history.

    `envelope` is the whole message. `signed` and `signature` are the bytes that the sender's device signed
    and its signature; `epoch` and `leaf` say under which GroupContext: evidence for a later disclosure.
    """

    envelope: bytes = field(repr=False)
    epoch: int = 0
    leaf: int = 0
    signed: bytes = field(default=b"", repr=False)
    signature: bytes = field(default=b"", repr=False)

    def content(self) -> Content:
        """What was said; something that this version cannot use comes as `Unknown`."""
        return read(self.envelope).content


def read(data: bytes) -> Envelope:
    """The message in these bytes; one whose body is unusable comes as `Unknown`. Raises `ContentError`."""
    try:
        return Envelope.parse(data)
    except BodyInvalid as error:
        return error.envelope


def searchable(content: Content) -> str:
    """The words by which a search finds it."""
    match content:
        case Text():
            return content.text
        case CheckIn():
            return "\n".join((content.prompt, *(question.text for question in content.questions)))
        case CheckInAnswer():
            return "\n".join(str(answer) for answer in content.answers.values())
        case File() | Profile():
            return content.name
        case Unknown():
            return content.fallback
        case CallInvite() | CallEnded() | Receipt() | Edit() | Retract() | Reaction():
            return ""  # the words of an edit are found at the message that has them now


def about(content: Content) -> bytes | None:
    """The id of the message that an amendment is about; None for what is said by itself."""
    return content.message if isinstance(content, Edit | Retract | Reaction) else None


def is_taken_back(envelope: Envelope) -> bool:
    """Whether this stands for a message of the same id that its sender has taken back since."""
    return isinstance(envelope.content, Retract) and envelope.content.message == envelope.id


def taken_back(message_id: bytes, sent_ms: int) -> Envelope:
    """What is said again in place of a message that was taken back: that there was one."""
    return Envelope(message_id, 1, Attest(0, 0, bytes(32)), (), sent_ms, Retract(message_id))


def keep_own(work: Work, user: str, device: bytes, envelope: bytes, said: Envelope) -> None:
    """What this device says, before it has a position."""
    work.tx.add_item(
        HistoryItem(
            conversation=work.engagement,
            id=said.id,
            seq=None,
            sent_ms=said.sent_ms,
            sender_user=user,
            sender_device=device,
            kind=said.kind,
            text=searchable(said.content),
            payload=Said(envelope).serialize(),
            mine=True,
            about=about(said.content),
        )
    )


def keep(work: Work, item: HistoryItem) -> bool:
    """Something that came: into the history and, if it is new there, before the application."""
    if not work.tx.add_item(item):
        return False
    announce(work, item.id)
    return True


def announce(work: Work, item_id: bytes) -> None:
    """Let the application have an item of the history."""
    number = work.record.next_inbox
    work.change(next_inbox=number + 1)
    work.tx.put(spaces.INBOX, spaces.numbered_key(work.engagement, number), item_id)


def keep_notice(work: Work, kind: str, text: str, seq: int, notice_id: bytes, *, code: str = "") -> None:
    """Something that nobody said: a gap, or an alarm."""
    keep(
        work,
        HistoryItem(
            conversation=work.engagement,
            id=notice_id,
            seq=seq or None,
            sent_ms=int(work.now * 1000),
            sender_user="",
            sender_device=b"",
            kind=kind,
            text=text,
            payload=code.encode(),
            mine=False,
        ),
    )


def waiting(
    tx: Transaction, engagement: EngagementId, after: bytes | None, limit: int
) -> list[tuple[bytes, bytes]]:
    """What the application has not taken yet: (key, item id), the oldest first."""
    return tx.scan(spaces.INBOX, spaces.conversation_key(engagement), limit=limit, after=after)


def taken(tx: Transaction, key: bytes) -> None:
    """The application has dealt with this item."""
    tx.delete(spaces.INBOX, key)
