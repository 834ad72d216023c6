"""Entries that another node's news bring along: read strictly, since they go to devices as if they had been
read from the store."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Final, NamedTuple

import msgpack

from relay.wire.frames import EntryKind
from relay.wire.ids import DeviceId
from relay.wire.limits import DEVICE_ID_BYTES

_MESSAGE: Final = EntryKind.MESSAGE


class Fresh(NamedTuple):
    """Entries of one device that were just stored: `counter` and `seq` are the first one's."""

    device: DeviceId
    counter: int
    kind: EntryKind
    after_commit: int
    seq: int
    time_ms: int
    bodies: Sequence[bytes]

    @property
    def entries(self) -> int:
        return len(self.bodies)

    @property
    def last(self) -> int:
        return self.seq + len(self.bodies) - 1


class Wake(NamedTuple):
    """News that a stream reaches to `head` now; `fresh` is what came after the entry `before`, if told."""

    node: bytes
    head: int
    last_commit: int
    before: int = 0
    fresh: Sequence[Fresh] = ()


def read_wake(teller: Any, head: Any, last_commit: Any) -> Wake:
    """The wake that the parts of its news mean (`relay.store.bus.WAKE`); raises ValueError or TypeError.

    Entries that are not understood, or not all of those up to `head`, are left out: then they are read.
    """
    if type(head) is not int or type(last_commit) is not int:
        raise TypeError("positions are numbers")
    if type(teller) is bytes:
        return Wake(teller, head, last_commit)
    node, before, *rest = teller
    try:
        (parts,) = rest
        fresh = [_run(*parts[i : i + 2]) for i in range(0, len(parts), 2)]
    except (ValueError, TypeError, msgpack.UnpackException):
        fresh = []
    if _is_whole(fresh, before, head, last_commit):
        return Wake(node, head, last_commit, before, fresh)
    return Wake(node, head, last_commit, before)


def _run(described: bytes, packed: bytes) -> Fresh:
    """The run of a stream's entries as Redis has it."""
    seq, kind, after_commit, time_ms, device, counter, entries = _unpack(described)
    bodies = _unpack(packed)
    numbers = (seq, kind, after_commit, time_ms, counter)
    if set(map(type, numbers)) != {int} or min(numbers) < 0 or kind != _MESSAGE:
        raise ValueError("no run of messages")
    if type(device) is not bytes or len(device) != DEVICE_ID_BYTES:
        raise ValueError("no device")
    if type(bodies) is not list or len(bodies) != entries or set(map(type, bodies)) != {bytes}:
        raise ValueError("no bodies")
    return Fresh(DeviceId(device), counter, _MESSAGE, after_commit, seq, time_ms, bodies)


def _is_whole(fresh: Sequence[Fresh], before: int, head: int, last_commit: int) -> bool:
    """Whether the runs follow each other from what was there before to the head, all after one commit."""
    at = before
    for run in fresh:
        if run.seq != at + 1 or run.after_commit != last_commit:
            return False
        at = run.last
    return at == head


def _unpack(packed: bytes) -> Any:
    return msgpack.unpackb(packed, raw=True, max_bin_len=0)
