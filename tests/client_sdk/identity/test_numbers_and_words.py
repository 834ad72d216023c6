"""Safety numbers and call words: as documented, and different as soon as anything differs."""

from __future__ import annotations

import hashlib
import hmac
from dataclasses import fields, replace

import msgpack
import pytest
from mnemonic import Mnemonic

from client_sdk.errors import CallRevealFailed, UsageError
from client_sdk.identity import (
    CallBinding,
    call_commit,
    call_words,
    check_reveal,
    safety_number,
    shown_together,
)
from relay.wire.ids import PortalId, UserId

KEY = bytes(range(32))


def by_the_book(portal: str, user: str, key: bytes) -> str:
    digest = b"coach-relay/1 safety number\0" + msgpack.packb([portal, user, key])
    for _ in range(5200):
        digest = hashlib.sha512(digest + key).digest()
    return "".join(f"{int.from_bytes(digest[i : i + 5], 'big') % 100000:05d}" for i in range(0, 30, 5))


def test_the_safety_number_is_the_documented_one() -> None:
    number = safety_number(PortalId("harbor"), UserId("anna"), KEY)
    assert number == by_the_book("harbor", "anna", KEY)
    assert len(number) == 30
    assert number.isdecimal()


def test_the_safety_number_depends_on_everything() -> None:
    numbers = {
        safety_number(PortalId(portal), UserId(user), key)
        for portal, user, key in [
            ("harbor", "anna", KEY),
            ("harbour", "anna", KEY),
            ("harbor", "ben", KEY),
            ("harbor", "anna", KEY[::-1]),
        ]
    }
    assert len(numbers) == 4
    with pytest.raises(UsageError):
        safety_number(PortalId("harbor"), UserId("anna"), KEY[:-1])


def test_both_people_see_the_same() -> None:
    one, other = "1" * 30, "0" * 30
    shown = shown_together(one, other)
    assert shown == shown_together(other, one)
    assert shown == " ".join(["00000"] * 6 + ["11111"] * 6)


BINDING = CallBinding(
    caller_identity=b"a" * 32,
    callee_identity=b"b" * 32,
    group_id=b"g" * 32,
    call=b"c" * 16,
    epoch_authenticator=b"e" * 32,
    caller_fingerprint=b"f" * 32,
    callee_fingerprint=b"h" * 32,
)
A, B = b"A" * 32, b"B" * 32


def test_the_words_are_the_documented_ones() -> None:
    info = msgpack.packb([b"a" * 32, b"b" * 32, b"g" * 32, b"c" * 16, b"e" * 32, b"f" * 32, b"h" * 32])
    extracted = hmac.digest(b"coach-relay/1 call words\0", A + B, "sha256")
    bits = "".join(f"{byte:08b}" for byte in hmac.digest(extracted, info + b"\1", "sha256")[:7])
    english = Mnemonic("english").wordlist
    expected = tuple(english[int(bits[i : i + 11], 2)] for i in range(0, 55, 11))
    assert call_words(BINDING, caller_nonce=A, callee_nonce=B) == expected
    assert len(set(english)) == 2048


def test_the_words_depend_on_everything() -> None:
    words = {call_words(BINDING, caller_nonce=A, callee_nonce=B)}
    for field in fields(BINDING):
        value: bytes = getattr(BINDING, field.name)
        other = replace(BINDING, **{field.name: value[:-1] + b"!"})
        words.add(call_words(other, caller_nonce=A, callee_nonce=B))
    words.add(call_words(BINDING, caller_nonce=B, callee_nonce=A))
    words.add(call_words(BINDING, caller_nonce=A, callee_nonce=A))
    assert len(words) == len(fields(BINDING)) + 3


def test_nonces_and_fingerprints_have_their_length() -> None:
    for wrong in (b"", A[:-1], A + b"x"):
        with pytest.raises(UsageError):
            call_words(BINDING, caller_nonce=wrong, callee_nonce=B)
        with pytest.raises(UsageError):
            call_words(BINDING, caller_nonce=A, callee_nonce=wrong)
        with pytest.raises(UsageError):
            call_words(replace(BINDING, caller_fingerprint=wrong), caller_nonce=A, callee_nonce=B)
        with pytest.raises(UsageError):
            call_words(replace(BINDING, callee_fingerprint=wrong), caller_nonce=A, callee_nonce=B)


def test_a_reveal_must_open_the_commitment() -> None:
    commit = call_commit(A)
    assert commit == hashlib.sha256(b"coach-relay/1 call commit\0" + A).digest()
    check_reveal(commit, A)
    for nonce, against in (
        (B, commit),
        (A[:-1], commit),
        (A + b"x", commit),
        (b"", commit),
        (A, commit[:-1]),
        (A, b""),
    ):
        with pytest.raises(CallRevealFailed):
            check_reveal(against, nonce)
