"""Whatever is done in whatever order: every store answers as the memory does, and holds the same."""

from __future__ import annotations

from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from relay.core.operations import (
    AcknowledgeEntries,
    AppendEntries,
    EndStream,
    ExpireEntries,
    Operation,
)
from relay.store import MemoryStreamStore, StreamStore
from relay.wire.errors import ErrorCode
from relay.wire.frames import EntryKind
from tests.conformance.support import ANNA, BEN, CARA, HOUR, NOW, OTHER, STREAM, create, end

_streams = st.sampled_from([STREAM, STREAM, OTHER])
_devices = st.sampled_from([ANNA, BEN, CARA])
_bodies = st.sampled_from([b"", b"one", b"two\x00\xff"])
_some = st.lists(_devices, max_size=3, unique=True).map(tuple)
_now = st.integers(-2, 30).map(lambda hours: NOW + hours * HOUR)
_refusal = st.sampled_from([None, None, None, None, ErrorCode.NOT_ON_ROSTER, ErrorCode.BLOB_NOT_FOUND])
_messages = st.builds(
    AppendEntries,
    _streams,
    _devices,
    st.integers(1, 12),
    st.just(EntryKind.MESSAGE),
    st.integers(0, 8),
    st.lists(_bodies, min_size=1, max_size=5),
    _now,
    refusal=_refusal,
)
_commits = st.builds(
    AppendEntries,
    _streams,
    _devices,
    st.integers(1, 12),
    st.just(EntryKind.COMMIT),
    st.integers(0, 8),
    _bodies.map(lambda body: (body,)),
    _now,
    _some,
    _some,
    _refusal,
)
_others = st.one_of(
    st.builds(AcknowledgeEntries, _streams, _devices, st.integers(0, 15)),
    st.builds(ExpireEntries, _streams, _now, _now),
    st.builds(EndStream, _streams),
)
_operations = st.lists(
    st.lists(st.one_of(_messages, _messages, _commits, _others), min_size=1, max_size=6), max_size=10
)


def likely(store: MemoryStreamStore, operation: Operation) -> Operation:
    """Most counters and commits drawn at random would be refused: make every other one the next."""
    state = store._states.get(operation.stream)
    if state is None or not isinstance(operation, AppendEntries) or operation.counter % 2:
        return operation
    sender = state.senders.get(operation.device)
    counter = sender.last_counter + 1 if sender else 1
    return operation._replace(counter=counter, after_commit=state.last_commit)


@settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(batches=_operations)
async def test_every_store_does_what_the_memory_does(
    store: StreamStore, batches: list[list[Operation]]
) -> None:
    memory = MemoryStreamStore()
    for stream in (STREAM, OTHER):
        await store.commit([end(stream), create(stream)])
        await memory.commit([end(stream), create(stream)])
    for batch in batches:
        operations = [likely(memory, operation) for operation in batch]
        assert await store.commit(operations) == await memory.commit(operations)
        for stream in (STREAM, OTHER):
            assert await store.view(stream) == await memory.view(stream)
            for after, most in ((0, 1 << 40), (3, 4), (7, 0)):
                wanted = await memory.read(stream, after=after, limit=6, max_bytes=most)
                assert await store.read(stream, after=after, limit=6, max_bytes=most) == wanted
