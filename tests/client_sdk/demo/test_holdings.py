"""What the relay holds, listed from the files of a real relay's store."""

from __future__ import annotations

import sqlite3
from pathlib import Path

import pytest

from client_sdk.demo.holdings import list_holdings, newest_entry
from relay.hub import spaces
from relay.store.sqlite import DataFolder


@pytest.fixture
async def data(tmp_path: Path) -> Path:
    """The data folder of a relay that has just begun."""
    folder = DataFolder.open(tmp_path / "data")
    await folder.directory.put(spaces.PORTALS, "growth", b"record")
    await folder.close()
    (tmp_path / "data" / "blobs" / "b").mkdir(parents=True)
    (tmp_path / "data" / "blobs" / "b" / "0").write_bytes(bytes(1000))
    return tmp_path / "data"


async def test_every_table_and_blob_is_listed(data: Path) -> None:
    found = {holding.what: holding for holding in list_holdings(data)}
    assert found["portals"].count == 1
    assert found["portals"].size == len("growth") + len(b"record")
    assert (found["pieces of sealed files"].count, found["pieces of sealed files"].size) == (1, 1000)
    assert found["entries still waiting"].count == 0


async def test_everything_the_relay_has_is_described(data: Path) -> None:
    for space in vars(spaces).values():
        if isinstance(space, str) and space.isalpha() and space.islower():
            with sqlite3.connect(data / "directory.db") as database:
                database.execute("INSERT OR REPLACE INTO records VALUES (?, 'k', 1, x'00')", (space,))
            database.close()
    assert not [holding.kind for holding in list_holdings(data) if holding.tells == "not described here"]


async def test_what_is_new_is_shown_by_its_name(data: Path) -> None:
    with sqlite3.connect(data / "streams.db") as database:
        database.execute("CREATE TABLE surprise (x)")
        database.execute("INSERT INTO surprise VALUES ('12345')")
    database.close()
    [holding] = [holding for holding in list_holdings(data) if holding.kind == "surprise"]
    assert (holding.what, holding.count, holding.size) == ("“surprise”", 1, 5)
    assert holding.tells == "not described here"


async def test_the_newest_message_is_found(data: Path) -> None:
    assert newest_entry(data) is None
    with sqlite3.connect(data / "streams.db") as database:
        for seq, kind, bodies in ((1, 1, (b"commit",)), (2, 0, (b"old", b"new")), (4, 1, (b"commit",))):
            database.execute(
                "INSERT INTO runs VALUES (?, ?, ?, ?, 0, 0, x'00', 1)",
                ((1 << 36) + seq, seq, len(bodies), kind),
            )
            database.executemany("INSERT INTO bodies VALUES (?, ?)", enumerate(bodies, seq))
    database.close()
    entry = newest_entry(data)
    assert entry is not None
    assert (entry.seq, entry.body) == (3, b"new")
