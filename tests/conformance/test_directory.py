"""What every Directory does."""

from __future__ import annotations

import asyncio

import pytest

from relay.errors import RecordConflict, StoreUnavailable
from relay.store import ABSENT, Directory


async def test_what_is_not_there_is_none(directory: Directory) -> None:
    assert await directory.get("space", "key") is None
    assert await directory.scan("space", "", limit=10) == []
    assert await directory.take("space", "") is None
    assert await directory.count("space", "") == 0
    await directory.delete("space", "key")


async def test_a_record_comes_back(directory: Directory) -> None:
    version = await directory.put("space", "key", b"\x00\xff")
    record = await directory.get("space", "key")
    assert record is not None
    assert (record.value, record.version) == (b"\x00\xff", version)
    assert version != ABSENT


async def test_spaces_do_not_mix(directory: Directory) -> None:
    await directory.put("a", "key", b"1")
    await directory.put("ab", "key", b"2")
    record = await directory.get("a", "key")
    assert record is not None
    assert record.value == b"1"
    assert await directory.count("a", "") == 1
    assert await directory.get("b", "key") is None


async def test_every_change_has_another_version(directory: Directory) -> None:
    first = await directory.put("space", "key", b"same")
    second = await directory.put("space", "key", b"same")
    await directory.delete("space", "key")
    third = await directory.put("space", "key", b"same")
    assert len({first, second, third}) == 3


async def test_compare_and_set(directory: Directory) -> None:
    version = await directory.put("space", "key", b"1", expect=ABSENT)
    with pytest.raises(RecordConflict):
        await directory.put("space", "key", b"2", expect=ABSENT)
    newer = await directory.put("space", "key", b"3", expect=version)
    with pytest.raises(RecordConflict):
        await directory.put("space", "key", b"4", expect=version)
    with pytest.raises(RecordConflict):
        await directory.delete("space", "key", expect=version)
    record = await directory.get("space", "key")
    assert record == (b"3", newer)
    await directory.delete("space", "key", expect=newer)
    with pytest.raises(RecordConflict):
        await directory.put("space", "key", b"5", expect=newer)
    with pytest.raises(RecordConflict):
        await directory.delete("space", "key", expect=newer)


async def test_one_of_many_writers_wins(directory: Directory) -> None:
    version = await directory.put("space", "key", b"0")
    results = await asyncio.gather(
        *[directory.put("space", "key", b"%d" % n, expect=version) for n in range(8)], return_exceptions=True
    )
    assert sum(isinstance(result, RecordConflict) for result in results) == 7
    assert sum(isinstance(result, int) for result in results) == 1


async def test_scan_is_by_prefix_in_order_and_in_pages(directory: Directory) -> None:
    await directory.put_many("space", {f"p/{n:02d}": b"%d" % n for n in reversed(range(10))})
    await directory.put_many("space", {"p": b"", "p0": b"", "q/1": b"", "o": b""})
    first = await directory.scan("space", "p/", limit=4)
    assert first == [(f"p/{n:02d}", b"%d" % n) for n in range(4)]
    rest = await directory.scan("space", "p/", after=first[-1][0], limit=100)
    assert [key for key, _ in rest] == [f"p/{n:02d}" for n in range(4, 10)]
    assert await directory.scan("space", "p/", after="p/09", limit=4) == []
    assert await directory.count("space", "p/") == 10
    assert await directory.count("space", "p") == 12
    assert await directory.count("space", "") == 14


async def test_signs_with_a_meaning_elsewhere_are_plain_in_keys(directory: Directory) -> None:
    keys = ["a%b", "a_b", "a*b", "a[b", "a?b", "a'b", "a~b"]
    await directory.put_many("space", dict.fromkeys(keys, b""))
    for key in keys:
        assert await directory.scan("space", key, limit=10) == [(key, b"")]
    assert await directory.count("space", "a%") == 1


async def test_put_many_replaces(directory: Directory) -> None:
    version = await directory.put("space", "a", b"old")
    await directory.put_many("space", {"a": b"new", "b": b"new"})
    record = await directory.get("space", "a")
    assert record is not None
    assert record.value == b"new"
    assert record.version != version


async def test_take_gives_each_record_once(directory: Directory) -> None:
    await directory.put_many("space", {f"k/{n}": b"%d" % n for n in range(5)})
    await directory.put("space", "l/0", b"other")
    taken = await asyncio.gather(*[directory.take("space", "k/") for _ in range(7)])
    found = sorted(item for item in taken if item is not None)
    assert found == [(f"k/{n}", b"%d" % n) for n in range(5)]
    assert taken.count(None) == 2
    assert await directory.count("space", "") == 1


async def test_a_closed_directory_refuses(directory: Directory) -> None:
    await directory.close()
    with pytest.raises(StoreUnavailable):
        await directory.get("space", "key")
    with pytest.raises(StoreUnavailable):
        await directory.put("space", "key", b"")
    with pytest.raises(StoreUnavailable):
        await directory.put_many("space", {"key": b""})
    await directory.close()
