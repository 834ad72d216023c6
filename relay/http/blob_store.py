"""The place for sealed files that the operator configured."""

from __future__ import annotations

from relay.blobs import BlobStore, DirectoryBlobs, S3Blobs, S3Location
from relay.config import Settings


def open_blob_store(settings: Settings, /) -> BlobStore:
    """A bucket if one is named, else the data folder. Raises `BlobStoreUnavailable` if it cannot be made."""
    location = s3_location(settings)
    if location is not None:
        return S3Blobs(location)
    return DirectoryBlobs(settings.blob_dir, reserved_bytes=settings.reserved_disk_bytes)


def s3_location(settings: Settings, /) -> S3Location | None:
    """Where the bucket is, if there is one."""
    if not settings.s3_bucket:
        return None
    return S3Location(
        bucket=settings.s3_bucket,
        endpoint=settings.s3_endpoint,
        region=settings.s3_region,
        prefix=settings.s3_prefix,
        access_key_id=settings.s3_access_key_id,
        secret_access_key=settings.s3_secret_access_key,
    )
