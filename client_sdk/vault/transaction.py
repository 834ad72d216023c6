"""What can be done inside one transaction: four verbs for records, six for the history."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import apsw

from ..errors import UsageError, VaultClosed
from . import history
from .database import translated
from .history import PAGE, HistoryItem

SPACE_CHARS = 64
KEY_BYTES = 512
VALUE_BYTES = 16 * 1024 * 1024
"""A group of 32 devices has a state of about 200 KiB; bounds what one mistake can write."""

MOST_SCANNED = 1000
"""Records that one scan returns; go on with ``after``."""


class Transaction:
    """One transaction of a vault; it ends with the block of ``Vault.transaction`` and is not to be kept."""

    __slots__ = ("_connection", "wrote")

    def __init__(self, connection: apsw.Connection) -> None:
        self._connection: apsw.Connection | None = connection
        self.wrote = False

    def __repr__(self) -> str:
        return f"<Transaction {'ended' if self._connection is None else 'open'}>"

    def end(self) -> None:
        """Called by the vault: nothing more may be done with it."""
        self._connection = None

    # Records: opaque bytes under a key, in named spaces

    def get(self, space: str, key: bytes) -> bytes | None:
        """The value, or None."""
        with translated():
            found: Any = self._read(
                "SELECT value FROM records WHERE space = ? AND key = ?", *_place(space, key)
            ).fetchone()
        return None if found is None else found[0]

    def put(self, space: str, key: bytes, value: bytes) -> None:
        """Store a value (at most 16 MiB), replacing what was there."""
        if not isinstance(value, bytes) or len(value) > VALUE_BYTES:
            raise UsageError(f"A vault keeps bytes, at most {VALUE_BYTES} of them in one record.")
        with translated():
            self._write(
                "INSERT INTO records VALUES (?, ?, ?) ON CONFLICT DO UPDATE SET value = excluded.value",
                *_place(space, key),
                value,
            )

    def delete(self, space: str, key: bytes) -> None:
        """Delete the record, if it is there."""
        with translated():
            self._write("DELETE FROM records WHERE space = ? AND key = ?", *_place(space, key))

    def scan(
        self,
        space: str,
        prefix: bytes = b"",
        *,
        limit: int,
        reverse: bool = False,
        after: bytes | None = None,
    ) -> list[tuple[bytes, bytes]]:
        """The records whose key begins with ``prefix``, by key, at most ``limit`` (1 to 1000) of them.

        ``after`` is the last key of the scan before: it goes on behind it, in the same direction.
        """
        if not 1 <= limit <= MOST_SCANNED:
            raise UsageError(f"A scan returns 1 to {MOST_SCANNED} records.")
        where, values = "space = ? AND key >= ?", list(_place(space, prefix))
        end = _successor(prefix)
        if end is not None:
            where, values = where + " AND key < ?", [*values, end]
        if after is not None:
            where, values = where + f" AND key {'<' if reverse else '>'} ?", [*values, after]
        order = "DESC" if reverse else "ASC"
        with translated():
            rows: Any = self._read(
                f"SELECT key, value FROM records WHERE {where} ORDER BY key {order} LIMIT ?",  # noqa: S608
                *values,
                limit,
            )
            return [(key, value) for key, value in rows]

    # The history

    def add_item(self, item: HistoryItem) -> bool:
        """Add an item unless its (conversation, id) is there already; whether it was new."""
        with translated():
            new = history.add(self._alive(), item)
        self.wrote = self.wrote or new
        return new

    def update_item(self, item: HistoryItem) -> None:
        """Replace the item with the same (conversation, id); raises UnknownItem."""
        self.wrote = True
        with translated():
            history.update(self._alive(), item)

    def history(
        self,
        conversation: str,
        *,
        before: bytes | None = None,
        limit: int = PAGE,
        search: str | None = None,
        only: bytes | None = None,
        amendments: bool = True,
    ) -> list[HistoryItem]:
        """A conversation's items, the newest first, at most ``limit`` (1 to 500).

        Items without a position in the stream yet are the newest. ``before`` is the id of the last item
        of the page before (raises UnknownItem if it is gone). ``search`` keeps items whose text contains
        it, whatever the case and the form of the letters. ``only`` is the id of the single item wanted.
        Without ``amendments``, those that are about another item are left out.
        """
        with translated():
            return list(
                history.page(
                    self._alive(),
                    conversation,
                    before=before,
                    limit=limit,
                    search=search,
                    only=only,
                    amendments=amendments,
                )
            )

    def amendments(self, conversation: str, ids: Sequence[bytes]) -> list[HistoryItem]:
        """The items that are about these (at most 500 of them), the oldest first."""
        with translated():
            return list(history.about(self._alive(), conversation, ids))

    def remove_item(self, conversation: str, item_id: bytes) -> None:
        """Delete one item, if it is there; its bytes are gone from the file."""
        self.wrote = True
        with translated():
            history.remove(self._alive(), conversation, item_id)

    def changes(
        self, conversation: str, *, after: int = 0, limit: int = PAGE
    ) -> list[tuple[int, bytes, HistoryItem | None]]:
        """Which items are new, changed or gone (None) since change number ``after``: at most 1 to 500.

        Each item stands there once, with the number of its last change; numbers only grow.
        """
        with translated():
            return list(history.changes(self._alive(), conversation, after, limit))

    def last_change(self, conversation: str) -> int:
        """The number of the newest change; 0 if there is none."""
        with translated():
            found: Any = self._read(
                "SELECT coalesce(max(number), 0) FROM changes WHERE conversation = ?", conversation
            ).fetchone()
        return int(found[0])

    def _alive(self) -> apsw.Connection:
        if self._connection is None:
            raise VaultClosed("This transaction has ended. Begin a new one.")
        return self._connection

    def _read(self, statement: str, *values: str | bytes | int) -> apsw.Cursor:
        return self._alive().execute(statement, values)

    def _write(self, statement: str, *values: str | bytes | int) -> None:
        self.wrote = True
        self._alive().execute(statement, values)


def _place(space: str, key: bytes) -> tuple[str | bytes, str | bytes]:
    if not isinstance(space, str) or not 1 <= len(space) <= SPACE_CHARS:
        raise UsageError(f"A space of the vault has a name of 1 to {SPACE_CHARS} characters.")
    if not isinstance(key, bytes) or len(key) > KEY_BYTES:
        raise UsageError(f"A key in the vault is bytes, at most {KEY_BYTES}.")
    return space, key


def _successor(prefix: bytes) -> bytes | None:
    """The first key behind all that begin with ``prefix``; None if there is no such bound."""
    trimmed = prefix.rstrip(b"\xff")
    return trimmed[:-1] + bytes([trimmed[-1] + 1]) if trimmed else None
