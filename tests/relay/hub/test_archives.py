"""Archives at the relay: in order, the user's alone, bounded, and gone with the engagement."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest

from relay.core.archives import ArchiveRecord, Series, add_part, without_series
from relay.errors import InvalidRequest, QuotaExceeded
from relay.hub import Hub, spaces
from relay.wire import encode
from relay.wire import frames as fr
from relay.wire.limits import MAX_ARCHIVE_BYTES, MAX_ARCHIVE_SERIES
from tests.relay.hub.support import BEN, Device, Pair, connected_pair, make_hub, only
from tests.relay.hub.test_access import Interrupted

SERIES = bytes(16)
OTHER = b"o" * 16


async def put(device: Device, pair: Pair, number: int, part: bytes, series: bytes = SERIES) -> Any:
    (answer,) = await device.say(fr.PutArchive(1, pair.stream, series, number, part))
    return answer


async def read(device: Device, pair: Pair, after: int = 0, series: bytes = SERIES) -> tuple[bytes, ...]:
    (answer,) = only(await device.say(fr.ReadArchive(2, pair.stream, series, after)), fr.ArchiveParts)
    parts: tuple[bytes, ...] = answer.parts
    return parts


async def listed(device: Device, pair: Pair) -> dict[bytes, int]:
    (answer,) = only(await device.say(fr.ListArchive(3, pair.stream)), fr.ArchiveListed)
    return {series.series: series.parts for series in answer.series}


async def test_parts_are_kept_in_order_and_a_retry_changes_nothing(hub: Hub, pair: Pair) -> None:
    for number in range(1, 41):
        assert (await put(pair.anna, pair, number, b"part %d" % number)).parts == number
    assert (await put(pair.anna, pair, 40, b"another")).parts == 40
    assert (await put(pair.anna, pair, 42, b"too far")).parts == 40
    assert await read(pair.anna, pair) == tuple(b"part %d" % n for n in range(1, 41))
    assert await read(pair.anna, pair, after=38) == (b"part 39", b"part 40")
    assert await read(pair.anna, pair, after=40) == ()
    assert await listed(pair.anna, pair) == {SERIES: 40}


async def test_an_answer_holds_as_much_as_a_frame_can(hub: Hub, pair: Pair) -> None:
    large = bytes(400 * 1024)
    for number in range(1, 4):
        await put(pair.anna, pair, number, large)
    assert [len(await read(pair.anna, pair, after=after)) for after in range(4)] == [1, 1, 1, 0]


async def test_each_user_has_their_own(hub: Hub, pair: Pair) -> None:
    await put(pair.anna, pair, 1, b"anna's")
    assert await listed(pair.ben, pair) == {}
    assert await read(pair.ben, pair) == ()


async def test_every_device_of_the_user_reads_and_only_members_write(hub: Hub, pair: Pair) -> None:
    await put(pair.anna, pair, 1, b"anna's")
    new = await Device(hub, "anna", seed="new phone").connect()
    assert await read(new, pair) == (b"anna's",)
    (refused,) = await new.say(fr.PutArchive(9, pair.stream, SERIES, 2, b"by a token alone"))
    assert (refused.request, refused.code) == (9, "not_found")
    (refused,) = await new.say(fr.EraseArchive(10, pair.stream, None))
    assert refused.code == "not_found"
    assert await listed(pair.anna, pair) == {SERIES: 1}


async def test_nobody_else_reads(hub: Hub, pair: Pair) -> None:
    await put(pair.anna, pair, 1, b"anna's")
    stranger = await Device(hub, "cara").connect()
    for frame in (fr.ListArchive(1, pair.stream), fr.ReadArchive(1, pair.stream, SERIES, 0)):
        (refused,) = await stranger.say(frame)
        assert refused.code == "not_found"


async def test_a_series_or_everything_is_erased(hub: Hub, pair: Pair) -> None:
    await put(pair.anna, pair, 1, b"one")
    await put(pair.anna, pair, 1, b"two", OTHER)
    await pair.anna.say(fr.EraseArchive(4, pair.stream, SERIES))
    assert await listed(pair.anna, pair) == {OTHER: 1}
    assert await read(pair.anna, pair) == ()
    await pair.anna.say(fr.EraseArchive(5, pair.stream, None))
    assert await listed(pair.anna, pair) == {}
    assert await hub.directory.count(spaces.ARCHIVE_PARTS, "") == 0


async def test_the_end_of_the_engagement_erases_it(hub: Hub, pair: Pair) -> None:
    await put(pair.anna, pair, 1, b"anna's")
    await put(pair.ben, pair, 1, b"ben's")
    await hub.engagements.end(pair.anna.portal, pair.stream)
    await hub.settle()
    for space in (spaces.ARCHIVES, spaces.ARCHIVE_PARTS):
        assert await hub.directory.count(space, "") == 0
    (refused,) = only(await pair.ben.say(fr.ListArchive(1, pair.stream)), fr.Error)
    assert refused.code in ("ended", "not_found")
    assert pair.ben.user == BEN


async def test_a_part_that_comes_at_the_end_is_erased_too() -> None:
    """It had passed the check of its device; then the engagement ended and was erased."""
    directory = Interrupted(spaces.ARCHIVES)
    hub = make_hub(directory=directory)
    await hub.start()
    pair = await connected_pair(hub)

    async def end() -> None:
        await hub.engagements.end(pair.anna.portal, pair.stream)
        await asyncio.gather(*hub._tasks)

    directory.meanwhile = end
    (refused,) = only(await pair.anna.say(fr.PutArchive(1, pair.stream, SERIES, 1, b"late")), fr.Error)
    assert refused.code == "ended"
    for space in (spaces.ARCHIVES, spaces.ARCHIVE_PARTS):
        assert await hub.directory.count(space, "") == 0
    await hub.close()


async def test_one_users_erasure_holds_nobody_elses_archive_up(
    hub: Hub, pair: Pair, monkeypatch: pytest.MonkeyPatch
) -> None:
    go_on = asyncio.Event()
    take_all = hub.archives._take_all

    async def slowly(space: str, prefix: str) -> None:
        await go_on.wait()
        await take_all(space, prefix)

    await put(pair.anna, pair, 1, b"anna's")
    monkeypatch.setattr(hub.archives, "_take_all", slowly)
    erasing = asyncio.create_task(pair.anna.session.receive(encode([fr.EraseArchive(1, pair.stream, None)])))
    await asyncio.sleep(0)
    async with asyncio.timeout(30):
        assert (await put(pair.ben, pair, 1, b"ben's")).parts == 1
    go_on.set()
    await erasing
    assert await listed(pair.anna, pair) == {}
    assert await listed(pair.ben, pair) == {SERIES: 1}


def test_an_archive_is_bounded() -> None:
    record = ArchiveRecord()
    for number in range(MAX_ARCHIVE_SERIES):
        record = add_part(record, Series(bytes([number]) * 16), 1, 10)
    with pytest.raises(QuotaExceeded):
        add_part(record, Series(b"x" * 16), 1, 10)
    with pytest.raises(QuotaExceeded):
        add_part(record, Series(bytes(16)), 2, MAX_ARCHIVE_BYTES)
    with pytest.raises(InvalidRequest):
        add_part(record, Series(bytes(16)), 3, 1)
    assert ArchiveRecord.parse(record.serialize()) == record
    assert len(without_series(record, Series(bytes(16))).series) == MAX_ARCHIVE_SERIES - 1
