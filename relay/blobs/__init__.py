"""Sealed attachments: opaque bytes by random id, in a directory or in object storage."""

from relay.blobs.directory import DirectoryBlobs
from relay.blobs.errors import (
    BlobCorrupt,
    BlobOffsetConflict,
    BlobsOfAnother,
    BlobStoreFull,
    BlobStoreUnavailable,
)
from relay.blobs.interface import BlobStore
from relay.blobs.objects import OWNER, PART_BYTES, ObjectBlobs
from relay.blobs.s3 import S3Blobs, S3Location

__all__ = [
    "OWNER",
    "PART_BYTES",
    "BlobCorrupt",
    "BlobOffsetConflict",
    "BlobStore",
    "BlobStoreFull",
    "BlobStoreUnavailable",
    "BlobsOfAnother",
    "DirectoryBlobs",
    "ObjectBlobs",
    "S3Blobs",
    "S3Location",
]
