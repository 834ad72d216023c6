"""Around every request: errors become problem documents, headers are hardened, a line is logged about it."""

from __future__ import annotations

import logging
import time
from collections.abc import Mapping
from http import HTTPStatus
from typing import Final

from aiohttp import web
from aiohttp.typedefs import Handler

from relay.errors import RelayError
from relay.http import cors, problems
from relay.http.logs import log
from relay.http.metrics import METHODS, METRICS
from relay.http.problems import Problem
from relay.wire.errors import WireError

_HEADERS: Final = {
    "Server": "coach-relay",
    "Cache-Control": "no-store",
    "X-Content-Type-Options": "nosniff",
    "Content-Security-Policy": "default-src 'none'; frame-ancestors 'none'",
    "Referrer-Policy": "no-referrer",
    "Cross-Origin-Resource-Policy": "same-site",
}
HEADERS: Final = web.RequestKey("headers", Mapping)
"""What a handler says instead of the hardened headers: for what pages of other origins may show."""

TUS_VERSION: Final = "1.0.0"
_TRANSPORT_SECURITY: Final = "max-age=31536000"  # a year, as ASVS 5.0 V3.4.1 asks

TLS: Final = web.AppKey("tls", bool)
"""Whether devices reach the relay by TLS, ended here or by a proxy."""


@web.middleware
async def answer_errors(request: web.Request, handler: Handler) -> web.StreamResponse:
    """Answer with a problem document for whatever a handler raises, and log what happened."""
    began = time.perf_counter()
    fault: BaseException | None = None
    code = ""
    try:
        response = await handler(request)
    except Problem as problem:
        response = problems.response(problem)
    except (RelayError, WireError) as error:
        response = problems.response(problems.problem_of(error))
        fault, code = error, str(error.code)
    except web.HTTPException as error:
        response = problems.response(problems.problem_of_http(error))
    except ConnectionError:
        raise  # the peer is gone: there is nobody to answer
    except Exception as error:  # the one place where any fault of ours becomes an answer
        response = problems.response(problems.problem_of_fault())
        fault = error
    seconds = time.perf_counter() - began
    _log(request, response.status, seconds, fault)
    if METRICS in request.app:
        request.app[METRICS].answered(request, response.status, code, seconds)
    return response


def _log(request: web.Request, status: int, seconds: float, fault: BaseException | None) -> None:
    resource = request.match_info.route.resource
    log(
        logging.ERROR if status >= HTTPStatus.INTERNAL_SERVER_ERROR else logging.INFO,
        "request",
        error=fault if status >= HTTPStatus.INTERNAL_SERVER_ERROR else None,
        method=request.method if request.method in METHODS else "other",
        route=resource.canonical if resource else "none",
        status=status,
        ms=round(seconds * 1000, 1),
    )


async def harden(request: web.Request, response: web.StreamResponse) -> None:
    """Add the security headers; a signal, so that no answer goes without."""
    response.headers.update({**_HEADERS, **request.get(HEADERS, {})})
    response.headers.update(cors.headers_of(request))
    if cors.is_shared(request) and request.method not in ("GET", "OPTIONS"):
        response.headers["Tus-Resumable"] = TUS_VERSION  # on refusals too (tus core protocol)
    if request.app[TLS]:
        response.headers["Strict-Transport-Security"] = _TRANSPORT_SECURITY
