"""How long a padded message is, so that its length tells little (docs/PROTOCOL.md section 7)."""

from __future__ import annotations

SHORTEST = 256
"""Every short message looks alike: a yes, a no and a receipt have one length."""


def padded_length(n: int) -> int:
    """The padded length in bytes for ``n`` bytes of content.

    256 up to 256, above that Padmé (Nikitin and others, PETS 2019): at most 12 % longer, and only
    O(log log n) bits of the length stay visible.
    """
    if n < 0:
        raise ValueError("a length is not negative")
    if n <= SHORTEST:
        return SHORTEST
    exponent = n.bit_length() - 1
    step = 1 << (exponent - exponent.bit_length())
    return -(-n // step) * step
