"""What the relay remembers of a sender: the last counter, and the answers that the newest 64 got."""

from __future__ import annotations

import struct
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Final, NamedTuple

from relay.wire.limits import COUNTER_WINDOW, COUNTER_WINDOW_SECONDS

_SLOT: Final = struct.Struct("<QQ16s")  # seq (0: nothing), time_ms, digest
_EMPTY: Final = bytes(_SLOT.size)
WINDOW_BYTES: Final = _SLOT.size * COUNTER_WINDOW
WINDOW_MS: Final = COUNTER_WINDOW_SECONDS * 1000

_pack_into: Final = _SLOT.pack_into
_SIZE: Final = _SLOT.size


class Remembered(NamedTuple):
    """The answer that a counter got, and the digest of what was sent under it."""

    seq: int
    time_ms: int
    digest: bytes


@dataclass(slots=True)
class Sender:
    """One device's entries in one stream. `window` is a ring of 64 fixed slots, stored as it is."""

    last_counter: int = 0
    window: bytearray = field(default_factory=lambda: bytearray(WINDOW_BYTES))

    def remember(self, counter: int, seq: int, time_ms: int, digests: Sequence[bytes]) -> None:
        """Note the answers to the next counters, each of which takes the place of the one 64 before it."""
        window = self.window
        for number, digest in enumerate(digests):
            _pack_into(window, (counter + number) % COUNTER_WINDOW * _SIZE, seq + number, time_ms, digest)
        self.last_counter = counter + len(digests) - 1

    def recall(self, counter: int, now_ms: int) -> Remembered | None:
        """The answer to a counter not above the last one, if it is still remembered."""
        if counter + COUNTER_WINDOW <= self.last_counter:
            return None
        slot = Remembered(*_SLOT.unpack_from(self.window, counter % COUNTER_WINDOW * _SIZE))
        if slot.seq == 0 or slot.time_ms + WINDOW_MS <= now_ms:
            return None
        return slot

    def forget(self, before_ms: int) -> bool:
        """Empty the slots of what was appended before `before_ms`; says whether there were any."""
        changed = False
        for start in range(0, WINDOW_BYTES, _SIZE):
            seq, time_ms, _digest = _SLOT.unpack_from(self.window, start)
            if seq and time_ms < before_ms:
                self.window[start : start + _SIZE] = _EMPTY
                changed = True
        return changed
