"""Revoked devices are out at once, and two devices of a user meet to link one of them."""

from __future__ import annotations

from typing import Any

import pytest

from client_sdk.identity import (
    KeyPair,
    ManifestDevice,
    VerifiedManifest,
    first_manifest,
    generate_key_pair,
    next_manifest,
)
from relay.errors import AccessRefused, NotFound, StoreUnavailable
from relay.hub import Hub
from relay.hub.manifests import Manifests
from relay.wire import frames as fr
from relay.wire.ids import PortalId, UserId
from relay.wire.limits import (
    MAX_DEVICES_PER_USER,
    MAX_RENDEZVOUS_BODY_BYTES,
    MAX_RENDEZVOUS_CHANNELS_PER_USER,
    RENDEZVOUS_SECONDS,
)
from tests.relay.hub.support import PORTAL, TOKEN_LIFE, Clock, Device, Pair, make_hub, only, token
from tests.support.fake_time import SeededRandom

IDENTITY, RECOVERY, OTHER = (generate_key_pair(SeededRandom("hub devices " + name)) for name in "abc")
CHANNEL = b"c" * 16


def signed(*devices: Device, identity: KeyPair = IDENTITY, user: str = "anna") -> VerifiedManifest:
    return first_manifest(
        portal=PortalId(PORTAL),
        user=UserId(user),
        identity=identity,
        recovery_key=RECOVERY.public,
        devices=[ManifestDevice(device.public_key) for device in devices],
        suites=[3],
    )


def without(before: VerifiedManifest, *devices: Device) -> VerifiedManifest:
    gone = {device.public_key for device in devices}
    return next_manifest(
        before, key=IDENTITY, devices=[d for d in before.devices if d.device_key not in gone]
    )


async def put(device: Device, manifest: VerifiedManifest | None, request: int = 1) -> bytes | None:
    raw = None if manifest is None else manifest.raw
    (held,) = only(await device.say(fr.PutManifest(request, raw)), fr.HeldManifest)
    assert held.request == request
    return held.manifest


async def refused(hub: Hub, device: Device) -> str:
    device.attach()
    (challenge,) = await device.say(fr.Hello((1,), b"c" * 32))
    (goodbye,) = await device.say(device.proof(challenge))
    assert device.sink.closed
    return str(goodbye.code)


async def two_of_anna(hub: Hub) -> tuple[Device, Device]:
    return await Device(hub, "anna").connect(), await Device(hub, "anna", seed="2").connect()


async def test_the_relay_holds_the_newest_list(hub: Hub) -> None:
    one, two = await two_of_anna(hub)
    assert await put(one, None) is None
    manifest = signed(one, two)
    assert await put(one, manifest) == manifest.raw
    assert await put(two, None) == manifest.raw
    newer = without(manifest, two)
    assert await put(one, newer) == newer.raw
    assert await put(one, manifest) == newer.raw, "an older one is not taken"


async def test_a_revoked_device_is_out_at_once_and_stays_out(hub: Hub, pair: Pair) -> None:
    stolen = await Device(hub, "anna", seed="2").connect()
    manifest = signed(pair.anna, stolen)
    await put(pair.anna, manifest)
    await stolen.say(fr.PublishKeyPackages(1, (b"package",), b"last"))
    await stolen.say(fr.RequestBlobAccess(2, pair.stream))
    token, _ = hub.blob_access.mint(stolen.portal, pair.stream, stolen.id)
    await hub.blob_access.verify(token)
    await put(pair.anna, without(manifest, stolen))
    assert stolen.sink.closed
    assert [f.code for f in stolen.take() if isinstance(f, fr.Goodbye)] == ["device_revoked"]
    assert await refused(hub, stolen) == "device_revoked"
    with pytest.raises(AccessRefused):
        await hub.blob_access.verify(token)
    assert stolen.id not in await hub.devices.of_user(stolen.portal, stolen.user)
    assert not (await hub.key_packages.stock(stolen.id)).single_use


async def test_revoking_survives_a_restart(hub: Hub) -> None:
    one, two = await two_of_anna(hub)
    manifest = signed(one, two)
    await put(one, manifest)
    await put(one, without(manifest, two))
    later = make_hub(hub.streams, hub.directory)
    await later.start()
    assert await refused(later, Device(later, "anna", seed="2")) == "device_revoked"
    await (Device(later, "anna")).connect()
    await later.close()


async def test_a_revoked_device_cannot_shut_its_owner_out(hub: Hub) -> None:
    """Somebody has the revoked device, its identity key and a valid token."""
    one, two = await two_of_anna(hub)
    manifest = signed(one, two)
    await put(one, manifest)
    current = without(manifest, two)
    await put(one, current)
    stranger = await Device(hub, "anna", seed="thief").connect()
    takeover = next_manifest(current, key=IDENTITY, devices=[ManifestDevice(stranger.public_key)])
    assert await put(stranger, takeover) == current.raw
    assert not one.sink.closed


async def test_before_the_revocation_a_stranger_has_no_say_either(hub: Hub) -> None:
    one = await Device(hub, "anna").connect()
    await put(one, signed(one))
    stranger = await Device(hub, "anna", seed="thief").connect()
    assert await put(stranger, signed(stranger, identity=OTHER)) == signed(one).raw
    assert not one.sink.closed


async def test_somebody_elses_list_ends_the_connection(hub: Hub) -> None:
    one = await Device(hub, "anna").connect()
    (goodbye,) = await one.say(fr.PutManifest(1, signed(one, user="ben").raw))
    assert goodbye.code == "malformed"
    other = await Device(hub, "anna", seed="2").connect()
    (goodbye,) = await other.say(fr.PutManifest(1, b"no list"))
    assert goodbye.code == "malformed"


async def test_attempts_to_link_that_came_to_nothing_make_room(hub: Hub, clock: Clock) -> None:
    one = await Device(hub, "anna").connect()
    await put(one, signed(one))
    for number in range(2 * MAX_DEVICES_PER_USER):
        await Device(hub, "anna", seed=f"try {number}").connect()
    known = set(await hub.devices.of_user(one.portal, one.user))
    assert one.id in known
    assert len(known) == MAX_DEVICES_PER_USER


async def test_a_device_that_made_room_has_no_key_packages_left(hub: Hub) -> None:
    one = await Device(hub, "anna").connect()
    await put(one, signed(one))
    first = await Device(hub, "anna", seed="try").connect()
    await first.say(fr.PublishKeyPackages(1, (b"package",), b"last"))
    for number in range(MAX_DEVICES_PER_USER):
        await Device(hub, "anna", seed=f"try {number}").connect()
    assert first.id not in await hub.devices.of_user(one.portal, one.user)
    first.attach()
    (challenge,) = await first.say(fr.Hello((1,), b"c" * 32))
    (ready, *_) = await first.say(first.proof(challenge))
    assert ready.key_packages_left == 0


# A portal ends the list of somebody who has lost everything


async def held_name(hub: Hub, device: Device) -> bytes:
    held, _ = await hub.devices.manifest(device.portal, device.user)
    assert held is not None
    assert held.list_id is not None
    return held.list_id


def later(hub: Hub, device: Device, clock: Clock) -> Device:
    """The same device, with an access token that the portal gives it now."""
    again = Device(hub, device.user)
    again.key, again.public_key, again.id = device.key, device.public_key, device.id
    again.access = token(device.user, expires=int(clock.now) + TOKEN_LIFE)
    return again


async def test_after_the_portal_ended_the_list_a_new_identity_is_taken(hub: Hub, pair: Pair) -> None:
    lost = await Device(hub, "anna", seed="2").connect()
    await put(pair.anna, signed(pair.anna, lost))
    await lost.say(fr.PublishKeyPackages(1, (b"package",), b"last"))
    anew = await Device(hub, "anna", seed="anew").connect()
    first = signed(anew, identity=OTHER)
    assert await put(anew, first) == signed(pair.anna, lost).raw, "not before"
    await Manifests(hub).end_list(anew.portal, anew.user, await held_name(hub, anew))
    for shut_out in (pair.anna, lost):
        assert [f.code for f in shut_out.take() if isinstance(f, fr.Goodbye)] == ["device_revoked"]
    assert [f.code for f in anew.take() if isinstance(f, fr.Goodbye)] == ["token_revoked"]
    assert not (await hub.key_packages.stock(lost.id)).single_use


async def test_who_was_on_an_ended_list_has_no_say_in_the_next(hub: Hub, clock: Clock) -> None:
    lost, anew = await two_of_anna(hub)
    await put(lost, signed(lost))
    await Manifests(hub).end_list(anew.portal, anew.user, await held_name(hub, anew))
    clock.now += 10
    assert await refused(hub, anew) == "token_revoked"
    assert await refused(hub, later(hub, lost, clock)) == "device_revoked"
    anew = await later(hub, anew, clock).connect()
    assert await put(anew, None) is None
    first = signed(anew, identity=OTHER)
    assert await put(anew, first) == first.raw
    with pytest.raises(NotFound):
        await Manifests(hub).end_list(anew.portal, anew.user, b"x" * 16)
    restarted = make_hub(hub.streams, hub.directory, clock)
    await restarted.start()
    assert await refused(restarted, later(restarted, lost, clock)) == "device_revoked"
    await restarted.close()


async def test_no_token_of_before_outlives_a_list_that_a_crash_left_half_ended(
    hub: Hub, clock: Clock, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The relay dies behind the write that ends the list; asked again, it says that it is over."""
    listed, stranger = await two_of_anna(hub)
    await put(listed, signed(listed))
    named = await held_name(hub, stranger)
    keep = hub.devices.keep_manifest

    async def keep_and_die(*values: Any) -> bool:
        await keep(*values)
        raise StoreUnavailable("the process is gone")

    monkeypatch.setattr(hub.devices, "keep_manifest", keep_and_die)
    with pytest.raises(StoreUnavailable):
        await Manifests(hub).end_list(stranger.portal, stranger.user, named)
    restarted = make_hub(hub.streams, hub.directory, clock)
    await restarted.start()
    with pytest.raises(NotFound):
        await Manifests(restarted).end_list(stranger.portal, stranger.user, named)
    assert await refused(restarted, stranger) == "token_revoked"
    clock.now += 10
    assert await refused(restarted, later(restarted, listed, clock)) == "device_revoked"
    await restarted.close()


async def test_attempts_after_an_ended_list_make_room(hub: Hub, clock: Clock) -> None:
    one = await Device(hub, "anna").connect()
    await put(one, signed(one))
    await Manifests(hub).end_list(one.portal, one.user, await held_name(hub, one))
    clock.now += 10
    for number in range(2 * MAX_DEVICES_PER_USER):
        await later(hub, Device(hub, "anna", seed=f"try {number}"), clock).connect()
    assert len(set(await hub.devices.of_user(one.portal, one.user))) == MAX_DEVICES_PER_USER


# Where devices meet


async def meet(device: Device, body: bytes, channel: bytes = CHANNEL) -> bool:
    (met,) = only(await device.say(fr.Rendezvous(1, channel, body)), fr.Met)
    return bool(met.present)


async def test_two_devices_of_a_user_meet(hub: Hub) -> None:
    one, two = await two_of_anna(hub)
    assert not await meet(one, b"")
    assert await meet(two, b"hello")
    assert one.take() == [fr.RendezvousFrom(CHANNEL, b"hello")]
    assert await meet(one, b"answer")
    assert two.take() == [fr.RendezvousFrom(CHANNEL, b"answer")]


async def test_others_do_not_meet_them(hub: Hub) -> None:
    anna = await Device(hub, "anna").connect()
    await meet(anna, b"")
    assert not await meet(await Device(hub, "ben").connect(), b"x")
    assert not await meet(await Device(hub, "anna", portal="other").connect(), b"x")
    assert not await meet(await Device(hub, "anna", seed="2").connect(), b"x", b"d" * 16)
    assert anna.take() == []


async def test_a_third_device_is_told_so_and_hears_nothing(hub: Hub) -> None:
    one, two = await two_of_anna(hub)
    await meet(one, b"")
    await meet(two, b"")
    three = await Device(hub, "anna", seed="3").connect()
    (error,) = await three.say(fr.Rendezvous(4, CHANNEL, b"x"))
    assert (error.request, error.code) == (4, "too_many_devices")
    one.take()
    await meet(two, b"still between the two")
    assert one.take() == [fr.RendezvousFrom(CHANNEL, b"still between the two")]
    assert three.take() == []


async def test_who_left_makes_room(hub: Hub) -> None:
    one, two = await two_of_anna(hub)
    await meet(one, b"")
    await meet(two, b"")
    two.session.lost()
    three = await Device(hub, "anna", seed="3").connect()
    assert await meet(three, b"here")
    assert not await meet(await Device(hub, "ben").connect(), b"")


async def test_a_device_that_connects_again_is_the_same_one(hub: Hub) -> None:
    one, two = await two_of_anna(hub)
    await meet(one, b"")
    await meet(two, b"")
    await one.connect()
    assert await meet(one, b"again")
    assert fr.RendezvousFrom(CHANNEL, b"again") in two.take()


async def test_channels_are_few_and_forgotten(hub: Hub, clock: Clock) -> None:
    one = await Device(hub, "anna").connect()
    for number in range(MAX_RENDEZVOUS_CHANNELS_PER_USER):
        await meet(one, b"", bytes([number]) * 16)
    (error,) = await one.say(fr.Rendezvous(1, CHANNEL, b""))
    assert error.code == "rate_limited"
    clock.now += RENDEZVOUS_SECONDS
    assert not await meet(one, b"")


async def test_a_body_is_bounded(hub: Hub) -> None:
    one = await Device(hub, "anna").connect()
    (goodbye,) = await one.say(fr.Rendezvous(1, CHANNEL, bytes(MAX_RENDEZVOUS_BODY_BYTES + 1)))
    assert goodbye.code == "too_big"
