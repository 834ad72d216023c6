"""Uploads: what the relay knows of a sealed attachment, and when it goes."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Final

from relay.core.records import pack_record, unpack_versions
from relay.core.retention import HOUR_MS, expires_before
from relay.errors import InvalidRequest, NotFound, UploadNamed
from relay.wire import fields as f
from relay.wire.ids import BlobId, DeviceId, EngagementId, parse_blob_id, parse_device_id, parse_engagement_id
from relay.wire.limits import MAX_BLOB_BYTES, UNNAMED_BLOB_SECONDS

_VERSION: Final = 2  # 1 did not say whose an upload is
_FIELDS: Final[tuple[f.Field, ...]] = (
    parse_blob_id,
    parse_engagement_id,
    f.uint,
    f.uint,
    f.boolean,
    f.uint,
)
_SHAPES: Final = {1: _FIELDS, _VERSION: (*_FIELDS, f.optional(parse_device_id))}


@dataclass(frozen=True, slots=True, kw_only=True)
class UploadRecord:
    """One blob. `created_ms` and `named_ms` (0: no append has named it yet) in Unix milliseconds.

    `owner` is the device that began it; None if that was an earlier version's.
    """

    blob: BlobId
    engagement: EngagementId
    size: int
    created_ms: int
    finished: bool = False
    named_ms: int = 0
    owner: DeviceId | None = None

    def serialize(self) -> bytes:
        """The record as bytes."""
        return pack_record(
            _VERSION,
            (
                self.blob,
                self.engagement,
                self.size,
                self.created_ms,
                self.finished,
                self.named_ms,
                self.owner,
            ),
        )

    @classmethod
    def parse(cls, value: bytes) -> UploadRecord:
        """The record in these bytes; raises `StoreCorrupt`."""
        version, fields = unpack_versions(value, _SHAPES)
        blob, engagement, size, created, finished, named = fields[:6]
        return cls(
            blob=blob,
            engagement=engagement,
            size=size,
            created_ms=created,
            finished=finished,
            named_ms=named,
            owner=fields[6] if version >= _VERSION else None,
        )


def new_upload(
    blob: BlobId, engagement: EngagementId, size: int, now_ms: int, owner: DeviceId | None = None
) -> UploadRecord:
    """An upload that has begun; raises `InvalidRequest` above 2 GiB."""
    if not 0 < size <= MAX_BLOB_BYTES:
        raise InvalidRequest("a blob has 1 byte to 2 GiB")
    return UploadRecord(blob=blob, engagement=engagement, size=size, created_ms=now_ms, owner=owner)


def check_terminable(record: UploadRecord, device: DeviceId, *, retracted: bool) -> None:
    """Raise `NotFound` unless this device began the upload; `UploadNamed` if an entry names it.

    That is no hindrance where the device says that it was taken back: only it may, and what it sent it need
    not have sent.
    """
    if record.owner != device:
        raise NotFound("another device's upload")
    if record.named_ms and not retracted:
        raise UploadNamed("an entry names the upload")


def finish_upload(record: UploadRecord) -> UploadRecord:
    """The upload, complete."""
    return replace(record, finished=True)


def claim_upload(record: UploadRecord, now_ms: int) -> UploadRecord:
    """The upload as an entry is about to name it: from now on it is kept for the policy's age.

    This is stored before the entry, so that no crash leaves an entry whose blob is swept away as unnamed.
    """
    return replace(record, named_ms=max(record.named_ms, now_ms))


def is_due(record: UploadRecord, *, now_ms: int, ended: bool, retention_hours: int) -> bool:
    """Whether the blob goes: with its engagement, at the policy's age, or unnamed after a day.

    That a device has the entry says nothing about the file: a person saves it when they like.
    """
    if ended:
        return True
    if not record.named_ms:
        return record.created_ms + UNNAMED_BLOB_SECONDS * 1000 <= now_ms
    return record.named_ms < expires_before(now_ms, retention_hours) - HOUR_MS
