"""The tables of streams.db and how state is written into them. Damage found while reading fails closed."""

from __future__ import annotations

import struct
from typing import Final

from relay.core.counters import WINDOW_BYTES, Sender
from relay.core.streams import Member
from relay.errors import StoreCorrupt
from relay.store.sqlite.database import Schema
from relay.wire.ids import DeviceId

# Bodies stand in the order in which they came, whatever stream they are of: the database grows at its end,
# which is half the work of growing at a hundred places. A run is what one device appended together; its row
# says where the bodies are. It is found by position = stream number * 2^36 + seq of its first entry: one
# B-tree, each stream together and in order. 68 billion entries a stream and 134 million streams are out of
# reach.
_SEQ_BITS: Final = 36
SEQ_MASK: Final = (1 << _SEQ_BITS) - 1

SCHEMA: Final = Schema(
    application_id=0x43524C53,
    migrations=(
        """
        CREATE TABLE streams (
            no INTEGER PRIMARY KEY,
            id TEXT NOT NULL UNIQUE,
            incarnation BLOB NOT NULL,
            head INTEGER NOT NULL DEFAULT 0,
            last_commit INTEGER NOT NULL DEFAULT 0,
            floor INTEGER NOT NULL DEFAULT 0,
            last_time_ms INTEGER NOT NULL DEFAULT 0,
            members BLOB NOT NULL DEFAULT x''
        ) STRICT;
        CREATE TABLE senders (
            no INTEGER PRIMARY KEY,
            stream INTEGER NOT NULL,
            device BLOB NOT NULL,
            last_counter INTEGER NOT NULL,
            window BLOB NOT NULL,
            UNIQUE (stream, device)
        ) STRICT;
        CREATE TABLE runs (
            position INTEGER PRIMARY KEY,
            place INTEGER NOT NULL,
            entries INTEGER NOT NULL,
            kind INTEGER NOT NULL,
            after_commit INTEGER NOT NULL,
            time_ms INTEGER NOT NULL,
            device BLOB NOT NULL,
            counter INTEGER NOT NULL
        ) STRICT;
        CREATE TABLE bodies (
            place INTEGER PRIMARY KEY,
            body BLOB NOT NULL
        ) STRICT;
        """,
        """
        CREATE TABLE history (id BLOB NOT NULL) STRICT;
        INSERT INTO history VALUES (x'');
        """,
    ),
)
SELECT_HISTORY: Final = "SELECT id FROM history"
SELECT_STREAM: Final = (
    "SELECT no, incarnation, head, last_commit, floor, last_time_ms, members FROM streams WHERE id = ?"
)
SELECT_SENDERS: Final = "SELECT device, last_counter, window FROM senders WHERE stream = ?"
# The entries after :after and before :end; the run that :after is in the middle of is found by its beginning.
# CROSS JOIN: first the runs, then their bodies, whatever SQLite believes to know about the tables.
SELECT_NEWER: Final = (
    "SELECT position + bodies.place - runs.place, kind, after_commit, time_ms, device,"
    " counter + bodies.place - runs.place, body"
    " FROM runs CROSS JOIN bodies ON bodies.place >= runs.place AND bodies.place < runs.place + runs.entries"
    " WHERE position >="
    " coalesce((SELECT max(position) FROM runs WHERE position > :base AND position <= :after), :base)"
    " AND position < :end AND position + bodies.place - runs.place > :after"
    " ORDER BY position, bodies.place"
)
SELECT_ENTRIES: Final = SELECT_NEWER + " LIMIT :limit"

_MEMBER: Final = struct.Struct("<16sQQ")


def base_of(no: int) -> int:
    """The position 0 of a stream."""
    return no << _SEQ_BITS


def pack_members(members: dict[DeviceId, Member]) -> bytes:
    """The members as one column."""
    return b"".join(_MEMBER.pack(device, m.cursor, m.joined) for device, m in members.items())


def unpack_members(column: bytes) -> dict[DeviceId, Member]:
    """The members in a column; raises `StoreCorrupt`."""
    if len(column) % _MEMBER.size:
        raise StoreCorrupt("streams.db: a list of members is damaged")
    return {
        DeviceId(device): Member(cursor, joined) for device, cursor, joined in _MEMBER.iter_unpack(column)
    }


def pack_window(sender: Sender) -> bytes:
    """A sender's window as one column; empty once everything in it is forgotten."""
    return bytes(sender.window) if any(sender.window) else b""


def unpack_window(column: bytes) -> bytearray:
    """The window in a column; raises `StoreCorrupt`."""
    if column and len(column) != WINDOW_BYTES:
        raise StoreCorrupt("streams.db: a window of counters is damaged")
    return bytearray(column or WINDOW_BYTES)
