"""Operations as the suites write them."""

from __future__ import annotations

from collections.abc import Sequence

from relay.core.operations import (
    AcknowledgeEntries,
    AppendEntries,
    CreateStream,
    EndStream,
    ExpireEntries,
    Outcome,
    StoredEntry,
)
from relay.store import StreamStore
from relay.wire.errors import ErrorCode
from relay.wire.frames import EntryKind
from relay.wire.ids import DeviceId, EngagementId

STREAM = EngagementId("eng_" + "s" * 21 + "A")
OTHER = EngagementId("eng_" + "t" * 21 + "A")
ANNA = DeviceId(b"anna" * 4)
BEN = DeviceId(b"ben." * 4)
CARA = DeviceId(b"cara" * 4)
NOW = 1_700_000_000_000
HOUR = 3_600_000
INCARNATION = b"i" * 16


def create(stream: EngagementId = STREAM, incarnation: bytes = INCARNATION) -> CreateStream:
    return CreateStream(stream, incarnation)


def message(
    device: DeviceId,
    counter: int,
    after_commit: int = 1,
    body: bytes = b"hello",
    *,
    stream: EngagementId = STREAM,
    now: int = NOW,
    refusal: ErrorCode | None = None,
) -> AppendEntries:
    return AppendEntries(
        stream, device, counter, EntryKind.MESSAGE, after_commit, (body,), now, refusal=refusal
    )


def messages(
    device: DeviceId, counter: int, *bodies: bytes, after_commit: int = 1, now: int = NOW
) -> AppendEntries:
    """Messages that come together."""
    return AppendEntries(STREAM, device, counter, EntryKind.MESSAGE, after_commit, bodies, now)


def bundle(
    device: DeviceId,
    counter: int,
    after_commit: int = 0,
    body: bytes = b"bundle",
    *,
    adds: Sequence[DeviceId] = (),
    removes: Sequence[DeviceId] = (),
    stream: EngagementId = STREAM,
    now: int = NOW,
    refusal: ErrorCode | None = None,
) -> AppendEntries:
    return AppendEntries(
        stream,
        device,
        counter,
        EntryKind.COMMIT,
        after_commit,
        (body,),
        now,
        tuple(adds),
        tuple(removes),
        refusal,
    )


def ack(device: DeviceId, seq: int, stream: EngagementId = STREAM) -> AcknowledgeEntries:
    return AcknowledgeEntries(stream, device, seq)


def expire(before_ms: int, forget_ms: int = 0, stream: EngagementId = STREAM) -> ExpireEntries:
    return ExpireEntries(stream, before_ms, forget_ms)


def end(stream: EngagementId = STREAM) -> EndStream:
    return EndStream(stream)


async def commit(store: StreamStore, *operations: object) -> list[Outcome]:
    """Commit; the outcomes of all operations in one list."""
    done = await store.commit(operations)  # type: ignore[arg-type]  # the helpers above make only operations
    assert len(done) == len(operations)
    return [outcome for outcomes in done for outcome in outcomes]


async def group_of_two(store: StreamStore, stream: EngagementId = STREAM) -> None:
    """A stream whose first bundle, by Anna, adds Ben."""
    outcomes = await commit(store, create(stream), bundle(ANNA, 1, adds=[BEN], stream=stream))
    assert outcomes[1].seq == 1


async def held(store: StreamStore, after: int = 0, stream: EngagementId = STREAM) -> list[StoredEntry]:
    return await store.read(stream, after=after, limit=10_000, max_bytes=1 << 40)


async def held_seqs(store: StreamStore, after: int = 0, stream: EngagementId = STREAM) -> list[int]:
    return [entry.seq for entry in await held(store, after, stream)]
