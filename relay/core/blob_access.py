"""Blob tokens: what `BlobAccess` gives a device, and uploads and downloads ask for (PROTOCOL 14)."""

from __future__ import annotations

import base64
import binascii
import hmac
from dataclasses import dataclass
from typing import Final

from relay.core.records import pack_record, unpack_record
from relay.errors import AccessRefused, StoreCorrupt
from relay.wire import fields as f
from relay.wire.errors import ErrorCode
from relay.wire.ids import (
    DeviceId,
    EngagementId,
    PortalId,
    label,
    parse_device_id,
    parse_engagement_id,
    parse_portal_id,
)

SECRET_BYTES: Final = 32
MAX_TOKEN_CHARS: Final = 512
_VERSION: Final = 1
_TAG_BYTES: Final = 32
_FIELDS: Final[tuple[f.Field, ...]] = (parse_portal_id, parse_engagement_id, parse_device_id, f.uint)


@dataclass(frozen=True, slots=True)
class BlobGrant:
    """One device may upload to and download from one engagement until `expires` (Unix seconds)."""

    portal: PortalId
    engagement: EngagementId
    device: DeviceId
    expires: int


def mint_blob_token(secret: bytes, grant: BlobGrant) -> str:
    """The grant as a bearer token: base64url of HMAC-SHA256 and the fields."""
    fields = pack_record(_VERSION, (grant.portal, grant.engagement, grant.device, grant.expires))
    return base64.urlsafe_b64encode(_tag(secret, fields) + fields).rstrip(b"=").decode("ascii")


def verify_blob_token(secret: bytes, token: str, *, now: int) -> BlobGrant:
    """The grant in a token; raises `AccessRefused` (`token_invalid` or `token_expired`)."""
    raw = _decode(token)
    tag, fields = raw[:_TAG_BYTES], raw[_TAG_BYTES:]
    if not hmac.compare_digest(_tag(secret, fields), tag):
        raise AccessRefused(ErrorCode.TOKEN_INVALID)
    try:
        grant = BlobGrant(*unpack_record(fields, _VERSION, _FIELDS))
    except StoreCorrupt as error:
        raise AccessRefused(ErrorCode.TOKEN_INVALID) from error
    if grant.expires <= now:
        raise AccessRefused(ErrorCode.TOKEN_EXPIRED)
    return grant


def _tag(secret: bytes, fields: bytes) -> bytes:
    return hmac.digest(secret, label("blob token") + fields, "sha256")


def _decode(token: str) -> bytes:
    if len(token) > MAX_TOKEN_CHARS:
        raise AccessRefused(ErrorCode.TOKEN_INVALID)
    try:
        return base64.b64decode(
            token.encode("ascii") + b"=" * (-len(token) % 4), altchars=b"-_", validate=True
        )
    except (binascii.Error, UnicodeEncodeError) as error:
        raise AccessRefused(ErrorCode.TOKEN_INVALID) from error
