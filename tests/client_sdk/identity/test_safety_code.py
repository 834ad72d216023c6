"""The safety number as a QR code: the two say the same of both, or nobody is verified."""

from __future__ import annotations

import base64
from dataclasses import replace

import pytest
import segno
from hypothesis import given
from hypothesis import strategies as st

from client_sdk.content.packing import pack
from client_sdk.errors import SafetyCodeInvalid, SafetyNumberDiffers
from client_sdk.identity import Compared
from client_sdk.identity.safety import CODE_CHARS, CODE_START
from relay.wire.ids import UserId

from .people import PORTAL, Person

ANNA, BEN, EVE = Person("anna"), Person("ben"), Person("eve")


def as_seen_by(me: Person, other: Person) -> Compared:
    return Compared(PORTAL, me.user, me.manifest.identity_key, other.user, other.manifest.identity_key)


def test_each_scans_what_the_other_shows() -> None:
    as_seen_by(BEN, ANNA).check_scanned(as_seen_by(ANNA, BEN).code)
    as_seen_by(ANNA, BEN).check_scanned(f" {as_seen_by(BEN, ANNA).code}\n")


def test_a_key_that_differs_on_either_side_verifies_nobody() -> None:
    anna, ben = as_seen_by(ANNA, BEN), as_seen_by(BEN, ANNA)
    fake = EVE.manifest.identity_key
    for shown in (replace(ben, identity_key=fake), replace(ben, other_key=fake)):
        with pytest.raises(SafetyNumberDiffers, match="not the same"):
            anna.check_scanned(shown.code)


def test_a_code_of_others_is_not_taken_for_theirs() -> None:
    anna = as_seen_by(ANNA, BEN)
    for code in (anna.code, as_seen_by(EVE, ANNA).code, as_seen_by(BEN, EVE).code):
        with pytest.raises(SafetyCodeInvalid, match="two other people"):
            anna.check_scanned(code)


@given(st.text(max_size=80) | st.binary(max_size=200).map(lambda b: base64.urlsafe_b64encode(b).decode()))
def test_anything_else_is_refused_with_a_sentence(text: str) -> None:
    for code in (text, CODE_START + text):
        with pytest.raises(SafetyCodeInvalid):
            as_seen_by(ANNA, BEN).check_scanned(code)


def test_other_forms_are_refused() -> None:
    values = [1, PORTAL, BEN.user, b"short", ANNA.user, bytes(32)]
    for changed in (values, [2, *values[1:3], bytes(32), *values[4:]], values[:-1]):
        code = CODE_START + base64.urlsafe_b64encode(pack(changed)).decode().rstrip("=")
        with pytest.raises(SafetyCodeInvalid):
            as_seen_by(ANNA, BEN).check_scanned(code)


def test_the_longest_ids_fit_into_a_code_that_a_terminal_can_draw() -> None:
    longest = Compared(PORTAL, UserId("u" * 64), bytes(32), UserId("v" * 64), bytes(32))
    assert len(longest.code) <= CODE_CHARS
    drawn = segno.make(longest.code, error="m", micro=False)
    assert drawn.symbol_size(border=2)[0] <= 80
