"""The portal API as an OpenAPI 3.1 document: served at /v1/openapi.json, written down in docs/openapi.json.

tests/relay/http/test_openapi.py writes it down, and holds it against the routes and what they answer.
"""

from __future__ import annotations

import json
from typing import Any, Final

from aiohttp import web

from relay.core.access import MAX_TOKEN_ID_CHARS
from relay.core.devices import MOST_SEEN
from relay.core.engagement_pages import DEFAULT_PAGE, MAX_CURSOR_CHARS, MAX_PAGE, STATUSES
from relay.core.idempotency import MAX_KEY_CHARS
from relay.core.quotas import NAMES
from relay.http import openapi_parts as part
from relay.http.openapi_parts import Schema, operation, parameter, problems, ref
from relay.wire.ids import Role
from relay.wire.limits import MAX_PARTICIPANTS, MAX_RETENTION_HOURS

PATH: Final = "/v1/openapi.json"

_USER: Final = {"type": "string", "pattern": "^[A-Za-z0-9][A-Za-z0-9._:@~-]{0,63}$"}
_ENGAGEMENT_ID: Final = {"type": "string", "pattern": "^eng_[A-Za-z0-9_-]{21}[AQgw]$"}
_DEVICE_ID: Final = {"type": "string", "pattern": "^[0-9a-f]{32}$"}
_TIME: Final = {"type": "integer", "minimum": 0, "description": "Unix seconds."}

_SCHEMAS: Final[dict[str, Schema]] = {
    "Participant": part.record(
        user={**_USER, "description": "The portal's opaque id for a person."},
        role={"type": "string", "enum": [role.value for role in Role]},
    ),
    "Participants": {
        "type": "array",
        "items": ref("Participant"),
        "minItems": 1,
        "maxItems": MAX_PARTICIPANTS,
        "description": "Each user once.",
    },
    "NewEngagement": part.record(
        optional={"retention_days": {"type": "integer", "minimum": 1, "maximum": MAX_RETENTION_HOURS // 24}},
        participants=ref("Participants"),
    ),
    "Roster": part.record(participants=ref("Participants")),
    "Engagement": part.record(
        id=_ENGAGEMENT_ID,
        status={"type": "string", "enum": list(STATUSES)},
        created=_TIME,
        ended={"type": ["integer", "null"], "description": "Unix seconds; null while it is active."},
        retention_hours={"type": "integer", "minimum": 1, "maximum": MAX_RETENTION_HOURS},
        participants=ref("Participants"),
    ),
    "EngagementPage": part.record(
        engagements={"type": "array", "items": ref("Engagement"), "maxItems": MAX_PAGE},
        next={"type": ["string", "null"], "description": "The cursor of the next page; null: there is none."},
    ),
    "Devices": part.record(
        devices={
            "type": "array",
            "maxItems": MOST_SEEN,
            "items": part.record(device=_DEVICE_ID, last_seen={"type": "string", "format": "date"}),
        },
        device_list={
            "type": ["string", "null"],
            "pattern": _DEVICE_ID["pattern"],
            "description": "The signed list that counts for this user; the same until the user begins anew.",
        },
    ),
    "Revocation": {
        **part.record(
            optional={
                "issued_before": {**_TIME, "description": "Unix seconds by the portal's clock."},
                "jti": {"type": "string", "minLength": 1, "maxLength": MAX_TOKEN_ID_CHARS},
            }
        ),
        "maxProperties": 1,
        "description": "Empty: all tokens issued until now.",
    },
    "Problem": {
        **part.record(
            optional={
                "quota": {"type": "string", "enum": list(NAMES)},
                "limit": {"type": "integer", "minimum": 1},
            },
            type={"type": "string", "pattern": "^urn:coach-relay:problem:[a-z_]+$"},
            title={"type": "string"},
            status={"type": "integer", "minimum": 400, "maximum": 599},
            code={"type": "string", "description": "Stable; PROTOCOL.md lists them."},
            detail={"type": "string"},
        ),
        "description": "RFC 9457.",
    },
}

_ENGAGEMENT: Final = parameter("path", "id", _ENGAGEMENT_ID)
_OF_USER: Final = parameter("path", "user", _USER)
_KEY: Final = parameter(
    "header",
    "Idempotency-Key",
    {"type": "string", "pattern": f"^[!-~]{{1,{MAX_KEY_CHARS}}}$"},
    "For 24 hours the same request under the same key gets the same answer.",
)
_FILTERS: Final = [
    parameter("query", "user", _USER, "Only those that this user takes part in."),
    parameter("query", "status", {"type": "string", "enum": list(STATUSES)}),
    parameter(
        "query",
        "limit",
        {"type": "integer", "minimum": 1, "maximum": MAX_PAGE, "default": DEFAULT_PAGE},
        "A page may be shorter, also empty, while there is a next one.",
    ),
    parameter("query", "cursor", {"type": "string", "maxLength": MAX_CURSOR_CHARS}, "`next` of a page."),
]

_PATHS: Final[dict[str, dict[str, Schema]]] = {
    "/v1/engagements": {
        "post": operation(
            "createEngagement",
            "Open an engagement. Its roster invites; the members' devices admit.",
            parameters=[_KEY],
            body="NewEngagement",
            answers={201: "Engagement"},
            refusals=problems(400, 403, 413, 415, 422, 507),
            location=True,
        ),
        "get": operation(
            "listEngagements",
            "The portal's engagements, page by page.",
            parameters=_FILTERS,
            answers={200: "EngagementPage"},
            refusals=problems(400),
        ),
    },
    "/v1/engagements/{id}": {
        "get": operation(
            "readEngagement",
            "One engagement.",
            parameters=[_ENGAGEMENT],
            answers={200: "Engagement"},
            refusals=problems(404),
        ),
    },
    "/v1/engagements/{id}/participants": {
        "put": operation(
            "setParticipants",
            "Another roster. Who is gone from it is cut off at once.",
            parameters=[_ENGAGEMENT],
            body="Roster",
            answers={200: "Engagement"},
            refusals=problems(400, 404, 409, 413, 415, 507),
        ),
    },
    "/v1/engagements/{id}/end": {
        "post": operation(
            "endEngagement",
            "End it for good: what the relay holds of it is erased. It may be repeated.",
            parameters=[_ENGAGEMENT],
            answers={200: "Engagement"},
            refusals=problems(400, 404, 413, 507),
        ),
    },
    "/v1/users/{user}/devices": {
        "get": operation(
            "listDevices",
            "The devices of a user that the relay knows, the day each was last connected, and their list.",
            parameters=[_OF_USER],
            answers={200: "Devices"},
            refusals=problems(404),
        ),
    },
    "/v1/users/{user}/devices/{device}": {
        "delete": operation(
            "revokeDevice",
            "Shut a device out, at once and for good.",
            parameters=[_OF_USER, parameter("path", "device", _DEVICE_ID)],
            answers={204: None},
            refusals=problems(400, 404, 507),
        ),
    },
    "/v1/users/{user}/device-lists/{list}": {
        "delete": operation(
            "endDeviceList",
            "For a user who has lost every device and the recovery kit: shut out the devices of this list "
            "for good, revoke the user's access tokens, and take the next list as a first one.",
            parameters=[_OF_USER, parameter("path", "list", _DEVICE_ID)],
            answers={204: None},
            refusals=problems(404, 507),
        ),
    },
    "/v1/users/{user}/revoke-tokens": {
        "post": operation(
            "revokeTokens",
            "Refuse a user's access tokens, and end the connections that came with them, at once.",
            parameters=[_OF_USER],
            body="Revocation",
            answers={204: None},
            refusals=problems(400, 404, 413, 415, 507),
        ),
    },
}


def document() -> dict[str, Any]:
    """The document."""
    return {
        "openapi": "3.1.0",
        "info": {
            "title": "Coach Relay: the portal API",
            "version": "1",
            "summary": "A portal's server opens, changes and ends its engagements, and takes access back.",
            "license": {"name": "Apache-2.0", "identifier": "Apache-2.0"},
        },
        "servers": [{"url": "/"}],
        "security": [{"apiKey": []}],
        "paths": _PATHS,
        "components": {
            "schemas": _SCHEMAS,
            "responses": part.RESPONSES,
            "securitySchemes": {
                "apiKey": {
                    "type": "http",
                    "scheme": "bearer",
                    "description": "The portal's API key, as `coach-relay portal add` prints it.",
                }
            },
        },
    }


def text() -> str:
    """The document as it is served and written down."""
    return json.dumps(document(), indent=1) + "\n"


class OpenApi:
    """Serves the document: it tells nothing that the documentation does not."""

    def __init__(self) -> None:
        self._body = text().encode()

    def routes(self) -> list[web.RouteDef]:
        return [web.get(PATH, self.read, allow_head=False)]

    async def read(self, _request: web.Request) -> web.Response:
        return web.Response(body=self._body, content_type="application/json")
