"""What the relay's files hold, in plain words: read from a copy of them, with SQLite's own eyes."""

from __future__ import annotations

import sqlite3
from collections.abc import Iterator
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from client_sdk.cli.progress import megabytes

_BLOBS: Final = "blobs"

# By table, or by space of the table `records`; what matters most comes first.
_KINDS: Final = {
    "bodies": ("entries still waiting", "their size; the rest is ciphertext"),
    "runs": ("where they belong", "conversation, position, time, sending device"),
    _BLOBS: ("pieces of sealed files", "their size; the rest is ciphertext"),
    "uploads": ("uploads", "a file's size, time and engagement; neither its name nor its kind"),
    "streams": ("conversations", "the engagement's id, its devices, how far each has read"),
    "senders": ("counters of devices", "how many entries each device has sent"),
    "engagements": ("engagements", "user ids and roles; when it began; how long entries are kept"),
    "rosters": ("rosters", "which user ids are in which engagement"),
    "users": ("users", "which devices a user id has"),
    "bindings": ("devices", "which user id a device belongs to; its public key"),
    "manifests": ("signed device lists", "which devices a user has; who is shut out"),
    "archives": ("archives", "whose they are, and how many parts they have"),
    "archiveparts": ("parts of sealed archives", "their size; the rest is ciphertext"),
    "keypackages": ("key packages", "public keys for adding a device, each used once"),
    "lastresort": ("reserve key packages", "the same, for when the others are used up"),
    "lists": ("engagements by age", "which portal's they are; when they began"),
    "active": ("engagements that go on", "which portal's they are"),
    "revocations": ("access taken back", "which tokens and devices no longer count"),
    "idempotency": ("answers for repeated requests", "which engagement a portal's request made"),
    "notes": ("notes from the command line", "which portal or user was changed"),
    "marks": ("marks", "what was done once"),
    "portals": ("portals", "the portal's id; its API key as a hash, and its token secret"),
    "secrets": ("the relay's own secrets", "for its tokens for uploads and downloads"),
    "rendezvous": ("devices that meet to be linked", "which of a user's devices wait for each other"),
    "leases": ("what one relay does for all", "which relay does it, and until when"),
    "counters": ("numbers given out", "a number"),
    "versions": ("counter of changes", "a number"),
    "history": ("the store's history", "when the relay was set back to a copy; random bytes"),
}


@dataclass(frozen=True, slots=True)
class Holding:
    """One kind of thing that the relay keeps: how many, and how many bytes in all."""

    kind: str
    count: int
    size: int

    @property
    def what(self) -> str:
        """What it is, in plain words; its name in the database if there are none."""
        return _KINDS.get(self.kind, (f"“{self.kind}”", ""))[0]

    @property
    def tells(self) -> str:
        """What the relay can tell from it."""
        return _KINDS.get(self.kind, ("", "not described here"))[1]

    def row(self) -> tuple[str, str, str, str]:
        """Return it as a row of a table."""
        return self.what, str(self.count), megabytes(self.size), self.tells


@dataclass(frozen=True, slots=True)
class Entry:
    """One entry of a conversation as the relay has it."""

    seq: int
    body: bytes


def list_holdings(data: Path) -> list[Holding]:
    """Return all that is in the databases and blobs of a copy of the relay's data folder."""
    found = [holding for database in sorted(data.glob("*.db")) for holding in _tables(database)]
    order = [*_KINDS, *(holding.kind for holding in found)]
    return sorted([*found, _files(data)], key=lambda holding: order.index(holding.kind))


def newest_entry(data: Path) -> Entry | None:
    """Return the newest message that waits in the relay's database; None if none waits."""
    with closing(_opened(data / "streams.db")) as database:
        row = database.execute(
            "SELECT position + entries - 1, body FROM runs"
            " JOIN bodies ON bodies.place = runs.place + entries - 1"
            " WHERE kind = 0 ORDER BY bodies.place DESC LIMIT 1"
        ).fetchone()
    return None if row is None else Entry(seq=row[0] & (1 << 36) - 1, body=row[1])


def _tables(path: Path) -> Iterator[Holding]:
    with closing(_opened(path)) as database:
        names = [
            str(row[0])
            for row in database.execute("SELECT name FROM sqlite_master WHERE type = 'table' ORDER BY rowid")
        ]
        for name in names:
            if name == "records":
                yield from _records(database)
            else:
                yield _table(database, name)


def _table(database: sqlite3.Connection, name: str) -> Holding:
    columns = [row[1] for row in database.execute(f'PRAGMA table_info("{name}")')]
    size = " + ".join(f'coalesce(length(CAST("{column}" AS BLOB)), 0)' for column in columns)
    # The names come from the database's own list of tables, and are quoted.
    count, total = database.execute(f'SELECT count(*), coalesce(sum({size}), 0) FROM "{name}"').fetchone()  # noqa: S608
    return Holding(name, count, total)


def _records(database: sqlite3.Connection) -> Iterator[Holding]:
    query = "SELECT space, count(*), sum(length(key) + length(value)) FROM records GROUP BY space"
    for space, count, size in database.execute(query):
        yield Holding(space, count, size)


def _files(data: Path) -> Holding:
    sizes = [file.stat().st_size for file in (data / "blobs").glob("[!.]*/*") if file.is_file()]
    return Holding(_BLOBS, len(sizes), sum(sizes))


def _opened(path: Path) -> sqlite3.Connection:
    return sqlite3.connect(path)
