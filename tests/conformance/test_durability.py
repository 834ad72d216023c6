"""What a durable StreamStore still says after it was opened again."""

from __future__ import annotations

from relay.core.operations import StreamView
from relay.wire.errors import ErrorCode
from tests.conformance.conftest import Reopen
from tests.conformance.support import (
    ANNA,
    BEN,
    CARA,
    INCARNATION,
    NOW,
    STREAM,
    ack,
    bundle,
    commit,
    end,
    expire,
    group_of_two,
    held,
    held_seqs,
    message,
)


async def test_entries_and_state_survive(durable: Reopen) -> None:
    store = await durable()
    await group_of_two(store)
    await commit(store, message(BEN, 1), bundle(ANNA, 2, 1, adds=[CARA]), message(BEN, 2, 3), ack(ANNA, 2))
    before, entries = await store.view(STREAM), await held(store)
    store = await durable()
    after = await store.view(STREAM)
    assert before is not None
    assert after is not None
    # Who cannot know whether it lost something, as Redis after a start, says so: the devices compare.
    what_it_says = {"incarnation", "set_back"}
    for name in set(StreamView._fields) - what_it_says:
        assert getattr(after, name) == getattr(before, name), name
    assert await held(store) == entries
    assert before.incarnation == INCARNATION
    assert before.members == {ANNA: 2, BEN: 0, CARA: 2}


async def test_the_history_survives(durable: Reopen, durable_kind: str) -> None:
    store = await durable()
    await group_of_two(store)
    await store.begin_history(b"after a restore")
    before = await store.view(STREAM)
    store = await durable()
    after = await store.view(STREAM)
    assert before is not None
    assert after is not None
    assert INCARNATION not in (before.incarnation, after.incarnation)
    assert (after == before) == (durable_kind == "sqlite"), "Redis has begun another one, at each start"


async def test_retries_are_recognised_after_a_restart(durable: Reopen) -> None:
    store = await durable()
    await group_of_two(store)
    await commit(store, *[message(BEN, counter) for counter in range(1, 71)])
    store = await durable()
    outcomes = await commit(
        store,
        message(BEN, 6),
        message(BEN, 7),
        message(BEN, 70, body=b"x"),
        message(BEN, 72),
        message(BEN, 71),
    )
    assert [(o.code, o.seq) for o in outcomes] == [
        (ErrorCode.DUPLICATE, 0),
        (None, 8),
        (ErrorCode.CONFLICT, 0),
        (ErrorCode.COUNTER_GAP, 0),
        (None, 72),
    ]


async def test_retries_of_erased_entries_are_recognised_after_a_restart(durable: Reopen) -> None:
    store = await durable()
    await group_of_two(store)
    await commit(store, message(BEN, 1), message(ANNA, 2), message(BEN, 2), ack(ANNA, 3), ack(BEN, 3))
    await commit(store, ack(BEN, 4), ack(ANNA, 4), message(BEN, 3))
    store = await durable()
    assert await held_seqs(store) == [1, 5]
    outcomes = await commit(
        store, message(BEN, 1), message(ANNA, 2, body=b"x"), message(BEN, 3), message(ANNA, 3), ack(BEN, 5)
    )
    assert [(o.code, o.seq) for o in outcomes[:4]] == [
        (None, 2),
        (ErrorCode.CONFLICT, 0),
        (None, 5),
        (None, 6),
    ]


async def test_the_head_is_not_forgotten_with_its_entry(durable: Reopen) -> None:
    store = await durable()
    await group_of_two(store)
    await commit(store, message(BEN, 1), ack(ANNA, 2), ack(BEN, 2))
    store = await durable()
    (outcome,) = await commit(store, message(BEN, 2))
    assert outcome.seq == 3


async def test_time_does_not_run_backwards_over_a_restart(durable: Reopen) -> None:
    store = await durable()
    await group_of_two(store)
    await commit(store, message(BEN, 1, now=NOW + 50))
    store = await durable()
    await commit(store, message(BEN, 2, now=NOW))
    assert [entry.time_ms for entry in await held(store)] == [NOW, NOW + 50, NOW + 50]


async def test_forgotten_counters_stay_forgotten(durable: Reopen) -> None:
    store = await durable()
    await group_of_two(store)
    await commit(store, message(BEN, 1), ack(ANNA, 2), ack(BEN, 2), expire(0, NOW + 1))
    store = await durable()
    outcomes = await commit(store, message(BEN, 1), message(BEN, 2))
    assert [(o.code, o.seq) for o in outcomes] == [(ErrorCode.DUPLICATE, 0), (None, 3)]


async def test_an_end_is_for_ever(durable: Reopen) -> None:
    store = await durable()
    await group_of_two(store)
    await commit(store, message(BEN, 1), end())
    store = await durable()
    assert await store.view(STREAM) is None
    assert await held(store) == []
