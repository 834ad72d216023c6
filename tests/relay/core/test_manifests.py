"""What the relay reads of a device list, and whose word counts when one is put."""

from __future__ import annotations

import msgpack
import pytest

from client_sdk.identity import (
    KeyPair,
    ManifestDevice,
    VerifiedManifest,
    first_manifest,
    generate_key_pair,
    next_manifest,
)
from relay.core.manifests import MOST_REVOKED, HeldManifest, end_list, read_manifest, take_manifest
from relay.errors import InvalidRequest, StoreCorrupt
from relay.wire.ids import DeviceId, PortalId, UserId, device_id
from tests.support.fake_time import SeededRandom

RNG = SeededRandom("relay manifests")
IDENTITY, RECOVERY, THIEF = (generate_key_pair(RNG) for _ in range(3))
ONE, TWO, THREE = (generate_key_pair(RNG).public for _ in range(3))


def ids(*keys: bytes) -> frozenset[DeviceId]:
    return frozenset(map(device_id, keys))


def first(*keys: bytes, identity: KeyPair = IDENTITY, user: str = "anna") -> VerifiedManifest:
    return first_manifest(
        portal=PortalId("portal"),
        user=UserId(user),
        identity=identity,
        recovery_key=RECOVERY.public,
        devices=map(ManifestDevice, keys),
        suites=[3],
    )


def after(before: VerifiedManifest, *keys: bytes, key: KeyPair = IDENTITY) -> VerifiedManifest:
    return next_manifest(before, key=key, devices=map(ManifestDevice, keys))


def take(
    held: VerifiedManifest | HeldManifest | None, put: VerifiedManifest, by: bytes
) -> HeldManifest | None:
    kept = HeldManifest(held.raw) if isinstance(held, VerifiedManifest) else held
    return take_manifest(kept, read_manifest(put.raw), device_id(by))


def test_it_reads_what_the_sdk_signs() -> None:
    signed = after(first(ONE), ONE, TWO)
    read = read_manifest(signed.raw)
    assert (read.portal, read.user, read.version) == ("portal", "anna", 2)
    assert (read.identity_key, read.recovery_key) == (IDENTITY.public, RECOVERY.public)
    assert read.devices == ids(ONE, TWO)
    assert (read.previous, read.hash, read.by_recovery) == (signed.previous, signed.hash, False)


def test_every_flipped_bit_is_refused() -> None:
    raw = first(ONE).raw
    for position in range(len(raw)):
        flipped = bytearray(raw)
        flipped[position] ^= 1
        with pytest.raises(InvalidRequest):
            read_manifest(bytes(flipped))


@pytest.mark.parametrize(
    "raw",
    [
        b"",
        b"\xc0",
        msgpack.packb([]),
        msgpack.packb([b"", 0, bytes(64)]),
        msgpack.packb({"a": 1}),
        msgpack.packb([msgpack.packb([1]), 2, bytes(64)]),
        first(ONE).raw + b"\0",
        bytes(4096),
    ],
)
def test_what_is_no_list_is_refused(raw: bytes) -> None:
    with pytest.raises(InvalidRequest):
        read_manifest(raw)


def test_the_first_list_comes_from_a_device_that_it_names() -> None:
    assert take(None, first(ONE), ONE) == HeldManifest(first(ONE).raw)
    assert take(None, first(ONE), TWO) is None


def test_who_leaves_the_list_is_revoked_and_may_come_back() -> None:
    one = first(ONE, TWO)
    two = after(one, ONE)
    held = take(one, two, ONE)
    assert held == HeldManifest(two.raw, (device_id(TWO),))
    three = after(two, ONE, TWO)
    assert take(held, three, ONE) == HeldManifest(three.raw)


def test_the_same_list_again_changes_nothing() -> None:
    held = take(first(ONE, TWO), after(first(ONE, TWO), ONE), ONE)
    assert held is not None
    assert take_manifest(held, read_manifest(held.manifest), device_id(ONE)) == held


def test_what_does_not_succeed_is_not_taken() -> None:
    held = after(first(ONE, TWO), ONE, TWO)
    assert take(held, first(ONE), ONE) is None, "an older one"
    assert take(held, after(first(ONE, TWO), TWO), TWO) is None, "another of the same version"
    assert take(held, after(after(first(ONE, TWO), TWO), TWO), TWO) is None, "the next of another line"
    foreign = after(after(first(ONE, identity=THIEF), ONE, key=THIEF), ONE, key=THIEF)
    assert take(held, foreign, ONE) is None, "another identity"


def test_a_thief_with_the_identity_key_has_no_say_from_outside() -> None:
    """The thief holds the identity key of a revoked device, and connects as a device of their own."""
    owner = first(ONE, TWO)
    held = take(owner, after(owner, ONE), ONE)
    takeover = after(after(owner, ONE), THREE)
    assert take(held, takeover, THREE) is None
    assert take(held, takeover, TWO) is None
    assert take(held, takeover, ONE) is not None, "only a device that the owner still lists may put it"


def test_the_recovery_key_has_the_last_word() -> None:
    stolen = after(first(ONE, TWO), TWO)  # a thief shut the owner's first device out
    held = take(first(ONE, TWO), stolen, TWO)
    recovered = next_manifest(
        stolen, key=RECOVERY, identity_key=THIEF.public, devices=[ManifestDevice(THREE)]
    )
    assert take(held, recovered, TWO) is None
    kept = take(held, recovered, THREE)
    assert kept is not None
    assert kept.revoked == (device_id(ONE), device_id(TWO))


def test_the_list_of_the_revoked_is_bounded() -> None:
    manifest = first(ONE)
    held = HeldManifest(manifest.raw, tuple(DeviceId(n.to_bytes(16, "big")) for n in range(MOST_REVOKED)))
    two = after(manifest, TWO)
    kept = take(held, two, ONE)
    assert kept is not None
    assert len(kept.revoked) == MOST_REVOKED
    assert kept.revoked[-1] == device_id(ONE)
    assert HeldManifest.parse(kept.serialize()) == kept
    with pytest.raises(StoreCorrupt):
        HeldManifest.parse(kept.serialize()[:-1])


def test_after_a_list_was_ended_the_next_one_is_a_first_one() -> None:
    held = take(first(ONE, TWO), after(first(ONE, TWO), ONE), ONE)
    assert held is not None
    anew = first(THREE, identity=THIEF)
    assert take(held, anew, THREE) is None, "as long as a list is held, another identity has no say"
    ended = end_list(held)
    assert HeldManifest.parse(ended.serialize()) == ended
    assert ended.manifest == b""
    assert frozenset(ended.revoked) == ids(ONE, TWO)
    assert take(ended, anew, TWO) is None, "from a device that it names"
    taken = take(ended, anew, THREE)
    assert taken == HeldManifest(anew.raw, ended.revoked), "who was on the ended list stays out"
    assert end_list(ended) == ended


def test_the_name_of_a_list_is_that_of_all_its_versions() -> None:
    one, other = (
        first(ONE),
        first_manifest(
            portal=PortalId("portal"),
            user=UserId("anna"),
            identity=IDENTITY,
            recovery_key=THIEF.public,
            devices=[ManifestDevice(ONE)],
            suites=[3],
        ),
    )
    name = HeldManifest(one.raw).list_id
    assert name is not None
    assert len(name) == 16
    assert HeldManifest(after(one, ONE, TWO).raw).list_id == name
    recovered = next_manifest(one, key=RECOVERY, identity_key=THIEF.public, devices=[ManifestDevice(TWO)])
    assert HeldManifest(recovered.raw).list_id == name
    assert HeldManifest(other.raw).list_id != name
    assert end_list(HeldManifest(one.raw)).list_id is None
