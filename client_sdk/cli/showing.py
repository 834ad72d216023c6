"""How items of a conversation look in a terminal: one line each, or a few."""

from __future__ import annotations

from collections import deque
from collections.abc import Mapping
from datetime import datetime
from types import MappingProxyType
from typing import Final

from client_sdk.cli.printable import one_line, printable
from client_sdk.cli.progress import megabytes
from client_sdk.engine.items import (
    Alarm,
    AnyItem,
    CallEndedItem,
    CallInviteItem,
    Change,
    Changed,
    CheckInAnswerItem,
    CheckInItem,
    Delivery,
    FileItem,
    Gap,
    Item,
    ProfileItem,
    Retracted,
    TextItem,
    UnknownItem,
)

SHORT_ID: Final = 8
"""Characters of an item's id that are shown: enough to name one among thousands."""

REMEMBERED: Final = 1000
"""Items of which is known that they were shown: more than come twice."""

QUOTED: Final = 60
"""Characters of a message that are repeated where somebody answers it or does something with it."""

_TICKS: Final = {
    Delivery.WAITING: "  (waiting to be sent)",
    Delivery.SENT: "  ✓ sent",
    Delivery.DELIVERED: "  ✓✓ delivered",
    Delivery.READ: "  ✓✓ read",
}

_OUTCOMES: Final = {
    "answered": "a call of {seconds} s",
    "declined": "a call, declined",
    "missed": "a call that nobody answered",
    "cancelled": "a call, given up",
    "failed": "a call that could not be connected",
}


class Shown:
    """Shows items one after the other, and knows which were shown already and what answers belong to."""

    def __init__(self, *, ids: bool = False) -> None:
        self._show_ids = ids
        self._ids: deque[bytes] = deque(maxlen=REMEMBERED)
        self._last_seq = 0
        self._questions: dict[bytes, dict[str, str]] = {}

    def has(self, item: AnyItem) -> bool:
        """Whether the item, or something after it, was shown."""
        return item.id in self._ids or (item.seq or self._last_seq + 1) <= self._last_seq

    def text_of(self, item: AnyItem, answered: AnyItem | None = None) -> str:
        """Return the item for a terminal, and remember it as shown; `answered` is what it replies to."""
        self._ids.append(item.id)
        self._last_seq = max(self._last_seq, item.seq or 0)
        if isinstance(item, CheckInItem):
            self._questions[item.id] = {question.id: question.text for question in item.questions}
        asked = self._questions.get(item.checkin, {}) if isinstance(item, CheckInAnswerItem) else {}
        text = shown(item, asked, answered)
        return f"{short_id(item)}  {text}" if self._show_ids else text


def short_id(item: AnyItem) -> str:
    """Return the few characters by which commands name an item."""
    return item.id.hex()[:SHORT_ID]


def shown(
    item: AnyItem, asked: Mapping[str, str] = MappingProxyType({}), answered: AnyItem | None = None
) -> str:
    """Return the item for a terminal, with nothing in it that could steer the terminal.

    `asked` has the questions, by their ids, of the check-in that is answered; `answered` is what a text
    replies to.
    """
    match item:
        case Gap():
            return f"{_when(item)}  -- something is missing here: {one_line(item.reason)}"
        case Alarm():
            return f"{_when(item)}  !! SECURITY ALARM: {one_line(item.sentence)}"
        case Retracted():
            return f"{_when(item)}  {_who(item)} took back a message"
    first, *rest = _said(item, asked)
    last = [*_reply_line(item, answered), *_reactions_line(item)]
    head = f"{_when(item)}  {_who(item)}: "
    return "\n".join([head + first + _state(item), *(" " * 4 + line for line in (*rest, *last))])


def changed(event: Changed) -> str:
    """Return the line that says who did what with an item that was there before."""
    about = quoted(event.item)
    what = {
        Change.EDITED: f"changed a message to: {about}",
        Change.RETRACTED: f"took back the message of {_when(event.item)}",
        Change.REACTED: f"{event.emoji} for {about}",
        Change.REACTION_TAKEN_BACK: f"took back {event.emoji} for {about}",
    }[event.change]
    return f"{_when(event)}  {_who(event)} {what}"


def quoted(item: AnyItem) -> str:
    """Return the beginning of an item, by which a person knows which one is meant."""
    if isinstance(item, Retracted):
        return "a message that was taken back"
    words = one_line(_said(item, {})[0])
    return f"“{words[:QUOTED]}…”" if len(words) > QUOTED else f"“{words}”"


def _reply_line(item: AnyItem, answered: AnyItem | None) -> list[str]:
    if not isinstance(item, TextItem) or item.reply_to is None:
        return []
    if answered is None:
        return ["↳ in reply to a message that is not on this device"]
    whose = "your message" if answered.mine else one_line(answered.sender.name)
    return [f"↳ in reply to {whose}: {quoted(answered)}"]


def _reactions_line(item: AnyItem) -> list[str]:
    parts = []
    for reacted in item.reactions:
        names = ["you"] if reacted.mine else []
        names += [one_line(person.name) for person in reacted.others]
        parts.append(f"{reacted.emoji} {', '.join(names)}")
    return ["   ".join(parts)] if parts else []


def question_line(item: CheckInItem, index: int) -> str:
    """Return a question of a check-in with the answers it takes."""
    question = item.questions[index]
    takes = {
        "scale": f"{question.min} to {question.max}",
        "choice": " / ".join(map(one_line, question.choices)),
        "text": "in your words",
    }
    return f"{index + 1}. {one_line(question.text)}  [{takes[question.answer]}]"


def _said(item: AnyItem, asked: Mapping[str, str]) -> list[str]:
    match item:
        case TextItem():
            return printable(item.text).split("\n")
        case CheckInItem():
            lines = [question_line(item, index) for index in range(len(item.questions))]
            return [f"check-in {short_id(item)}: {one_line(item.prompt)}", *lines]
        case CheckInAnswerItem():
            answers = [
                f"{one_line(asked.get(key, key))}  {one_line(str(value))}"
                for key, value in item.answers.items()
            ]
            return [f"answers to check-in {item.checkin.hex()[:SHORT_ID]}:", *answers]
        case FileItem():
            return [f"file {short_id(item)}: {one_line(item.name)} ({megabytes(item.size)})"]
        case ProfileItem():
            return [f"I am called {one_line(item.name)}."]
        case CallInviteItem():
            return ["called"]
        case CallEndedItem():
            return [_call_line(item)]
        case UnknownItem():
            return [
                f"{one_line(item.fallback)} (this version of coach does not know “{one_line(item.kind)}”)"
            ]
    return ["something that this version of coach does not know"]


def _who(item: Item) -> str:
    return "you" if item.mine else one_line(item.sender.name)


def _state(item: AnyItem) -> str:
    edited = "  (edited)" if item.edited else ""
    has_ticks = item.mine and not isinstance(item, CallInviteItem | CallEndedItem)
    return edited + (_TICKS[item.delivery] if has_ticks else "")


def _call_line(item: CallEndedItem) -> str:
    if item.missed:
        return "a call that you missed"
    where = f" on {one_line(item.elsewhere)}" if item.elsewhere else ""
    if item.outcome == "answered" and where:
        where = f", answered{where}"
    return _OUTCOMES[item.outcome].format(seconds=item.seconds) + where


def _when(item: Item) -> str:
    local: datetime = item.sent_at.astimezone()
    return f"{local:%Y-%m-%d %H:%M}"
