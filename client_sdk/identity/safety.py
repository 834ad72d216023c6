"""Safety numbers: 30 digits for each identity key, for two people to compare (docs/PROTOCOL.md section 6)."""

from __future__ import annotations

import hashlib

from relay.wire.ids import PortalId, UserId, label

from ..content.packing import pack
from ..errors import UsageError
from .keys import KEY_BYTES

ROUNDS = 5200
"""Makes each guess at a colliding key cost 5200 hashes, and a display 5 ms (as Signal chose it)."""

_GROUPS = 6
_GROUP_BYTES = 5


def safety_number(portal: PortalId, user: UserId, identity_key: bytes) -> str:
    """The 30 digits of one user's identity key, without spaces; takes about 5 ms."""
    if len(identity_key) != KEY_BYTES:
        raise UsageError(f"An identity key is {KEY_BYTES} bytes.")
    digest = label("safety number") + pack([portal, user, identity_key])
    for _ in range(ROUNDS):
        digest = hashlib.sha512(digest + identity_key).digest()
    groups = (digest[i * _GROUP_BYTES : (i + 1) * _GROUP_BYTES] for i in range(_GROUPS))
    return "".join(f"{int.from_bytes(group, 'big') % 100_000:05d}" for group in groups)


def shown_together(one: str, other: str) -> str:
    """Both people's numbers as both of them see them: the lower first, in groups of five digits."""
    digits = "".join(sorted((one, other)))
    return " ".join(digits[i : i + 5] for i in range(0, len(digits), 5))
