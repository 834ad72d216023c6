"""Opening an SQLite file so that it either is what we wrote, in a version we know, or is not opened at
all."""

from __future__ import annotations

import os
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Final

import apsw

from relay.errors import StoreCorrupt, StoreError, StoreFull, StoreUnavailable, StoreVersion

# Earlier versions can corrupt a database in WAL mode when its log is reset.
SQLITE_FLOOR: Final = (3, 51, 3)
BUSY_MS: Final = 5_000  # the CLI may hold a transaction for a moment; nobody holds one for long
_FILE_MODE: Final = 0o600


@dataclass(frozen=True, slots=True)
class Schema:
    """`migrations[n]` leads from version n to n + 1. `application_id` marks the file as ours, and for
    what."""

    application_id: int
    migrations: Sequence[str]

    @property
    def version(self) -> int:
        return len(self.migrations)


def check_library() -> None:
    """Raise `StoreVersion` if SQLite is older than the floor."""
    found = tuple(int(part) for part in apsw.sqlite_lib_version().split("."))
    if found < SQLITE_FLOOR:
        wanted = ".".join(map(str, SQLITE_FLOOR))
        raise StoreVersion(
            f"SQLite {apsw.sqlite_lib_version()} is older than {wanted}: install apsw-sqlite3mc"
        )


def open_database(path: Path, schema: Schema) -> apsw.Connection:
    """A connection for writing, the file created or migrated as needed and checked.

    Raises `StoreCorrupt`, `StoreVersion` or another `StoreError`, and then leaves the file as it was.
    """
    check_library()
    try:
        os.close(os.open(path, os.O_CREAT | os.O_RDWR, _FILE_MODE))
        connection = apsw.Connection(str(path))
    except (OSError, apsw.Error) as error:
        raise StoreUnavailable(f"{path.name} cannot be opened: {type(error).__name__}") from error
    try:
        _prepare(connection, path.name, schema)
    except apsw.Error as error:
        connection.close(True)
        raise translate(error, path.name) from error
    except BaseException:
        connection.close(True)
        raise
    return connection


def open_reader(path: Path) -> apsw.Connection:
    """A connection that only reads a file which `open_database` has opened."""
    try:
        connection = apsw.Connection(str(path), flags=apsw.SQLITE_OPEN_READONLY)
        connection.set_busy_timeout(BUSY_MS)
    except apsw.Error as error:
        raise translate(error, path.name) from error
    return connection


def _prepare(connection: apsw.Connection, name: str, schema: Schema) -> None:
    connection.set_busy_timeout(BUSY_MS)
    is_new = not pragma(connection, "page_count")
    if not is_new and pragma(connection, "application_id") != schema.application_id:
        raise StoreCorrupt(f"{name} is a database of something else")
    version = pragma(connection, "user_version")
    if version > schema.version:
        raise StoreVersion(f"{name} was made by a newer version (schema {version}; here {schema.version})")
    if not is_new:
        _check_integrity(connection, name)
    # Counts for a new file only. A page is two system calls in the log and one more when it is copied back.
    connection.execute("PRAGMA page_size = 8192")
    connection.execute("PRAGMA journal_mode = WAL").fetchall()
    connection.execute("PRAGMA synchronous = FULL")
    connection.execute("PRAGMA secure_delete = FAST")
    connection.execute("PRAGMA trusted_schema = OFF")
    _migrate(connection, schema)


def _check_integrity(connection: apsw.Connection, name: str) -> None:
    result = connection.execute("PRAGMA quick_check(1)").fetchall()
    if result != [("ok",)]:
        raise StoreCorrupt(f"{name} is damaged: restore it from a copy, or move it away to begin anew")


def _migrate(connection: apsw.Connection, schema: Schema) -> None:
    """All missing migrations in one transaction; two processes that open a new file at once wait for each
    other."""
    if pragma(connection, "user_version") == schema.version:
        return
    connection.execute("BEGIN IMMEDIATE")
    try:
        for script in schema.migrations[pragma(connection, "user_version") :]:
            connection.execute(script)
        connection.execute(f"PRAGMA application_id = {schema.application_id:d}")
        connection.execute(f"PRAGMA user_version = {schema.version:d}")
        connection.execute("COMMIT")
    except BaseException:
        roll_back(connection)
        raise


def pragma(connection: apsw.Connection, name: str) -> int:
    """The integer value of a pragma."""
    value = connection.pragma(name)
    return value if isinstance(value, int) else 0


def roll_back(connection: apsw.Connection) -> None:
    """End a transaction that failed; SQLite may have done so by itself."""
    if connection.in_transaction:
        connection.execute("ROLLBACK")


def translate(error: apsw.Error, name: str) -> StoreError:
    """Our error for one of SQLite's. Its text names the file and SQLite's result, never a value."""
    result = type(error).__name__
    if isinstance(error, apsw.FullError | apsw.IOError):
        return StoreFull(f"{name} has no room: {result}")
    if isinstance(error, apsw.CorruptError | apsw.NotADBError):
        return StoreCorrupt(f"{name} is damaged or no database: {result}")
    return StoreUnavailable(f"{name}: {result}")
