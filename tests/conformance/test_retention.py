"""What every StreamStore keeps and erases: acknowledgements, age, the newest commit."""

from __future__ import annotations

from relay.store import StreamStore
from relay.wire.errors import ErrorCode
from tests.conformance.support import (
    ANNA,
    BEN,
    CARA,
    HOUR,
    NOW,
    STREAM,
    ack,
    bundle,
    commit,
    expire,
    group_of_two,
    held_seqs,
    message,
)


async def floor(store: StreamStore) -> int:
    view = await store.view(STREAM)
    assert view is not None
    return view.floor


async def test_an_entry_goes_when_every_member_has_it(store: StreamStore) -> None:
    await group_of_two(store)
    await commit(store, message(BEN, 1), message(BEN, 2), ack(ANNA, 3))
    assert await held_seqs(store) == [1, 2, 3]
    await commit(store, ack(BEN, 2))
    assert await held_seqs(store) == [1, 3]  # the newest commit stays
    view = await store.view(STREAM)
    assert view is not None
    assert (view.floor, view.first, view.head) == (2, 3, 3)


async def test_the_newest_commit_goes_when_a_newer_one_is_there(store: StreamStore) -> None:
    await group_of_two(store)
    await commit(store, ack(ANNA, 1), ack(BEN, 1))
    assert await held_seqs(store) == [1]
    await commit(store, bundle(ANNA, 2, 1))
    assert await held_seqs(store) == [2]
    await commit(store, ack(ANNA, 2), ack(BEN, 2), message(ANNA, 3, 2))
    assert await held_seqs(store) == [2, 3]


async def test_everything_erased_leaves_the_head(store: StreamStore) -> None:
    await group_of_two(store)
    await commit(store, message(BEN, 1), ack(ANNA, 2), ack(BEN, 2))
    view = await store.view(STREAM)
    assert view is not None
    assert (view.head, view.floor, view.last_counters) == (2, 2, {ANNA: 1, BEN: 1})
    (outcome,) = await commit(store, message(ANNA, 2))
    assert outcome.seq == 3


async def test_cursors_never_move_back(store: StreamStore) -> None:
    await group_of_two(store)
    await commit(store, message(BEN, 1), ack(ANNA, 2), ack(ANNA, 1), ack(ANNA, 0))
    view = await store.view(STREAM)
    assert view is not None
    assert view.members == {ANNA: 2, BEN: 0}


async def test_nobody_acknowledges_what_does_not_exist(store: StreamStore) -> None:
    await group_of_two(store)
    await commit(store, ack(ANNA, 2), ack(BEN, 1 << 40))
    view = await store.view(STREAM)
    assert view is not None
    assert view.members == {ANNA: 0, BEN: 0}


async def test_a_stranger_acknowledges_nothing(store: StreamStore) -> None:
    await group_of_two(store)
    outcomes = await commit(store, message(BEN, 1), ack(CARA, 2), ack(ANNA, 2), ack(CARA, 2))
    assert all(outcome.code is None for outcome in outcomes)
    assert await held_seqs(store) == [1, 2]


async def test_a_removed_device_holds_nothing_back(store: StreamStore) -> None:
    await group_of_two(store)
    await commit(store, message(ANNA, 2), ack(ANNA, 2))
    assert await held_seqs(store) == [1, 2]
    await commit(store, bundle(ANNA, 3, 1, removes=[BEN]))
    assert await held_seqs(store) == [3]


async def test_a_new_device_holds_back_from_its_bundle_on(store: StreamStore) -> None:
    await group_of_two(store)
    await commit(store, message(ANNA, 2), bundle(ANNA, 3, 1, adds=[CARA]), ack(ANNA, 3), ack(BEN, 3))
    assert await held_seqs(store) == [3]
    await commit(store, message(ANNA, 4, 3), ack(ANNA, 4), ack(BEN, 4))
    assert await held_seqs(store) == [3, 4]
    await commit(store, ack(CARA, 4))
    assert await held_seqs(store) == [3]


async def test_an_entry_goes_at_its_age(store: StreamStore) -> None:
    await group_of_two(store)
    await commit(store, message(BEN, 1, now=NOW + HOUR), message(BEN, 2, now=NOW + 2 * HOUR))
    await commit(store, expire(NOW + HOUR))
    assert await held_seqs(store) == [1, 2, 3]  # the commit is due, and stays
    await commit(store, expire(NOW + HOUR + 1))
    assert await held_seqs(store) == [1, 3]
    assert await floor(store) == 2


async def test_expiry_reaches_what_the_same_batch_appended(store: StreamStore) -> None:
    await group_of_two(store)
    await commit(store, message(BEN, 1), expire(NOW + 1), message(BEN, 2))
    assert await held_seqs(store) == [1, 3]


async def test_expiry_of_nothing_is_no_fault(store: StreamStore) -> None:
    (outcome,) = await commit(store, expire(NOW))
    assert outcome.code is ErrorCode.NOT_FOUND
    await group_of_two(store)
    await commit(store, expire(NOW))
    assert await held_seqs(store) == [1]


async def test_a_device_left_behind_by_age_reads_on(store: StreamStore) -> None:
    await group_of_two(store)
    await commit(store, message(BEN, 1), expire(NOW + 1), message(BEN, 2, now=NOW + 9))
    view = await store.view(STREAM)
    assert view is not None
    assert view.members == {ANNA: 0, BEN: 0}
    await commit(store, ack(ANNA, 3))
    assert await held_seqs(store, after=1) == [3]
    await commit(store, ack(BEN, 3))
    assert await held_seqs(store, after=1) == []


async def test_remembered_counters_are_forgotten(store: StreamStore) -> None:
    await group_of_two(store)
    await commit(store, message(BEN, 1), message(BEN, 2, now=NOW + 9), expire(0, NOW + 1))
    outcomes = await commit(store, message(BEN, 1), message(BEN, 2), message(BEN, 3))
    assert [(o.code, o.seq) for o in outcomes] == [(ErrorCode.DUPLICATE, 0), (None, 3), (None, 4)]
