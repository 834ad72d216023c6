"""The stream hash is the documented one, and any change to any field of any entry changes it."""

from __future__ import annotations

import hashlib
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from client_sdk.delivery import after_commit, after_entry, entry_hash
from client_sdk.errors import UsageError


def sha(data: bytes) -> bytes:
    return hashlib.sha256(data).digest()


BODY = sha(b"body")
ENTRY = sha(b"coach-relay/1 entry\0" + bytes([0] * 7 + [7] + [0] * 7 + [1] + [0] * 7 + [6]) + BODY)


def test_the_formulas_of_the_protocol() -> None:
    assert entry_hash(seq=7, kind=1, after_commit=6, body_hash=BODY) == ENTRY
    authenticator = bytes(range(32))
    assert after_commit(epoch_authenticator=authenticator, entry=ENTRY) == sha(
        b"coach-relay/1 commit\0" + authenticator + ENTRY
    )
    longer = bytes(range(64))
    assert after_commit(epoch_authenticator=longer, entry=ENTRY) == sha(
        b"coach-relay/1 commit\0" + longer + ENTRY
    )
    assert after_entry(previous=BODY, entry=ENTRY) == sha(b"coach-relay/1 stream\0" + BODY + ENTRY)


entries = st.fixed_dictionaries(
    {
        "seq": st.integers(0, 2**63),
        "kind": st.integers(0, 1),
        "after_commit": st.integers(0, 2**63),
        "body_hash": st.binary(max_size=4).map(sha),
    }
)


@given(entries, entries)
def test_different_entries_have_different_hashes(one: dict[str, Any], other: dict[str, Any]) -> None:
    assert (entry_hash(**one) == entry_hash(**other)) == (one == other)


def test_order_matters() -> None:
    a, b = sha(b"a"), sha(b"b")
    ab = after_entry(previous=after_entry(previous=BODY, entry=a), entry=b)
    ba = after_entry(previous=after_entry(previous=BODY, entry=b), entry=a)
    assert ab != ba


def test_wrong_lengths_and_numbers_are_refused() -> None:
    for length in (0, 31, 33, 63, 65):
        with pytest.raises(UsageError):
            after_entry(previous=bytes(length), entry=BODY)
        with pytest.raises(UsageError):
            after_entry(previous=BODY, entry=bytes(length))
        with pytest.raises(UsageError):
            after_commit(epoch_authenticator=bytes(length), entry=BODY)
        with pytest.raises(UsageError):
            entry_hash(seq=1, kind=0, after_commit=0, body_hash=bytes(length))
    for number in (-1, 2**64):
        with pytest.raises(UsageError):
            entry_hash(seq=number, kind=0, after_commit=0, body_hash=BODY)
