"""Manifests: signed, verified, and followed only by their rightful successors."""

from __future__ import annotations

import hashlib
from typing import Any

import msgpack
import pytest
from hypothesis import given
from hypothesis import strategies as st

from client_sdk.errors import ManifestInvalid, UsageError
from client_sdk.identity import (
    KeyPair,
    Manifest,
    ManifestDevice,
    Signer,
    check_successor,
    first_manifest,
    generate_key_pair,
    next_manifest,
    verify_manifest,
)
from client_sdk.identity.keys import SignatureInvalid, verify_signature
from client_sdk.identity.manifest import UNSEEN

from .people import PORTAL, Person, seeded

ANNA = Person("anna", count=2)


def body_of(person: Person) -> list[Any]:
    values = msgpack.unpackb(msgpack.unpackb(person.manifest.raw)[0])
    assert isinstance(values, list)
    return values


def signed(values: object, key: KeyPair, signer: object = 0) -> bytes:
    body = values if isinstance(values, bytes) else msgpack.packb(values)
    data = msgpack.packb([body, signer, key.sign("manifest", body)])
    assert isinstance(data, bytes)
    return data


def test_the_encoding_is_the_documented_one() -> None:
    body, signer, signature = msgpack.unpackb(ANNA.manifest.raw)
    assert msgpack.unpackb(body) == [
        1,
        "harbor",
        "anna",
        1,
        ANNA.keys.identity.public,
        ANNA.keys.recovery.public,
        [[ANNA.devices[0].public, 1], [ANNA.devices[1].public, 0]],
        [3],
        bytes(32),
    ]
    assert signer == 0
    verify_signature(ANNA.keys.identity.public, "manifest", body, signature)
    assert ANNA.manifest.hash == hashlib.sha256(b"coach-relay/1 manifest\0" + ANNA.manifest.raw).digest()


def test_what_is_signed_verifies_and_says_what_it_says() -> None:
    manifest = verify_manifest(ANNA.manifest.raw)
    assert manifest == ANNA.manifest
    assert (manifest.portal, manifest.user, manifest.version) == (PORTAL, "anna", 1)
    assert manifest.lists(ANNA.devices[1].public)
    assert not manifest.lists(bytes(32))
    assert [d.may_link for d in manifest.devices] == [True, False]


@given(st.integers(0, len(ANNA.manifest.raw) - 1), st.integers(1, 255))
def test_any_changed_byte_is_refused(position: int, change: int) -> None:
    raw = bytearray(ANNA.manifest.raw)
    raw[position] ^= change
    with pytest.raises(ManifestInvalid):
        verify_manifest(bytes(raw))


@given(st.binary(max_size=80))
def test_noise_is_refused(data: bytes) -> None:
    with pytest.raises(ManifestInvalid):
        Manifest.parse(data)


@pytest.mark.parametrize("change", [b"", b"\0"])
def test_cut_and_extended_ones_are_refused(change: bytes) -> None:
    raw = ANNA.manifest.raw
    with pytest.raises(ManifestInvalid):
        verify_manifest(raw + change if change else raw[:-1])


def test_a_signature_by_the_wrong_key_is_refused() -> None:
    values = body_of(ANNA)
    stranger = generate_key_pair(seeded("stranger"))
    for key, signer in ((stranger, 0), (stranger, 1), (ANNA.keys.recovery, 0), (ANNA.keys.identity, 1)):
        with pytest.raises(ManifestInvalid):
            verify_manifest(signed(values, key, signer))
    assert verify_manifest(signed(values, ANNA.keys.recovery, 1)).signer is Signer.RECOVERY


@pytest.mark.parametrize("length", [0, 63, 65])
def test_a_signature_of_another_length_is_refused(length: int) -> None:
    body, signer, signature = msgpack.unpackb(ANNA.manifest.raw)
    with pytest.raises(ManifestInvalid):
        verify_manifest(msgpack.packb([body, signer, (signature * 2)[:length]]))


@pytest.mark.parametrize("signer", [2, -1, True, False, 0.0, "0", None])
def test_another_signer_is_refused(signer: object) -> None:
    body, _, signature = msgpack.unpackb(ANNA.manifest.raw)
    with pytest.raises(ManifestInvalid):
        verify_manifest(msgpack.packb([body, signer, signature]))


@pytest.mark.parametrize(
    ("position", "value"),
    [
        (0, 2),
        (0, True),
        (0, 1.0),
        (1, "Harbor"),
        (1, b"harbor"),
        (2, ""),
        (2, "a b"),
        (3, 0),
        (3, 2),  # a later version names its predecessor
        (3, True),
        (3, 2**63),
        (4, bytes(31)),
        (5, "x" * 32),
        (6, None),
        (6, [[bytes(31), 0]]),
        (6, [[bytes(32), -1]]),
        (6, [[bytes(32)]]),
        (6, [[bytes(32), 0], [bytes(32), 1]]),
        (6, [[bytes([n]) * 32, 0] for n in range(9)]),
        (7, 3),
        (7, [0]),
        (7, [3, 3]),
        (7, [65536]),
        (7, list(range(1, 18))),
        (8, bytes(31)),
        (8, b"x" * 32),  # the first version has no predecessor
    ],
)
def test_a_signed_body_against_the_rules_is_refused(position: int, value: object) -> None:
    values = body_of(ANNA)
    values[position] = value
    with pytest.raises(ManifestInvalid):
        verify_manifest(signed(values, ANNA.keys.identity))


def test_a_body_of_another_shape_is_refused() -> None:
    values = body_of(ANNA)
    for wrong in (values[:-1], [*values, 1], {"a": 1}, b"\xc1", b""):
        with pytest.raises(ManifestInvalid):
            verify_manifest(signed(wrong, ANNA.keys.identity))
    for signer in (2, True, None, "0"):
        with pytest.raises(ManifestInvalid):
            verify_manifest(signed(values, ANNA.keys.identity, signer))
    with pytest.raises(ManifestInvalid):
        verify_manifest(msgpack.packb([b"x" * 2048, 0, bytes(64)]))


def test_a_device_flag_of_a_later_version_is_kept() -> None:
    values = body_of(ANNA)
    values[6][0][1] = 0b101
    assert verify_manifest(signed(values, ANNA.keys.identity)).devices[0].flags == 5


# Successors


def test_the_identity_key_changes_the_devices() -> None:
    anna = Person("anna")
    before = anna.manifest
    after = anna.link()
    check_successor(before, after)
    check_successor(before, before)
    assert (after.version, after.previous, after.signer) == (2, before.hash, Signer.IDENTITY)


def test_the_recovery_key_may_name_a_new_identity_key_and_the_identity_key_may_not() -> None:
    anna = Person("anna")
    before, old_identity = anna.manifest, anna.keys.identity
    after = anna.recovered(anna.devices)
    check_successor(before, after)
    assert after.identity_key != before.identity_key
    with pytest.raises(UsageError):
        next_manifest(before, key=old_identity, identity_key=after.identity_key)
    with pytest.raises(UsageError):
        next_manifest(before, key=generate_key_pair(seeded("stranger")))
    check_successor(after, anna.link())


def test_versions_in_between_need_not_have_been_seen() -> None:
    anna = Person("anna")
    before = anna.manifest
    anna.link()
    check_successor(before, anna.link())


def test_the_recovery_words_override_every_list_that_the_identity_key_can_sign() -> None:
    anna, thief = Person("anna"), Person("anna")
    highest = verify_manifest(forged(thief, thief.keys.identity, version=2**32 - 1, previous=UNSEEN))
    check_successor(anna.manifest, highest)
    for era in (1, 2, 30_000_000, 2**31 - 1):
        check_successor(highest, Person("anna").recover(era=era))
        check_successor(anna.manifest, Person("anna").recover(era=era))
    recovered = anna.recover(era=1)
    assert (recovered.era, recovered.signer) == (1, Signer.RECOVERY)
    check_successor(recovered, anna.link())
    again = Person("anna").recover(era=2)
    check_successor(recovered, again)
    for late in (thief.manifest, highest, recovered):
        with pytest.raises(ManifestInvalid):
            check_successor(again, late)


def test_the_identity_key_alone_begins_no_era() -> None:
    anna = Person("anna")
    for version in (2**32, 2**32 + 1, 2**62):
        raw = forged(anna, anna.keys.identity, version=version, previous=UNSEEN)
        with pytest.raises(ManifestInvalid, match="era"):
            check_successor(anna.manifest, verify_manifest(raw))


def forged(person: Person, key: KeyPair, signer: int = 0, **change: object) -> bytes:
    """The next version as somebody else might make it."""
    values = body_of(person)
    names = [
        "format",
        "portal",
        "user",
        "version",
        "identity_key",
        "recovery_key",
        "devices",
        "suites",
        "previous",
    ]
    fields = dict(zip(names, values, strict=True))
    fields |= {"version": values[3] + 1, "previous": person.manifest.hash, **change}
    return signed(list(fields.values()), key, signer)


def test_a_successor_that_is_not_rightful_is_refused() -> None:
    anna = Person("anna")
    thief = generate_key_pair(seeded("thief"))
    wrong = [
        forged(anna, thief, identity_key=thief.public),
        forged(anna, thief, 1, recovery_key=thief.public),
        forged(anna, thief, 1, recovery_key=thief.public, identity_key=thief.public),
        forged(anna, anna.keys.identity, recovery_key=thief.public),
        forged(anna, anna.keys.identity, user="ben"),
        forged(anna, anna.keys.identity, portal="other"),
        forged(anna, anna.keys.identity, previous=b"x" * 32),
    ]
    for raw in wrong:
        with pytest.raises(ManifestInvalid):
            check_successor(anna.manifest, verify_manifest(raw))


def test_an_older_or_a_different_equal_version_is_refused() -> None:
    anna = Person("anna")
    first = anna.manifest
    second = anna.link()
    twin = next_manifest(first, key=anna.keys.identity, suites=[1])
    for old, new in ((second, first), (second, twin), (twin, second)):
        with pytest.raises(ManifestInvalid):
            check_successor(old, new)


def test_what_everybody_would_refuse_is_not_signed() -> None:
    device = ManifestDevice(bytes(32))
    for devices in (
        [device] * 2,
        [ManifestDevice(bytes([n]) * 32) for n in range(9)],
        [ManifestDevice(b"x")],
    ):
        with pytest.raises(UsageError):
            first_manifest(
                portal=PORTAL,
                user=ANNA.user,
                identity=ANNA.keys.identity,
                recovery_key=ANNA.keys.recovery.public,
                devices=devices,
                suites=[3],
            )


# Keys


def test_a_key_signs_only_under_a_label() -> None:
    key = ANNA.keys.identity
    for wrong in (b"", b"anything", b"coach-relay/1 ", b"coach-relay/2 connect\0", b"coach-relay/1 connect"):
        with pytest.raises(UsageError):
            key.sign_labelled(wrong)
    signature = key.sign_labelled(b"coach-relay/1 connect\0message")
    verify_signature(key.public, "connect", b"message", signature)
    assert signature == key.sign("connect", b"message")
    for name, message in (("manifest", b"message"), ("connect", b"other")):
        with pytest.raises(SignatureInvalid):
            verify_signature(key.public, name, message, signature)


def test_small_order_keys_and_odd_lengths_are_refused() -> None:
    for public in (bytes(32), b"\1" + bytes(31), bytes(31), b""):
        with pytest.raises(SignatureInvalid):
            verify_signature(public, "manifest", b"", bytes(64))
    for signature in (b"", bytes(63), bytes(65)):
        with pytest.raises(SignatureInvalid):
            verify_signature(ANNA.keys.identity.public, "manifest", b"", signature)


def test_a_private_key_stands_in_no_repr_and_halves_must_fit() -> None:
    pair = KeyPair.from_private(b"p" * 32)
    assert "pppp" not in repr(pair)
    assert "pppp" not in repr(ANNA.keys)
    with pytest.raises(UsageError):
        KeyPair(bytes(32), b"p" * 32)
    for private in (b"", b"p" * 31, "p" * 32):
        with pytest.raises(UsageError):
            KeyPair.from_private(private)  # type: ignore[arg-type]  # wrong on purpose
