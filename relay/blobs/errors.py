"""What can go wrong with a blob: leaves of the relay's error tree."""

from __future__ import annotations

from relay.errors import RequestError, StoreCorrupt, StoreFull, StoreUnavailable, StoreUnfit


class BlobOffsetConflict(RequestError):
    """The bytes do not begin where the blob ends; nothing was written."""

    code = "offset_conflict"


class BlobCorrupt(StoreCorrupt):
    """Bytes that were acknowledged are missing or of the wrong length."""


class BlobStoreFull(StoreFull):
    """There is no room left for more bytes."""


class BlobStoreUnavailable(StoreUnavailable):
    """The place that holds the blobs does not answer."""


class BlobsOfAnother(StoreUnfit):
    """What is stored there belongs to other records than those that the relay has."""

    code = "foreign_files"
