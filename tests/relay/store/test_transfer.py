"""Moving a store: everything arrives, the devices go on, and what would lose something is refused."""

from __future__ import annotations

import asyncio
import random
import secrets
from collections.abc import Iterator, Mapping
from contextlib import AbstractAsyncContextManager
from pathlib import Path

import pytest

from relay.core.operations import AcknowledgeEntries, AppendEntries, CreateStream, ExpireEntries
from relay.errors import InvalidRequest, StoreCorrupt, StoreInUse, StoreUnavailable
from relay.redis_address import RedisWait, parse_redis_url
from relay.store import Directory, StreamStore
from relay.store.redis import RedisBus, RedisDirectory, RedisStores, RedisStreamStore
from relay.store.redis.client import RedisClient
from relay.store.redis.transfer import EVENTS, RedisSide, redis_side
from relay.store.sqlite import DataFolder
from relay.store.sqlite.folder import MOVING as MOVING_FOLDER
from relay.store.sqlite.transfer import FolderTarget, folder_source, folder_target, runs
from relay.store.transfer import Counts, Side, Target, compare, copy_all
from relay.wire.bundle import Bundle
from relay.wire.errors import ErrorCode
from relay.wire.frames import EntryKind
from relay.wire.ids import DeviceId, EngagementId
from tests.support import real_redis

SPACES = ("engagements", "counters", "leases")
ANNA, BEN = DeviceId(b"a" * 16), DeviceId(b"b" * 16)
HOUR = 3_600_000


@pytest.fixture(scope="module", params=[real_redis.Standalone, real_redis.Cluster], ids=["redis", "cluster"])
def servers(request: pytest.FixtureRequest) -> Iterator[real_redis.Servers]:
    if real_redis.PROGRAM is None:
        pytest.skip(real_redis.MISSING)
    with real_redis.real_redis(request.param) as made:
        yield made


@pytest.fixture
def url(servers: real_redis.Servers) -> str:
    """An empty Redis, one server or six."""
    servers.empty()
    return servers.url


def side_of(url: str) -> AbstractAsyncContextManager[RedisSide]:
    return redis_side(RedisClient(parse_redis_url(url)))


def stream_name(number: int) -> EngagementId:
    return EngagementId(f"eng_{number:021d}A")


def appended(
    stream: EngagementId, device: DeviceId, counter: int, after: int, *bodies: bytes, now: int
) -> AppendEntries:
    return AppendEntries(stream, device, counter, EntryKind.MESSAGE, after, bodies, now)


def bundle(stream: EngagementId, counter: int, after: int, *adds: DeviceId, now: int) -> AppendEntries:
    body = Bundle(adds=adds, removes=(), commit=b"c", welcome=b"w" if adds else None, group_info=b"g")
    return AppendEntries(stream, ANNA, counter, EntryKind.COMMIT, after, (body.serialize(),), now, adds=adds)


async def fill(streams: StreamStore, directory: Directory, seed: int = 5) -> None:
    """Conversations of every kind: empty, long, with erased and half erased runs, expired, in two epochs."""
    chance = random.Random(seed)
    for number in range(6):
        stream = stream_name(number)
        await streams.commit([CreateStream(stream, bytes([number]) * 16)])
        if number == 0:
            continue
        await streams.commit([bundle(stream, 1, 0, BEN, now=1_000)])
        counter = 2
        for turn in range(number * 4):
            bodies = [
                chance.randbytes(chance.choice((0, 1, 300, 60_000))) for _ in range(chance.randint(1, 9))
            ]
            await streams.commit([appended(stream, ANNA, counter, 1, *bodies, now=1_000 + turn // 2)])
            counter += len(bodies)
        await streams.commit([appended(stream, BEN, 1, 1, b"so many", b"x" * 65_536, now=9_000)])
        if number > 2:
            await streams.commit([AcknowledgeEntries(stream, device, 7) for device in (ANNA, BEN)])
        if number == 4:
            await streams.commit([bundle(stream, counter, 1, now=5 * HOUR)])
        if number == 5:  # everything is gone but the newest commit
            await streams.commit([ExpireEntries(stream, 6 * HOUR, 3 * HOUR)])
    for space, count in (("engagements", 150), ("portals", 2), ("counters", 1)):
        await directory.put_many(space, {f"key/{n:03d}": chance.randbytes(n) for n in range(count)})
    await directory.delete("portals", "key/001")


@pytest.fixture
async def folder(tmp_path: Path) -> Path:
    """A relay's data folder."""
    path = tmp_path / "data"
    opened = DataFolder.open(path)
    await fill(opened.streams, opened.directory)
    await opened.streams.begin_history(b"restored once")
    await opened.close()
    return path


async def moved(source: Side, target: Target) -> Counts:
    """A whole move."""
    await target.begin()
    counts = await copy_all(source, target, SPACES, lambda _: None)
    assert await compare(source, target, lambda _: None) == counts
    await target.finish()
    return counts


async def test_everything_arrives_in_redis_and_comes_back(folder: Path, url: str, tmp_path: Path) -> None:
    async with folder_source(folder) as source, side_of(url) as redis:
        there = await moved(source, redis)
    assert (there.streams, there.records) == (6, 152)
    assert there.entries > 100
    async with side_of(url) as redis, folder_target(tmp_path / "back") as target:
        assert await moved(redis, target) == there
    async with folder_source(folder) as first, folder_source(tmp_path / "back") as last:
        assert await compare(first, last, lambda _: None) == there
        assert (await last.marks()).history == b"restored once"


@pytest.mark.parametrize("kind", ["redis", "sqlite"])
async def test_the_streams_go_on_as_if_nothing_had_happened(
    folder: Path, url: str, tmp_path: Path, kind: str
) -> None:
    """What was sent gets its first answer again, the next counter is the next, incarnations stay."""
    opened = DataFolder.open(folder)
    views = {n: await opened.streams.view(stream_name(n)) for n in range(6)}
    await opened.close()
    async with folder_source(folder) as source, side_of(url) as redis:
        await moved(source, redis)
    if kind == "redis":
        client = RedisClient(parse_redis_url(url))
        streams, directory = RedisStreamStore(client), RedisDirectory(client)
        await goes_on(streams, directory, views)
        await streams.close()
        await directory.close()
        await client.close()
        return
    async with side_of(url) as redis, folder_target(tmp_path / "back") as target:
        await moved(redis, target)
    opened = DataFolder.open(tmp_path / "back")
    try:
        await goes_on(opened.streams, opened.directory, views)
    finally:
        await opened.close()


async def goes_on(streams: StreamStore, directory: Directory, views: Mapping[int, object]) -> None:
    for number, view in views.items():
        assert await streams.view(stream_name(number)) == view
    stream = stream_name(3)
    again = await streams.commit([appended(stream, BEN, 2, 1, b"x" * 65_536, now=9_100)])
    other = await streams.commit([appended(stream, BEN, 2, 1, b"y", now=9_100)])
    fresh = await streams.commit([appended(stream, BEN, 3, 1, b"and on", now=9_100)])
    assert [(one.fresh, one.code) for one in again[0]] == [(False, None)]
    assert [one.code for one in other[0]] == [ErrorCode.CONFLICT]
    head = again[0][0].seq
    assert [(one.seq, one.fresh, one.code) for one in fresh[0]] == [(head + 1, True, None)]
    (newest,) = await streams.read(stream, after=head, limit=9, max_bytes=9)
    assert newest.body == b"and on"
    before = await directory.get("engagements", "key/007")
    assert before is not None
    version = await directory.put("engagements", "key/007", b"new", expect=before.version)
    assert version > before.version > 154  # never one that the other store had given


async def test_a_full_store_is_not_written_to(folder: Path, url: str) -> None:
    async with folder_source(folder) as source, side_of(url) as redis:
        await moved(source, redis)
        with pytest.raises(InvalidRequest, match="already"):
            await redis.begin()
    with pytest.raises(InvalidRequest, match="already"):
        async with folder_target(folder) as target:
            await target.begin()


async def test_a_relay_that_runs_keeps_it_from_beginning(folder: Path, url: str) -> None:
    opened = DataFolder.open(folder)
    try:
        with pytest.raises(StoreInUse):
            async with folder_source(folder):
                raise AssertionError
        with pytest.raises(StoreInUse):
            async with folder_target(folder):
                raise AssertionError
    finally:
        await opened.close()
    client = RedisClient(parse_redis_url(url))
    bus = RedisBus(client)
    await bus.start(lambda topic, news: None, lambda: None)
    try:
        await bus.follow(EVENTS)
        with pytest.raises(StoreInUse, match="1 nodes"):
            async with side_of(url):
                raise AssertionError
    finally:
        await bus.close()
        await client.close()


async def test_a_move_that_was_cut_off_is_begun_anew_and_no_relay_starts_before(
    folder: Path, url: str, tmp_path: Path
) -> None:
    back = tmp_path / "back"
    async with folder_source(folder) as source:
        async with side_of(url) as redis, folder_target(back) as target:
            for one in (redis, target):
                await one.begin()
                await one.put_state(stream_name(9), await source.state(stream_name(1)))
                await one.put_records("portals", {"left": b"over"})
        with pytest.raises(StoreUnavailable, match="cut off"):
            DataFolder.open(back)
        async with side_of(url) as redis, folder_target(back) as target:
            with pytest.raises(StoreUnavailable, match="cut off"):
                await RedisStores.open(parse_redis_url(url), RedisWait())
            assert await moved(source, redis) == await moved(source, target)
    await DataFolder.open(back).close()
    await (await RedisStores.open(parse_redis_url(url), RedisWait())).close()
    assert not (back / MOVING_FOLDER).exists()


async def test_a_move_that_was_cut_off_at_its_very_end_is_completed(folder: Path, tmp_path: Path) -> None:
    back = tmp_path / "back"
    async with folder_source(folder) as source:
        async with folder_target(back) as target:
            await target.begin()
            await copy_all(source, target, SPACES, lambda _: None)
            target._put_in_place = interrupt  # type: ignore[method-assign]  # the process ends here
            with pytest.raises(KeyboardInterrupt):
                await target.finish()
        with pytest.raises(InvalidRequest, match="already"):
            async with folder_target(back) as target:
                await target.begin()
        async with folder_source(back) as whole:
            await compare(source, whole, lambda _: None)


def interrupt() -> None:
    raise KeyboardInterrupt


@pytest.mark.parametrize("harm", ["entry", "state", "record", "stream", "history", "window"])
async def test_whatever_is_missing_or_different_is_found(folder: Path, url: str, harm: str) -> None:
    commands: dict[str, tuple[str | bytes, ...]] = {
        "entry": ("XTRIM", f"coach:{{{stream_name(2)}}}:entries", "MAXLEN", "3"),
        "state": ("HSET", f"coach:{{{stream_name(2)}}}:state", "floor", "1"),
        "window": ("DEL", f"coach:{{{stream_name(2)}}}:window"),
        "record": ("HDEL", "coach:{engagements}:records", "key/100"),
        "stream": ("DEL", f"coach:{{{stream_name(0)}}}:state"),
        "history": ("SET", "coach:{history}:name", "another"),
    }
    async with folder_source(folder) as source, side_of(url) as redis:
        await moved(source, redis)
        command = commands[harm]
        await redis._run(command, key=str(command[1]))
        if harm == "record":
            await redis._run(
                ("ZREM", "coach:{engagements}:index", "key/100"), key="coach:{engagements}:index"
            )
        with pytest.raises(StoreCorrupt, match="did not arrive"):
            await compare(source, redis, lambda _: None)


async def test_a_folder_that_holds_nothing_is_no_source(tmp_path: Path) -> None:
    with pytest.raises(InvalidRequest, match="no relay's data"):
        async with folder_source(tmp_path):
            raise AssertionError
    assert list(tmp_path.iterdir()) == []


async def test_entries_that_one_device_sent_at_once_are_one_run(folder: Path) -> None:
    async with folder_source(folder) as source:
        entries = await source.entries(stream_name(2), 0)
    found = list(runs(entries))
    assert [entry for run in found for entry in run] == entries
    assert len(found[0]) == 1  # a bundle is alone
    assert 1 < len(found) < len(entries)


def test_a_target_that_was_not_begun_takes_nothing(tmp_path: Path) -> None:
    with pytest.raises(StoreUnavailable, match="not begun"):
        asyncio.run(FolderTarget(tmp_path).put_records("portals", {secrets.token_hex(2): b""}))
