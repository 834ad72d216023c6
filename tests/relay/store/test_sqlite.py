"""The SQLite store where it is more than any store: files, locks, damage, a full disk, a killed process."""

from __future__ import annotations

import asyncio
import os
import signal
import stat
import subprocess
import sys
import textwrap
from collections.abc import AsyncIterator, Iterator
from pathlib import Path
from typing import Any

import apsw
import pytest

from relay.errors import StoreCorrupt, StoreError, StoreFull, StoreInUse, StoreUnavailable, StoreVersion
from relay.store.sqlite import DataFolder, SqliteDirectory, SqliteStreamStore, database
from relay.store.sqlite.directory import DIRECTORY_FILE
from relay.store.sqlite.streams import STREAMS_FILE
from relay.wire.errors import ErrorCode
from tests.conformance.support import (
    ANNA,
    BEN,
    OTHER,
    STREAM,
    ack,
    bundle,
    commit,
    create,
    end,
    group_of_two,
    held,
    held_seqs,
    message,
    messages,
)


@pytest.fixture
async def store(tmp_path: Path) -> AsyncIterator[SqliteStreamStore]:
    opened = SqliteStreamStore.open(tmp_path)
    yield opened
    await opened.close()


def connection_of(store: SqliteStreamStore) -> apsw.Connection:
    return store._connection


# Files


async def test_only_the_owner_reads_the_files(tmp_path: Path) -> None:
    data = tmp_path / "data"
    folder = DataFolder.open(data)
    await group_of_two(folder.streams)
    assert stat.S_IMODE(data.stat().st_mode) == 0o700
    for path in data.iterdir():
        assert stat.S_IMODE(path.stat().st_mode) == 0o600, path.name
    await folder.close()


async def test_the_pragmas_are_the_durable_ones(store: SqliteStreamStore) -> None:
    connection = connection_of(store)
    assert connection.pragma("journal_mode") == "wal"
    assert connection.pragma("synchronous") == 2
    assert connection.pragma("secure_delete") == 2


async def test_one_relay_has_the_folder(tmp_path: Path) -> None:
    folder = DataFolder.open(tmp_path)
    with pytest.raises(StoreInUse):
        DataFolder.open(tmp_path)
    await folder.close()
    again = DataFolder.open(tmp_path)
    await again.close()


async def test_another_process_may_use_the_directory(tmp_path: Path) -> None:
    folder = DataFolder.open(tmp_path)
    script = textwrap.dedent(
        """
        import asyncio, sys
        from pathlib import Path
        from relay.store.sqlite import SqliteDirectory

        async def main():
            directory = SqliteDirectory.open(Path(sys.argv[1]))
            await directory.put("portals", "north", b"from outside")
            await directory.close()

        asyncio.run(main())
        """
    )
    process = await asyncio.create_subprocess_exec(sys.executable, "-c", script, str(tmp_path))
    assert await process.wait() == 0
    record = await folder.directory.get("portals", "north")
    assert record is not None
    assert record.value == b"from outside"
    await folder.close()


async def test_a_folder_that_cannot_be_made(tmp_path: Path) -> None:
    (tmp_path / "file").write_bytes(b"")
    with pytest.raises(StoreUnavailable):
        DataFolder.open(tmp_path / "file" / "data")


async def test_a_folder_that_fails_to_open_is_free_again(tmp_path: Path) -> None:
    (tmp_path / DIRECTORY_FILE).write_bytes(b"no database" * 1000)
    with pytest.raises(StoreCorrupt):
        DataFolder.open(tmp_path)
    (tmp_path / DIRECTORY_FILE).unlink()
    folder = DataFolder.open(tmp_path)
    await folder.close()


# Damage and versions fail closed


@pytest.mark.parametrize("name", [STREAMS_FILE, DIRECTORY_FILE])
async def test_what_is_no_database_is_left_alone(tmp_path: Path, name: str) -> None:
    content = b"something else that matters" * 500
    (tmp_path / name).write_bytes(content)
    with pytest.raises(StoreCorrupt):
        DataFolder.open(tmp_path)
    assert (tmp_path / name).read_bytes() == content


async def test_a_database_of_something_else_is_left_alone(tmp_path: Path) -> None:
    other = apsw.Connection(str(tmp_path / STREAMS_FILE))
    other.execute("CREATE TABLE precious (thing)")
    other.close()
    with pytest.raises(StoreCorrupt):
        SqliteStreamStore.open(tmp_path)


async def test_a_swapped_file_is_noticed(tmp_path: Path) -> None:
    folder = DataFolder.open(tmp_path)
    await folder.close()
    (tmp_path / STREAMS_FILE).write_bytes((tmp_path / DIRECTORY_FILE).read_bytes())
    with pytest.raises(StoreCorrupt):
        DataFolder.open(tmp_path)


async def test_a_newer_schema_is_left_alone(tmp_path: Path) -> None:
    store = SqliteStreamStore.open(tmp_path)
    await store.close()
    newer = apsw.Connection(str(tmp_path / STREAMS_FILE))
    newer.execute("PRAGMA user_version = 99")
    newer.close()
    with pytest.raises(StoreVersion):
        SqliteStreamStore.open(tmp_path)


async def test_a_damaged_file_is_not_opened(tmp_path: Path) -> None:
    store = SqliteStreamStore.open(tmp_path)
    await group_of_two(store)
    await commit(store, *[message(BEN, counter, body=bytes(3000)) for counter in range(1, 200)])
    await store.close()
    path = tmp_path / STREAMS_FILE
    content = bytearray(path.read_bytes())
    for start in range(8192, len(content), 4096):
        content[start : start + 64] = b"\xff" * 64
    path.write_bytes(content)
    with pytest.raises(StoreCorrupt):
        SqliteStreamStore.open(tmp_path)


async def test_damage_found_later_stops_the_store(tmp_path: Path) -> None:
    store = SqliteStreamStore.open(tmp_path)
    await group_of_two(store)
    connection_of(store).execute("UPDATE streams SET members = x'00'")
    await store.close()
    store = SqliteStreamStore.open(tmp_path)
    with pytest.raises(StoreCorrupt):
        await commit(store, message(BEN, 1))
    with pytest.raises(StoreCorrupt):
        await store.check()
    with pytest.raises(StoreCorrupt):
        await commit(store, create())
    await store.close()


def test_an_old_sqlite_is_refused(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    for version in ("3.51.2", "3.45.0", "3.9.99"):
        monkeypatch.setattr(apsw, "sqlite_lib_version", lambda version=version: version)
        with pytest.raises(StoreVersion):
            SqliteStreamStore.open(tmp_path)
    assert not (tmp_path / STREAMS_FILE).exists()
    monkeypatch.setattr(apsw, "sqlite_lib_version", lambda: "3.51.3")
    database.check_library()


async def test_a_schema_is_migrated_in_one_step(tmp_path: Path) -> None:
    path = tmp_path / "x.db"
    first = database.Schema(1, ("CREATE TABLE a (x); INSERT INTO a VALUES (7)",))
    database.open_database(path, first).close()
    second = database.Schema(
        1, (*first.migrations, "ALTER TABLE a ADD COLUMN y DEFAULT 8", "CREATE TABLE b (z)")
    )
    connection = database.open_database(path, second)
    assert connection.execute("SELECT x, y FROM a").fetchall() == [(7, 8)]
    assert database.pragma(connection, "user_version") == 3
    connection.close()
    broken = database.Schema(1, (*second.migrations, "CREATE TABLE c (z); CREATE TABLE a (x)"))
    with pytest.raises(StoreError):
        database.open_database(path, broken)
    connection = database.open_database(path, second)
    assert connection.execute("SELECT name FROM sqlite_schema WHERE name = 'c'").fetchall() == []
    connection.close()


# A disk that is full or fails


async def test_nothing_is_stored_on_a_full_disk_and_all_is_again_later(store: SqliteStreamStore) -> None:
    await group_of_two(store)
    await commit(store, message(BEN, 1))
    connection = connection_of(store)
    pages = connection.pragma("page_count")
    connection.pragma("max_page_count", pages)
    big = message(BEN, 2, body=bytes(60_000))
    for _ in range(2):
        with pytest.raises(StoreFull) as full:
            await commit(store, message(ANNA, 2), big)
        assert full.value.code == "store_full"
    assert await held_seqs(store) == [1, 2]
    view = await store.view(STREAM)
    assert view is not None
    assert (view.head, view.last_counters) == (2, {ANNA: 1, BEN: 1})
    await store.check()
    connection.pragma("max_page_count", 1 << 30)
    outcomes = await commit(store, message(ANNA, 2), big)
    assert [outcome.seq for outcome in outcomes] == [3, 4]


async def test_others_waiting_in_the_same_transaction_learn_of_it(store: SqliteStreamStore) -> None:
    await group_of_two(store)
    connection = connection_of(store)
    connection.pragma("max_page_count", connection.pragma("page_count"))
    calls = [commit(store, message(BEN, 1, body=bytes(60_000))), store.view(STREAM)]
    results = await asyncio.gather(*calls, return_exceptions=True)
    assert isinstance(results[0], StoreFull)
    assert not isinstance(results[1], BaseException)


class FailingFile(apsw.VFSFile):
    def xWrite(self, data: Any, offset: int) -> None:
        if FailingDisk.failing is not None:
            raise FailingDisk.failing
        super().xWrite(data, offset)

    def xSync(self, flags: int) -> None:
        if FailingDisk.failing_sync is not None:
            raise FailingDisk.failing_sync
        super().xSync(flags)


class FailingDisk(apsw.VFS):
    """The usual disk, until a test says that it fails."""

    failing: Exception | None = None
    failing_sync: Exception | None = None

    def __init__(self) -> None:
        self.base_name = apsw.vfs_names()[0]
        super().__init__("failing", self.base_name, makedefault=True)

    def xOpen(self, name: Any, flags: Any) -> FailingFile:
        return FailingFile(self.base_name, name, flags)


@pytest.fixture
def disk() -> Iterator[type[FailingDisk]]:
    vfs = FailingDisk()
    yield FailingDisk
    FailingDisk.failing = FailingDisk.failing_sync = None
    vfs.unregister()


@pytest.mark.parametrize("error", [apsw.FullError("full"), apsw.IOError("broken")])
@pytest.mark.parametrize("at", ["failing", "failing_sync"])
async def test_a_failing_disk_loses_nothing_that_was_acknowledged(
    disk: type[FailingDisk], tmp_path: Path, error: Exception, at: str
) -> None:
    store = SqliteStreamStore.open(tmp_path)
    await group_of_two(store)
    await commit(store, message(BEN, 1))
    setattr(disk, at, error)
    with pytest.raises(StoreError) as failed:
        await commit(store, message(BEN, 2), ack(ANNA, 2), ack(BEN, 2))
    assert failed.value.code == "store_full"
    assert await held_seqs(store) == [1, 2]
    setattr(disk, at, None)
    outcomes = await commit(store, message(BEN, 2, body=b"again"))
    assert [outcome.seq for outcome in outcomes] == [3]
    await store.close()
    store = SqliteStreamStore.open(tmp_path)
    assert await held_seqs(store) == [1, 2, 3]
    (again,) = await commit(store, message(BEN, 2, body=b"again"))
    assert (again.seq, again.fresh) == (3, False)
    await store.close()


async def test_a_directory_on_a_failing_disk(disk: type[FailingDisk], tmp_path: Path) -> None:
    directory = SqliteDirectory.open(tmp_path)
    version = await directory.put("space", "key", b"1")
    disk.failing = apsw.FullError("full")
    with pytest.raises(StoreFull):
        await directory.put("space", "key", b"2")
    with pytest.raises(StoreFull):
        await directory.take("space", "")
    disk.failing = None
    assert await directory.get("space", "key") == (b"1", version)
    await directory.close()


# Group commit, the cache, the end of a process


async def test_calls_that_come_together_share_a_transaction(store: SqliteStreamStore) -> None:
    await group_of_two(store)
    commits: list[int] = []

    def committing() -> bool:
        commits.append(1)
        return False

    connection_of(store).set_commit_hook(committing)
    calls = [commit(store, message(BEN, counter)) for counter in range(1, 201)]
    results = await asyncio.gather(*calls)
    connection_of(store).set_commit_hook(None)
    assert [outcomes[0].seq for outcomes in results] == list(range(2, 202))
    assert len(commits) < 20


async def test_an_append_writes_its_bodies_and_one_row(store: SqliteStreamStore) -> None:
    await group_of_two(store)
    changes = connection_of(store).total_changes()
    await commit(store, messages(BEN, 1, *[b"hello"] * 100))
    assert connection_of(store).total_changes() - changes == 101


async def test_a_run_is_erased_as_far_as_it_is_acknowledged(store: SqliteStreamStore) -> None:
    await group_of_two(store)
    await commit(store, messages(BEN, 1, b"one", b"two", b"three"), messages(ANNA, 2, b"four"))
    await commit(store, ack(ANNA, 3), ack(BEN, 3))
    assert connection_of(store).execute("SELECT count(*) FROM bodies").get == 3  # the commit's, too
    assert [(entry.seq, entry.counter, entry.body) for entry in await held(store, 1)] == [
        (4, 3, b"three"),
        (5, 2, b"four"),
    ]
    assert [entry.seq for entry in await held(store, 4)] == [5]
    await commit(store, ack(ANNA, 5), ack(BEN, 5))
    assert connection_of(store).execute("SELECT count(*) FROM bodies").get == 1
    await commit(store, end())
    for table in ("bodies", "runs", "senders", "streams"):
        assert connection_of(store).execute(f"SELECT count(*) FROM {table}").get == 0


async def test_only_the_streams_own_bodies_are_erased(store: SqliteStreamStore) -> None:
    await group_of_two(store)
    await group_of_two(store, OTHER)
    for counter in range(2, 12, 2):
        await commit(
            store,
            messages(ANNA, counter, b"one", b"two"),
            message(ANNA, counter, stream=OTHER),
            message(ANNA, counter + 1, stream=OTHER),
        )
    await commit(store, ack(ANNA, 10), ack(BEN, 8))
    assert await held_seqs(store) == [1, 9, 10, 11]
    assert [entry.body for entry in await held(store, 1)] == [b"two", b"one", b"two"]
    assert await held_seqs(store, stream=OTHER) == list(range(1, 12))
    count = "SELECT (SELECT count(*) FROM bodies), (SELECT sum(entries) FROM runs)"
    assert connection_of(store).execute(count).fetchall() == [(15, 15)]


async def test_what_is_read_again_stays_little(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("relay.store.sqlite.writer.SAVE_AFTER_ENTRIES", 10)
    store = SqliteStreamStore.open(tmp_path)
    await group_of_two(store)
    for counter in range(2, 35, 3):
        await commit(store, messages(ANNA, counter, b"one", b"two", b"three"))
    head = connection_of(store).execute("SELECT head FROM streams").get
    view = await store.view(STREAM)
    await store.close()
    assert 34 - 10 < head < 34
    store = SqliteStreamStore.open(tmp_path)
    assert await store.view(STREAM) == view
    outcomes = await commit(store, messages(ANNA, 32, b"one", b"two", b"three", b"four"))
    assert [(outcome.seq, outcome.fresh) for outcome in outcomes] == [
        (32, False),
        (33, False),
        (34, False),
        (35, True),
    ]
    await store.close()


async def test_places_go_on_after_the_store_was_opened_again(tmp_path: Path) -> None:
    store = SqliteStreamStore.open(tmp_path)
    await group_of_two(store)
    await commit(store, messages(BEN, 1, b"one", b"two"))
    await store.close()
    store = SqliteStreamStore.open(tmp_path)
    await commit(store, messages(BEN, 3, b"three"))
    assert [entry.body for entry in await held(store, 1)] == [b"one", b"two", b"three"]
    await store.close()


async def test_more_streams_than_the_cache_holds(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("relay.store.sqlite.writer.CACHED_STREAMS", 3)
    store = SqliteStreamStore.open(tmp_path)
    streams = [type(STREAM)(f"eng_{number:021d}A") for number in range(10)]
    for stream in streams:
        await group_of_two(store, stream)
    for counter in range(1, 4):
        outcomes = await commit(store, *[message(BEN, counter, stream=stream) for stream in streams])
        assert [outcome.seq for outcome in outcomes] == [counter + 1] * 10
        acks = [ack(device, counter + 1, stream) for stream in streams for device in (ANNA, BEN)]
        await commit(store, *acks)
        assert len(store._writer._cache) <= 3
    for stream in streams:
        (again,) = await commit(store, message(BEN, 3, stream=stream))
        assert (again.seq, again.fresh) == (4, False)
    await store.close()


async def test_a_cancelled_call_harms_nobody(store: SqliteStreamStore) -> None:
    await group_of_two(store)
    first = asyncio.ensure_future(store.commit([message(BEN, 1)]))
    second = asyncio.ensure_future(store.commit([message(BEN, 2)]))
    first.cancel()
    assert (await second)[0][0].seq == 3


async def test_closing_finishes_what_was_accepted(tmp_path: Path) -> None:
    store = SqliteStreamStore.open(tmp_path)
    await group_of_two(store)
    pending = [asyncio.ensure_future(commit(store, message(BEN, counter))) for counter in range(1, 51)]
    await asyncio.sleep(0)
    await store.close()
    assert [outcomes[0].seq for outcomes in await asyncio.gather(*pending)] == list(range(2, 52))


KILLED = """
import asyncio, sys
from pathlib import Path
from relay.store.sqlite import DataFolder
from tests.conformance.support import ANNA, BEN, ack, commit, group_of_two, message

async def main():
    folder = DataFolder.open(Path(sys.argv[1]))
    await group_of_two(folder.streams)
    counter = 0
    while True:
        counter += 1
        (outcome, *_) = await commit(folder.streams, message(BEN, counter, body=b"%d" % counter),
                                     ack(ANNA, counter - 9), ack(BEN, counter - 9))
        print(outcome.seq, flush=True)

asyncio.run(main())
"""


def acknowledged_before_a_kill(folder: Path) -> list[int]:
    """The seqs that a process appending to this folder had been told when it was killed."""
    process = subprocess.Popen(
        [sys.executable, "-c", KILLED, str(folder)],
        stdout=subprocess.PIPE,
        text=True,
        env={**os.environ, "PYTHONPATH": os.getcwd()},
    )
    assert process.stdout is not None
    acknowledged = [int(process.stdout.readline()) for _ in range(200)]
    process.send_signal(signal.SIGKILL)
    acknowledged += [int(line) for line in process.stdout.read().split()]
    process.stdout.close()
    process.wait()
    return acknowledged


async def test_what_was_acknowledged_survives_a_kill(tmp_path: Path) -> None:
    acknowledged = acknowledged_before_a_kill(tmp_path)
    newest = acknowledged[-1]
    assert acknowledged == list(range(2, newest + 1))
    folder = DataFolder.open(tmp_path)
    view = await folder.streams.view(STREAM)
    assert view is not None
    assert view.head in (newest, newest + 1)
    entries = await folder.streams.read(STREAM, after=view.floor, limit=999, max_bytes=1 << 30)
    assert [(e.seq, e.body) for e in entries] == [
        (seq, b"%d" % (seq - 1)) for seq in range(view.floor + 1, view.head + 1)
    ]
    counter = newest - 1
    repeat, following = await commit(
        folder.streams,
        message(BEN, counter, body=b"%d" % counter),
        message(BEN, view.last_counters[BEN] + 1, body=b"next"),
    )
    assert (repeat.seq, repeat.fresh) == (newest, False)
    assert following.seq == view.head + 1
    await folder.close()


async def test_bundles_survive_with_their_members(tmp_path: Path) -> None:
    store = SqliteStreamStore.open(tmp_path)
    await group_of_two(store)
    await commit(store, message(BEN, 1), bundle(ANNA, 2, 1, removes=[BEN]), message(ANNA, 3, 3))
    connection = apsw.Connection(str(tmp_path / STREAMS_FILE), flags=apsw.SQLITE_OPEN_READONLY)
    (row,) = connection.execute("SELECT head, last_commit FROM streams").fetchall()
    connection.close()
    assert row == (4, 3)
    await store.close()
    store = SqliteStreamStore.open(tmp_path)
    outcomes = await commit(store, message(BEN, 2, 3), message(ANNA, 4, 3))
    assert [outcome.code for outcome in outcomes] == [ErrorCode.NOT_MEMBER, None]
    await store.close()
