"""Strict JSON of a bounded size: exactly the fields that are asked for, each of its type, each once."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping
from http import HTTPStatus
from typing import Any, Final

from aiohttp import ClientError, web
from aiohttp.http_exceptions import PayloadEncodingError

from relay.http import strict_json
from relay.http.problems import Problem, malformed

MAX_BODY_BYTES: Final = 64 * 1024  # a roster of 32 people is about 4 KiB
BODY_SECONDS: Final = 10.0  # such a body comes in one packet or a few


BODY_FAULTS: Final = (ConnectionError, ClientError, PayloadEncodingError, web.RequestPayloadError)
"""What reading a body raises when the peer broke off, or sent no HTTP."""


async def read_object(
    request: web.Request, *, required: Mapping[str, type], optional: Mapping[str, type]
) -> dict[str, Any]:
    """Return the request's JSON object. Raises `Problem` on anything else than one with these fields."""
    if request.content_type != "application/json":
        raise Problem(
            HTTPStatus.UNSUPPORTED_MEDIA_TYPE, "unsupported_media_type", "The body must be application/json."
        )
    found = _parse(await _read(request))
    for name in required:
        if name not in found:
            raise malformed(f"The field {name} is missing.")
    known = {**required, **optional}
    if not known.keys() >= found.keys():
        raise malformed(f"The body has a field that is none of {', '.join(known)}.")
    for name, value in found.items():
        check_type(name, value, known[name])
    return found


async def refuse_body(request: web.Request) -> None:
    """Raise `Problem` if a request that takes no body has one (an empty JSON object is fine)."""
    if request.can_read_body and (await _read(request)).strip() not in (b"", b"{}"):
        raise malformed("This request takes no body.")


def check_type(name: str, value: object, expected: type) -> None:
    """Raise `Problem` unless the value is of exactly this type: true is no number."""
    if type(value) is not expected:
        kind = {str: "text", int: "whole number", list: "list", dict: "object"}[expected]
        raise malformed(f"The field {name} must be a {kind}.")


async def _read(request: web.Request) -> bytes:
    if (request.content_length or 0) > MAX_BODY_BYTES:
        raise _too_big()
    try:
        async with asyncio.timeout(BODY_SECONDS):
            body = bytearray()
            async for chunk in request.content.iter_any():
                body += chunk
                if len(body) > MAX_BODY_BYTES:
                    raise _too_big()
    except BODY_FAULTS:
        raise malformed("The body broke off.") from None
    except TimeoutError:
        raise Problem(
            HTTPStatus.REQUEST_TIMEOUT, "request_timeout", f"The body took longer than {BODY_SECONDS:.0f} s."
        ) from None
    return bytes(body)


def _too_big() -> Problem:
    return Problem(
        HTTPStatus.REQUEST_ENTITY_TOO_LARGE, "too_big", f"The body may have {MAX_BODY_BYTES} bytes at most."
    )


def _parse(body: bytes) -> dict[str, Any]:
    try:
        found = strict_json.loads(body)
    except ValueError:
        raise malformed("The body is not JSON in UTF-8 whose objects name each field once.") from None
    if not isinstance(found, dict):
        raise malformed("The body must be a JSON object.")
    return found
