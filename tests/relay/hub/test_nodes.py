"""Devices of one conversation at different nodes."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

import msgpack
import pytest

from relay.core.operations import Operation, Outcome
from relay.core.portals import PortalRecord, new_portal
from relay.core.quotas import Quotas
from relay.core.revocations import Revocations
from relay.errors import QuotaExceeded, StoreUnavailable
from relay.hub.nodes import ENGAGEMENT, ENTERED, EVENTS, REVOKED
from relay.hub.settings import CACHE_SECONDS, HEAL_SECONDS
from relay.store import MemoryStreamStore
from relay.wire import encode
from relay.wire import frames as fr
from relay.wire.errors import ErrorCode
from relay.wire.ids import EngagementId, PortalId, UserId
from tests.relay.hub.support import (
    ANNA,
    BEN,
    PORTAL,
    Device,
    connected_pair,
    make_hub,
    new_engagement,
    only,
    participants,
    token,
    verify_token,
)
from tests.relay.hub.switchboard import Several, entries, several
from tests.relay.hub.test_devices import CHANNEL, put, signed, without


async def conversation(nodes: Several) -> tuple[EngagementId, Device, Device]:
    """Anna at the first node and Ben at the second, in a group of two that both have open."""
    record = await new_engagement(nodes.hubs[0])
    anna = await Device(nodes.hubs[0], ANNA).connect()
    ben = await Device(nodes.hubs[1], BEN).connect()
    await anna.say(anna.commit(record.id, adds=[ben.id]))
    for device in (anna, ben):
        await device.open(record.id)
        await device.say(fr.Ack(record.id, 1))
    await nodes.settle()
    for device in (anna, ben):
        device.take()
    return record.id, anna, ben


async def test_a_message_reaches_a_device_at_another_node() -> None:
    async with several() as nodes:
        stream, anna, ben = await conversation(nodes)
        await anna.say(anna.message(stream, body=b"one"), anna.message(stream, body=b"two"))
        await nodes.settle()
        assert [(entry.seq, entry.body) for entry in ben.take_entries()] == [(2, b"one"), (3, b"two")]


async def test_both_sides_at_once_see_one_order() -> None:
    async with several() as nodes:
        stream, anna, ben = await conversation(nodes)
        seen: dict[str, list[int]] = {"anna": [], "ben": []}
        for number in range(40):
            device = (anna, ben)[number % 3 == 0]
            await device.session.receive(_packed(device.message(stream, body=b"%d" % number)))
            if number % 5 == 0:
                await nodes.settle()
        await nodes.settle()
        for name, device in (("anna", anna), ("ben", ben)):
            seen[name] = [entry.seq for entry in entries(device.take())]
        assert seen["anna"] == seen["ben"] == list(range(2, 42))


def _packed(frame: fr.Append) -> bytes:
    return encode([frame])


@pytest.mark.parametrize(
    "news",
    [
        b"\xc1",
        msgpack.packb((ENGAGEMENT, b"another", b"of a later version")),
        msgpack.packb((ENTERED, b"another", "no device")),
        msgpack.packb((REVOKED, b"another")),
        msgpack.packb({"no": "list"}),
    ],
    ids=["no news", "a record of a later version", "another type", "too little", "another shape"],
)
async def test_what_is_not_understood_ends_no_listening(
    news: bytes, caplog: pytest.LogCaptureFixture
) -> None:
    """Whoever told it may be of another version, and does so again and again while both run."""
    async with several() as nodes:
        hub = nodes.hubs[0]
        hub.nodes._heard(EVENTS, news)
        assert [record.msg for record in caplog.records] == ["news of another node are not understood"]


async def test_lost_news_are_healed_by_looking() -> None:
    async with several() as nodes:
        stream, anna, ben = await conversation(nodes)
        nodes.board.lossy = True
        await anna.say(anna.message(stream, body=b"unheard"))
        await nodes.settle()
        assert ben.take_entries() == []
        for _ in range(HEAL_SECONDS):
            await nodes.tick()
        assert [entry.body for entry in ben.take_entries()] == [b"unheard"]


async def test_who_hears_again_looks_at_once() -> None:
    async with several() as nodes:
        stream, anna, ben = await conversation(nodes)
        nodes.board.lossy = True
        await anna.say(anna.message(stream, body=b"unheard"))
        nodes.board.lossy = False
        nodes.board.buses[1].missed()
        await nodes.settle()
        assert [entry.body for entry in ben.take_entries()] == [b"unheard"]


@pytest.mark.parametrize("lossy", [False, True])
async def test_a_commit_at_one_node_cuts_off_at_the_other(lossy: bool) -> None:
    async with several() as nodes:
        stream, anna, ben = await conversation(nodes)
        second = await Device(nodes.hubs[1], BEN, seed="2").connect()
        await second.open(stream)
        nodes.board.lossy = lossy
        await anna.say(anna.commit(stream, 1, adds=[second.id], removes=[ben.id]))
        nodes.board.lossy = False
        await anna.say(anna.message(stream, 2, body=b"for the second"))
        await nodes.settle()
        assert [entry.body for entry in second.take_entries()][1:] == [b"for the second"]
        assert ben.take_entries() == []
        (refused,) = only(await ben.say(ben.message(stream, 2)), fr.Refused)
        assert refused.code == ErrorCode.NOT_MEMBER


async def test_an_ephemeral_message_reaches_members_at_other_nodes_only() -> None:
    async with several() as nodes:
        stream, anna, ben = await conversation(nodes)
        stranger = await Device(nodes.hubs[1], BEN, seed="2").connect()
        await stranger.open(stream)
        stranger.take()
        await anna.say(fr.Ephemeral(stream, b"typing"))
        await nodes.settle()
        assert [frame.body for frame in only(ben.take(), fr.EphemeralFrom)] == [b"typing"]
        assert only(stranger.take(), fr.EphemeralFrom) == []
        assert only(anna.take(), fr.EphemeralFrom) == []


async def test_the_newer_of_two_connections_stays() -> None:
    async with several() as nodes:
        _, anna, _ = await conversation(nodes)
        again = await Device(nodes.hubs[1], ANNA).connect()
        await nodes.settle()
        assert again.id == anna.id
        assert [frame.code for frame in only(anna.take(), fr.Goodbye)] == [ErrorCode.REPLACED]
        assert again.session.is_ready


async def test_an_older_connection_that_comes_in_late_goes() -> None:
    async with several() as nodes:
        newer = await Device(nodes.hubs[0], ANNA).connect()
        newer.session.number = 99
        older = await Device(nodes.hubs[1], ANNA).connect()
        await nodes.settle()
        assert older.session.closed
        assert newer.session.is_ready


@pytest.mark.parametrize("lossy", [False, True])
async def test_who_is_taken_from_the_roster_at_one_node_is_cut_off_at_the_other(lossy: bool) -> None:
    async with several() as nodes:
        stream, _, ben = await conversation(nodes)
        nodes.board.lossy = lossy
        await nodes.hubs[0].engagements.set_participants(PORTAL, stream, participants(ANNA))
        await nodes.settle()
        if lossy:
            for _ in range(int(CACHE_SECONDS) + HEAL_SECONDS):
                await nodes.tick()
        assert stream not in ben.session.subscriptions
        (told, *_) = only(ben.take(), fr.EngagementChanged)
        assert told.engagement.participants == ()
        (refused,) = only(await ben.say(ben.message(stream)), fr.Refused)
        assert refused.code == ErrorCode.NOT_FOUND


async def test_an_end_reaches_every_node() -> None:
    async with several() as nodes:
        stream, _, ben = await conversation(nodes)
        await nodes.hubs[0].engagements.end(PORTAL, stream)
        await nodes.settle()
        assert [frame.engagement.status for frame in only(ben.take(), fr.EngagementChanged)] == ["ended"]
        assert await nodes.hubs[1].streams.view(stream) is None
        (refused,) = only(await ben.say(ben.message(stream)), fr.Refused)
        assert refused.code == ErrorCode.ENDED


async def test_a_new_engagement_is_told_at_every_node() -> None:
    async with several() as nodes:
        ben = await Device(nodes.hubs[1], BEN).connect()
        record = await new_engagement(nodes.hubs[0])
        await nodes.settle()
        assert record.id in {frame.engagement.id for frame in only(ben.take(), fr.EngagementChanged)}


@pytest.mark.parametrize("lossy", [False, True])
async def test_what_a_portal_takes_back_counts_at_every_node(lossy: bool) -> None:
    async with several() as nodes:
        _, _, ben = await conversation(nodes)
        nodes.board.lossy = lossy
        await nodes.hubs[0].access.revoke_device(PORTAL, BEN, ben.id)
        await nodes.settle()
        if lossy:
            nodes.board.buses[1].missed()
            await nodes.settle()
        assert [frame.code for frame in only(ben.take(), fr.Goodbye)] == [ErrorCode.DEVICE_REVOKED]


async def test_what_was_missed_is_looked_at_until_the_store_tells(monkeypatch: pytest.MonkeyPatch) -> None:
    async with several() as nodes:
        _, _, ben = await conversation(nodes)
        access = nodes.hubs[1].access
        read = access._read
        faults = [StoreUnavailable("not now")] * 2

        async def often_away(portal: PortalId, user: UserId) -> Revocations:
            if faults:
                raise faults.pop()
            return await read(portal, user)

        nodes.board.lossy = True
        await nodes.hubs[0].access.revoke_device(PORTAL, BEN, ben.id)
        monkeypatch.setattr(access, "_read", often_away)
        nodes.board.buses[1].missed()
        await nodes.settle()
        assert not ben.sink.closed
        await nodes.tick()
        await nodes.tick()
        assert [frame.code for frame in only(ben.take(), fr.Goodbye)] == [ErrorCode.DEVICE_REVOKED]


async def test_a_device_that_left_the_list_renews_no_token() -> None:
    async with several() as nodes:
        one = await Device(nodes.hubs[0], ANNA).connect()
        two = await Device(nodes.hubs[1], ANNA, seed="2").connect()
        first = signed(one, two)
        await put(one, first)
        await nodes.settle()
        nodes.board.lossy = True
        await put(one, without(first, two))
        await nodes.tick(60)
        (goodbye,) = await two.say(fr.Renew(1, two.access))
        assert goodbye.code == ErrorCode.DEVICE_REVOKED


async def test_a_device_list_counts_at_every_node() -> None:
    async with several() as nodes:
        one = await Device(nodes.hubs[0], ANNA).connect()
        two = await Device(nodes.hubs[1], ANNA, seed="2").connect()
        first = signed(one, two)
        await put(one, first)
        await nodes.settle()
        (held,) = only(await two.say(fr.PutManifest(1, None)), fr.HeldManifest)
        assert held.manifest == first.raw


async def test_two_devices_meet_at_different_nodes() -> None:
    async with several(3) as nodes:
        one = await Device(nodes.hubs[0], ANNA).connect()
        two = await Device(nodes.hubs[1], ANNA, seed="2").connect()
        three = await Device(nodes.hubs[2], ANNA, seed="3").connect()
        await nodes.tick()
        (met,) = only(await one.say(fr.Rendezvous(1, CHANNEL, b"")), fr.Met)
        assert not met.present
        (met,) = only(await two.say(fr.Rendezvous(2, CHANNEL, b"hello")), fr.Met)
        assert met.present
        await nodes.settle()
        assert [frame.body for frame in only(one.take(), fr.RendezvousFrom)] == [b"hello"]
        (error,) = only(await three.say(fr.Rendezvous(3, CHANNEL, b"me too")), fr.Error)
        assert error.code == ErrorCode.TOO_MANY_DEVICES
        await nodes.settle()
        assert only(one.take() + two.take(), fr.RendezvousFrom) == []


async def test_a_dead_node_holds_no_place_at_a_channel() -> None:
    async with several(3) as nodes:
        one = await Device(nodes.hubs[0], ANNA).connect()
        two = await Device(nodes.hubs[1], ANNA, seed="2").connect()
        await nodes.tick()
        await one.say(fr.Rendezvous(1, CHANNEL, b""))
        await two.say(fr.Rendezvous(1, CHANNEL, b""))
        nodes.board.buses.pop(0)  # the first node says nothing more
        nodes.clock.now += 60
        for hub in nodes.hubs[1:]:
            hub.tick()
        await nodes.settle()
        three = await Device(nodes.hubs[2], ANNA, seed="3").connect()
        (met,) = only(await three.say(fr.Rendezvous(3, CHANNEL, b"")), fr.Met)
        assert met.present, "the second is still there"


async def test_key_packages_are_counted_and_running_low_is_told_across_nodes() -> None:
    async with several() as nodes:
        stream, anna, ben = await conversation(nodes)
        await ben.say(fr.PublishKeyPackages(1, (b"p1", b"p2"), None))
        await nodes.settle()
        (listed,) = only(await anna.say(fr.ListEngagements(1)), fr.Engagements)
        assert {d.has_key_package for d in listed.engagements[0].devices if d.device == ben.id} == {True}
        ben.take()
        await anna.say(fr.ClaimKeyPackages(2, stream, (ben.id,)))
        await nodes.settle()
        assert [frame.left for frame in only(ben.take(), fr.KeyPackagesLow)] == [1]


async def test_a_quota_of_connections_counts_those_at_other_nodes() -> None:
    async with several() as nodes:
        await Device(nodes.hubs[0], ANNA).connect()
        await nodes.tick()
        access = nodes.hubs[1].access
        assert nodes.hubs[1].nodes.connections_elsewhere(PORTAL) == 1
        late = Device(nodes.hubs[1], BEN)
        late.attach()
        granted = replace(verify_token(token(BEN), int(nodes.clock.now)), max_connections=1)
        with pytest.raises(QuotaExceeded):
            await access.enter(late.session, granted, late.id, 0)
        nodes.board.lossy = True
        nodes.clock.now += 60  # a node that is not heard of any more holds no place
        await access.enter(late.session, granted, late.id, 0)


async def test_stored_bytes_are_counted_across_nodes() -> None:
    async with several() as nodes:
        record = await new_engagement(nodes.hubs[0])
        portal = _portal_with(Quotas(stored_bytes=3000))
        for hub in nodes.hubs:  # both have counted
            await hub.uploads.begin(record.id, 1000, portal=portal)
            await nodes.settle()
        await nodes.hubs[0].uploads.begin(record.id, 1000, portal=portal)
        await nodes.settle()
        with pytest.raises(QuotaExceeded):
            await nodes.hubs[1].uploads.begin(record.id, 1, portal=portal)


def _portal_with(quotas: Quotas) -> PortalRecord:
    made = new_portal(PORTAL, api_key="k", token_secret=b"s" * 32, token_key=b"", origins=(), now=1)
    return replace(made, quotas=quotas)


async def test_one_node_sweeps_at_a_time() -> None:
    async with several(3) as nodes:
        swept = []
        for number, hub in enumerate(nodes.hubs):

            async def run(now_ms: int, number: int = number) -> int:
                swept.append(number)
                return 0

            hub.sweep.run = run  # type: ignore[method-assign]  # counts instead
        for _ in range(4):
            await nodes.tick(700)
        assert set(swept) == {0}
        assert len(swept) >= 4
        swept.clear()
        nodes.hubs.pop(0)
        await nodes.tick(700)
        await nodes.tick(700)
        assert set(swept) == {1}


async def test_devices_are_told_to_move_in_turns() -> None:
    async with several() as nodes:
        devices = [await Device(nodes.hubs[0], ANNA, seed=str(n)).connect() for n in range(6)]
        await nodes.hubs[0].drain(over_seconds=0.2)
        goodbyes = [frame for device in devices for frame in only(device.take(), fr.Goodbye)]
        assert [frame.code for frame in goodbyes] == [ErrorCode.DRAINING] * 6
        assert all(frame.reconnect_after_ms <= 300 for frame in goodbyes)
        assert all(device.sink.closed for device in devices)


async def test_a_store_that_lost_something_sends_everybody_back_to_compare() -> None:
    async with several() as nodes:
        stream, anna, ben = await conversation(nodes)
        for hub in nodes.hubs:
            streams = hub.streams
            assert isinstance(streams, MemoryStreamStore)
            streams._history = b"another"
        for _ in range(HEAL_SECONDS):
            await nodes.tick()
        for device in (anna, ben):
            assert [frame.code for frame in only(device.take(), fr.Goodbye)] == [ErrorCode.DRAINING]
        assert nodes.hubs[0].rooms.get(stream) is None


class Losing(MemoryStreamStore):
    """Stores, and then says that it could not."""

    loses = False

    async def commit(self, operations: Sequence[Operation]) -> list[list[Outcome]]:
        done = await super().commit(operations)
        if self.loses:
            raise StoreUnavailable("the answer was lost")
        return done


async def test_a_bundle_whose_answer_was_lost_is_noticed_by_the_next_who_is_late() -> None:
    store = Losing()
    hub = make_hub(store)
    await hub.start()
    pair = await connected_pair(hub)
    third = await Device(hub, BEN, seed="3").connect()
    await third.open(pair.stream)
    third.take()
    store.loses = True
    (refused,) = only(await pair.anna.say(pair.anna.commit(pair.stream, 1, adds=[third.id])), fr.Refused)
    assert refused.code == ErrorCode.STORE_UNAVAILABLE
    store.loses = False
    answers = await pair.ben.say(pair.ben.message(pair.stream, 1))
    (stale,) = only(answers, fr.Refused)
    assert (stale.code, stale.last_commit) == (ErrorCode.STALE, 2)
    assert [entry.seq for entry in entries(answers)] == [2]
    assert [entry.seq for entry in third.take_entries()] == [2]
    await hub.close()


async def test_a_bundle_whose_answer_was_lost_is_noticed_with_the_next_tick() -> None:
    store = Losing()
    hub = make_hub(store)
    await hub.start()
    pair = await connected_pair(hub)
    store.loses = True
    await pair.anna.say(pair.anna.message(pair.stream, body=b"stored all the same"))
    store.loses = False
    hub.tick()
    await hub.settle()
    assert [entry.body for entry in pair.ben.take_entries()] == [b"stored all the same"]
    await hub.close()


async def test_no_room_is_forgotten_while_somebody_opens_it(monkeypatch: pytest.MonkeyPatch) -> None:
    class Slow(MemoryStreamStore):
        """Lets something else happen while a stream is looked at."""

        meanwhile = None

        async def view(self, stream: EngagementId) -> object:  # type: ignore[override]  # as the base has it
            found = await super().view(stream)
            if self.meanwhile is not None:
                self.meanwhile()  # type: ignore[unreachable]  # a test sets it
            return found

    store = Slow()
    hub = make_hub(store)
    await hub.start()
    record = await new_engagement(hub)
    anna = await Device(hub, ANNA).connect()
    await anna.say(anna.commit(record.id))
    times = iter([True, True, False])

    def trim() -> None:
        if next(times, False):
            for room in list(hub.rooms._rooms.values()):
                if not room.subscriptions:
                    hub.rooms.drop(room.record.id)

    store.meanwhile = trim  # type: ignore[assignment]  # it has none otherwise
    await anna.open(record.id)
    answers = await anna.say(anna.message(record.id))
    room = hub.rooms.get(record.id)
    assert room is not None
    assert list(room.subscriptions) == [anna.session]
    assert [entry.seq for entry in entries(answers)] == [1, 2]
    await hub.close()
