"""X-Wing, and groups in the suite that has it."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from client_sdk import mls
from client_sdk.mls.xwing import XWing

from .support import PUBLISHED, Group, seeded

KEM = XWing()
OWN_VECTOR = Path(__file__).parent / "vectors" / "xwing.json"


VECTORS = [OWN_VECTOR, *([Path(PUBLISHED) / "xwing.json"] if PUBLISHED else [])]


def check_vectors(path: Path) -> None:
    for vector in json.loads(path.read_text()):
        case = {name: bytes.fromhex(text) for name, text in vector.items()}
        assert KEM.public_key(case["sk"]) == case["pk"]
        assert KEM.decapsulate(case["sk"], case["ct"]) == case["ss"]
        secret, encapsulated = KEM.encapsulate(case["pk"], seeded("x"))
        assert KEM.decapsulate(case["sk"], encapsulated) == secret


@pytest.mark.parametrize("path", VECTORS, ids=lambda path: path.parent.name)
def test_vectors(path: Path) -> None:
    check_vectors(path)


def test_lengths() -> None:
    pair = KEM.generate_key_pair(seeded("a"))
    secret, encapsulated = KEM.encapsulate(pair.public, seeded("b"))
    assert (len(pair.private), len(pair.public), len(encapsulated), len(secret)) == (32, 1216, 1120, 32)


def test_key_pairs_are_determined_by_their_seed() -> None:
    assert KEM.derive_key_pair(b"s" * 64) == KEM.derive_key_pair(b"s" * 64)
    assert KEM.derive_key_pair(b"s" * 64) != KEM.derive_key_pair(b"s" * 63)
    assert KEM.generate_key_pair(seeded("a")) == KEM.generate_key_pair(seeded("a"))


def test_two_encapsulations_differ_even_with_the_same_random_source() -> None:
    """ML-KEM's randomness is drawn by the library: a repeating source costs the hybrid only one half."""
    pair = KEM.generate_key_pair(seeded("a"))
    assert KEM.encapsulate(pair.public, seeded("b")) != KEM.encapsulate(pair.public, seeded("b"))


@pytest.mark.parametrize("length", [0, 31, 1215, 1217])
def test_public_keys_of_other_lengths_are_refused(length: int) -> None:
    for use in (KEM.check_public, lambda key: KEM.encapsulate(key, seeded("a"))):
        with pytest.raises(mls.CryptoError) as caught:
            use(bytes(length))
        assert caught.value.rule == "KEM-KEY"


@pytest.mark.parametrize("length", [0, 31, 33, 64])
def test_private_keys_of_other_lengths_are_refused(length: int) -> None:
    with pytest.raises(mls.CryptoError) as caught:
        KEM.public_key(bytes(length))
    assert caught.value.rule == "KEM-KEY"


@pytest.mark.parametrize("length", [0, 32, 1119, 1121])
def test_encapsulations_of_other_lengths_are_refused(length: int) -> None:
    with pytest.raises(mls.CryptoError) as caught:
        KEM.decapsulate(bytes(32), bytes(length))
    assert caught.value.rule == "KEM-ENCAPSULATION"


def test_a_lattice_key_out_of_range_is_refused() -> None:
    """FIPS 203 wants each coefficient below q."""
    public = KEM.generate_key_pair(seeded("a")).public
    with pytest.raises(mls.CryptoError) as caught:
        KEM.check_public(b"\xff" * 1184 + public[1184:])
    assert caught.value.rule == "KEM-LATTICE-KEY"


def test_low_order_points_are_refused_both_ways() -> None:
    pair = KEM.generate_key_pair(seeded("a"))
    with pytest.raises(mls.CryptoError) as caught:
        KEM.encapsulate(pair.public[:1184] + bytes(32), seeded("b"))
    assert caught.value.rule == "KEM-LOW-ORDER"
    _, encapsulated = KEM.encapsulate(pair.public, seeded("b"))
    with pytest.raises(mls.CryptoError) as caught:
        KEM.decapsulate(pair.private, encapsulated[:1088] + bytes(32))
    assert caught.value.rule == "KEM-LOW-ORDER"


def test_a_damaged_encapsulation_gives_another_secret() -> None:
    """ML-KEM rejects implicitly, X25519 has no check at all: the AEAD above finds it."""
    pair = KEM.generate_key_pair(seeded("a"))
    secret, encapsulated = KEM.encapsulate(pair.public, seeded("b"))
    for place in (0, 1087, 1100):
        damaged = encapsulated[:place] + bytes([encapsulated[place] ^ 1]) + encapsulated[place + 1 :]
        assert KEM.decapsulate(pair.private, damaged) != secret


def test_the_suite() -> None:
    suite = mls.SUITE_XWING
    assert mls.cipher_suite(0xF00E) is suite
    assert (suite.hash_name, suite.hash_length, suite.hpke.kdf_id, suite.kem.id) == ("sha512", 64, 3, 0x647A)
    assert 0xF000 <= suite.id <= 0xFFFF, "RFC 9420 section 17.1: the private-use range"


def test_a_group_lives_in_the_suite() -> None:
    group = Group("anna", "ben", "cleo", suite=mls.SUITE_XWING)
    group.talk()
    group.add("cleo", "dan", "eve")
    group.commit("ben", [mls.Remove(group.leaf("anna"))])
    group.rejoin("dan", group.leaf("dan"))
    group.talk()
    group.check_agreement()
    state = group.states["eve"]
    assert mls.GroupState.parse(state.serialize()) == state
