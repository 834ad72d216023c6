"""Stable error codes of the protocol (PROTOCOL 2.3) and the one exception that every parser here raises."""

from __future__ import annotations

from enum import StrEnum
from typing import Final


class ErrorCode(StrEnum):
    """A stable code; `ends_connection` says what becomes of the connection that it is said on."""

    UNSUPPORTED_VERSION = "unsupported_version"
    MALFORMED = "malformed"
    TOO_BIG = "too_big"
    TOO_DEEP = "too_deep"
    OUT_OF_ORDER = "out_of_order"
    TOKEN_INVALID = "token_invalid"  # noqa: S105 - a code, no secret
    TOKEN_EXPIRED = "token_expired"  # noqa: S105 - a code, no secret
    TOKEN_REVOKED = "token_revoked"  # noqa: S105 - a code, no secret
    SIGNATURE_INVALID = "signature_invalid"
    DEVICE_REVOKED = "device_revoked"
    DEVICE_LIMIT = "device_limit"
    DEVICE_FOREIGN = "device_foreign"
    QUOTA_EXCEEDED = "quota_exceeded"
    HANDSHAKE_TIMEOUT = "handshake_timeout"
    IDLE_TIMEOUT = "idle_timeout"
    SLOW_READER = "slow_reader"
    REPLACED = "replaced"
    DRAINING = "draining"

    UNKNOWN_FRAME = "unknown_frame"
    RATE_LIMITED = "rate_limited"
    NOT_FOUND = "not_found"
    INTERNAL = "internal"
    STORE_UNAVAILABLE = "store_unavailable"
    STORE_FULL = "store_full"

    STALE = "stale"
    AHEAD = "ahead"
    COUNTER_GAP = "counter_gap"
    DUPLICATE = "duplicate"
    CONFLICT = "conflict"
    NOT_MEMBER = "not_member"
    NOT_ON_ROSTER = "not_on_roster"
    TOO_MANY_DEVICES = "too_many_devices"
    ENDED = "ended"
    ENTRY_TOO_BIG = "entry_too_big"
    BUNDLE_INVALID = "bundle_invalid"
    BLOB_NOT_FOUND = "blob_not_found"

    @property
    def ends_connection(self) -> bool:
        return self in _ENDING


_ENDING: Final = frozenset(
    {
        ErrorCode.UNSUPPORTED_VERSION,
        ErrorCode.MALFORMED,
        ErrorCode.TOO_BIG,
        ErrorCode.TOO_DEEP,
        ErrorCode.OUT_OF_ORDER,
        ErrorCode.TOKEN_INVALID,
        ErrorCode.TOKEN_EXPIRED,
        ErrorCode.TOKEN_REVOKED,
        ErrorCode.SIGNATURE_INVALID,
        ErrorCode.DEVICE_REVOKED,
        ErrorCode.DEVICE_LIMIT,
        ErrorCode.DEVICE_FOREIGN,
        ErrorCode.QUOTA_EXCEEDED,
        ErrorCode.HANDSHAKE_TIMEOUT,
        ErrorCode.IDLE_TIMEOUT,
        ErrorCode.SLOW_READER,
        ErrorCode.REPLACED,
        ErrorCode.DRAINING,
    }
)


class WireError(ValueError):
    """What a peer sent breaks the protocol. `detail` is a fixed phrase: it never repeats what was sent."""

    def __init__(self, code: ErrorCode, detail: str) -> None:
        super().__init__(f"{code}: {detail}")
        self.code = code
        self.detail = detail
