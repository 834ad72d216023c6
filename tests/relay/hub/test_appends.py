"""Appends through the hub: the rules that need more than the stream, and the answers."""

from __future__ import annotations

import pytest

from relay.core.limits import Rate, RateLimits
from relay.errors import StoreCorrupt, StoreError, StoreFull, StoreUnavailable
from relay.hub import Hub
from relay.store import MemoryDirectory, MemoryStreamStore
from relay.wire import Bundle, encode
from relay.wire import frames as fr
from relay.wire.ids import BlobId, DeviceId, EngagementId
from tests.relay.hub.support import (
    ANNA,
    BEN,
    CARA,
    COMMIT,
    PORTAL,
    Clock,
    Device,
    Pair,
    connected_pair,
    make_hub,
    new_engagement,
    only,
    participants,
)

NOWHERE = EngagementId("eng_" + "n" * 21 + "A")


def codes(frames: list[object]) -> list[str]:
    return [frame.code for frame in only(frames, fr.Refused)]


async def test_a_group_is_created_and_talks(hub: Hub) -> None:
    record = await new_engagement(hub)
    anna, ben = await Device(hub, ANNA).connect(), await Device(hub, BEN).connect()
    frames = await anna.say(anna.commit(record.id, adds=[ben.id]), anna.message(record.id))
    (appended,) = only(frames, fr.Appended)
    assert appended.stream == record.id
    assert appended.results == ((1, 1), (2, 2))


async def test_a_relay_that_was_set_back_takes_devices_that_it_forgot(clock: Clock) -> None:
    streams, directory = MemoryStreamStore(), MemoryDirectory()
    hub = make_hub(streams, directory, clock)
    await hub.start()
    record = await new_engagement(hub)
    anna, cara = await Device(hub, ANNA).connect(), await Device(hub, CARA).connect()
    theirs = await Device(hub, CARA, portal="other").connect()
    await anna.say(anna.commit(record.id))
    forgotten = DeviceId(b"f" * 16)
    for added in (forgotten, cara.id, theirs.id):
        frame = anna.commit(record.id, 1, adds=[added])
        assert codes(await anna.say(frame)) == ["not_on_roster"]
        anna.counter = 1
    await hub.close()
    await streams.begin_history(b"after a restore")
    again = make_hub(streams, directory, clock)
    await again.start()
    anna = await Device(again, ANNA).connect()
    anna.counter = 1
    assert codes(await anna.say(anna.commit(record.id, 1, adds=[theirs.id]))) == ["not_on_roster"]
    anna.counter = 1
    assert only(await anna.say(anna.commit(record.id, 1, adds=[forgotten, cara.id])), fr.Appended)
    cara = await Device(again, CARA).connect()
    found = only(await cara.say(fr.Open(1, record.id, 0)), fr.Error)
    assert [error.code for error in found] == ["not_found"], "who is not invited reads nothing"
    await again.close()


async def test_answers_to_many_appends_go_in_one_frame(hub: Hub, pair: Pair) -> None:
    await pair.anna.session.receive(encode([pair.anna.message(pair.stream) for _ in range(100)]))
    await hub.settle()
    assert len(pair.anna.sink.messages) == 1
    frames = pair.anna.take()
    (appended,) = only(frames, fr.Appended)
    assert appended.results == tuple((counter, counter) for counter in range(2, 102))
    assert len(pair.ben.sink.messages) == 1
    assert [entry.seq for entry in pair.ben.take_entries()] == list(range(2, 102))


async def test_an_append_needs_no_open_stream(hub: Hub) -> None:
    record = await new_engagement(hub)
    anna = await Device(hub, ANNA).connect()
    frames = await anna.say(anna.commit(record.id))
    assert only(frames, fr.Appended)[0].results == ((1, 1),)


async def test_who_is_not_on_the_roster_finds_nothing(hub: Hub, pair: Pair) -> None:
    stranger = await Device(hub, CARA).connect()
    foreign = await Device(hub, ANNA, portal="other").connect()
    for device in (stranger, foreign):
        for append in (device.message(pair.stream), device.commit(pair.stream, counter=1)):
            real = only(await device.say(append), fr.Refused)
            made_up = only(await device.say(append._replace(stream=NOWHERE)), fr.Refused)
            assert [r._replace(stream=NOWHERE) for r in real] == made_up
            assert [r.code for r in made_up] == ["not_found"]


async def test_nothing_is_appended_after_the_end(hub: Hub, pair: Pair) -> None:
    await hub.engagements.end(PORTAL, pair.stream)
    await hub.settle()
    pair.anna.take()
    assert codes(await pair.anna.say(pair.anna.message(pair.stream))) == ["ended"]


async def test_who_is_taken_from_the_roster_appends_no_more(hub: Hub, pair: Pair) -> None:
    await hub.engagements.set_participants(PORTAL, pair.stream, participants(ANNA))
    assert codes(await pair.ben.say(pair.ben.message(pair.stream, counter=1))) == ["not_found"]
    assert codes(await pair.anna.say(pair.anna.message(pair.stream))) == []


async def test_a_message_has_its_most(hub: Hub, pair: Pair) -> None:
    big, small = bytes(64 * 1024 + 1), bytes(64 * 1024)
    frames = await pair.anna.say(
        pair.anna.message(pair.stream, body=big, counter=2),
        pair.anna.message(pair.stream, body=small, counter=2),
    )
    assert codes(frames) == ["entry_too_big"]
    assert only(frames, fr.Appended)[0].results == ((2, 2),)


async def test_a_bundle_has_its_most(hub: Hub, pair: Pair) -> None:
    body = bytes(1024 * 1024 + 1)
    assert codes(await pair.anna.say(fr.Append(pair.stream, 2, COMMIT, 1, body))) == ["entry_too_big"]


@pytest.mark.parametrize(
    "body",
    [
        b"",
        b"\x90",
        Bundle(commit=b"", group_info=b"g").serialize(),
        Bundle(commit=b"", group_info=b"g").serialize() + b"\x00",
    ],
    ids=["empty", "no bundle", "no commit", "trailing"],
)
async def test_a_bundle_is_one(hub: Hub, pair: Pair, body: bytes) -> None:
    assert codes(await pair.anna.say(fr.Append(pair.stream, 2, COMMIT, 1, body))) == ["bundle_invalid"]


async def test_a_creator_may_be_alone(hub: Hub) -> None:
    record = await new_engagement(hub)
    anna = await Device(hub, ANNA).connect()
    body = Bundle(commit=b"", group_info=b"g").serialize()
    frames = await anna.say(fr.Append(record.id, 1, COMMIT, 0, body))
    assert only(frames, fr.Appended)[0].results == ((1, 1),)


async def test_an_empty_commit_adds_nobody(hub: Hub) -> None:
    record = await new_engagement(hub)
    anna, ben = await Device(hub, ANNA).connect(), await Device(hub, BEN).connect()
    body = Bundle(adds=(ben.id,), commit=b"", group_info=b"g").serialize()
    assert codes(await anna.say(fr.Append(record.id, 1, COMMIT, 0, body))) == ["bundle_invalid"]


async def test_a_bundle_adds_only_who_is_on_the_roster(hub: Hub, pair: Pair) -> None:
    cara = await Device(hub, CARA).connect()
    foreign = await Device(hub, BEN, portal="other").connect()
    unknown = DeviceId(b"u" * 16)
    for device in (cara.id, foreign.id, unknown):
        commit = pair.anna.commit(pair.stream, 1, adds=[device], counter=2)
        assert codes(await pair.anna.say(commit)) == ["not_on_roster"]
    await hub.engagements.set_participants(PORTAL, pair.stream, participants(ANNA, BEN, CARA))
    frames = await pair.anna.say(pair.anna.commit(pair.stream, 1, adds=[cara.id], counter=2))
    assert codes(frames) == []


async def test_a_stored_bundle_is_recognised_though_the_roster_has_changed(hub: Hub, pair: Pair) -> None:
    await hub.engagements.set_participants(PORTAL, pair.stream, participants(ANNA))
    await hub.settle()
    pair.anna.take()
    commit = pair.anna.commit(pair.stream, adds=[pair.ben.id], counter=1)
    (appended,) = only(await pair.anna.say(commit), fr.Appended)
    assert appended.results == ((1, 1),)


async def test_the_streams_own_refusals_are_told(hub: Hub, pair: Pair) -> None:
    anna, stream = pair.anna, pair.stream
    await anna.say(anna.message(stream))
    frames = await anna.say(
        anna.message(stream, 0, counter=3),
        anna.message(stream, 9, counter=3),
        anna.message(stream, counter=9),
        anna.message(stream, body=b"other", counter=2),
        anna.message(stream, counter=2),
    )
    assert only(frames, fr.Refused) == [
        fr.Refused(stream, 3, "stale", 1),
        fr.Refused(stream, 3, "ahead", 1),
        fr.Refused(stream, 9, "counter_gap", 1),
        fr.Refused(stream, 2, "conflict", 1),
    ]
    assert [appended.results for appended in only(frames, fr.Appended)] == [((2, 2),)]


async def test_a_repeat_is_not_delivered_again(hub: Hub, pair: Pair) -> None:
    await pair.anna.say(pair.anna.message(pair.stream, counter=2))
    assert [entry.seq for entry in pair.ben.take_entries()] == [2]
    await pair.anna.say(pair.anna.message(pair.stream, counter=2))
    assert pair.ben.take() == []


async def test_who_is_no_member_does_not_append(hub: Hub, pair: Pair) -> None:
    second = await Device(hub, BEN, seed="2").connect()
    assert codes(await second.say(second.message(pair.stream))) == ["not_member"]


class BrokenStore(MemoryStreamStore):
    """Fails whenever a test says so, and then has done nothing."""

    failure: Exception | None = None

    async def commit(self, operations):  # type: ignore[no-untyped-def]  # as in the base
        if self.failure is not None:
            raise self.failure
        return await super().commit(operations)


@pytest.mark.parametrize(
    ("failure", "code"),
    [
        (StoreFull("full"), "store_full"),
        (StoreUnavailable("off"), "store_unavailable"),
        (StoreCorrupt("torn"), "store_unavailable"),
        (StoreError("?"), "store_unavailable"),
        (ValueError("a fault of ours"), "store_unavailable"),
    ],
)
async def test_nothing_is_acknowledged_that_was_not_stored(failure: Exception, code: str) -> None:
    store = BrokenStore()
    hub = make_hub(store)
    await hub.start()
    pair = await connected_pair(hub)
    store.failure = failure
    frames = await pair.anna.say(*[pair.anna.message(pair.stream, counter=c) for c in (2, 3)])
    assert only(frames, fr.Refused) == [fr.Refused(pair.stream, c, code, 1) for c in (2, 3)]
    assert only(frames, fr.Appended) == []
    assert pair.ben.take() == []
    store.failure = None
    frames = await pair.anna.say(*[pair.anna.message(pair.stream, counter=c) for c in (2, 3)])
    assert only(frames, fr.Appended)[0].results == ((2, 2), (3, 3))
    assert [entry.seq for entry in pair.ben.take_entries()] == [2, 3]
    await hub.close()


async def test_acknowledgements_outlive_a_failing_store() -> None:
    store = BrokenStore()
    hub = make_hub(store)
    await hub.start()
    pair = await connected_pair(hub)
    await pair.anna.say(pair.anna.message(pair.stream))
    store.failure = StoreFull("full")
    await pair.ben.say(fr.Ack(pair.stream, 2))
    store.failure = None
    await hub.settle()
    view = await store.view(pair.stream)
    assert view is not None
    assert view.members[pair.ben.id] == 2
    await hub.close()


async def test_appends_are_limited_in_number() -> None:
    hub = make_hub(rates=RateLimits(appends=Rate(per_second=1, burst=8)))
    await hub.start()
    pair = await connected_pair(hub)
    frames = await pair.anna.say(*[pair.anna.message(pair.stream, counter=c) for c in range(2, 13)])
    assert len(only(frames, fr.Appended)[0].results) == 7
    assert set(codes(frames)) == {"rate_limited"}
    frames = await pair.anna.say(pair.anna.message(pair.stream, counter=9))
    assert codes(frames) == ["rate_limited"]
    hub.clock.now += 1  # type: ignore[attr-defined]  # the tests' clock
    frames = await pair.anna.say(pair.anna.message(pair.stream, counter=9))
    assert codes(frames) == []
    await hub.close()


async def test_bundles_are_limited_apart_from_messages() -> None:
    hub = make_hub(rates=RateLimits(commits=Rate(per_second=1, burst=3)))
    await hub.start()
    pair = await connected_pair(hub)  # whose first bundle is one of the three
    assert codes(await pair.anna.say(pair.anna.commit(pair.stream, 1))) == []
    assert codes(await pair.anna.say(pair.anna.commit(pair.stream, 2))) == []
    assert codes(await pair.anna.say(pair.anna.commit(pair.stream, 3, counter=4))) == ["rate_limited"]
    assert codes(await pair.anna.say(pair.anna.message(pair.stream, 3, counter=4))) == []
    hub.clock.now += 1  # type: ignore[attr-defined]  # the tests' clock
    assert codes(await pair.anna.say(pair.anna.commit(pair.stream, 3, counter=5))) == []
    await hub.close()


async def test_appends_are_limited_in_size() -> None:
    hub = make_hub(rates=RateLimits(appends=Rate(per_second=1, burst=20)))
    await hub.start()
    pair = await connected_pair(hub)
    big = bytes(64 * 1024)
    frames = await pair.anna.say(*[pair.anna.message(pair.stream, body=big, counter=c) for c in (2, 3)])
    assert only(frames, fr.Appended)[0].results == ((2, 2),)
    assert codes(frames) == ["rate_limited"]
    await hub.close()


async def test_a_full_queue_makes_the_device_wait(hub: Hub, pair: Pair) -> None:
    (queue,) = hub.commits._queues.values()
    queue._has_room.clear()
    receiving = pair.anna.session.receive(encode([pair.anna.message(pair.stream)]))
    waiting = receiving.send(None)
    assert waiting is not None  # it waits, and so does the device's next message
    receiving.close()
    await hub.settle()
    assert only(pair.anna.take(), fr.Appended) != []
    assert not queue.is_full


async def test_blobs_must_be_finished_uploads_of_the_engagement(hub: Hub, pair: Pair) -> None:
    other = await new_engagement(hub)
    begun = await hub.uploads.begin(pair.stream, 10)
    foreign = await hub.uploads.begin(other.id, 10)
    await hub.uploads.finish(other.id, foreign.blob)
    finished = await hub.uploads.begin(pair.stream, 10)
    await hub.uploads.finish(pair.stream, finished.blob)
    made_up = BlobId("b" * 21 + "A")
    for blobs in ([begun.blob], [foreign.blob], [made_up], [finished.blob, begun.blob]):
        append = pair.anna.message(pair.stream, counter=2, blobs=blobs)
        assert codes(await pair.anna.say(append)) == ["blob_not_found"]
    assert (await hub.uploads.read(pair.stream, finished.blob)).named_ms == 0
    await pair.anna.say(pair.anna.message(pair.stream, counter=2, blobs=[finished.blob]))
    await hub.settle()
    record = await hub.uploads.read(pair.stream, finished.blob)
    assert record.named_ms > 0


async def test_a_fault_of_ours_ends_the_connection_and_nothing_else(
    hub: Hub, pair: Pair, monkeypatch: pytest.MonkeyPatch
) -> None:
    def broken(*_: object) -> None:
        raise RuntimeError("a fault of ours")

    monkeypatch.setattr(hub.rooms, "enter", broken)
    stranger = await Device(hub, CARA).connect()
    frames = await stranger.say(stranger.message(NOWHERE))
    assert [frame.code for frame in only(frames, fr.Goodbye)] == ["internal"]
    assert not pair.anna.sink.closed
