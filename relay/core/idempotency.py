"""Idempotency keys: what a portal's creation answered, so that its repetition gives the same answer."""

from __future__ import annotations

import hashlib
import re
from dataclasses import dataclass
from typing import Final

from relay.core.engagements import EngagementRecord
from relay.core.records import MAX_RECORD_BYTES, pack_record, unpack_record
from relay.errors import IdempotencyKeyReused, InvalidRequest
from relay.wire import fields as f
from relay.wire.ids import label

KEEP_SECONDS: Final = 24 * 3600  # a portal's own retries are over long before
MAX_KEYS: Final = 20_000  # of one portal at one time: about 10 MB
MAX_KEY_CHARS: Final = 255
_VERSION: Final = 1
_HASH_BYTES: Final = 32
_match_key: Final = re.compile(r"[\x21-\x7e]{1,255}").fullmatch
_FIELDS: Final = (f.fixed(_HASH_BYTES), f.uint, f.binary(MAX_RECORD_BYTES))


@dataclass(frozen=True, slots=True, kw_only=True)
class KeptAnswer:
    """The engagement that a creation made, as it was then. `at` in Unix seconds."""

    fingerprint: bytes
    at: int
    engagement: EngagementRecord

    def serialize(self) -> bytes:
        """The record as bytes."""
        return pack_record(_VERSION, (self.fingerprint, self.at, self.engagement.serialize()))

    @classmethod
    def parse(cls, value: bytes) -> KeptAnswer:
        """The record in these bytes; raises `StoreCorrupt`."""
        fingerprint, at, engagement = unpack_record(value, _VERSION, _FIELDS)
        return cls(fingerprint=fingerprint, at=at, engagement=EngagementRecord.parse(engagement))

    def is_over(self, now: int) -> bool:
        """Whether its time is over."""
        return self.at + KEEP_SECONDS <= now

    def check_same(self, fingerprint: bytes) -> None:
        """Raise `IdempotencyKeyReused` if the request was another one."""
        if fingerprint != self.fingerprint:
            raise IdempotencyKeyReused("the Idempotency-Key was used for another request")


def key_name(key: str) -> str:
    """The name that a key is kept under; raises `InvalidRequest`."""
    if not _match_key(key):
        raise InvalidRequest(f"an Idempotency-Key has 1 to {MAX_KEY_CHARS} printable ASCII characters")
    return hashlib.sha256(label("idempotency key") + key.encode("ascii")).hexdigest()


def fingerprint_of(record: EngagementRecord) -> bytes:
    """What two requests have in common if they ask for the same engagement."""
    asked = pack_record(_VERSION, (record.portal, record.retention_hours, record.participants))
    return hashlib.sha256(label("idempotent request") + asked).digest()
