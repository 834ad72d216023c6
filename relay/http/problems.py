"""Errors over HTTP: problem documents (RFC 9457) with a stable code and nothing of the relay's insides."""

from __future__ import annotations

import json
from collections.abc import Mapping
from http import HTTPStatus
from types import MappingProxyType
from typing import Final

from aiohttp import web

from relay.errors import QuotaExceeded, RelayError
from relay.wire.errors import ErrorCode, WireError

CONTENT_TYPE: Final = "application/problem+json"
RETRY_AFTER_SECONDS: Final = 5  # long enough for a restart, short enough for a person who waits

_STATUS: Final = MappingProxyType(
    {
        "malformed": HTTPStatus.BAD_REQUEST,
        "invalid_request": HTTPStatus.BAD_REQUEST,
        "unauthorized": HTTPStatus.UNAUTHORIZED,
        "token_invalid": HTTPStatus.UNAUTHORIZED,
        "token_expired": HTTPStatus.UNAUTHORIZED,
        "token_revoked": HTTPStatus.UNAUTHORIZED,
        "device_revoked": HTTPStatus.UNAUTHORIZED,
        "not_found": HTTPStatus.NOT_FOUND,
        "ended": HTTPStatus.CONFLICT,
        "record_conflict": HTTPStatus.CONFLICT,
        "offset_conflict": HTTPStatus.CONFLICT,
        "idempotency_key_reused": HTTPStatus.UNPROCESSABLE_ENTITY,
        "quota_exceeded": HTTPStatus.FORBIDDEN,
        "upload_named": HTTPStatus.CONFLICT,
        "locked": HTTPStatus.LOCKED,
        "too_big": HTTPStatus.REQUEST_ENTITY_TOO_LARGE,
        "rate_limited": HTTPStatus.TOO_MANY_REQUESTS,
        "store_full": HTTPStatus.INSUFFICIENT_STORAGE,
        "store_unavailable": HTTPStatus.SERVICE_UNAVAILABLE,
        "draining": HTTPStatus.SERVICE_UNAVAILABLE,
    }
)
"""The status of each code that a handler lets through; any other is our fault: 500 `internal`."""

_DETAIL: Final = MappingProxyType(
    {
        "not_found": "There is no such object, or it is not yours.",
        "ended": "The engagement has ended.",
        "record_conflict": "The object was changed by another request at the same time.",
        "idempotency_key_reused": "This Idempotency-Key was used for another request; use a new one.",
        "upload_named": "A message names this file; it goes with the message.",
        "locked": "Another request is writing; try again in a moment.",
        "rate_limited": "Too many requests; try again later.",
        "store_full": "The relay has no room left.",
        "store_unavailable": "The relay's storage does not answer; try again later.",
        "draining": "The relay is going down; try again in a moment.",
        "internal": "The relay failed to do this; nothing was said about why on purpose.",
    }
)


class Problem(Exception):
    """What a handler raises to answer with a problem document; `detail` tells nobody's data."""

    def __init__(
        self,
        status: int,
        code: str,
        detail: str,
        *,
        headers: Mapping[str, str] = MappingProxyType({}),
        members: Mapping[str, object] = MappingProxyType({}),
    ) -> None:
        super().__init__(code)
        self.status = status
        self.code = code
        self.detail = detail
        self.headers = headers
        self.members = members  # of the document, besides its own (RFC 9457 section 3.2)


def not_found() -> Problem:
    """The one answer for what does not exist and what is somebody else's."""
    return Problem(HTTPStatus.NOT_FOUND, "not_found", _DETAIL["not_found"])


def malformed(detail: str) -> Problem:
    return Problem(HTTPStatus.BAD_REQUEST, "malformed", detail)


def unauthorized(detail: str, *, code: str = "unauthorized") -> Problem:
    """No credentials, or none that count."""
    return Problem(
        HTTPStatus.UNAUTHORIZED,
        code,
        detail,
        headers={"WWW-Authenticate": 'Bearer realm="coach-relay"'},
    )


def problem_of(error: RelayError | WireError) -> Problem:
    """The problem that stands for an error of the rooms below."""
    code = str(error.code)
    if isinstance(error, QuotaExceeded):
        return _quota_exceeded(error)
    if code not in _STATUS:
        return Problem(HTTPStatus.INTERNAL_SERVER_ERROR, ErrorCode.INTERNAL, _DETAIL["internal"])
    status = _STATUS[code]
    detail = _DETAIL.get(code) or (error.detail if isinstance(error, WireError) else str(error))
    headers = {"Retry-After": str(RETRY_AFTER_SECONDS)} if status in (423, 429, 503, 507) else {}
    return Problem(status, code, detail, headers=headers)


def _quota_exceeded(error: QuotaExceeded) -> Problem:
    what = error.quota.replace("_", " ")
    return Problem(
        _STATUS[ErrorCode.QUOTA_EXCEEDED],
        ErrorCode.QUOTA_EXCEEDED,
        f"The portal has used up its quota of {error.limit} {what}; end or remove some, or ask the operator.",
        members={"quota": error.quota, "limit": error.limit},
    )


def problem_of_http(error: web.HTTPException) -> Problem:
    """The problem that stands for an answer of aiohttp's own: an unknown path, a method, a size."""
    headers = {name: value for name, value in error.headers.items() if name in ("Allow", "Location")}
    code = {404: "not_found", 405: "method_not_allowed", 413: "too_big"}.get(error.status, "malformed")
    detail = _DETAIL.get(code) or f"{error.reason}."
    return Problem(error.status, code, detail, headers=headers)


def problem_of_fault() -> Problem:
    """The answer to a fault of ours: it says nothing about it."""
    return Problem(HTTPStatus.INTERNAL_SERVER_ERROR, "internal", _DETAIL["internal"])


def _title(status: int) -> str:
    try:
        return HTTPStatus(status).phrase
    except ValueError:  # one that tus defines
        return "Checksum Mismatch"


def response(problem: Problem) -> web.Response:
    body = {
        "type": f"urn:coach-relay:problem:{problem.code}",
        "title": _title(problem.status),
        "status": problem.status,
        "code": problem.code,
        "detail": problem.detail,
        **problem.members,
    }
    return web.Response(
        status=problem.status,
        body=json.dumps(body).encode(),
        content_type=CONTENT_TYPE,
        headers=problem.headers,
    )
