"""Counters, cursor and receipts."""

from __future__ import annotations

from itertools import pairwise
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from client_sdk.delivery import (
    ClonedDevice,
    MessageCounters,
    Place,
    Receipts,
    Resume,
    StreamGap,
    StreamRolledBack,
    StreamSkipped,
    check_opened,
    place,
)
from client_sdk.delivery.counters import MOST_DEVICES
from client_sdk.delivery.receipts import INTERVAL_MS
from client_sdk.errors import RecordInvalid
from relay.wire.frames import Opened
from relay.wire.ids import DeviceId, EngagementId

PHONE, LAPTOP = DeviceId(b"phone".ljust(16)), DeviceId(b"laptop".ljust(16))


# Message counters


def test_every_device_counts_for_itself() -> None:
    counters = MessageCounters()
    for device, counter in [(PHONE, 1), (LAPTOP, 7), (PHONE, 2), (LAPTOP, 8)]:
        counters.check(device, counter)
        counters = counters.after(device, counter)


@pytest.mark.parametrize("counter", [1, 2, 4, 100])
def test_a_gap_or_a_repetition_is_an_alarm_once(counter: int) -> None:
    counters = MessageCounters().after(PHONE, 2)
    if counter == 2:
        counters = counters.after(PHONE, 5)
    with pytest.raises(StreamGap) as caught:
        counters.check(PHONE, counter)
    assert caught.value.evidence["got"] == counter
    assert caught.value.evidence["device"] == PHONE.hex()
    counters.after(PHONE, counter).check(PHONE, counter + 1)


def test_devices_are_bounded_and_the_ones_heard_last_are_kept() -> None:
    counters = MessageCounters()
    for number in range(MOST_DEVICES + 10):
        counters = counters.after(DeviceId(number.to_bytes(16, "big")), 1)
    assert len(counters.last) == MOST_DEVICES
    with pytest.raises(StreamGap):
        counters.check(DeviceId((MOST_DEVICES + 9).to_bytes(16, "big")), 3)


@given(st.dictionaries(st.binary(min_size=16, max_size=16).map(DeviceId), st.integers(1, 2**40), max_size=5))
def test_counters_are_stored(last: dict[DeviceId, int]) -> None:
    counters = MessageCounters()
    for device, counter in last.items():
        counters = counters.after(device, counter)
    assert MessageCounters.parse(counters.serialize()) == counters


def test_damaged_counters_are_refused() -> None:
    data = MessageCounters().after(PHONE, 2).serialize()
    for wrong in (b"", data[:-1], b"\x92\x02\x90", b"\x92\x01\x91\x91\x01", b"\x92\x01\x91\x92\x01\x01"):
        with pytest.raises(RecordInvalid):
            MessageCounters.parse(wrong)


# Cursor


def opened(**change: Any) -> Opened:
    fields: dict[str, Any] = {
        "request": 1,
        "stream": EngagementId("eng_AAAAAAAAAAAAAAAAAAAAAA"),
        "incarnation": b"i" * 16,
        "head": 20,
        "last_commit": 12,
        "first": 5,
        "cursor": 10,
        "last_counter": 3,
        "member": True,
    }
    return Opened(**{**fields, **change})


def check(frame: Opened, *, seq: int = 10, last_commit: int = 8) -> Resume:
    return check_opened(frame, seq=seq, last_commit=last_commit)


def test_a_stream_that_continues_is_read() -> None:
    assert check(opened()) is Resume.READ
    assert check(opened(cursor=9)) is Resume.READ
    assert check(opened(first=11)) is Resume.READ
    assert check(opened(head=10, last_commit=8, first=11)) is Resume.READ


def test_a_device_that_is_no_member_waits() -> None:
    assert check(opened(member=False, cursor=0)) is Resume.WAIT
    assert check(opened(member=False), seq=0, last_commit=0) is Resume.WAIT


def test_a_device_that_was_just_added_reads() -> None:
    assert check(opened(cursor=11), seq=0, last_commit=0) is Resume.READ


def test_a_device_that_was_away_too_long_rejoins() -> None:
    assert check(opened(first=12)) is Resume.REJOIN


@pytest.mark.parametrize("change", [{"head": 9}, {"last_commit": 7}, {"head": 9, "member": False}])
def test_a_stream_that_is_shorter_than_before_is_an_alarm(change: dict[str, Any]) -> None:
    with pytest.raises(StreamRolledBack):
        check(opened(**change))


def test_who_has_nothing_stored_reads() -> None:
    assert check(opened(), seq=0, last_commit=0) is Resume.READ


def test_a_vault_that_is_an_old_copy_is_an_alarm() -> None:
    for gone in ({"cursor": 20}, {"cursor": 12, "first": 14}, {"cursor": 10, "first": 21, "head": 20}):
        with pytest.raises(ClonedDevice):
            check(opened(**gone), seq=9)


def test_who_may_have_been_added_again_looks_at_what_is_there() -> None:
    assert check(opened(cursor=11)) is Resume.ANEW
    assert check(opened(cursor=11, first=12)) is Resume.ANEW
    assert check(opened(cursor=11, first=21)) is Resume.ANEW, "the newest commit is kept"
    assert check(opened(cursor=11, member=False)) is Resume.WAIT


def test_places() -> None:
    assert place(11, seq=10) is Place.NEXT
    assert place(10, seq=10) is Place.KNOWN
    assert place(1, seq=10) is Place.KNOWN
    with pytest.raises(StreamSkipped):
        place(12, seq=10)


# Receipts


def test_nothing_is_owed_at_first() -> None:
    assert Receipts().due_ms(now_ms=0) is None


def test_a_receipt_is_due_at_once_and_then_not_for_five_seconds() -> None:
    receipts = Receipts().received(is_receipt=False)
    assert receipts.due_ms(now_ms=1000) == 1000
    receipts = receipts.receipt_sent(now_ms=1000)
    assert receipts.due_ms(now_ms=1000) is None
    receipts = receipts.received(is_receipt=False)
    assert receipts.due_ms(now_ms=2000) == 6000
    assert receipts.due_ms(now_ms=9000) == 9000


def test_a_receipt_is_never_answered() -> None:
    assert Receipts().received(is_receipt=True).due_ms(now_ms=0) is None


def test_a_message_of_ours_is_a_receipt_too() -> None:
    assert Receipts().received(is_receipt=False).sent().due_ms(now_ms=0) is None


def test_a_clock_set_back_does_not_silence() -> None:
    receipts = Receipts().receipt_sent(now_ms=10**12).received(is_receipt=False)
    assert receipts.due_ms(now_ms=5) == 5


@given(st.lists(st.tuples(st.booleans(), st.integers(0, 3000)), max_size=60))
def test_two_receipts_are_never_closer_than_five_seconds(arrivals: list[tuple[bool, int]]) -> None:
    receipts, now, sent = Receipts(), 0, []
    for is_receipt, pause in arrivals:
        due = receipts.due_ms(now_ms=now)
        if due is not None and due <= now + pause:
            sent.append(due)
            receipts = receipts.receipt_sent(now_ms=due)
        now += pause
        receipts = receipts.received(is_receipt=is_receipt)
    assert all(later - earlier >= INTERVAL_MS for earlier, later in pairwise(sent))
    assert len(sent) <= sum(1 for is_receipt, _ in arrivals if not is_receipt)
