"""Portals' keys: what may be registered, how keys follow each other, what a record of before still means."""

from __future__ import annotations

import base64
import json
from typing import Any

import msgpack
import pytest
from cryptography.hazmat.primitives.asymmetric import ec, ed448, rsa, x25519
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from cryptography.hazmat.primitives.serialization import (
    Encoding,
    NoEncryption,
    PrivateFormat,
    PublicFormat,
)
from hypothesis import given
from hypothesis import strategies as st

from relay.core import portals
from relay.core.portals import PortalRecord
from relay.core.quotas import Quotas, check_quotas
from relay.core.token_keys import MAX_TOKEN_KEYS, key_id, parse_public_key
from relay.errors import AccessRefused, InvalidRequest, QuotaExceeded

KEY = "crk_growth_" + "A" * 43
OTHER_KEY = "crk_growth_" + "B" * 43
NOW = 1_800_000_000
SECRET, OTHER_SECRET = b"s" * 32, b"S" * 32


def public(seed: int) -> bytes:
    return Ed25519PrivateKey.from_private_bytes(bytes([seed]) * 32).public_key().public_bytes_raw()


def portal(**options: Any) -> PortalRecord:
    return portals.new_portal("growth", api_key=KEY, now=NOW, **({"token_secret": SECRET} | options))


def pem(key: Any) -> str:
    return str(key.public_bytes(Encoding.PEM, PublicFormat.SubjectPublicKeyInfo).decode())


def jwk(**changes: Any) -> str:
    x = base64.urlsafe_b64encode(public(1)).rstrip(b"=").decode()
    return json.dumps({"kty": "OKP", "crv": "Ed25519", "x": x} | changes)


# -- what may be registered ------------------------------------------------------------------------


def test_pem_and_jwk_are_one_key() -> None:
    key = Ed25519PrivateKey.from_private_bytes(bytes([1]) * 32).public_key()
    assert parse_public_key(pem(key)) == parse_public_key(f"\n{pem(key)}\n") == public(1)
    assert parse_public_key(jwk()) == parse_public_key(jwk(kid="mine", use="sig", alg="EdDSA")) == public(1)


def test_the_id_is_the_thumbprint_of_rfc_8037() -> None:
    x = base64.urlsafe_b64decode("11qYAYKxCrfVS_7TyWQHOg7hcvPapiMlrwIaaPcHURo=")
    assert key_id(x) == "kPrK_qmxVWaYVA9wwBF6Iuo3vVzz7TxHCTwXBygrS4k"


OTHER_KINDS: list[Any] = [
    rsa.generate_private_key(public_exponent=65537, key_size=2048),
    ec.generate_private_key(ec.SECP256R1()),
    ed448.Ed448PrivateKey.generate(),
    x25519.X25519PrivateKey.generate(),
]


@pytest.mark.parametrize("key", OTHER_KINDS, ids=lambda key: type(key).__name__)
def test_keys_of_other_kinds_are_refused(key: Any) -> None:
    with pytest.raises(InvalidRequest, match="Ed25519 public key"):
        parse_public_key(pem(key.public_key()))


def test_a_private_key_is_refused_and_said_to_stay() -> None:
    key = Ed25519PrivateKey.generate()
    text = key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption()).decode()
    for private in (text, jwk(d="A" * 43)):
        with pytest.raises(InvalidRequest, match="stays with the portal"):
            parse_public_key(private)


@pytest.mark.parametrize(
    "text",
    [
        "",
        "x",
        "{",
        "{}",
        "{" * 5000,
        jwk(kty="EC"),
        jwk(crv="Ed448"),
        jwk(crv="X25519"),
        jwk(x=1),
        jwk(x=""),
        jwk(x="A" * 42),
        jwk(x="*" * 43),
        jwk(x=[]),
        "-----BEGIN PUBLIC KEY-----\n-----END PUBLIC KEY-----",
        "-----BEGIN PUBLIC KEY-----\nAAAA\n-----END PUBLIC KEY-----",
        "-----BEGIN PUBLIC KEY-----\n*\n-----END PUBLIC KEY-----",
        "-----BEGIN PUBLIC KEY-----\nA\n-----END PUBLIC KEY-----",
    ],
    ids=lambda text: text[:40],
)
def test_what_is_no_key_is_refused(text: str) -> None:
    with pytest.raises(InvalidRequest, match="Ed25519 public key"):
        parse_public_key(text)


@given(st.text(max_size=300))
def test_no_text_does_worse_than_be_refused(text: str) -> None:
    with pytest.raises(InvalidRequest):
        parse_public_key(text)


@pytest.mark.parametrize(
    "point",
    [
        bytes(32),  # of order 4
        (1).to_bytes(32, "little"),  # the neutral element
        bytes.fromhex("ecffffffffffffffffffffffffffffffffffffffffffffffffffffffffffff7f"),  # of order 2
        bytes.fromhex("c7176a703d4dd84fba3c0b760d10670f2a2053fa2c39ccc64ec7fd7792ac037a"),  # of order 8
        b"\xff" * 32,  # not canonical
    ],
    ids=lambda point: point.hex()[:8],
)
def test_a_key_that_signs_for_everybody_is_refused(point: bytes) -> None:
    with pytest.raises(InvalidRequest):
        portals.with_token_key(portal(), point, NOW)


# -- one after the other ---------------------------------------------------------------------------


def test_keys_are_added_beside_each_other_and_taken_away() -> None:
    both = portals.with_token_key(portals.with_token_key(portal(), public(1), NOW), public(2), NOW + 1)
    assert [(key.public, key.created) for key in both.token_keys] == [(public(1), NOW), (public(2), NOW + 1)]
    assert both.token_secret == SECRET
    assert portals.with_token_key(both, public(1), NOW + 9) == both
    second = portals.without_token_key(both, key_id(public(1)))
    assert [key.public for key in second.token_keys] == [public(2)]
    alone = portals.without_token_key(second, "secret")
    assert (alone.token_secret, alone.token_secrets(NOW)) == (b"", [])


def test_a_portal_has_so_many_keys_and_at_least_one() -> None:
    record = portal()
    for number in range(MAX_TOKEN_KEYS):
        record = portals.with_token_key(record, public(number + 1), NOW)
    with pytest.raises(InvalidRequest, match="at most"):
        portals.with_token_key(record, public(99), NOW)
    with pytest.raises(InvalidRequest, match="only token key"):
        portals.without_token_key(portal(), "secret")
    with pytest.raises(InvalidRequest, match="only token key"):
        portals.without_token_key(portal(token_secret=b"", token_key=public(1)), key_id(public(1)))
    for name in ("", "x", key_id(public(50))):
        with pytest.raises(InvalidRequest, match="no such"):
            portals.without_token_key(record, name)


def test_a_portal_may_begin_without_a_secret() -> None:
    record = portal(token_secret=b"", token_key=public(1))
    assert (record.token_secret, [key.public for key in record.token_keys]) == (b"", [public(1)])
    renewed = portals.rotated(record, api_key=OTHER_KEY, token_secret=OTHER_SECRET, now=NOW, overlap=60)
    assert renewed.token_secrets(NOW) == [], "a rotation gives it none"
    assert renewed.token_keys == record.token_keys
    with pytest.raises(InvalidRequest):
        portal(token_secret=b"")


def test_former_keys_count_until_their_time() -> None:
    after = portals.rotated(portal(), api_key=OTHER_KEY, token_secret=OTHER_SECRET, now=NOW, overlap=60)
    for key in (KEY, OTHER_KEY):
        after.check_api_key(key, NOW + 59)
    assert after.token_secrets(NOW + 59) == [(OTHER_SECRET, 0), (SECRET, NOW + 60)]
    with pytest.raises(AccessRefused):
        after.check_api_key(KEY, NOW + 60)
    assert after.token_secrets(NOW + 60) == [(OTHER_SECRET, 0)]
    assert (
        portals.without_token_key(portals.with_token_key(after, public(1), NOW), "secret").token_secrets(NOW)
        == []
    ), "the former secret goes with the present one"


def test_without_overlap_former_keys_end_at_once() -> None:
    after = portals.rotated(portal(), api_key=OTHER_KEY, token_secret=OTHER_SECRET, now=NOW)
    assert after.former is None
    with pytest.raises(AccessRefused):
        after.check_api_key(KEY, NOW)


@pytest.mark.parametrize("overlap", [-1, portals.MAX_OVERLAP_SECONDS + 1])
def test_the_overlap_is_bounded(overlap: int) -> None:
    with pytest.raises(InvalidRequest, match="168 hours"):
        portals.rotated(portal(), api_key=OTHER_KEY, token_secret=OTHER_SECRET, now=NOW, overlap=overlap)


def test_no_key_is_shown() -> None:
    after = portals.rotated(portal(), api_key=OTHER_KEY, token_secret=OTHER_SECRET, now=NOW, overlap=60)
    for secret in (SECRET, OTHER_SECRET):
        assert repr(secret)[2:-1] not in repr(after)


def test_a_record_of_the_first_version_is_read() -> None:
    old = msgpack.packb([1, "growth", b"h" * 32, SECRET, ["https://p.example"], 7])
    assert PortalRecord.parse(old) == PortalRecord(
        id=portal().id,
        api_key_hash=b"h" * 32,
        token_secret=SECRET,
        origins=("https://p.example",),
        created=7,
    )


# -- quotas ----------------------------------------------------------------------------------------


def test_a_quota_is_all_that_may_be_taken() -> None:
    quotas = Quotas(engagements=2, stored_bytes=100)
    quotas.check("engagements", used=1)
    quotas.check("stored_bytes", used=60, more=40)
    quotas.check("connections", used=10**9)  # 0: without bound
    with pytest.raises(QuotaExceeded) as caught:
        quotas.check("engagements", used=2)
    assert (caught.value.quota, caught.value.limit, caught.value.code) == ("engagements", 2, "quota_exceeded")
    with pytest.raises(QuotaExceeded):
        quotas.check("stored_bytes", used=60, more=41)


@pytest.mark.parametrize("value", [-1, 2**63])
def test_a_quota_is_a_count(value: int) -> None:
    with pytest.raises(InvalidRequest):
        check_quotas(Quotas(connections=value))
