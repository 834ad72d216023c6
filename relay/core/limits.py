"""Token buckets: how much of what a connection may do. Time is passed in, in seconds on any steady clock."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

# How much of an append counts as one: so one bucket bounds their number and, at 100 MB/s, their bytes.
BYTES_EACH: Final = 4096


@dataclass(frozen=True, slots=True, kw_only=True)
class Rate:
    """So many a second, and so many at once."""

    per_second: float
    burst: float

    def __post_init__(self) -> None:
        if self.per_second <= 0 or self.burst < 1:
            raise ValueError("a rate and its burst are positive")


class TokenBucket:
    """Holds up to `burst` tokens and gains `per_second` of them a second."""

    __slots__ = ("_at", "_burst", "_per_second", "_tokens")

    def __init__(self, rate: Rate, now: float) -> None:
        self._per_second = rate.per_second
        self._burst = self._tokens = rate.burst
        self._at = now

    def take(self, now: float, amount: float = 1) -> bool:
        """Take so many tokens if they are there; False, and nothing taken, if they are not."""
        tokens = self._tokens
        if tokens < amount:
            elapsed = now - self._at
            if elapsed > 0:
                tokens = min(self._burst, tokens + elapsed * self._per_second)
                self._tokens = tokens
                self._at = now
            if tokens < amount:
                return False
        self._tokens = tokens - amount
        return True


@dataclass(frozen=True, slots=True, kw_only=True)
class RateLimits:
    """What one connection may do. Generous: they stop a runaway or hostile device, not a busy one."""

    appends: Rate = Rate(per_second=25_000, burst=50_000)
    """An append of up to `BYTES_EACH` counts once, a larger one once more for each."""
    commits: Rate = Rate(per_second=2, burst=256)
    """Each makes all members' devices work, a void one too. A revoked device leaves 256 conversations at
    once."""
    ephemeral: Rate = Rate(per_second=200, burst=1_000)  # a call's negotiation with trickled candidates
    requests: Rate = Rate(per_second=50, burst=1_000)  # opening 256 conversations at once is usual
