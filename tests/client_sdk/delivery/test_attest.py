"""Two honest members always agree; a relay that drops, reorders, alters, forks or rolls back is found."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass, replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from client_sdk.content import Attest
from client_sdk.delivery import AttestLog, StreamForked, StreamSkipped
from client_sdk.delivery.attest import CLOSINGS, RECENT
from client_sdk.errors import RecordInvalid
from relay.wire.frames import EntryKind

MESSAGE, COMMIT = EntryKind.MESSAGE, EntryKind.COMMIT


def sha(text: str) -> bytes:
    return hashlib.sha256(text.encode()).digest()


def begun() -> AttestLog:
    return AttestLog.begin(
        seq=1, after_commit=0, body_hash=sha("group"), epoch=1, epoch_authenticator=sha("epoch 1")
    )


@dataclass(frozen=True)
class Event:
    kind: EntryKind
    void: bool
    body: str


def step(log: AttestLog, event: Event) -> AttestLog:
    fields = {"seq": log.seq + 1, "after_commit": log.last_commit, "body_hash": sha(event.body)}
    if event.kind is MESSAGE or event.void:
        return log.after_entry(kind=event.kind, **fields)  # type: ignore[arg-type]  # one dict for both
    epoch = log.epoch + 1
    return log.after_commit(epoch=epoch, epoch_authenticator=sha(f"epoch {epoch}"), **fields)  # type: ignore[arg-type]  # likewise


bodies = st.text("abc", max_size=2)
messages = st.builds(Event, st.just(MESSAGE), st.just(False), bodies)
commits = st.builds(Event, st.just(COMMIT), st.booleans(), bodies)
events = st.lists(messages | messages | commits, max_size=40)


def run(log: AttestLog, stream: list[Event]) -> AttestLog:
    for event in stream:
        log = step(log, event)
    return log


@given(events, events)
def test_what_an_honest_member_attests_always_agrees(before: list[Event], behind: list[Event]) -> None:
    sender = run(begun(), before)
    receiver = run(sender, [e for e in behind if e.kind is MESSAGE])
    receiver.check(sender.attest, sender.closings_since(1), entry_seq=receiver.seq + 1)


@given(events, events)
def test_members_of_different_streams_are_found_by_the_first_message(
    one: list[Event], other: list[Event]
) -> None:
    first, second = run(begun(), one), run(begun(), other)
    if (first.epoch, first.seq, first.last_commit) != (second.epoch, second.seq, second.last_commit):
        return
    if one[first.last_commit - 1 :] != other[first.last_commit - 1 :]:
        with pytest.raises(StreamForked):
            second.check(first.attest, (), entry_seq=second.seq + 1)


@given(events)
def test_the_stored_log_is_the_same(stream: list[Event]) -> None:
    log = run(begun(), stream)
    assert AttestLog.parse(log.serialize()) == log


def conversation() -> AttestLog:
    stream = [
        Event(MESSAGE, False, "a"),
        Event(MESSAGE, False, "b"),
        Event(COMMIT, False, "c"),
        Event(MESSAGE, False, "d"),
        Event(MESSAGE, False, "e"),
    ]
    return run(begun(), stream)


def test_where_a_conversation_stands() -> None:
    log = conversation()
    assert (log.epoch, log.seq, log.last_commit) == (2, 6, 4)
    assert [(c.epoch, c.seq) for c in log.closings] == [(1, 3)]
    assert [log.hash_at(seq) is not None for seq in range(1, 8)] == [False] * 3 + [True] * 3 + [False]


@pytest.mark.parametrize(
    ("stream", "what"),
    [
        (["a", "c", "COMMIT", "d", "e"], "altered before the commit"),
        (["b", "a", "COMMIT", "d", "e"], "reordered before the commit"),
    ],
)
def test_a_difference_before_a_commit_is_found_by_the_closing_value(stream: list[str], what: str) -> None:
    honest = conversation()
    lied_to = begun()
    for body in stream:
        lied_to = step(
            lied_to, Event(COMMIT, False, "c") if body == "COMMIT" else Event(MESSAGE, False, body)
        )
    lied_to.check(honest.attest, (), entry_seq=7)  # the new epoch alone looks the same
    with pytest.raises(StreamForked) as caught:
        lied_to.check(honest.attest, honest.closings, entry_seq=7)
    assert caught.value.evidence["attested_epoch"] == 1, what


def test_a_dropped_entry_is_found() -> None:
    shorter = run(
        begun(), [Event(MESSAGE, False, "a"), Event(MESSAGE, False, "b"), Event(COMMIT, False, "c")]
    )
    with pytest.raises(StreamForked):
        shorter.check(conversation().attest, (), entry_seq=5)


@pytest.mark.parametrize("body_kind", [MESSAGE, COMMIT])
def test_every_field_of_an_entry_counts(body_kind: EntryKind) -> None:
    log = begun()
    one = log.after_entry(seq=2, kind=MESSAGE, after_commit=1, body_hash=sha("x"))
    other = log.after_entry(seq=2, kind=body_kind, after_commit=1, body_hash=sha("x"))
    assert (one.attest == other.attest) == (body_kind is MESSAGE)


def test_what_cannot_be_is_an_alarm() -> None:
    log = conversation()
    good = log.attest
    impossible = [
        replace(good, epoch=1),
        replace(good, epoch=3),
        replace(good, seq=7),  # the message's own position
        replace(good, seq=3),  # before the commit that the sender must have processed
        replace(good, hash=bytes(32)),
        Attest(2, 5, good.hash),
    ]
    for attest in impossible:
        with pytest.raises(StreamForked):
            log.check(attest, (), entry_seq=7)
    for closing in (Attest(2, 6, good.hash), Attest(9, 6, good.hash), Attest(1, 2, log.closings[0].hash)):
        with pytest.raises(StreamForked):
            log.check(good, (closing,), entry_seq=7)


def test_what_this_device_did_not_see_is_not_compared() -> None:
    log = AttestLog.begin(
        seq=50, after_commit=40, body_hash=sha("added"), epoch=7, epoch_authenticator=sha("epoch 7")
    )
    log.check(log.attest, (Attest(5, 30, bytes(32)), Attest(6, 49, bytes(32))), entry_seq=51)


def test_entries_come_one_by_one_under_the_newest_commit() -> None:
    log = conversation()
    for seq in (6, 8):
        with pytest.raises(StreamSkipped):
            log.after_entry(seq=seq, kind=MESSAGE, after_commit=4, body_hash=sha("x"))
    for commit in (0, 3, 5):
        with pytest.raises(StreamForked):
            log.after_entry(seq=7, kind=MESSAGE, after_commit=commit, body_hash=sha("x"))
    with pytest.raises(StreamSkipped):
        log.after_commit(
            seq=8, after_commit=4, body_hash=sha("x"), epoch=3, epoch_authenticator=sha("epoch 3")
        )


def test_memory_is_bounded() -> None:
    log = begun()
    for number in range(RECENT + 50):
        log = step(log, Event(MESSAGE, False, str(number)))
    assert len(log.recent) == RECENT
    oldest = log.seq - RECENT + 1
    assert (log.hash_at(oldest), log.hash_at(oldest - 1)) == (log.recent[0], None)
    log.check(Attest(1, oldest - 1, bytes(32)), (), entry_seq=log.seq + 1)  # too old to compare
    for number in range(CLOSINGS + 20):
        log = step(log, Event(COMMIT, False, str(number)))
    assert len(log.closings) == CLOSINGS
    assert len(log.closings_since(0)) == 8
    assert log.closings_since(log.epoch - 2) == log.closings[-2:]


def test_a_damaged_record_is_refused() -> None:
    data = conversation().serialize()
    for wrong in (b"", data[:-1], b"\x96\x02" + data[2:], data.replace(b"\xc4", b"\xc5", 1)):
        with pytest.raises(RecordInvalid):
            AttestLog.parse(wrong)
