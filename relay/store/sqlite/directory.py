"""The `Directory` in a file of its own, which other processes (the CLI) may open beside the running relay."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Mapping
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Final, TypeVar

import apsw

from relay.errors import RecordConflict, StoreUnavailable
from relay.store.interface import ABSENT, Record
from relay.store.sqlite.database import Schema, open_database, roll_back, translate

DIRECTORY_FILE: Final = "directory.db"
_T = TypeVar("_T")

_SCHEMA: Final = Schema(
    application_id=0x43524C44,
    migrations=(
        """
        CREATE TABLE records (
            space TEXT NOT NULL,
            key TEXT NOT NULL,
            version INTEGER NOT NULL,
            value BLOB NOT NULL,
            PRIMARY KEY (space, key)
        ) STRICT, WITHOUT ROWID;
        CREATE TABLE versions (last INTEGER NOT NULL) STRICT;
        INSERT INTO versions VALUES (0);
        """,
    ),
)
_NEXT_VERSION: Final = "UPDATE versions SET last = last + 1 RETURNING last"
_PUT: Final = "INSERT OR REPLACE INTO records (space, key, version, value) VALUES (?, ?, ?, ?)"
_DELETE: Final = "DELETE FROM records WHERE space = ? AND key = ?"
# Keys are ASCII: U+10FFFF comes after every continuation of a prefix.
_RANGE: Final = "FROM records WHERE space = ? AND key >= ? AND key < ?"
_AFTER_ALL: Final = "\U0010ffff"


class SqliteDirectory:
    """Records in SQLite. One thread works on them, so that no call blocks the loop."""

    def __init__(self, connection: apsw.Connection, name: str) -> None:
        self._connection = connection
        self._name = name
        self._thread = ThreadPoolExecutor(max_workers=1, thread_name_prefix="directory")
        self._open = True

    @classmethod
    def open(cls, folder: Path) -> SqliteDirectory:
        """The directory of a data folder, created if there is none; raises `StoreError`."""
        path = folder / DIRECTORY_FILE
        return cls(open_database(path, _SCHEMA), path.name)

    async def get(self, space: str, key: str) -> Record | None:
        return await self._run(lambda: self._get(space, key))

    async def put(self, space: str, key: str, value: bytes, *, expect: int | None = None) -> int:
        return await self._run(lambda: self._transact(lambda: self._put(space, key, value, expect)))

    async def put_many(self, space: str, records: Mapping[str, bytes]) -> None:
        def put_all() -> None:
            for key, value in records.items():
                self._put(space, key, value, None)

        await self._run(lambda: self._transact(put_all))

    async def delete(self, space: str, key: str, *, expect: int | None = None) -> None:
        def delete() -> None:
            self._expect(space, key, expect)
            self._connection.execute(_DELETE, (space, key))

        await self._run(lambda: self._transact(delete))

    async def scan(self, space: str, prefix: str, *, after: str = "", limit: int) -> list[tuple[str, bytes]]:
        return await self._run(lambda: self._scan(space, prefix, after, limit))

    async def take(self, space: str, prefix: str) -> tuple[str, bytes] | None:
        def take() -> tuple[str, bytes] | None:
            found = self._scan(space, prefix, "", 1)
            if not found:
                return None
            self._connection.execute(_DELETE, (space, found[0][0]))
            return found[0]

        return await self._run(lambda: self._transact(take))

    async def count(self, space: str, prefix: str) -> int:
        def count() -> int:
            bounds = (space, prefix, prefix + _AFTER_ALL)
            return int(self._connection.execute(f"SELECT count(*) {_RANGE}", bounds).get)

        return await self._run(count)

    async def close(self) -> None:
        """Wait for what is under way, then close the file."""
        if self._open:
            self._open = False
            await asyncio.get_running_loop().run_in_executor(self._thread, self._connection.close)
            self._thread.shutdown(wait=False)

    async def _run(self, work: Callable[[], _T]) -> _T:
        if not self._open:
            raise StoreUnavailable(f"{self._name} is closed")
        return await asyncio.get_running_loop().run_in_executor(self._thread, self._translated, work)

    def _translated(self, work: Callable[[], _T]) -> _T:
        try:
            return work()
        except apsw.Error as error:
            raise translate(error, self._name) from error

    def _transact(self, work: Callable[[], _T]) -> _T:
        self._connection.execute("BEGIN IMMEDIATE")
        try:
            result = work()
            self._connection.execute("COMMIT")
        except BaseException:
            roll_back(self._connection)
            raise
        return result

    def _get(self, space: str, key: str) -> Record | None:
        sql = "SELECT value, version FROM records WHERE space = ? AND key = ?"
        row = self._connection.execute(sql, (space, key)).fetchone()
        return Record(*row) if row else None

    def _put(self, space: str, key: str, value: bytes, expect: int | None) -> int:
        self._expect(space, key, expect)
        version = int(self._connection.execute(_NEXT_VERSION).get)
        self._connection.execute(_PUT, (space, key, version, value))
        return version

    def _expect(self, space: str, key: str, expect: int | None) -> None:
        if expect is None:
            return
        record = self._get(space, key)
        if expect != (record.version if record else ABSENT):
            raise RecordConflict("the record changed meanwhile")

    def _scan(self, space: str, prefix: str, after: str, limit: int) -> list[tuple[str, bytes]]:
        sql = f"SELECT key, value {_RANGE} AND key > ? ORDER BY key LIMIT ?"
        bounds = (space, prefix, prefix + _AFTER_ALL, after, limit)
        return [(key, value) for key, value in self._connection.execute(sql, bounds)]
