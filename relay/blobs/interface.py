"""What the relay asks of a place for sealed attachments: resumable appends, ranges, erasure."""

from __future__ import annotations

from collections.abc import AsyncIterator
from typing import Protocol

from relay.wire.ids import BlobId


class BlobStore(Protocol):
    """Opaque bytes by random id, grown only at their end; memory does not depend on their size.

    One writer a blob at a time (the upload's lock sees to it). A blob that was never written and one that was
    erased look the same: both are empty. Every method raises `BlobStoreUnavailable` when the place does not
    answer.
    """

    async def size(self, blob: BlobId, /) -> int:
        """Return how many bytes are durable; 0 for an unknown blob. Raises `BlobCorrupt` if a part is
        missing.
        """

    async def append(self, blob: BlobId, data: bytes, /, *, offset: int) -> int:
        """Add bytes at `offset`, which must be the present size, and return the new size once they are
        durable.

        Raises `BlobOffsetConflict` (nothing was written) or `BlobStoreFull`. When it is cancelled or fails, a
        prefix of the bytes may have become durable: `size` tells.
        """

    def read(self, blob: BlobId, /, *, start: int, end: int) -> AsyncIterator[bytes]:
        """Yield the bytes from `start` up to, not including, `end` in pieces of bounded size.

        Raises `BlobCorrupt` if they are not all there.
        """

    async def delete(self, blob: BlobId, /) -> None:
        """Erase the blob; erasing what is not there is no error."""

    def list(self) -> AsyncIterator[BlobId]:
        """Yield the id of every blob that holds bytes, for the sweep of what no record names.

        One may come twice. Blobs may be erased meanwhile.
        """

    async def owner(self) -> bytes:
        """Whose the blobs are, as `belong_to` said; nothing if it was never said."""

    async def belong_to(self, owner: bytes, /) -> None:
        """Note whose the blobs are, durably, where whoever copies the place takes it along."""

    async def check(self) -> None:
        """Write and erase a probe; raises `BlobStoreUnavailable` or `BlobStoreFull`.

        It passes while there is any room at all, also when none of it is for blobs any more.
        """
