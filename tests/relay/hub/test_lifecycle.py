"""Going down, sweeping, portals, and what the log says."""

from __future__ import annotations

import logging
from collections.abc import Callable, Coroutine
from typing import Any

import pytest

from relay.core.engagements import EngagementRecord
from relay.errors import AccessRefused, InvalidRequest, NotFound, RateLimited, StoreUnavailable
from relay.hub import Hub, Portals
from relay.store import MemoryDirectory, MemoryStreamStore
from relay.wire import ErrorCode, encode
from relay.wire import frames as fr
from relay.wire.ids import BlobId, PortalId
from tests.relay.hub.support import (
    ANNA,
    BEN,
    PORTAL,
    Chance,
    Clock,
    Device,
    Pair,
    connected_pair,
    make_hub,
    new_engagement,
    participants,
)

HOUR = 3600
DAY = 24 * HOUR


async def test_devices_are_told_when_the_relay_goes_down(hub: Hub, pair: Pair) -> None:
    await hub.drain()
    goodbyes = [device.take()[-1] for device in (pair.anna, pair.ben)]
    assert {goodbye.code for goodbye in goodbyes} == {"draining"}
    assert all(0 <= goodbye.reconnect_after_ms <= 10_000 for goodbye in goodbyes)
    assert len({goodbye.reconnect_after_ms for goodbye in goodbyes}) == 2
    assert pair.anna.sink.closed
    assert hub.statistics().connections == 0


async def test_what_was_accepted_is_answered_before_the_end(hub: Hub, pair: Pair) -> None:
    await pair.anna.session.receive(encode([pair.anna.message(pair.stream)]))
    await hub.drain()
    frames = pair.anna.take()
    assert [type(frame) for frame in frames if not isinstance(frame, fr.Entries)] == [
        fr.Goodbye,
        fr.Appended,
    ]


async def test_nothing_is_accepted_after_the_goodbye(hub: Hub, pair: Pair) -> None:
    pair.anna.session.goodbye(ErrorCode.DRAINING)
    pair.anna.session.flush()
    pair.anna.take()
    assert await pair.anna.say(pair.anna.message(pair.stream), fr.ListEngagements(1)) == []


async def test_who_comes_while_it_goes_down_is_sent_away(hub: Hub) -> None:
    await hub.drain()
    device = Device(hub, ANNA)
    device.attach()
    (goodbye,) = device.take()
    assert goodbye.code == "draining"
    assert device.sink.closed


async def test_a_closed_hub_accepts_nothing() -> None:
    hub = make_hub()
    await hub.start()
    await hub.close()
    with pytest.raises(StoreUnavailable):
        await hub.engagements.create(PORTAL, participants(ANNA))


async def test_a_hub_does_not_start_on_a_closed_store() -> None:
    store = MemoryStreamStore()
    await store.close()
    with pytest.raises(StoreUnavailable):
        await make_hub(store).start()


async def test_what_is_over_its_age_goes(clock: Clock) -> None:
    hub = make_hub(clock=clock)
    await hub.start()
    pair = await connected_pair(hub)
    await pair.anna.say(pair.anna.message(pair.stream))
    clock.now += 30 * DAY - HOUR
    await hub.sweep.run(int(clock.now * 1000))
    held = await hub.streams.read(pair.stream, after=0, limit=9, max_bytes=999)
    assert [entry.seq for entry in held] == [1, 2]
    clock.now += 2 * HOUR
    await hub.sweep.run(int(clock.now * 1000))
    held = await hub.streams.read(pair.stream, after=0, limit=9, max_bytes=999)
    assert [entry.seq for entry in held] == [1]
    await hub.close()


async def test_the_sweep_comes_by_itself(clock: Clock) -> None:
    hub = make_hub(clock=clock, sweep_seconds=600)
    await hub.start()
    pair = await connected_pair(hub)
    await pair.anna.say(pair.anna.message(pair.stream))
    clock.now += 31 * DAY
    hub.tick()
    await hub.settle()
    assert [e.seq for e in await hub.streams.read(pair.stream, after=0, limit=9, max_bytes=999)] == [1]
    await hub.close()


async def test_the_sweep_finishes_an_interrupted_end(hub: Hub, clock: Clock) -> None:
    record = await new_engagement(hub)
    streams = hub.streams
    other = make_hub(MemoryStreamStore(), hub.directory)
    await other.start()
    await other.engagements.end(PORTAL, record.id)
    await other.settle()
    await other.close()
    assert await streams.view(record.id) is not None
    restarted = make_hub(streams, hub.directory)
    await restarted.start()
    await restarted.settle()
    assert await streams.view(record.id) is None
    await restarted.close()


class Blobs:
    def __init__(self) -> None:
        self.erased: list[BlobId] = []

    async def erase(self, blob: BlobId) -> None:
        self.erased.append(blob)


async def test_blobs_go_with_their_time(clock: Clock) -> None:
    blobs = Blobs()
    hub = make_hub(clock=clock, erase_blob=blobs.erase)
    await hub.start()
    pair = await connected_pair(hub)
    unnamed = await hub.uploads.begin(pair.stream, 10)
    named = await hub.uploads.begin(pair.stream, 10)
    for upload in (unnamed, named):
        await hub.uploads.finish(pair.stream, upload.blob)
    await pair.anna.say(pair.anna.message(pair.stream, blobs=[named.blob]))
    clock.now += DAY - 1
    assert await hub.sweep.run(int(clock.now * 1000)) == 0
    clock.now += 1
    assert await hub.sweep.run(int(clock.now * 1000)) == 1
    assert blobs.erased == [unnamed.blob]
    for device in (pair.anna, pair.ben):
        await device.say(fr.Ack(pair.stream, 2))
    clock.now += 28 * DAY
    assert await hub.sweep.run(int(clock.now * 1000)) == 0  # both know of the file; to save it there is time
    clock.now += 2 * DAY
    assert await hub.sweep.run(int(clock.now * 1000)) == 1
    assert blobs.erased[1:] == [named.blob]
    assert await hub.uploads.of_engagement(pair.stream) == []
    await hub.close()


async def test_one_blob_that_cannot_be_erased_keeps_no_other_engagement_waiting(
    clock: Clock, caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    class Stuck(Blobs):
        async def erase(self, blob: BlobId) -> None:
            if not self.erased:
                self.erased.append(blob)
                raise StoreUnavailable("the blob store does not answer")
            await super().erase(blob)

    blobs = Stuck()
    hub = make_hub(clock=clock, erase_blob=blobs.erase)
    await hub.start()
    for _ in range(3):
        record = await new_engagement(hub)
        await hub.uploads.begin(record.id, 1)
    clock.now += 2 * DAY
    monkeypatch.setattr(hub.engagements, "page", one_at_a_time(hub.engagements.page))
    assert await hub.sweep.run(int(clock.now * 1000)) == 2
    assert [vars(r)["count"] for r in caplog.records if r.message == "sweep incomplete"] == [1]
    assert await hub.sweep.run(int(clock.now * 1000)) == 1
    assert await hub.directory.count("uploads", "") == 0
    await hub.close()


Page = Callable[[str], Coroutine[Any, Any, list[EngagementRecord]]]


def one_at_a_time(page: Page) -> Page:
    async def short(after: str) -> list[EngagementRecord]:
        return (await page(after))[:1]

    return short


async def test_uploads_are_of_their_engagement(hub: Hub) -> None:
    one, two = await new_engagement(hub), await new_engagement(hub)
    upload = await hub.uploads.begin(one.id, 10)
    assert await hub.uploads.read(one.id, upload.blob) == upload
    with pytest.raises(NotFound):
        await hub.uploads.read(two.id, upload.blob)
    with pytest.raises(NotFound):
        await hub.uploads.finish(two.id, upload.blob)


@pytest.mark.parametrize("size", [0, -1, 2 * 1024**3 + 1])
async def test_uploads_have_a_size(hub: Hub, size: int) -> None:
    record = await new_engagement(hub)
    with pytest.raises(InvalidRequest):
        await hub.uploads.begin(record.id, size)


async def test_uploads_are_limited_in_number(hub: Hub, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("relay.hub.uploads.MAX_UPLOADS", 2)
    record, other = await new_engagement(hub), await new_engagement(hub)
    for _ in range(2):
        await hub.uploads.begin(record.id, 10)
    with pytest.raises(RateLimited):
        await hub.uploads.begin(record.id, 10)
    await hub.uploads.begin(other.id, 10)


async def test_portals_have_keys() -> None:
    portals = Portals(MemoryDirectory(), clock=Clock(), rng=Chance())
    added = await portals.add("north", origins=["https://north.example"])
    assert added.record.origins == ("https://north.example",)
    assert (await portals.authenticate(added.api_key)).id == "north"
    assert added.api_key not in repr(added)
    assert added.record.token_secret.hex() not in repr(added.record)
    assert [record.id for record in await portals.list()] == ["north"]
    with pytest.raises(InvalidRequest):
        await portals.add("north")


async def test_rotated_and_removed_keys_are_worth_nothing() -> None:
    portals = Portals(MemoryDirectory(), clock=Clock(), rng=Chance())
    first = await portals.add("north")
    second = await portals.rotate(first.record.id)
    assert first.record.token_secret != second.record.token_secret
    with pytest.raises(AccessRefused):
        await portals.authenticate(first.api_key)
    await portals.authenticate(second.api_key)
    await portals.remove(first.record.id)
    with pytest.raises(AccessRefused):
        await portals.authenticate(second.api_key)
    with pytest.raises(NotFound):
        await portals.remove(first.record.id)
    with pytest.raises(NotFound):
        await portals.rotate(PortalId("south"))


@pytest.mark.parametrize(
    "key", ["", "crk_north_", "crk_north_" + "A" * 43, "crk_south_" + "A" * 43, "Bearer x", "\udcff"]
)
async def test_what_is_no_key_is_refused(key: str) -> None:
    portals = Portals(MemoryDirectory(), clock=Clock(), rng=Chance())
    await portals.add("north")
    with pytest.raises(AccessRefused) as refused:
        await portals.authenticate(key)
    assert refused.value.code == "token_invalid"


@pytest.mark.parametrize("portal", ["", "North", "1north", "n" * 33, "north/south"])
async def test_portal_ids_have_a_form(portal: str) -> None:
    portals = Portals(MemoryDirectory(), clock=Clock(), rng=Chance())
    with pytest.raises(InvalidRequest):
        await portals.add(portal)


@pytest.mark.parametrize(
    "origin", ["north.example", "https://north.example/path", "ftp://x", "https://", "*"]
)
async def test_origins_have_a_form(origin: str) -> None:
    portals = Portals(MemoryDirectory(), clock=Clock(), rng=Chance())
    with pytest.raises(InvalidRequest):
        await portals.add("north", origins=[origin])


async def test_the_log_names_nobody(hub: Hub, caplog: pytest.LogCaptureFixture) -> None:
    with caplog.at_level(logging.DEBUG):
        pair = await connected_pair(hub)
        await pair.anna.say(pair.anna.message(pair.stream, body=b"sealed body"))
        await pair.anna.say(fr.Open(9, pair.stream, 0))
        await hub.sweep.run(int(hub.clock() * 1000))
        pair.ben.session.end(ErrorCode.SLOW_READER)
        await hub.drain()
    told = "\n".join(f"{record.getMessage()} {record.__dict__}" for record in caplog.records)
    assert "slow_reader" in told
    for secret in (ANNA, BEN, PORTAL, pair.stream, pair.anna.id.hex(), str(pair.anna.id), "sealed"):
        assert secret not in told.replace("relay", "").replace("tests/", "")
