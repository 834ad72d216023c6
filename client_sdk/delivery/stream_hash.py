"""The running hash of a stream that every member computes alike (docs/PROTOCOL.md section 8)."""

from __future__ import annotations

import hashlib

from relay.wire.ids import label

from ..errors import UsageError

HASH_BYTES = 32
AUTHENTICATOR_BYTES = (32, 64)
"""What the suites of conversations have: SHA-256's length and SHA-512's."""


def _u64(value: int) -> bytes:
    if not 0 <= value < 2**64:
        raise UsageError("A number in the stream is outside 0 to 2^64 - 1.")
    return value.to_bytes(8, "big")


def _check(value: bytes, what: str) -> bytes:
    # Fixed lengths are what makes the concatenations below unambiguous.
    if len(value) != HASH_BYTES:
        raise UsageError(f"{what} is not {HASH_BYTES} bytes.")
    return value


def entry_hash(*, seq: int, kind: int, after_commit: int, body_hash: bytes) -> bytes:
    """entry(e), 32 bytes; ``body_hash`` is SHA-256 of the body: own entries come back without their body."""
    fixed = _u64(seq) + _u64(kind) + _u64(after_commit)
    return hashlib.sha256(label("entry") + fixed + _check(body_hash, "A body's hash")).digest()


def after_commit(*, epoch_authenticator: bytes, entry: bytes) -> bytes:
    """S at an accepted commit: from the new epoch's authenticator and the commit's ``entry_hash``."""
    if len(epoch_authenticator) not in AUTHENTICATOR_BYTES:
        raise UsageError("An epoch authenticator has the length of no suite's.")
    return hashlib.sha256(label("commit") + epoch_authenticator + _check(entry, "An entry's hash")).digest()


def after_entry(*, previous: bytes, entry: bytes) -> bytes:
    """S at any other entry (a message, or a void commit): from the S before it and its ``entry_hash``."""
    chained = _check(previous, "A stream hash") + _check(entry, "An entry's hash")
    return hashlib.sha256(label("stream") + chained).digest()
