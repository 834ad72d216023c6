"""Requests and their answers: key packages, engagements, blob access, ICE servers, ephemeral messages."""

from __future__ import annotations

import pytest

from relay.core.limits import Rate, RateLimits
from relay.errors import AccessRefused, NotFound, StoreUnavailable
from relay.hub import Hub
from relay.hub.settings import CONGESTED_BYTES
from relay.wire import frames as fr
from relay.wire.ids import DeviceId, EngagementId
from relay.wire.limits import BLOB_TOKEN_SECONDS, MAX_KEY_PACKAGES
from tests.relay.hub.support import (
    ANNA,
    BEN,
    CARA,
    NOW,
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
PACKAGES = tuple(b"package %d" % number for number in range(20))


async def test_requests_keep_their_numbers(hub: Hub, pair: Pair) -> None:
    frames = await pair.anna.say(fr.ListEngagements(7), fr.RequestIceServers(8, pair.stream))
    assert [frame.request for frame in frames] == [7, 8]


async def test_an_unknown_frame_is_answered_and_the_rest_done(hub: Hub, pair: Pair) -> None:
    message = b"\x92\x63\xc0" + b"\x92\x20\x05"
    await pair.anna.session.receive(message)
    await hub.settle()
    error, engagements = pair.anna.take()
    assert (error.request, error.code) == (0, "unknown_frame")
    assert engagements.request == 5


# Key packages


async def test_key_packages_are_handed_out_once_and_in_order(hub: Hub, pair: Pair) -> None:
    await pair.ben.say(fr.PublishKeyPackages(1, PACKAGES, b"last"))
    claims = []
    for number in range(22):
        frames = await pair.anna.say(fr.ClaimKeyPackages(number + 1, pair.stream, (pair.ben.id,)))
        claims += only(frames, fr.KeyPackages)
    packages = [claim.packages[0] for claim in claims]
    assert [p.package for p in packages] == [*PACKAGES, b"last", b"last"]
    assert [p.last_resort for p in packages] == [False] * 20 + [True] * 2


async def test_a_publication_with_one_of_last_resort_takes_the_place_of_all(hub: Hub, pair: Pair) -> None:
    await pair.ben.say(fr.PublishKeyPackages(1, PACKAGES, b"last"))
    fresh = tuple(b"fresh %d" % number for number in range(3))
    (published,) = only(await pair.ben.say(fr.PublishKeyPackages(2, fresh, b"newer")), fr.Published)
    assert published.left == len(fresh)
    given = []
    for number in range(4):
        frames = await pair.anna.say(fr.ClaimKeyPackages(number + 1, pair.stream, (pair.ben.id,)))
        given += [claim.packages[0].package for claim in only(frames, fr.KeyPackages)]
    assert given == [*fresh, b"newer"]


async def test_publishing_says_how_many_are_left(hub: Hub, pair: Pair) -> None:
    (published,) = only(await pair.ben.say(fr.PublishKeyPackages(1, PACKAGES, None)), fr.Published)
    assert published == fr.Published(1, 20)
    more = tuple(b"more %d" % number for number in range(100))
    (published,) = only(await pair.ben.say(fr.PublishKeyPackages(2, more, None)), fr.Published)
    assert published.left == MAX_KEY_PACKAGES
    pair.ben.attach()
    (challenge,) = await pair.ben.say(fr.Hello((1,), b"c" * 32))
    ready, *_ = await pair.ben.say(pair.ben.proof(challenge))
    assert ready.key_packages_left == MAX_KEY_PACKAGES


async def test_the_one_of_last_resort_is_replaced(hub: Hub, pair: Pair) -> None:
    await pair.ben.say(fr.PublishKeyPackages(1, (), b"old"), fr.PublishKeyPackages(2, (), b"new"))
    await pair.ben.say(fr.PublishKeyPackages(3, (), None))
    (claimed,) = only(
        await pair.anna.say(fr.ClaimKeyPackages(1, pair.stream, (pair.ben.id,))), fr.KeyPackages
    )
    assert claimed.packages == (fr.ClaimedKeyPackage(pair.ben.id, b"new", True),)


async def test_who_has_none_gives_none(hub: Hub, pair: Pair) -> None:
    (claimed,) = await pair.anna.say(fr.ClaimKeyPackages(1, pair.stream, (pair.ben.id,)))
    assert claimed == fr.KeyPackages(1, (fr.ClaimedKeyPackage(pair.ben.id, None, False),))


async def test_the_owner_learns_that_few_are_left(hub: Hub, pair: Pair) -> None:
    await pair.ben.say(fr.PublishKeyPackages(1, PACKAGES[:12], None))
    pair.ben.take()
    await pair.anna.say(fr.ClaimKeyPackages(1, pair.stream, (pair.ben.id,)))
    assert pair.ben.take() == []
    await pair.anna.say(fr.ClaimKeyPackages(2, pair.stream, (pair.ben.id,)))
    assert pair.ben.take() == [fr.KeyPackagesLow(10)]


async def test_claims_stay_within_the_roster(hub: Hub, pair: Pair) -> None:
    cara = await Device(hub, CARA).connect()
    foreign = await Device(hub, BEN, portal="other").connect()
    await pair.ben.say(fr.PublishKeyPackages(1, PACKAGES, None))
    for device in (cara.id, foreign.id, DeviceId(b"u" * 16)):
        frames = await pair.anna.say(fr.ClaimKeyPackages(1, pair.stream, (pair.ben.id, device)))
        assert only(frames, fr.Error) == [fr.Error(1, "not_found", "")]
    assert await cara.say(fr.ClaimKeyPackages(1, pair.stream, (pair.ben.id,))) == [
        fr.Error(1, "not_found", "")
    ]
    assert await hub.key_packages.left(pair.ben.id) == 20


async def test_nobody_drains_key_packages(hub: Hub, pair: Pair) -> None:
    frames = []
    for number in range(5):
        claim = fr.ClaimKeyPackages(number + 1, pair.stream, (pair.ben.id,) * 32)
        frames += await pair.anna.say(claim)
    assert [frame.code for frame in only(frames, fr.Error)] == ["rate_limited"]


@pytest.mark.parametrize(("packages", "last_resort"), [((b"",), None), ((), b""), ((b"same",), b"same")])
async def test_key_packages_are_something(
    hub: Hub, pair: Pair, packages: tuple[bytes, ...], last_resort: bytes | None
) -> None:
    frames = await pair.ben.say(fr.PublishKeyPackages(1, packages, last_resort))
    assert frames[-1].code == "malformed"
    assert pair.ben.sink.closed


async def test_the_first_key_packages_are_told(hub: Hub, pair: Pair) -> None:
    await pair.ben.say(fr.PublishKeyPackages(1, PACKAGES[:1], None))
    (changed,) = only(pair.anna.take(), fr.EngagementChanged)
    assert fr.EngagementDevice(BEN, pair.ben.id, True, True) in changed.engagement.devices
    await pair.ben.say(fr.PublishKeyPackages(2, PACKAGES[1:2], None))
    assert pair.anna.take() == []
    await pair.anna.say(fr.ClaimKeyPackages(1, pair.stream, (pair.ben.id,)))
    frames = await pair.anna.say(fr.ClaimKeyPackages(2, pair.stream, (pair.ben.id,)))
    (changed,) = only(frames, fr.EngagementChanged)
    assert fr.EngagementDevice(BEN, pair.ben.id, True, False) in changed.engagement.devices


# Engagements


async def test_a_user_lists_the_engagements(hub: Hub, pair: Pair) -> None:
    await new_engagement(hub, BEN, CARA)
    (frame,) = await pair.anna.say(fr.ListEngagements(1))
    (engagement,) = frame.engagements
    assert engagement == fr.Engagement(
        pair.stream,
        "active",
        NOW,
        720,
        tuple(participants(ANNA, BEN)),
        (
            fr.EngagementDevice(ANNA, pair.anna.id, True, False),
            fr.EngagementDevice(BEN, pair.ben.id, True, False),
        ),
        1,
    )
    pair.ben.take()
    (frame,) = await pair.ben.say(fr.ListEngagements(1))
    assert len(frame.engagements) == 2


async def test_a_list_shows_membership_without_an_open_stream(hub: Hub, pair: Pair) -> None:
    hub.rooms.drop(pair.stream)
    (frame,) = await pair.anna.say(fr.ListEngagements(1))
    assert [device.member for device in frame.engagements[0].devices] == [True, True]
    assert frame.engagements[0].last_commit == 1


async def test_active_and_new_engagements_come_first(hub: Hub, clock: Clock) -> None:
    records = []
    for _ in range(4):
        clock.now += 1
        records.append(await new_engagement(hub))
    await hub.engagements.end(PORTAL, records[3].id)
    anna = await Device(hub, ANNA).connect()
    (frame,) = only(await anna.say(fr.ListEngagements(1)), fr.Engagements)
    assert [e.id for e in frame.engagements] == [records[n].id for n in (2, 1, 0, 3)]
    assert [e.status for e in frame.engagements] == ["active"] * 3 + ["ended"]


async def test_a_list_that_is_too_long_for_a_frame_is_cut(hub: Hub, monkeypatch: pytest.MonkeyPatch) -> None:
    for _ in range(4):
        await new_engagement(hub)
    monkeypatch.setattr("relay.hub.overview.MAX_FRAME_BYTES", 300)
    anna = await Device(hub, ANNA).connect()
    (frame,) = only(await anna.say(fr.ListEngagements(1)), fr.Engagements)
    assert 0 < len(frame.engagements) < 4


# Blob access and ICE servers


async def test_a_blob_token_is_bound_to_the_device_and_engagement(hub: Hub, pair: Pair) -> None:
    (access,) = await pair.anna.say(fr.RequestBlobAccess(4, pair.stream))
    assert (access.request, access.expires) == (4, NOW + BLOB_TOKEN_SECONDS)
    grant = await hub.blob_access.verify(access.token)
    assert (grant.portal, grant.engagement, grant.device) == (PORTAL, pair.stream, pair.anna.id)


async def test_a_blob_token_has_its_time(hub: Hub, pair: Pair, clock: Clock) -> None:
    (access,) = await pair.anna.say(fr.RequestBlobAccess(4, pair.stream))
    clock.now = access.expires
    with pytest.raises(AccessRefused) as refused:
        await hub.blob_access.verify(access.token)
    assert refused.value.code == "token_expired"


async def test_a_blob_token_ends_with_the_place_on_the_roster(hub: Hub, pair: Pair) -> None:
    (access,) = await pair.ben.say(fr.RequestBlobAccess(4, pair.stream))
    await hub.engagements.set_participants(PORTAL, pair.stream, participants(ANNA))
    with pytest.raises(NotFound):
        await hub.blob_access.verify(access.token)


async def test_a_blob_token_ends_with_the_engagement(hub: Hub, pair: Pair) -> None:
    (access,) = await pair.ben.say(fr.RequestBlobAccess(4, pair.stream))
    await hub.engagements.end(PORTAL, pair.stream)
    with pytest.raises(NotFound):
        await hub.blob_access.verify(access.token)


async def test_the_secret_of_blob_tokens_outlives_the_hub(hub: Hub, pair: Pair) -> None:
    (access,) = await pair.anna.say(fr.RequestBlobAccess(4, pair.stream))
    second = make_hub(hub.streams, hub.directory)
    with pytest.raises(StoreUnavailable):
        await second.blob_access.verify(access.token)
    await second.start()
    assert (await second.blob_access.verify(access.token)).device == pair.anna.id
    await second.close()


async def test_another_relays_blob_token_is_worth_nothing(hub: Hub, pair: Pair) -> None:
    (access,) = await pair.anna.say(fr.RequestBlobAccess(4, pair.stream))
    other = make_hub()
    other.rng = lambda count: b"x" * count
    other.blob_access._rng = other.rng
    await other.start()
    with pytest.raises(AccessRefused):
        await other.blob_access.verify(access.token)
    await other.close()


async def test_ice_servers(hub: Hub, pair: Pair) -> None:
    (frame,) = await pair.anna.say(fr.RequestIceServers(9, pair.stream))
    assert frame == fr.IceServers(9, (fr.IceServer(("stun:relay.example",), None, None),), NOW + 60)


@pytest.mark.parametrize("kind", [fr.RequestBlobAccess, fr.RequestIceServers])
async def test_what_is_not_yours_is_not_found(hub: Hub, pair: Pair, kind: type) -> None:
    cara = await Device(hub, CARA).connect()
    foreign = await Device(hub, ANNA, portal="other").connect()
    for device in (cara, foreign):
        for stream in (pair.stream, NOWHERE):
            assert await device.say(kind(5, stream)) == [fr.Error(5, "not_found", "")]


@pytest.mark.parametrize("kind", [fr.RequestBlobAccess, fr.RequestIceServers])
async def test_what_has_ended_has_ended(hub: Hub, pair: Pair, kind: type) -> None:
    await hub.engagements.end(PORTAL, pair.stream)
    await hub.settle()
    pair.anna.take()
    assert await pair.anna.say(kind(5, pair.stream)) == [fr.Error(5, "ended", "")]
    assert await pair.anna.say(fr.Open(6, pair.stream, 0)) == [fr.Error(6, "ended", "")]


async def test_requests_are_limited() -> None:
    hub = make_hub(rates=RateLimits(requests=Rate(per_second=1, burst=3)))
    await hub.start()
    anna = await Device(hub, ANNA).connect()
    frames = await anna.say(*[fr.ListEngagements(number) for number in range(1, 6)])
    assert [type(frame) for frame in frames] == [fr.Engagements] * 3 + [fr.Error] * 2
    assert frames[-1] == fr.Error(5, "rate_limited", "")
    await hub.close()


async def test_a_fault_of_ours_is_told_as_such(hub: Hub, pair: Pair, monkeypatch: pytest.MonkeyPatch) -> None:
    def broken(*_: object) -> None:
        raise RuntimeError("a fault of ours")

    monkeypatch.setattr(hub.overview, "of_user", broken)
    assert await pair.anna.say(fr.ListEngagements(3)) == [fr.Error(3, "internal", "")]
    assert not pair.anna.sink.closed


# Ephemeral messages


async def test_an_ephemeral_message_goes_to_the_others(hub: Hub, pair: Pair) -> None:
    assert await pair.anna.say(fr.Ephemeral(pair.stream, b"offer")) == []
    assert pair.ben.take() == [fr.EphemeralFrom(pair.stream, b"offer")]


async def test_an_ephemeral_message_needs_no_open_stream_to_be_sent(hub: Hub, pair: Pair) -> None:
    await pair.anna.connect()
    await pair.anna.say(fr.Ephemeral(pair.stream, b"offer"))
    assert pair.ben.take() == [fr.EphemeralFrom(pair.stream, b"offer")]
    await pair.ben.say(fr.Ephemeral(pair.stream, b"answer"))
    assert pair.anna.take() == []


async def test_only_members_send_and_get_ephemeral_messages(hub: Hub, pair: Pair) -> None:
    waiting = await Device(hub, BEN, seed="2").connect()
    await waiting.open(pair.stream)
    waiting.take()
    pair.ben.take()
    await pair.anna.say(fr.Ephemeral(pair.stream, b"offer"))
    assert waiting.take() == []
    pair.ben.take()
    assert await waiting.say(fr.Ephemeral(pair.stream, b"x")) == [fr.Error(0, "not_member", "")]
    cara = await Device(hub, CARA).connect()
    assert await cara.say(fr.Ephemeral(pair.stream, b"x")) == [fr.Error(0, "not_found", "")]
    assert pair.ben.take() == []


async def test_ephemeral_messages_are_not_kept_for_who_does_not_read(hub: Hub, pair: Pair) -> None:
    pair.ben.sink.unread = CONGESTED_BYTES + 1
    await pair.anna.say(pair.anna.message(pair.stream))
    pair.ben.take()
    await pair.anna.say(fr.Ephemeral(pair.stream, b"offer"))
    assert pair.ben.take() == []


async def test_ephemeral_messages_are_limited() -> None:
    hub = make_hub(rates=RateLimits(ephemeral=Rate(per_second=1, burst=3)))
    await hub.start()
    pair = await connected_pair(hub)
    frames = await pair.anna.say(*[fr.Ephemeral(pair.stream, b"x") for _ in range(5)])
    assert frames == [fr.Error(0, "rate_limited", "")] * 2
    assert len(pair.ben.take()) == 3
    await hub.close()


async def test_a_roster_of_those_who_never_came_is_not_looked_up_again(
    hub: Hub, monkeypatch: pytest.MonkeyPatch
) -> None:
    for _ in range(3):
        await new_engagement(hub, ANNA, BEN, CARA)
    anna = await Device(hub, ANNA).connect()
    await anna.say(fr.ListEngagements(1))
    asked: list[str] = []
    get = hub.directory.get

    async def counted(space: str, key: str) -> object:
        asked.append(space)
        return await get(space, key)

    monkeypatch.setattr(hub.directory, "get", counted)
    (listed,) = await anna.say(fr.ListEngagements(2))
    assert len(listed.engagements) == 3
    assert asked == []
