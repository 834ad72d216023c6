"""What a sealed file is: its sizes and what a receiver needs to open it (docs/PROTOCOL.md section 11)."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Final

from nacl.bindings import (
    crypto_secretstream_xchacha20poly1305_TAG_FINAL,
    crypto_secretstream_xchacha20poly1305_TAG_MESSAGE,
)

from client_sdk.content.padding import padded_length
from relay.wire.limits import MAX_BLOB_BYTES

CHUNK_BYTES: Final = 64 * 1024
"""Plaintext of every chunk but the last: large enough that the tags cost nothing, small enough to hold."""
TAG_BYTES: Final = 17
HEADER_BYTES: Final = 24
KEY_BYTES: Final = 32
TAG_MESSAGE: Final = crypto_secretstream_xchacha20poly1305_TAG_MESSAGE
TAG_FINAL: Final = crypto_secretstream_xchacha20poly1305_TAG_FINAL
HASH_BYTES: Final = 32
PIECE_CHUNKS: Final = 32
"""Chunks worked on between two reports: 2 MiB, a few milliseconds."""


def sealed_size(size: int) -> int:
    """The bytes of the sealed file of a file of ``size`` bytes."""
    padded = padded_length(size)
    return HEADER_BYTES + padded + TAG_BYTES * -(-padded // CHUNK_BYTES)


@dataclass(frozen=True, slots=True, kw_only=True)
class SealedFile:
    """What the message about a file carries so that its receiver can check and open it.

    ``size`` is the file's, ``sealed_size`` and ``sealed_hash`` (SHA-256) are of the whole ciphertext; the key
    is in no ``repr``. Raises ValueError for lengths and sizes that no sealed file has.
    """

    key: bytes = field(repr=False)
    size: int
    sealed_size: int
    sealed_hash: bytes

    def __post_init__(self) -> None:
        if len(self.key) != KEY_BYTES or len(self.sealed_hash) != HASH_BYTES:
            raise ValueError("a sealed file has a key and a hash of 32 bytes")
        if self.size < 0 or self.sealed_size > MAX_BLOB_BYTES or self.sealed_size != sealed_size(self.size):
            raise ValueError("the sealed size is not that of a file of this size")
