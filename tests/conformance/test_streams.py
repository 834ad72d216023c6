"""What every StreamStore does: the append rules one by one, order, atomicity of a batch, what is given
back."""

from __future__ import annotations

import asyncio

import pytest

from relay.core.operations import Outcome, StoredEntry
from relay.core.streams import incarnation_in
from relay.errors import StoreUnavailable
from relay.store import StreamStore
from relay.wire.errors import ErrorCode
from relay.wire.frames import EntryKind
from relay.wire.ids import DeviceId
from relay.wire.limits import MAX_MEMBER_DEVICES
from tests.conformance.support import (
    ANNA,
    BEN,
    CARA,
    INCARNATION,
    NOW,
    OTHER,
    STREAM,
    ack,
    bundle,
    commit,
    create,
    end,
    group_of_two,
    held,
    held_seqs,
    message,
    messages,
)


def code(outcome: Outcome) -> ErrorCode | None:
    assert outcome.code is None or (outcome.seq == 0 and not outcome.fresh)
    return outcome.code


async def test_a_stream_that_was_never_made_takes_nothing(store: StreamStore) -> None:
    outcomes = await commit(store, bundle(ANNA, 1), ack(ANNA, 1), end())
    assert [code(outcome) for outcome in outcomes] == [ErrorCode.NOT_FOUND] * 3
    assert await store.view(STREAM) is None
    assert await held(store) == []


async def test_a_new_stream_is_empty(store: StreamStore) -> None:
    await commit(store, create())
    view = await store.view(STREAM)
    assert view is not None
    assert (view.incarnation, view.head, view.last_commit, view.floor) == (INCARNATION, 0, 0, 0)
    assert (view.first, view.members, view.last_counters) == (1, {}, {})


async def test_making_a_stream_again_changes_nothing(store: StreamStore) -> None:
    await group_of_two(store)
    await commit(store, create(incarnation=b"x" * 16))
    view = await store.view(STREAM)
    assert view is not None
    assert view.incarnation == INCARNATION
    assert view.head == 1


async def test_the_first_bundle_creates_the_group(store: StreamStore) -> None:
    await group_of_two(store)
    view = await store.view(STREAM)
    assert view is not None
    assert view.members == {ANNA: 0, BEN: 0}
    assert (view.head, view.last_commit, view.last_counters) == (1, 1, {ANNA: 1})


async def test_entries_come_back_as_they_were_appended(store: StreamStore) -> None:
    await group_of_two(store)
    outcomes = await commit(store, message(BEN, 1, body=b"\x00\xff", now=NOW + 5), message(ANNA, 2, body=b""))
    assert [(o.seq, o.fresh, o.last_commit) for o in outcomes] == [(2, True, 1), (3, True, 1)]
    assert await held(store, after=1) == [
        StoredEntry(2, EntryKind.MESSAGE, 1, NOW + 5, BEN, 1, b"\x00\xff"),
        StoredEntry(3, EntryKind.MESSAGE, 1, NOW + 5, ANNA, 2, b""),  # time never runs backwards in a stream
    ]


async def test_sequence_numbers_are_dense_across_batches(store: StreamStore) -> None:
    await group_of_two(store)
    calls = [commit(store, message(ANNA, 2), message(ANNA, 3)), commit(store, message(BEN, 1))]
    results = await asyncio.gather(*calls)
    assert sorted(outcome.seq for outcomes in results for outcome in outcomes) == [2, 3, 4]
    assert await held_seqs(store) == [1, 2, 3, 4]


async def test_streams_do_not_mix(store: StreamStore) -> None:
    await group_of_two(store)
    await group_of_two(store, OTHER)
    await commit(store, message(ANNA, 2, stream=OTHER), message(BEN, 1), message(ANNA, 3, stream=OTHER))
    assert await held_seqs(store) == [1, 2]
    assert await held_seqs(store, stream=OTHER) == [1, 2, 3]
    assert [entry.device for entry in await held(store, 1, OTHER)] == [ANNA, ANNA]


@pytest.mark.parametrize("after_commit", [0, 1, 7])
async def test_only_members_append_messages(store: StreamStore, after_commit: int) -> None:
    await group_of_two(store)
    (outcome,) = await commit(store, message(CARA, 1, after_commit))
    assert code(outcome) is ErrorCode.NOT_MEMBER


async def test_a_message_cannot_create_a_group(store: StreamStore) -> None:
    outcomes = await commit(store, create(), message(ANNA, 1, 0))
    assert code(outcomes[1]) is ErrorCode.NOT_MEMBER


async def test_a_stranger_cannot_commit(store: StreamStore) -> None:
    await group_of_two(store)
    (outcome,) = await commit(store, bundle(CARA, 1, 1, adds=[CARA]))
    assert code(outcome) is ErrorCode.NOT_MEMBER


async def test_who_loses_the_race_to_create_is_stale(store: StreamStore) -> None:
    await group_of_two(store)
    outcomes = await commit(store, bundle(CARA, 1), bundle(BEN, 1))
    assert [(code(o), o.last_commit) for o in outcomes] == [(ErrorCode.STALE, 1)] * 2


async def test_an_append_names_the_newest_commit(store: StreamStore) -> None:
    await group_of_two(store)
    outcomes = await commit(
        store,
        message(BEN, 1, 0),
        message(BEN, 1, 2),
        bundle(BEN, 1, 0),
        bundle(BEN, 1, 1),
        message(ANNA, 2, 1),
        message(ANNA, 2, 2),
    )
    assert [code(o) for o in outcomes] == [
        ErrorCode.STALE,
        ErrorCode.AHEAD,
        ErrorCode.STALE,
        None,
        ErrorCode.STALE,
        None,
    ]
    assert [o.last_commit for o in outcomes] == [1, 1, 1, 2, 2, 2]


async def test_a_refused_append_does_not_use_its_counter_up(store: StreamStore) -> None:
    await group_of_two(store)
    outcomes = await commit(store, message(BEN, 1, 0), message(BEN, 1, 1, b"encrypted afresh"))
    assert [code(o) for o in outcomes] == [ErrorCode.STALE, None]


async def test_a_counter_is_not_skipped(store: StreamStore) -> None:
    await group_of_two(store)
    outcomes = await commit(store, message(BEN, 2), message(ANNA, 3), message(ANNA, 2), message(ANNA, 3))
    assert [code(o) for o in outcomes] == [ErrorCode.COUNTER_GAP, ErrorCode.COUNTER_GAP, None, None]


async def test_a_repeated_append_gets_its_first_answer(store: StreamStore) -> None:
    await group_of_two(store)
    await commit(store, message(BEN, 1, now=NOW + 1), message(BEN, 2))
    (again,) = await commit(store, message(BEN, 1, now=NOW + 99))
    assert again == Outcome(2, NOW + 1, False, None, 1)
    assert await held_seqs(store) == [1, 2, 3]


async def test_entries_that_come_together_are_stored_in_their_order(store: StreamStore) -> None:
    await group_of_two(store)
    outcomes = await commit(store, messages(BEN, 1, b"a", b"b", b"c", now=NOW + 1), messages(ANNA, 2, b"d"))
    assert outcomes == [Outcome(2, NOW + 1, True, None, 1, 3), Outcome(5, NOW + 1, True, None, 1)]
    assert [(e.seq, e.device, e.counter, e.body) for e in await held(store, 1)] == [
        (2, BEN, 1, b"a"),
        (3, BEN, 2, b"b"),
        (4, BEN, 3, b"c"),
        (5, ANNA, 2, b"d"),
    ]


async def test_entries_that_come_together_are_each_decided(store: StreamStore) -> None:
    await group_of_two(store)
    await commit(store, messages(BEN, 1, b"a", b"b"))
    outcomes = await commit(store, messages(BEN, 1, b"a", b"other", b"c", b"d"), messages(BEN, 6, b"f", b"g"))
    assert [(o.seq, o.fresh, code(o), o.entries) for o in outcomes] == [
        (2, False, None, 1),
        (0, False, ErrorCode.CONFLICT, 1),
        (4, True, None, 2),
        (0, False, ErrorCode.COUNTER_GAP, 2),
    ]
    assert [(e.seq, e.counter, e.body) for e in await held(store, 1)] == [
        (2, 1, b"a"),
        (3, 2, b"b"),
        (4, 3, b"c"),
        (5, 4, b"d"),
    ]


async def test_of_entries_that_come_too_late_none_is_stored(store: StreamStore) -> None:
    await group_of_two(store)
    outcomes = await commit(store, bundle(ANNA, 2, 1), messages(BEN, 1, b"a", b"b", b"c"))
    assert [(code(o), o.entries) for o in outcomes[1:]] == [(ErrorCode.STALE, 1), (ErrorCode.COUNTER_GAP, 2)]
    (outcome,) = await commit(store, messages(BEN, 1, b"a", b"b", b"c", after_commit=2))
    assert (outcome.seq, outcome.entries) == (3, 3)


async def test_a_repeat_within_one_batch_is_seen(store: StreamStore) -> None:
    await group_of_two(store)
    outcomes = await commit(store, message(BEN, 1), message(BEN, 1))
    assert [(o.seq, o.fresh) for o in outcomes] == [(2, True), (2, False)]


async def test_a_repeated_bundle_gets_its_first_answer(store: StreamStore) -> None:
    await group_of_two(store)
    await commit(store, bundle(BEN, 1, 1, removes=[ANNA]))
    outcomes = await commit(store, bundle(ANNA, 1, adds=[BEN]), bundle(BEN, 1, 1, removes=[ANNA]))
    assert [(o.seq, o.fresh) for o in outcomes] == [(1, False), (2, False)]


async def test_a_repeat_is_answered_although_a_commit_came_between(store: StreamStore) -> None:
    await group_of_two(store)
    await commit(store, message(BEN, 1), bundle(ANNA, 2, 1))
    (again,) = await commit(store, message(BEN, 1))
    assert (again.seq, again.fresh, again.last_commit) == (2, False, 3)


@pytest.mark.parametrize(
    "other",
    [message(BEN, 1, body=b"other"), message(BEN, 1, after_commit=0), bundle(BEN, 1, 1, b"hello")],
    ids=["body", "after_commit", "kind"],
)
async def test_the_same_counter_with_other_content_is_a_conflict(store: StreamStore, other: object) -> None:
    await group_of_two(store)
    outcomes = await commit(store, message(BEN, 1), other)
    assert code(outcomes[1]) is ErrorCode.CONFLICT
    assert await held_seqs(store) == [1, 2]


async def test_counters_are_remembered_for_64_entries(store: StreamStore) -> None:
    await group_of_two(store)
    await commit(store, *[message(BEN, counter) for counter in range(1, 66)])
    outcomes = await commit(store, message(BEN, 1), message(BEN, 2), message(BEN, 65))
    assert [(code(o), o.seq) for o in outcomes] == [(ErrorCode.DUPLICATE, 0), (None, 3), (None, 66)]


async def test_counters_are_remembered_for_a_day(store: StreamStore) -> None:
    await group_of_two(store)
    day = 24 * 3_600_000
    await commit(store, message(BEN, 1))
    outcomes = await commit(store, message(BEN, 1, now=NOW + day - 1), message(BEN, 1, now=NOW + day))
    assert [code(o) for o in outcomes] == [None, ErrorCode.DUPLICATE]


async def test_counters_survive_the_entries_erasure(store: StreamStore) -> None:
    await group_of_two(store)
    await commit(store, message(BEN, 1), ack(ANNA, 2), ack(BEN, 2))
    outcomes = await commit(store, message(BEN, 1), message(BEN, 1, body=b"other"), message(BEN, 3))
    assert [(code(o), o.seq) for o in outcomes] == [
        (None, 2),
        (ErrorCode.CONFLICT, 0),
        (ErrorCode.COUNTER_GAP, 0),
    ]


@pytest.mark.parametrize("refusal", [ErrorCode.NOT_ON_ROSTER, ErrorCode.BLOB_NOT_FOUND])
async def test_what_other_records_refuse_is_refused(store: StreamStore, refusal: ErrorCode) -> None:
    await group_of_two(store)
    outcomes = await commit(
        store, bundle(BEN, 1, 1, adds=[CARA], refusal=refusal), message(BEN, 1, refusal=refusal)
    )
    assert [code(o) for o in outcomes] == [refusal, refusal]
    assert await held_seqs(store) == [1]


@pytest.mark.parametrize(
    ("operation", "expected"),
    [
        (message(CARA, 1, refusal=ErrorCode.BLOB_NOT_FOUND), ErrorCode.NOT_MEMBER),
        (message(BEN, 3, refusal=ErrorCode.BLOB_NOT_FOUND), ErrorCode.COUNTER_GAP),
        (message(BEN, 2, 0, refusal=ErrorCode.BLOB_NOT_FOUND), ErrorCode.STALE),
        (bundle(BEN, 2, 9, refusal=ErrorCode.NOT_ON_ROSTER), ErrorCode.AHEAD),
        (message(BEN, 1, refusal=ErrorCode.BLOB_NOT_FOUND), None),
    ],
    ids=["member", "counter", "stale", "ahead", "repeat"],
)
async def test_rules_answer_in_their_order(
    store: StreamStore, operation: object, expected: ErrorCode | None
) -> None:
    await group_of_two(store)
    await commit(store, message(BEN, 1))
    (outcome,) = await commit(store, operation)
    assert code(outcome) is expected


async def test_a_conversation_has_a_most_of_devices(store: StreamStore) -> None:
    crowd = [DeviceId(b"%016d" % number) for number in range(MAX_MEMBER_DEVICES - 1)]
    outcomes = await commit(store, create(), bundle(ANNA, 1, adds=crowd))
    assert code(outcomes[1]) is None
    outcomes = await commit(
        store,
        bundle(ANNA, 2, 1, adds=[CARA]),
        bundle(ANNA, 2, 1, adds=[CARA], refusal=ErrorCode.NOT_ON_ROSTER),
        bundle(ANNA, 2, 1, adds=[CARA], refusal=ErrorCode.BLOB_NOT_FOUND),
        bundle(ANNA, 2, 1, adds=[CARA], removes=crowd[:1]),
    )
    assert [code(o) for o in outcomes] == [
        ErrorCode.TOO_MANY_DEVICES,
        ErrorCode.NOT_ON_ROSTER,
        ErrorCode.TOO_MANY_DEVICES,
        None,
    ]


async def test_membership_follows_the_bundles(store: StreamStore) -> None:
    await group_of_two(store)
    await commit(store, message(ANNA, 2), bundle(ANNA, 3, 1, adds=[CARA], removes=[BEN]))
    view = await store.view(STREAM)
    assert view is not None
    assert view.members == {ANNA: 0, CARA: 2}
    assert view.joined == {ANNA: 1, CARA: 3}
    outcomes = await commit(store, message(BEN, 1, 3), message(CARA, 1, 3))
    assert [code(o) for o in outcomes] == [ErrorCode.NOT_MEMBER, None]


async def test_a_device_that_comes_back_goes_on_with_its_counters(store: StreamStore) -> None:
    await group_of_two(store)
    await commit(store, message(BEN, 1), bundle(ANNA, 2, 1, removes=[BEN]))
    await commit(store, bundle(ANNA, 3, 3, adds=[BEN]))
    outcomes = await commit(store, message(BEN, 1, 4, b"new"), message(BEN, 2, 4))
    assert [code(o) for o in outcomes] == [ErrorCode.CONFLICT, None]


async def test_a_device_replaced_in_one_bundle_reads_on_from_it(store: StreamStore) -> None:
    await group_of_two(store)
    await commit(store, message(ANNA, 2), bundle(ANNA, 3, 1, adds=[BEN], removes=[BEN]))
    view = await store.view(STREAM)
    assert view is not None
    assert view.members == {ANNA: 0, BEN: 2}


async def test_an_external_commit_names_nobody_and_changes_no_membership(store: StreamStore) -> None:
    await group_of_two(store)
    (outcome,) = await commit(store, bundle(BEN, 1, 1))
    assert (outcome.seq, outcome.last_commit) == (2, 2)
    view = await store.view(STREAM)
    assert view is not None
    assert set(view.members) == {ANNA, BEN}


async def test_reading_stops_at_its_limits(store: StreamStore) -> None:
    await group_of_two(store)
    await commit(store, *[message(BEN, counter, body=b"x" * 100) for counter in range(1, 11)])

    async def seqs(after: int, limit: int, max_bytes: int) -> list[int]:
        entries = await store.read(STREAM, after=after, limit=limit, max_bytes=max_bytes)
        return [entry.seq for entry in entries]

    assert await seqs(1, 3, 10_000) == [2, 3, 4]
    assert await seqs(1, 100, 250) == [2, 3]
    assert await seqs(1, 100, 200) == [2, 3]
    assert await seqs(1, 100, 1) == [2]  # one is always allowed
    assert await seqs(9, 100, 10_000) == [10, 11]
    assert await seqs(11, 100, 10_000) == []
    assert await seqs(99, 100, 10_000) == []


async def test_what_comes_before_a_page_takes_none_of_its_room(store: StreamStore) -> None:
    """Messages that came together are kept together, and may be read from their midst."""
    await group_of_two(store)
    await commit(store, messages(BEN, 1, b"one", b"two", b"three"), message(BEN, 4, body=b"four"))
    for limit, most in ((2, 100), (9, 9)):
        read = await store.read(STREAM, after=3, limit=limit, max_bytes=most)
        assert [entry.body for entry in read] == [b"three", b"four"]
    assert len(await store.read(STREAM, after=3, limit=9, max_bytes=8)) == 1


async def test_the_end_erases_everything(store: StreamStore) -> None:
    await group_of_two(store)
    await group_of_two(store, OTHER)
    outcomes = await commit(store, message(BEN, 1), end(), message(BEN, 2), ack(BEN, 1))
    assert [code(o) for o in outcomes] == [None, None, ErrorCode.NOT_FOUND, ErrorCode.NOT_FOUND]
    assert await store.view(STREAM) is None
    assert await held(store) == []
    assert await held_seqs(store, stream=OTHER) == [1]


async def test_a_stream_made_anew_has_nothing_of_the_old(store: StreamStore) -> None:
    await group_of_two(store)
    await commit(store, message(BEN, 1), end(), create(incarnation=b"n" * 16))
    view = await store.view(STREAM)
    assert view is not None
    assert (view.incarnation, view.head, view.members, view.last_counters) == (b"n" * 16, 0, {}, {})
    assert await held(store) == []


async def test_another_history_gives_every_stream_another_incarnation(store: StreamStore) -> None:
    await group_of_two(store)
    first = await store.view(STREAM)
    assert first is not None
    assert not first.set_back
    await commit(store, create(OTHER, b"o" * 16), message(BEN, 1))
    seen = []
    for history in (b"first", b"second"):
        await store.begin_history(history)
        view, other = await store.view(STREAM), await store.view(OTHER)
        assert view is not None
        assert other is not None
        assert view.incarnation == incarnation_in(history, INCARNATION)
        assert (len(view.incarnation), view.head) == (16, 2), "nothing else is different"
        assert view.set_back
        assert await held_seqs(store) == [1, 2]
        seen += [view.incarnation, other.incarnation]
    assert len({INCARNATION, b"o" * 16, *seen}) == 6


async def test_an_empty_batch_is_no_fault(store: StreamStore) -> None:
    assert await store.commit([]) == []


async def test_many_calls_at_once_are_all_answered(store: StreamStore) -> None:
    await group_of_two(store)
    calls = [commit(store, message(BEN, counter)) for counter in range(1, 301)]
    results = await asyncio.gather(*calls)
    assert [outcomes[0].seq for outcomes in results] == list(range(2, 302))


async def test_a_closed_store_refuses(store: StreamStore) -> None:
    await store.check()
    await store.close()
    with pytest.raises(StoreUnavailable):
        await store.check()
    with pytest.raises(StoreUnavailable):
        await store.commit([create()])
    with pytest.raises(StoreUnavailable):
        await store.view(STREAM)
    with pytest.raises(StoreUnavailable):
        await held(store)
    await store.close()
