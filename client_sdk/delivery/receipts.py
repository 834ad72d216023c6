"""When to say that messages have arrived, if nothing else is being said (docs/PROTOCOL.md section 9)."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Self

INTERVAL_MS = 5000
"""At most one receipt in five seconds: soon enough for a person, too rare to tell the relay their habits."""


@dataclass(frozen=True, slots=True)
class Receipts:
    """Whether a receipt is owed in one conversation, and when one was last sent; times in milliseconds.

    Every message attests what its sender has, so only silence needs a receipt.
    """

    owed: bool = False
    last_ms: int | None = None

    def received(self, *, is_receipt: bool) -> Self:
        """A peer's message was stored; a receipt is never owed for a receipt."""
        return self if is_receipt else replace(self, owed=True)

    def sent(self) -> Self:
        """Some message of ours was encrypted, and attested everything: no receipt is owed any more."""
        return replace(self, owed=False)

    def receipt_sent(self, *, now_ms: int) -> Self:
        """A receipt was encrypted."""
        return replace(self, owed=False, last_ms=now_ms)

    def due_ms(self, *, now_ms: int) -> int | None:
        """When a receipt is to be sent: a time not before ``now_ms``; None if none is owed."""
        if not self.owed:
            return None
        if self.last_ms is None or self.last_ms > now_ms:  # a clock that was set back must not silence us
            return now_ms
        return max(now_ms, self.last_ms + INTERVAL_MS)
