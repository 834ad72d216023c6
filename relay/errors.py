"""The relay's error tree. Each leaf has a stable `code`; `args` never name a user, device or conversation.

RelayError
├── StoreError             ours: the disk, the database, another process
│   ├── StoreFull          no space: nothing was stored; works again when there is space
│   ├── StoreUnavailable   the store could not do it; nothing was stored
│   │   └── StoreUnfit     as it is set up, or what is in it: waiting does not mend that
│   ├── StoreCorrupt       what is stored is damaged: the relay does not start, or does not touch it
│   ├── StoreVersion       made by another version of the schema, or SQLite is too old
│   └── StoreInUse         another relay has this data folder open
├── RecordConflict         compare-and-set: the record changed meanwhile
└── RequestError           theirs: a peer asked for what it may not have, or asked wrongly
    ├── NotFound, Ended, InvalidRequest, RateLimited
    ├── UploadNamed        an entry names the upload: it is part of what was said
    ├── IdempotencyKeyReused   the key stands for another request
    ├── QuotaExceeded      the portal has used up what the operator gave it
    └── AccessRefused      the device is not let in
"""

from __future__ import annotations

from relay.wire.errors import ErrorCode


class RelayError(Exception):
    """Root of the tree. `code` is stable; the text is for the operator."""

    code: str = ErrorCode.INTERNAL


class StoreError(RelayError):
    """A store could not do what it was asked; nothing of it was done."""

    code: str = ErrorCode.STORE_UNAVAILABLE


class StoreFull(StoreError):
    """There is no space left to store in."""

    code = ErrorCode.STORE_FULL


class StoreUnavailable(StoreError):
    """The store is closed or failed."""


class StoreUnfit(StoreUnavailable):
    """The store answers, but must not be used as it is: waiting does not mend that."""


class StoreCorrupt(StoreError):
    """What is stored cannot be what was stored."""

    code = "store_corrupt"


class StoreVersion(StoreError):
    """The stored schema, or the library that reads it, is not one that this version works with."""

    code = "store_version"


class StoreInUse(StoreError):
    """Another process has the store open."""

    code = "store_in_use"


class RecordConflict(RelayError):
    """The record is not, or no longer, in the version that the writer expected."""

    code = "record_conflict"


class RequestError(RelayError):
    """A peer's request is refused; `code` may be told to it."""


class NotFound(RequestError):
    """No such object, or not theirs: the two look the same."""

    code = ErrorCode.NOT_FOUND


class Ended(RequestError):
    """The engagement has ended."""

    code = ErrorCode.ENDED


class InvalidRequest(RequestError):
    """The request is not one that can be done; the text says why and repeats nothing of it."""

    code = "invalid_request"


class RateLimited(RequestError):
    """Too much of it."""

    code = ErrorCode.RATE_LIMITED


class UploadNamed(RequestError):
    """An entry names the upload: it is part of what was said, and goes with it."""

    code = "upload_named"


class IdempotencyKeyReused(RequestError):
    """The Idempotency-Key stands for another request."""

    code = "idempotency_key_reused"


class QuotaExceeded(RequestError):
    """The portal has used up what the operator gave it: `limit` of `quota`."""

    code = ErrorCode.QUOTA_EXCEEDED

    def __init__(self, quota: str, limit: int) -> None:
        super().__init__(f"the quota of {limit} {quota} is used up")
        self.quota = quota
        self.limit = limit


class AccessRefused(RequestError):
    """The device is not let in: token, signature, binding or limit."""

    def __init__(self, code: ErrorCode, detail: str = "") -> None:
        super().__init__(detail or code.value)
        self.code = code
