"""Access tokens: the one form that is let in, and every way to be something else."""

from __future__ import annotations

import base64
import hashlib
import hmac
import json
from typing import Any

import jwt
import pytest
from cryptography.hazmat.primitives.asymmetric import ec, ed25519, rsa
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat
from hypothesis import given
from hypothesis import strategies as st

from relay.core.access import AccessToken
from relay.errors import AccessRefused
from relay.http.tokens import TokenKey, registered_key, token_key, unverified, verify_token
from relay.wire.errors import ErrorCode
from relay.wire.ids import PortalId, UserId

NOW = 1_800_000_000
SECRET = b"a token secret of a portal, long enough for HS256"
KEY = TokenKey(SECRET)
CLAIMS: dict[str, Any] = {
    "iss": "growth",
    "sub": "anna",
    "aud": "coach-relay",
    "iat": NOW,
    "nbf": NOW,
    "exp": NOW + 600,
    "jti": "t-1",
}


def b64(data: bytes) -> str:
    return base64.urlsafe_b64encode(data).rstrip(b"=").decode()


def signed(header: Any, payload: Any, *, secret: bytes = SECRET) -> str:
    """A token with any header and payload at all, with a good HMAC-SHA256."""
    parts = [b64(p if isinstance(p, bytes) else json.dumps(p).encode()) for p in (header, payload)]
    return ".".join([*parts, b64(hmac.digest(secret, ".".join(parts).encode(), hashlib.sha256))])


def token(*, drop: str = "", **changes: Any) -> str:
    claims = {name: value for name, value in (CLAIMS | changes).items() if name != drop}
    return signed({"alg": "HS256", "typ": "JWT"}, claims)


def changed(claim: str, value: Any) -> str:
    return signed({"alg": "HS256", "typ": "JWT"}, CLAIMS | {claim: value})


def refused(text: str, *, key: TokenKey = KEY, now: int = NOW) -> str:
    with pytest.raises(AccessRefused) as caught:
        verify_token(text, key=key, now=now)
    assert text not in str(caught.value)
    return caught.value.code


def test_a_good_token_grants_what_it_says() -> None:
    granted = AccessToken(
        portal=PortalId("growth"),
        user=UserId("anna"),
        expires=NOW + 600,
        token_id="t-1",
        issued=NOW,
        key=KEY.name,
    )
    assert verify_token(token(), key=KEY, now=NOW) == granted
    made_by_the_library = jwt.encode(CLAIMS, SECRET, algorithm="HS256")
    assert verify_token(made_by_the_library, key=KEY, now=NOW) == granted


def test_further_claims_are_none_of_our_business() -> None:
    assert verify_token(token(name="Anna", scope=["x"]), key=KEY, now=NOW).user == "anna"


@pytest.mark.parametrize("claim", list(CLAIMS))
def test_every_claim_is_required(claim: str) -> None:
    assert refused(token(drop=claim)) == ErrorCode.TOKEN_INVALID


WRONG: list[Any] = [None, True, 1, 1.5, "", " ", "a b", "x" * 5000, [], ["coach-relay"], {}]


@pytest.mark.parametrize("claim", ["iss", "sub", "aud"])
@pytest.mark.parametrize("value", WRONG, ids=lambda v: repr(v)[:12])
def test_names_of_the_wrong_type_or_form_are_refused(claim: str, value: Any) -> None:
    assert refused(changed(claim, value)) == ErrorCode.TOKEN_INVALID


@pytest.mark.parametrize("value", [None, True, 1, "", "x" * 129, [], {}], ids=lambda v: repr(v)[:12])
def test_a_jti_of_the_wrong_type_or_length_is_refused(value: Any) -> None:
    assert refused(token(jti=value)) == ErrorCode.TOKEN_INVALID


@pytest.mark.parametrize("claim", ["iat", "nbf", "exp"])
@pytest.mark.parametrize(
    "value", [None, True, -1, float(NOW), str(NOW), 2**53, 2**70, [], {}], ids=lambda v: repr(v)[:12]
)
def test_times_of_the_wrong_type_or_range_are_refused(claim: str, value: Any) -> None:
    assert refused(changed(claim, value)) == ErrorCode.TOKEN_INVALID


@pytest.mark.parametrize(
    "aud", ["coach-relay ", "Coach-Relay", "coach", "coach-relay2", ["coach-relay", "other"]]
)
def test_a_token_for_somebody_else_is_refused(aud: Any) -> None:
    assert refused(token(aud=aud)) == ErrorCode.TOKEN_INVALID


@pytest.mark.parametrize("life", [0, -1, 3601, 86_400])
def test_the_life_is_bounded(life: int) -> None:
    assert refused(token(exp=NOW + life)) == ErrorCode.TOKEN_INVALID


def test_the_longest_life_is_an_hour() -> None:
    assert verify_token(token(exp=NOW + 3600), key=KEY, now=NOW).expires == NOW + 3600


def test_expiry_with_its_leeway() -> None:
    assert verify_token(token(), key=KEY, now=NOW + 600 + 29)
    assert refused(token(), now=NOW + 600 + 30) == ErrorCode.TOKEN_EXPIRED
    assert refused(token(), now=NOW + 10**6) == ErrorCode.TOKEN_EXPIRED


@pytest.mark.parametrize("claim", ["iat", "nbf"])
def test_the_future_with_its_leeway(claim: str) -> None:
    assert verify_token(changed(claim, NOW + 30), key=KEY, now=NOW)
    assert refused(changed(claim, NOW + 31)) == ErrorCode.TOKEN_INVALID


def test_only_a_good_signature_makes_a_token_merely_expired() -> None:
    forged = signed({"alg": "HS256", "typ": "JWT"}, CLAIMS, secret=b"x" * 40)
    assert refused(forged, now=NOW + 10**6) == ErrorCode.TOKEN_INVALID


# -- algorithms -------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "alg",
    ["none", "None", "NONE", "", "HS384", "HS512", "RS256", "EdDSA", "ES256", "hs256", None, 1, ["HS256"]],
)
def test_the_token_has_no_say_in_its_algorithm(alg: Any) -> None:
    assert refused(signed({"alg": alg, "typ": "JWT"}, CLAIMS)) == ErrorCode.TOKEN_INVALID


def test_a_token_without_algorithm_or_signature_is_refused() -> None:
    assert refused(signed({"typ": "JWT"}, CLAIMS)) == ErrorCode.TOKEN_INVALID
    assert refused(jwt.encode(CLAIMS, "", algorithm="none")) == ErrorCode.TOKEN_INVALID
    assert refused(token().rpartition(".")[0] + ".") == ErrorCode.TOKEN_INVALID


def test_other_algorithms_of_the_library_are_refused() -> None:
    assert (
        refused(jwt.encode(CLAIMS, ed25519.Ed25519PrivateKey.generate(), algorithm="EdDSA"))
        == ErrorCode.TOKEN_INVALID
    )
    rsa_key = rsa.generate_private_key(public_exponent=65537, key_size=2048)
    assert refused(jwt.encode(CLAIMS, rsa_key, algorithm="RS256")) == ErrorCode.TOKEN_INVALID
    assert (
        refused(jwt.encode(CLAIMS, ec.generate_private_key(ec.SECP256R1()), algorithm="ES256"))
        == ErrorCode.TOKEN_INVALID
    )
    assert refused(jwt.encode(CLAIMS, SECRET * 2, algorithm="HS512")) == ErrorCode.TOKEN_INVALID


def test_a_public_key_is_no_hmac_secret() -> None:
    pem = (
        ed25519.Ed25519PrivateKey.generate()
        .public_key()
        .public_bytes(Encoding.PEM, PublicFormat.SubjectPublicKeyInfo)
    )
    confused = signed({"alg": "HS256", "typ": "JWT"}, CLAIMS, secret=pem)
    assert refused(confused, key=TokenKey(pem)) == ErrorCode.TOKEN_INVALID


# -- header, form ------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "extra",
    [
        {"kid": "growth"},
        {"kid": "../../dev/null"},
        {"kid": None},
        {"crit": []},
        {"crit": ["exp"]},
        {"crit": ["b64"], "b64": True},
        {"b64": False},
        {"b64": True},
        {"jku": "http://127.0.0.1/keys"},
        {"x5u": "http://127.0.0.1/cert"},
        {"jwk": {"kty": "oct", "k": b64(SECRET)}},
        {"x5c": []},
        {"typ": "JWE"},
        {"typ": 1},
        {"typ": None},
    ],
    ids=repr,
)
def test_header_tricks_are_refused(extra: dict[str, Any]) -> None:
    assert refused(signed({"alg": "HS256", "typ": "JWT"} | extra, CLAIMS)) == ErrorCode.TOKEN_INVALID


@pytest.mark.parametrize("typ", ["JWT", "jwt", "at+jwt"])
def test_the_usual_types_are_fine(typ: str) -> None:
    assert verify_token(signed({"alg": "HS256", "typ": typ}, CLAIMS), key=KEY, now=NOW)
    assert verify_token(signed({"alg": "HS256"}, CLAIMS), key=KEY, now=NOW)


def test_a_name_that_stands_twice_is_refused() -> None:
    payload = json.dumps(CLAIMS)[:-1] + ', "iss": "other"}'
    assert refused(signed({"alg": "HS256"}, payload.encode())) == ErrorCode.TOKEN_INVALID


@pytest.mark.parametrize(
    "payload",
    [b"", b"[]", b'"x"', b"1", b"null", b"{", b"\xff", b"[" * 2900, b'{"a":' * 500, b'{"exp": NaN}'],
    ids=repr,
)
def test_a_payload_that_is_no_json_object_is_refused(payload: bytes) -> None:
    assert refused(signed({"alg": "HS256"}, payload)) == ErrorCode.TOKEN_INVALID


@pytest.mark.parametrize("header", [b"", b"[]", b'"HS256"', b"null", b"{", b"\xff", b"[" * 2900], ids=repr)
def test_a_header_that_is_no_json_object_is_refused(header: bytes) -> None:
    assert refused(signed(header, CLAIMS)) == ErrorCode.TOKEN_INVALID


@pytest.mark.parametrize("text", ["", ".", "..", "a.b", "a.b.c", "a.b.c.d.e", "\x00", "é.é.é", " "])
def test_what_is_no_jwt_is_refused(text: str) -> None:
    with pytest.raises(AccessRefused) as caught:
        verify_token(text, key=KEY, now=NOW)
    assert caught.value.code == ErrorCode.TOKEN_INVALID


def test_the_size_is_bounded() -> None:
    filler = 4096 - len(token(x=""))
    longest = token(x="y" * (filler * 3 // 4 - 2))
    assert 4080 < len(longest) <= 4096
    assert verify_token(longest, key=KEY, now=NOW)
    assert refused(token(x="y" * filler)) == ErrorCode.TOKEN_INVALID


@given(st.integers(0, 10**6), st.integers(1, 255))
def test_no_changed_byte_passes(place: int, change: int) -> None:
    good = token().encode()
    place %= len(good)
    bad = good[:place] + bytes([good[place] ^ change]) + good[place + 1 :]
    with pytest.raises(AccessRefused):
        verify_token(bad.decode("latin-1"), key=KEY, now=NOW)


@given(st.text(max_size=200))
def test_no_text_does_worse_than_be_refused(text: str) -> None:
    with pytest.raises(AccessRefused):
        unverified(text)


def test_the_secret_is_not_shown() -> None:
    assert "secret" not in repr(KEY).replace("secret=", "")
    assert SECRET.decode() not in repr(KEY)


# -- registered keys ---------------------------------------------------------------------------------

PRIVATE = ed25519.Ed25519PrivateKey.from_private_bytes(b"7" * 32)
REGISTERED = registered_key(PRIVATE.public_key().public_bytes_raw())


def by_eddsa(header: Any = None, *, private: ed25519.Ed25519PrivateKey = PRIVATE, **changes: Any) -> str:
    head = {"alg": "EdDSA", "typ": "JWT", "kid": REGISTERED.kid} if header is None else header
    parts = [b64(json.dumps(part).encode()) for part in (head, CLAIMS | changes)]
    return ".".join([*parts, b64(private.sign(".".join(parts).encode()))])


def test_a_registered_key_lets_in_the_tokens_that_name_it() -> None:
    granted = verify_token(by_eddsa(), key=REGISTERED, now=NOW)
    assert (granted.user, granted.issued, granted.key) == ("anna", NOW, REGISTERED.kid)
    made_by_the_library = jwt.encode(CLAIMS, PRIVATE, algorithm="EdDSA", headers={"kid": REGISTERED.kid})
    assert verify_token(made_by_the_library, key=REGISTERED, now=NOW) == granted
    assert unverified(by_eddsa()) == (PortalId("growth"), REGISTERED.kid)


@pytest.mark.parametrize("claim", list(CLAIMS))
def test_every_claim_is_required_of_these_too(claim: str) -> None:
    header = {"alg": "EdDSA", "kid": REGISTERED.kid}
    parts = [b64(json.dumps(p).encode()) for p in (header, {k: v for k, v in CLAIMS.items() if k != claim})]
    text = ".".join([*parts, b64(PRIVATE.sign(".".join(parts).encode()))])
    assert refused(text, key=REGISTERED) == ErrorCode.TOKEN_INVALID


def test_a_registered_keys_token_expires_too() -> None:
    assert refused(by_eddsa(), key=REGISTERED, now=NOW + 630) == ErrorCode.TOKEN_EXPIRED


def test_another_keys_signature_is_refused() -> None:
    other = ed25519.Ed25519PrivateKey.from_private_bytes(b"8" * 32)
    assert refused(by_eddsa(private=other), key=REGISTERED) == ErrorCode.TOKEN_INVALID


@pytest.mark.parametrize(
    "kid",
    [
        None,
        "",
        "x",
        1,
        True,
        [],
        {},
        "A" * 42,
        "A" * 44,
        "A" * 43,
        "../" * 14 + "A",
        "secret",
        "growth",
        "ä" * 43,
        "' OR 1=1 --" + "A" * 32,
    ],
    ids=repr,
)
def test_the_kid_is_the_id_of_the_key_or_nothing(kid: Any) -> None:
    assert refused(by_eddsa({"alg": "EdDSA", "kid": kid}), key=REGISTERED) == ErrorCode.TOKEN_INVALID


def test_without_its_kid_a_registered_key_signs_nothing() -> None:
    assert refused(by_eddsa({"alg": "EdDSA"}), key=REGISTERED) == ErrorCode.TOKEN_INVALID
    assert refused(by_eddsa({"alg": "EdDSA"})) == ErrorCode.TOKEN_INVALID


@pytest.mark.parametrize(
    "alg",
    ["none", "HS256", "HS512", "ES256", "RS256", "eddsa", "EDDSA", "Ed25519", "", None, ["EdDSA"]],
    ids=repr,
)
def test_the_token_has_no_say_in_a_registered_keys_algorithm(alg: Any) -> None:
    assert refused(by_eddsa({"alg": alg, "kid": REGISTERED.kid}), key=REGISTERED) == ErrorCode.TOKEN_INVALID


def test_a_registered_key_is_no_hmac_secret() -> None:
    """The classic confusion: everybody knows the public key."""
    raw = PRIVATE.public_key().public_bytes_raw()
    pem = PRIVATE.public_key().public_bytes(Encoding.PEM, PublicFormat.SubjectPublicKeyInfo)
    for secret in (raw, pem, b64(raw).encode(), (REGISTERED.kid or "").encode()):
        for header in ({"alg": "HS256", "kid": REGISTERED.kid}, {"alg": "EdDSA", "kid": REGISTERED.kid}):
            assert refused(signed(header, CLAIMS, secret=secret), key=REGISTERED) == ErrorCode.TOKEN_INVALID
        assert (
            refused(signed({"alg": "HS256"}, CLAIMS, secret=secret), key=REGISTERED)
            == ErrorCode.TOKEN_INVALID
        )


def test_the_secret_takes_no_token_that_names_a_key() -> None:
    assert refused(signed({"alg": "HS256", "kid": REGISTERED.kid}, CLAIMS)) == ErrorCode.TOKEN_INVALID


@pytest.mark.parametrize(
    "extra",
    [{"crit": []}, {"crit": ["kid"]}, {"b64": True}, {"jwk": {}}, {"jku": "x"}, {"x5c": []}],
    ids=repr,
)
def test_header_tricks_are_refused_of_these_too(extra: dict[str, Any]) -> None:
    header = {"alg": "EdDSA", "kid": REGISTERED.kid} | extra
    assert refused(by_eddsa(header), key=REGISTERED) == ErrorCode.TOKEN_INVALID


@given(st.integers(0, 10**6), st.integers(1, 255))
def test_no_changed_byte_of_these_passes(place: int, change: int) -> None:
    good = by_eddsa().encode()
    place %= len(good)
    bad = good[:place] + bytes([good[place] ^ change]) + good[place + 1 :]
    with pytest.raises(AccessRefused):
        verify_token(bad.decode("latin-1"), key=REGISTERED, now=NOW)


def test_a_key_that_ends_takes_its_tokens_along() -> None:
    ending = token_key(b"s" * 32, until=NOW + 60)
    text = jwt.encode(CLAIMS, ending.secret, algorithm="HS256")
    assert verify_token(text, key=ending, now=NOW).expires == NOW + 60
    assert verify_token(text, key=token_key(b"s" * 32, until=NOW + 9999), now=NOW).expires == NOW + 600
