"""The history: what was said, to be shown and searched."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from typing import Any, Self

import apsw

from ..errors import UnknownItem, UsageError
from .database import folded

UNPLACED = 2**63 - 1
"""Stored as the position of an item that the stream has not placed yet, so that it sorts as the newest."""

PAGE = 50
LONGEST_PAGE = 500
"""More than a screen ever shows; bounds the memory of one call."""

SEARCH_CHARS = 256
ITEM_BYTES = 1024 * 1024
"""A message is at most 64 KiB; the rest is room for what the engine adds to it."""

_COLUMNS = "conversation, id, position, sent_ms, sender_user, sender_device, kind, text, payload, mine, about"
_MARKS = ", ".join("?" * 11)
_SECOND = f"CASE WHEN position = {UNPLACED} OR sender_user = '' THEN row ELSE 0 END"
"""Orders what has no position of its own: what waits here, and notices, which stand behind the item there.

Two items that others said have one position only while one of them is not in the stream any more; then their
ids decide, so that all devices show the same order."""
_ORDER = f"position, {_SECOND}, id"
_NEWEST_FIRST = f"position DESC, {_SECOND} DESC, id DESC"


@dataclass(frozen=True, slots=True, kw_only=True)
class HistoryItem:
    """One message as it is kept.

    ``id`` names it within its conversation; ``seq`` is its position in the stream, None until it has one;
    ``sent_ms`` is the sender's clock; ``text`` is what a search looks in; ``payload`` is opaque. ``about``
    makes it an amendment: the id of the item that it changes, whether that is here or not.
    """

    conversation: str
    id: bytes
    seq: int | None
    sent_ms: int
    sender_user: str = field(repr=False)
    sender_device: bytes = field(repr=False)
    kind: str
    text: str = field(repr=False)
    payload: bytes = field(repr=False)
    mine: bool
    about: bytes | None = None

    def __post_init__(self) -> None:
        if len(self.payload) + len(self.text) > ITEM_BYTES:
            raise UsageError(f"An item of the history is longer than {ITEM_BYTES} bytes. Keep it as a file.")
        if self.seq is not None and not 1 <= self.seq < UNPLACED:
            raise UsageError("The position of an item in the history is out of range.")

    def to_row(self) -> tuple[Any, ...]:
        """The values of the columns."""
        return (
            self.conversation,
            self.id,
            UNPLACED if self.seq is None else self.seq,
            self.sent_ms,
            self.sender_user,
            self.sender_device,
            self.kind,
            self.text,
            self.payload,
            int(self.mine),
            self.about,
        )

    @classmethod
    def from_row(cls, row: tuple[Any, ...]) -> Self:
        """The item of a row."""
        conversation, item_id, position, sent_ms, user, device, kind, text, payload, mine, about = row
        return cls(
            conversation=conversation,
            id=item_id,
            seq=None if position == UNPLACED else position,
            sent_ms=sent_ms,
            sender_user=user,
            sender_device=device,
            kind=kind,
            text=text,
            payload=payload,
            mine=bool(mine),
            about=about,
        )


def add(connection: apsw.Connection, item: HistoryItem) -> bool:
    """Insert unless (conversation, id) is there; whether it was new."""
    connection.execute(
        f"INSERT INTO items ({_COLUMNS}) VALUES ({_MARKS}) ON CONFLICT DO NOTHING",  # noqa: S608
        item.to_row(),
    )
    return connection.changes() > 0


def update(connection: apsw.Connection, item: HistoryItem) -> None:
    """Replace the item with this (conversation, id); raises UnknownItem."""
    connection.execute(
        f"UPDATE items SET ({_COLUMNS}) = ({_MARKS}) WHERE conversation = ? AND id = ?",  # noqa: S608
        (*item.to_row(), item.conversation, item.id),
    )
    if connection.changes() == 0:
        raise UnknownItem("The history has no such item to change. Add it first.")


def page(
    connection: apsw.Connection,
    conversation: str,
    *,
    before: bytes | None,
    limit: int,
    search: str | None,
    only: bytes | None,
    amendments: bool,
) -> Iterator[HistoryItem]:
    """The newest items first; see ``Transaction.history``."""
    if not 1 <= limit <= LONGEST_PAGE:
        raise UsageError(f"A page of the history holds 1 to {LONGEST_PAGE} items.")
    where = "conversation = ?"
    values: list[str | bytes | int] = [conversation]
    if only is not None:
        where += " AND id = ?"
        values.append(only)
    if not amendments:
        where += " AND about IS NULL"
    if before is not None:
        where += f" AND position <= ? AND ({_ORDER}) < (?, ?, ?)"
        position, second = _place(connection, conversation, before)
        values += [position, position, second, before]
    if search:
        if len(search) > SEARCH_CHARS:
            raise UsageError(f"A search is at most {SEARCH_CHARS} characters long.")
        where += " AND contains(text, ?)"
        values.append(folded(search))
    rows = connection.execute(
        f"SELECT {_COLUMNS} FROM items WHERE {where} ORDER BY {_NEWEST_FIRST} LIMIT ?",  # noqa: S608
        (*values, limit),
    )
    return map(HistoryItem.from_row, rows)


def about(connection: apsw.Connection, conversation: str, ids: Sequence[bytes]) -> Iterator[HistoryItem]:
    """The amendments of these items (at most a page of them), the oldest first."""
    if len(ids) > LONGEST_PAGE:
        raise UsageError(f"Amendments are looked up for at most {LONGEST_PAGE} items at once.")
    marks = ", ".join("?" * len(ids))
    rows = connection.execute(
        f"SELECT {_COLUMNS} FROM items WHERE conversation = ? AND about IN ({marks}) ORDER BY position, row",  # noqa: S608
        (conversation, *ids),
    )
    return map(HistoryItem.from_row, rows)


def remove(connection: apsw.Connection, conversation: str, item_id: bytes) -> None:
    """Delete one item, if it is there."""
    connection.execute("DELETE FROM items WHERE conversation = ? AND id = ?", (conversation, item_id))


def _place(connection: apsw.Connection, conversation: str, item_id: bytes) -> tuple[int, int]:
    found: Any = connection.execute(
        f"SELECT position, {_SECOND} FROM items WHERE conversation = ? AND id = ?",  # noqa: S608
        (conversation, item_id),
    ).fetchone()
    if found is None:
        raise UnknownItem("The item to continue from is not in the history any more. Begin at the newest.")
    position, second = found
    return position, second


def changes(
    connection: apsw.Connection, conversation: str, after: int, limit: int
) -> Iterator[tuple[int, bytes, HistoryItem | None]]:
    """What changed after a number: (number, item id, the item as it is now or None), in order."""
    if not 1 <= limit <= LONGEST_PAGE:
        raise UsageError(f"A page of the changes holds 1 to {LONGEST_PAGE} of them.")
    columns = ", ".join(f"items.{name}" for name in _COLUMNS.split(", "))
    rows = connection.execute(
        f"SELECT changes.number, changes.id, {columns} FROM changes LEFT JOIN items "  # noqa: S608
        "ON items.conversation = changes.conversation AND items.id = changes.id "
        "WHERE changes.conversation = ? AND changes.number > ? ORDER BY changes.number LIMIT ?",
        (conversation, after, limit),
    )
    for number, item_id, *row in rows:
        yield number, item_id, None if row[0] is None else HistoryItem.from_row(tuple(row))
