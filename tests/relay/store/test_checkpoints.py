"""The log is copied back beside the writer and stays short."""

from __future__ import annotations

from pathlib import Path

import pytest

from relay.store.sqlite import SqliteStreamStore, checkpoints
from relay.store.sqlite.streams import STREAMS_FILE
from tests.conformance.support import BEN, commit, group_of_two, held, message

PAGE_BYTES = 4096 + 24  # as it stands in the log


def log_pages(folder: Path) -> int:
    return (folder / f"{STREAMS_FILE}-wal").stat().st_size // PAGE_BYTES


@pytest.fixture(autouse=True)
def _small_checkpoints(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(checkpoints, "CHECKPOINT_PAGES", 50)
    monkeypatch.setattr(checkpoints, "MANY_PAGES", 800)


async def test_the_log_stays_short_while_commits_go_on(tmp_path: Path) -> None:
    store = SqliteStreamStore.open(tmp_path)
    await group_of_two(store)
    for counter in range(1, 301):
        await commit(store, message(BEN, counter, body=bytes(8000)))
    assert log_pages(tmp_path) <= 850  # in one piece it would be more than 1,000
    assert len(await held(store)) == 301
    await store.close()
    store = SqliteStreamStore.open(tmp_path)
    assert len(await held(store)) == 301
    await store.close()


async def test_a_reader_that_holds_the_log_harms_nothing(tmp_path: Path) -> None:
    store = SqliteStreamStore.open(tmp_path)
    await group_of_two(store)
    reader = store._reader_connection
    reader.execute("BEGIN")
    reader.execute("SELECT count(*) FROM bodies").fetchall()
    for counter in range(1, 101):
        await commit(store, message(BEN, counter, body=bytes(8000)))
    reader.execute("COMMIT")
    for counter in range(101, 151):
        await commit(store, message(BEN, counter, body=bytes(8000)))
    assert len(await held(store)) == 151
    await store.close()


async def test_checkpoints_that_fail_hold_nothing_up(tmp_path: Path) -> None:
    store = SqliteStreamStore.open(tmp_path)
    await group_of_two(store)
    store._checkpoints._connection.close()
    for counter in range(1, 101):
        await commit(store, message(BEN, counter, body=bytes(8000)))
    assert len(await held(store)) == 101
    await store.close()
