"""What is revoked, for how long that is remembered, and where the bounds are."""

from __future__ import annotations

import pytest

from relay.core.access import AccessToken
from relay.core.blob_access import BlobGrant
from relay.core.revocations import (
    FORGET_SECONDS,
    MAX_REVOKED_DEVICES,
    MAX_REVOKED_TOKENS,
    NOTHING_REVOKED,
    Revocations,
    revoke_device,
    revoke_token,
    revoke_tokens,
)
from relay.errors import AccessRefused, InvalidRequest, StoreCorrupt
from relay.wire.ids import DeviceId, EngagementId, PortalId, UserId
from relay.wire.limits import BLOB_TOKEN_SECONDS

NOW = 1_800_000_000
PORTAL, ANNA = PortalId("growth"), UserId("anna")
DEVICE, OTHER = DeviceId(b"d" * 16), DeviceId(b"o" * 16)


def token(issued: int, jti: str = "t") -> AccessToken:
    return AccessToken(PORTAL, ANNA, issued + 600, jti, issued)


def grant(made: int, device: DeviceId = DEVICE) -> BlobGrant:
    return BlobGrant(PORTAL, EngagementId("eng_x"), device, made + BLOB_TOKEN_SECONDS)


def code(revoked: Revocations, shown: AccessToken | BlobGrant, device: DeviceId = DEVICE) -> str:
    try:
        if isinstance(shown, AccessToken):
            revoked.check_token(shown, device)
        else:
            revoked.check_grant(shown)
    except AccessRefused as error:
        return str(error.code)
    return "let in"


def test_all_tokens_that_exist_are_revoked_and_later_ones_are_not() -> None:
    revoked = revoke_tokens(NOTHING_REVOKED, issued_before=None, now=NOW)
    assert [code(revoked, token(at)) for at in (NOW - 1, NOW, NOW + 1)] == ["token_revoked"] * 2 + ["let in"]
    assert [code(revoked, grant(at)) for at in (NOW - 1, NOW, NOW + 1)] == ["token_revoked"] * 2 + ["let in"]


def test_the_portal_may_name_its_own_time_within_the_leeway() -> None:
    revoked = revoke_tokens(NOTHING_REVOKED, issued_before=NOW + 31, now=NOW)
    assert [code(revoked, token(at)) for at in (NOW + 30, NOW + 31)] == ["token_revoked", "let in"]
    for wrong in (NOW + 32, -1):
        with pytest.raises(InvalidRequest):
            revoke_tokens(NOTHING_REVOKED, issued_before=wrong, now=NOW)


def test_an_earlier_time_does_not_bring_tokens_back() -> None:
    revoked = revoke_tokens(NOTHING_REVOKED, issued_before=None, now=NOW)
    again = revoke_tokens(revoked, issued_before=NOW - 500, now=NOW + 1)
    assert code(again, token(NOW)) == "token_revoked"


def test_one_token_is_revoked_and_no_other() -> None:
    revoked = revoke_token(NOTHING_REVOKED, "stolen", NOW)
    assert code(revoked, token(NOW, "stolen")) == "token_revoked"
    assert code(revoked, token(NOW, "stole")) == "let in"
    assert code(revoked, grant(NOW)) == "token_revoked", "a blob token does not say where it came from"


def test_too_many_single_ones_revoke_them_all() -> None:
    revoked = NOTHING_REVOKED
    for number in range(MAX_REVOKED_TOKENS):
        revoked = revoke_token(revoked, f"t{number}", NOW)
    assert code(revoked, token(NOW, "innocent")) == "let in"
    assert revoke_token(revoked, "t3", NOW) == Revocations.parse(revoke_token(revoked, "t3", NOW).serialize())
    assert len(revoke_token(revoked, "t3", NOW).tokens) == MAX_REVOKED_TOKENS
    revoked = revoke_token(revoked, "one more", NOW)
    assert code(revoked, token(NOW, "innocent")) == "token_revoked"


@pytest.mark.parametrize("jti", ["", "x" * 129])
def test_a_jti_has_its_form(jti: str) -> None:
    with pytest.raises(InvalidRequest):
        revoke_token(NOTHING_REVOKED, jti, NOW)


def test_a_device_is_revoked_for_good() -> None:
    revoked = revoke_device(NOTHING_REVOKED, DEVICE, NOW)
    later = revoked.without_past(NOW + 10**9)
    assert code(later, token(NOW + 10**9)) == code(later, grant(NOW + 10**9)) == "device_revoked"
    assert code(later, token(NOW), OTHER) == code(later, grant(NOW, OTHER)) == "let in"
    assert revoke_device(revoked, DEVICE, NOW) == revoked


def test_when_no_more_devices_can_be_remembered_it_says_so() -> None:
    full = Revocations(devices=tuple(DeviceId(n.to_bytes(16, "big")) for n in range(MAX_REVOKED_DEVICES)))
    assert Revocations.parse(full.serialize()) == full
    with pytest.raises(InvalidRequest, match="no tokens"):
        revoke_device(full, DEVICE, NOW)


def test_what_no_longer_matters_is_forgotten_and_not_before() -> None:
    revoked = revoke_token(revoke_tokens(NOTHING_REVOKED, issued_before=None, now=NOW), "t", NOW)
    assert revoked.without_past(NOW + FORGET_SECONDS - 1) == revoked
    assert revoked.without_past(NOW + FORGET_SECONDS + 1) == NOTHING_REVOKED


@pytest.mark.parametrize("damaged", [b"", b"\x00", b"\x95\x01\x00\x00\x90\x91\x00"])
def test_a_damaged_record_fails_closed(damaged: bytes) -> None:
    with pytest.raises(StoreCorrupt):
        Revocations.parse(damaged)
