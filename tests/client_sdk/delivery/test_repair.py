"""How far a stream is the one that was read, what is remembered of it, how often it may change."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass, replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from client_sdk.delivery import (
    AttestLog,
    ClonedDevice,
    Comparison,
    ItemState,
    Outbox,
    Passed,
    StreamReplaced,
    StreamRolledBack,
    after_incarnation,
    log_at,
)
from client_sdk.delivery.repair import MOST_HISTORIES, MOST_LOSSES, MOST_REMEMBERED, UNKNOWN
from client_sdk.errors import RecordInvalid
from relay.wire.frames import Entry, EntryKind

DAY = 86_400


@dataclass(frozen=True, slots=True)
class Said:
    """One entry of a stream in these tests: what it says, and whether it is ours."""

    text: bytes
    own: bool = False
    commits: bool = False


def read(stream: list[Said]) -> tuple[list[Passed], list[AttestLog]]:
    """What a device remembers that read all of this, and its log behind each entry."""
    rows: list[Passed] = []
    logs: list[AttestLog] = []
    counter = 0
    for seq, said in enumerate(stream, 1):
        digest = hashlib.sha256(said.text).digest()
        last = logs[-1].last_commit if logs else 0
        counter += said.own
        if not logs:
            log = AttestLog.begin(
                seq=1, after_commit=0, body_hash=digest, epoch=1, epoch_authenticator=bytes(32)
            )
        elif said.commits:
            log = logs[-1].after_commit(
                seq=seq,
                after_commit=last,
                body_hash=digest,
                epoch=logs[-1].epoch + 1,
                epoch_authenticator=bytes([seq % 256]) * 32,
            )
        else:
            log = logs[-1].after_entry(seq=seq, kind=EntryKind.MESSAGE, after_commit=last, body_hash=digest)
        kind = EntryKind.COMMIT if said.commits or seq == 1 else EntryKind.MESSAGE
        own = counter if said.own else 0
        rows.append(Passed(seq, int(kind), last, digest, log.recent[-1], log.epoch, own))
        logs.append(log)
    return rows, logs


def delivered(rows: list[Passed], stream: list[Said]) -> list[tuple[Entry, bytes | None]]:
    """The same as the relay delivers it."""
    found: list[tuple[Entry, bytes | None]] = []
    for row, said in zip(rows, stream, strict=True):
        entry = Entry(
            row.seq,
            EntryKind(row.kind),
            row.after_commit,
            0,
            row.counter,
            None if said.own else said.text,
        )
        found.append((entry, None if said.own else row.body_hash))
    return found


entries = st.builds(Said, st.sampled_from([b"a", b"b", b"c"]), st.booleans(), st.booleans())
streams = st.lists(entries, min_size=1, max_size=30)


@given(streams, st.integers(0, 30), streams, st.integers(1, 40), st.data())
def test_the_common_beginning_is_found(
    mine: list[Said], kept: int, new: list[Said], first: int, data: st.DataObject
) -> None:
    """Whatever the relay kept, erased and took since: agreed is up to where it differs, of what is looked at.

    What differs only before that is not found here, but by the next attested stream hash.
    """
    theirs = mine[: min(kept, len(mine))] + new
    rows, _ = read(mine)
    other_rows, _ = read(theirs)
    upto = min(len(mine), len(theirs))
    since = data.draw(st.integers(1, upto))
    known = {row.seq: row for row in rows[since - 1 : upto]}
    comparison = Comparison(known, upto=upto, first=first, entered=1)
    held = [(entry, digest) for entry, digest in delivered(other_rows, theirs) if entry.seq >= first]
    for entry, digest in held:
        comparison.feed(entry, digest)
    looked_at = max(since, first)
    differs = [seq for seq in range(looked_at, upto + 1) if not is_same(rows[seq - 1], other_rows[seq - 1])]
    assert comparison.agreed is not None
    if looked_at > upto:
        assert comparison.agreed == upto, "all of it is erased"
    elif not differs:
        assert comparison.agreed == upto
    elif differs[0] == since > 1:
        assert comparison.agreed == -1, "it differs further back than was looked"
    else:
        assert comparison.agreed == differs[0] - 1
    assert comparison.agreed <= upto


def is_same(mine: Passed, other: Passed) -> bool:
    theirs = (other.kind, other.after_commit, other.counter)
    alike = (mine.kind, mine.after_commit, mine.counter) == theirs
    return alike and (mine.own or mine.body_hash == other.body_hash)


def test_the_newest_commit_that_stands_alone_counts_too() -> None:
    stream = [Said(b"a"), Said(b"b"), Said(b"c")]
    rows, _ = read(stream)
    known = {row.seq: row for row in rows}
    comparison = Comparison(known, upto=3, first=3, entered=1)
    comparison.feed(Entry(1, EntryKind.COMMIT, 0, 0, 0, b"other"), hashlib.sha256(b"other").digest())
    assert comparison.agreed == -1


def test_our_own_entry_is_known_by_its_counter() -> None:
    rows, _ = read([Said(b"a"), Said(b"mine", own=True)])
    own = Entry(2, EntryKind.MESSAGE, 1, 0, 1, None)
    assert rows[1].is_same(own, None)
    assert not rows[1].is_same(own._replace(counter=2), None)
    assert not rows[1].is_same(own._replace(counter=0, body=b"mine"), rows[1].body_hash), (
        "said to be another's"
    )
    assert not rows[0].is_same(Entry(1, EntryKind.COMMIT, 0, 0, 1, None), None)


@given(streams, st.integers(1, 30))
def test_the_log_of_any_earlier_moment_is_known(stream: list[Said], upto: int) -> None:
    rows, logs = read(stream)
    at = min(upto, len(stream))
    found = log_at(rows[:at], logs[-1].closings)
    assert found == logs[at - 1]


def test_a_log_that_is_not_known_is_none() -> None:
    rows, _ = read([Said(b"a"), Said(b"b")])
    assert log_at([], ()) is None
    assert log_at([rows[0], replace(rows[1], stream_hash=UNKNOWN)], ()) is None
    begun = log_at([replace(rows[0], stream_hash=UNKNOWN), rows[1]], ())
    assert begun is not None
    assert begun.recent == (rows[1].stream_hash,)


def test_what_is_remembered_is_stored() -> None:
    rows, _ = read([Said(b"a"), Said(b"b", own=True)])
    row = replace(rows[1], id=b"i" * 16, device=b"d" * 16, message_counter=7, attest_seq=1, attest_epoch=1)
    assert Passed.parse(row.serialize()) == row
    assert row.attest is None
    assert replace(row, attest_hash=b"h" * 32).attest is not None
    for damaged in (b"", b"\xc0", row.serialize()[:-1], replace(row, stream_hash=b"").serialize()):
        with pytest.raises(RecordInvalid):
            Passed.parse(damaged)


# Incarnations


def histories(count: int, *, lost: bool, at: int = 1000) -> tuple[tuple[bytes, int, bool], ...]:
    known: tuple[tuple[bytes, int, bool], ...] = ()
    for number in range(count):
        known = after_incarnation(known, b"%d" % number, b"%d" % (number + 1), at=at, lost=lost)
    return known


def test_so_many_losses_in_a_day_are_bad_luck() -> None:
    known = histories(MOST_LOSSES, lost=True)
    with pytest.raises(StreamReplaced):
        after_incarnation(known, b"x", b"y", at=2000, lost=True)
    assert len(after_incarnation(known, b"x", b"y", at=2000, lost=False)) == MOST_LOSSES + 1
    later = after_incarnation(known, b"x", b"y", at=2000 + DAY, lost=True)
    assert later[-1] == (b"x", 2000 + DAY, True)


def test_so_many_changes_without_a_loss_are_more_than_failovers() -> None:
    known = histories(MOST_HISTORIES, lost=False)
    with pytest.raises(StreamReplaced):
        after_incarnation(known, b"x", b"y", at=2000, lost=False)


def test_a_clock_that_was_set_back_forgives_nothing() -> None:
    known = histories(MOST_LOSSES, lost=True, at=10 * DAY)
    with pytest.raises(StreamReplaced):
        after_incarnation(known, b"x", b"y", at=10 * DAY - 100, lost=True)


def test_an_earlier_one_never_comes_again() -> None:
    known = after_incarnation((), b"first", b"second", at=0, lost=False)
    with pytest.raises(StreamReplaced):
        after_incarnation(known, b"second", b"first", at=100 * DAY, lost=False)


def test_not_all_are_remembered_for_ever() -> None:
    known: tuple[tuple[bytes, int, bool], ...] = ()
    for number in range(2 * MOST_REMEMBERED):
        now = b"%d" % (number + 1)
        known = after_incarnation(known, b"%d" % number, now, at=number * DAY, lost=False)
    assert len(known) == MOST_REMEMBERED


# The outbox


def sent(count: int) -> Outbox:
    """So many messages that were handed to the connection."""
    box = Outbox()
    for number in range(count):
        box = box.enqueue(b"%d" % number)
        box = box.encrypted(b"%d" % number, after_commit=1, body_hash=bytes(32))
    return box.sent()


def test_what_was_acknowledged_and_lost_goes_again() -> None:
    box = sent(4)
    for counter in (1, 2, 3):
        box = box.appended(counter, 10 + counter)
    assert (box.last_counter, box.last_seen_counter) == (3, 0)
    back = box.disconnected().set_back(1)
    assert [item.state for item in back.items] == [ItemState.ACKNOWLEDGED, *[ItemState.ENCRYPTED] * 3]
    assert [item.counter for item in back.to_send] == [2, 3, 4]
    assert back.last_counter == 1
    assert back.next_message_counter == box.next_message_counter


def test_what_came_back_in_the_stream_cannot_be_missing() -> None:
    box = sent(2).appended(1, 11)
    box, _ = box.own_entry(seq=11, kind=EntryKind.MESSAGE, after_commit=1, counter=1)
    with pytest.raises(StreamRolledBack):
        box.set_back(0)
    with pytest.raises(ClonedDevice):
        box.set_back(3)


@given(st.integers(0, 6), st.integers(0, 6))
def test_what_was_lost_stands_before_what_waits_and_keeps_its_numbers(lost: int, waits: int) -> None:
    box = Outbox(last_counter=20, highest_counter=25, last_message_counter=9)
    for number in range(waits):
        box = box.enqueue(b"w%d" % number)
    ids = [b"l%d" % number for number in range(lost)]
    back = box.repairing(ids, 12, 9 - lost)
    assert [item.id for item in back.items] == [*ids, *(b"w%d" % number for number in range(waits))]
    numbers = []
    while (item := back.next_to_encrypt) is not None:
        numbers.append(back.next_message_counter)
        back = back.encrypted(item.id, after_commit=1, body_hash=bytes(32))
    assert numbers == list(range(10 - lost, 10 + waits))
    assert [item.counter for item in back.items] == list(range(13, 13 + lost + waits))
    assert back.highest_counter == 25, "a copy of this device is still told by a higher one"


def test_a_commit_is_offered_before_everything() -> None:
    box = Outbox(last_counter=3).enqueue(b"message").offer_commit(b"c", after_commit=7, body_hash=b"h" * 32)
    first, second = box.items
    assert (first.kind, first.counter, first.after_commit) == (EntryKind.COMMIT, 4, 7)
    assert box.next_to_encrypt is None, "nothing is said before it is settled"
    assert second.id == b"message"
