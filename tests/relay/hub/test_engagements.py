"""The portal API's service: create, read, change, end; and what devices learn of it."""

from __future__ import annotations

import asyncio

import pytest

from relay.core.engagements import EngagementRecord
from relay.errors import Ended, InvalidRequest, NotFound
from relay.hub import Hub
from relay.wire import frames as fr
from relay.wire.ids import BlobId, PortalId, Role, UserId, parse_engagement_id
from relay.wire.limits import MAX_ENGAGEMENTS_PER_USER
from tests.relay.hub.support import (
    ANNA,
    BEN,
    CARA,
    NOW,
    PORTAL,
    Clock,
    Device,
    Pair,
    make_hub,
    new_engagement,
    only,
    participants,
)

OTHER = PortalId("other")


async def test_an_engagement_is_created(hub: Hub) -> None:
    record = await hub.engagements.create(PORTAL, participants(ANNA, BEN), retention_hours=48)
    assert parse_engagement_id(record.id) == record.id
    assert record == EngagementRecord(
        id=record.id,
        portal=PORTAL,
        created=NOW,
        retention_hours=48,
        participants=tuple(participants(ANNA, BEN)),
    )
    assert await hub.engagements.read(PORTAL, record.id) == record
    view = await hub.streams.view(record.id)
    assert view is not None
    assert view.head == 0


async def test_each_has_its_own_id_and_incarnation(hub: Hub) -> None:
    first, second = await new_engagement(hub), await new_engagement(hub)
    views = [await hub.streams.view(record.id) for record in (first, second)]
    assert first.id != second.id
    assert len({view.incarnation for view in views if view}) == 2


@pytest.mark.parametrize(
    "roster",
    [[], participants(ANNA, ANNA), [fr.Participant(UserId(f"u{n}"), Role.CLIENT) for n in range(33)]],
    ids=["nobody", "twice", "too many"],
)
async def test_a_roster_that_may_not_be(hub: Hub, pair: Pair, roster: list[fr.Participant]) -> None:
    with pytest.raises(InvalidRequest):
        await hub.engagements.create(PORTAL, roster)
    with pytest.raises(InvalidRequest):
        await hub.engagements.set_participants(PORTAL, pair.stream, roster)


@pytest.mark.parametrize("hours", [0, -1, 180 * 24 + 1])
async def test_a_retention_that_may_not_be(hub: Hub, hours: int) -> None:
    with pytest.raises(InvalidRequest):
        await hub.engagements.create(PORTAL, participants(ANNA), retention_hours=hours)


async def test_another_portals_engagement_does_not_exist(hub: Hub, pair: Pair) -> None:
    with pytest.raises(NotFound):
        await hub.engagements.read(OTHER, pair.stream)
    with pytest.raises(NotFound):
        await hub.engagements.set_participants(OTHER, pair.stream, participants(ANNA))
    with pytest.raises(NotFound):
        await hub.engagements.end(OTHER, pair.stream)
    assert not (await hub.engagements.read(PORTAL, pair.stream)).ended


async def test_a_participant_has_a_most_of_engagements(hub: Hub, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("relay.hub.engagements.MAX_ENGAGEMENTS_PER_USER", 3)
    assert MAX_ENGAGEMENTS_PER_USER == 256
    records = [await new_engagement(hub, ANNA, BEN) for _ in range(3)]
    with pytest.raises(InvalidRequest):
        await hub.engagements.create(PORTAL, participants(CARA, BEN))
    alone = await hub.engagements.create(PORTAL, participants(CARA))
    with pytest.raises(InvalidRequest):
        await hub.engagements.set_participants(PORTAL, alone.id, participants(CARA, ANNA))
    await hub.engagements.create(OTHER, participants(ANNA, BEN))
    await hub.engagements.end(PORTAL, records[0].id)
    await hub.engagements.create(PORTAL, participants(CARA, BEN))


async def test_a_new_engagement_is_told_to_who_is_here(hub: Hub) -> None:
    anna, cara = await Device(hub, ANNA).connect(), await Device(hub, CARA).connect()
    record = await new_engagement(hub)
    (changed,) = anna.take()
    assert changed.engagement.id == record.id
    assert cara.take() == []


async def test_what_was_seen_before_is_not_told_behind_what_was_seen_later(
    hub: Hub, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A first look that takes its time: the key packages that came meanwhile would be taken back by it."""
    anna = await Device(hub, ANNA).connect()
    record = await new_engagement(hub)
    anna.take()
    held, honest = asyncio.Event(), hub.overview.of

    async def slow(record: EngagementRecord) -> fr.Engagement:
        found = await honest(record)
        await held.wait()
        return found

    with monkeypatch.context() as first:
        first.setattr(hub.overview, "of", slow)
        earlier = asyncio.create_task(hub.tell_changed(record.id))
        for _ in range(20):
            await asyncio.sleep(0)
    published = await anna.say(fr.PublishKeyPackages(1, (b"package",), None))
    held.set()
    await earlier
    await hub.settle()
    (told,) = only([*published, *anna.take()], fr.EngagementChanged)
    assert [device.has_key_package for device in told.engagement.devices] == [True]


async def test_another_roster_is_told_to_all(hub: Hub, pair: Pair) -> None:
    cara = await Device(hub, CARA).connect()
    await hub.engagements.set_participants(PORTAL, pair.stream, participants(ANNA, CARA))
    await hub.settle()
    for device in (pair.anna, cara):
        (changed,) = device.take()
        assert changed.engagement.participants == tuple(participants(ANNA, CARA))
    (gone,) = pair.ben.take()
    assert gone.engagement == fr.Engagement(pair.stream, "active", NOW, 720, (), (), 0)
    (listed,) = await pair.ben.say(fr.ListEngagements(1))
    assert listed.engagements == ()
    (listed,) = await cara.say(fr.ListEngagements(1))
    assert len(listed.engagements) == 1


async def test_who_comes_back_on_the_roster_goes_on(hub: Hub, pair: Pair) -> None:
    await hub.engagements.set_participants(PORTAL, pair.stream, participants(ANNA))
    await hub.engagements.set_participants(PORTAL, pair.stream, participants(ANNA, BEN))
    await hub.settle()
    pair.ben.take()
    assert (await pair.ben.open(pair.stream)).member


async def test_changes_at_once_are_all_made(hub: Hub, pair: Pair) -> None:
    rosters = [participants(ANNA, BEN), participants(ANNA, CARA), participants(BEN, CARA)]
    await asyncio.gather(
        *[hub.engagements.set_participants(PORTAL, pair.stream, roster) for roster in rosters]
    )
    record = await hub.engagements.read(PORTAL, pair.stream)
    assert list(record.participants) in rosters


async def test_the_end_erases_stream_and_membership(hub: Hub, pair: Pair, clock: Clock) -> None:
    clock.now += 60
    record = await hub.engagements.end(PORTAL, pair.stream)
    assert (record.status, record.ended) == ("ended", NOW + 60)
    await hub.settle()
    assert await hub.streams.view(pair.stream) is None
    for device in (pair.anna, pair.ben):
        (changed,) = device.take()
        assert changed.engagement == fr.Engagement(
            pair.stream, "ended", NOW, 720, tuple(participants(ANNA, BEN)), (), 0
        )
        assert device.session.subscriptions == {}


async def test_the_end_is_the_end(hub: Hub, pair: Pair, clock: Clock) -> None:
    first = await hub.engagements.end(PORTAL, pair.stream)
    clock.now += 60
    assert await hub.engagements.end(PORTAL, pair.stream) == first
    with pytest.raises(Ended):
        await hub.engagements.set_participants(PORTAL, pair.stream, participants(ANNA))


async def test_an_append_under_way_at_the_end_is_refused(hub: Hub, pair: Pair) -> None:
    anna = pair.anna
    ending = asyncio.ensure_future(hub.engagements.end(PORTAL, pair.stream))
    frames = await anna.say(anna.message(pair.stream), anna.message(pair.stream))
    await ending
    await hub.settle()
    frames += await anna.say(anna.message(pair.stream))
    refused = only(frames, fr.Refused)
    assert {frame.code for frame in refused} <= {"ended", "not_found"}
    assert refused
    assert await hub.streams.view(pair.stream) is None


async def test_the_end_erases_blobs() -> None:
    erased: list[BlobId] = []

    async def erase(blob: BlobId) -> None:
        erased.append(blob)

    hub = make_hub(erase_blob=erase)
    await hub.start()
    record = await new_engagement(hub)
    uploads = [await hub.uploads.begin(record.id, 10) for _ in range(3)]
    await hub.engagements.end(PORTAL, record.id)
    await hub.settle()
    assert sorted(erased) == sorted(upload.blob for upload in uploads)
    with pytest.raises(NotFound):
        await hub.uploads.read(record.id, uploads[0].blob)
    await hub.close()


async def test_an_engagement_whose_stream_was_lost_gets_a_new_one(hub: Hub) -> None:
    record = await new_engagement(hub)
    before = await hub.streams.view(record.id)
    restored = make_hub(directory=hub.directory)
    restored.rng = lambda count: b"n" * count
    await restored.start()
    anna = await Device(restored, ANNA).connect()
    opened = await anna.open(record.id)
    assert before is not None
    assert opened.incarnation != before.incarnation
    assert opened.head == 0
    await restored.close()
