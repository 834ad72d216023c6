"""Rules for key packages (RFC 9420 section 10), which the relay hands out and cannot read."""

from __future__ import annotations

from collections.abc import Sequence

from relay.errors import InvalidRequest
from relay.wire.limits import KEY_PACKAGES_LOW, MAX_KEY_PACKAGES


def accept_published(stock: int, packages: Sequence[bytes], last_resort: bytes | None) -> tuple[bytes, ...]:
    """Those of the published packages that there is room for: at most 100 stay, the first ones win.

    Raises `InvalidRequest` on an empty package, and if one of last resort is also among those for single use.
    """
    if any(not package for package in packages) or last_resort == b"":
        raise InvalidRequest("a key package is not empty")
    if last_resort is not None and last_resort in packages:
        raise InvalidRequest("the package of last resort is not for single use")
    return tuple(packages[: max(0, MAX_KEY_PACKAGES - stock)])


def is_low(left: int) -> bool:
    """Whether the owner should publish more."""
    return left <= KEY_PACKAGES_LOW
