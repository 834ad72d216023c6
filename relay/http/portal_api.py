"""The portal API (PROTOCOL 13): a portal's server opens, reads, changes and ends its engagements."""

from __future__ import annotations

from http import HTTPStatus
from typing import Any, Final

from aiohttp import web

from relay.core.engagements import EngagementRecord
from relay.http.json_body import check_type, read_object, refuse_body
from relay.http.portal_access import PortalAccess
from relay.http.problems import malformed, not_found
from relay.hub import Hub
from relay.wire.errors import WireError
from relay.wire.frames import Participant
from relay.wire.ids import (
    EngagementId,
    Role,
    parse_engagement_id,
    parse_role,
    parse_user_id,
)
from relay.wire.limits import MAX_PARTICIPANTS, MAX_RETENTION_HOURS

MAX_RETENTION_DAYS: Final = MAX_RETENTION_HOURS // 24


class PortalApi:
    """The handlers. What is not the asking portal's answers exactly as what does not exist."""

    def __init__(self, hub: Hub, access: PortalAccess, *, default_retention_hours: int) -> None:
        self._hub = hub
        self._access = access
        self._default_retention_hours = default_retention_hours

    def routes(self) -> list[web.RouteDef]:
        return [
            web.post("/v1/engagements", self.create),
            web.get("/v1/engagements/{id}", self.read, allow_head=False),
            web.put("/v1/engagements/{id}/participants", self.set_participants),
            web.post("/v1/engagements/{id}/end", self.end),
        ]

    async def create(self, request: web.Request) -> web.Response:
        portal = await self._access.authenticate(request)
        body = await read_object(request, required={"participants": list}, optional={"retention_days": int})
        record = await self._hub.engagements.create(
            portal, _participants(body), retention_hours=self._retention_hours(body)
        )
        return _answer(
            record, status=HTTPStatus.CREATED, headers={"Location": f"/v1/engagements/{record.id}"}
        )

    async def read(self, request: web.Request) -> web.Response:
        portal = await self._access.authenticate(request)
        return _answer(await self._hub.engagements.read(portal, _engagement(request)))

    async def set_participants(self, request: web.Request) -> web.Response:
        portal = await self._access.authenticate(request)
        engagement = _engagement(request)
        body = await read_object(request, required={"participants": list}, optional={})
        return _answer(await self._hub.engagements.set_participants(portal, engagement, _participants(body)))

    async def end(self, request: web.Request) -> web.Response:
        portal = await self._access.authenticate(request)
        engagement = _engagement(request)
        await refuse_body(request)
        return _answer(await self._hub.engagements.end(portal, engagement))

    def _retention_hours(self, body: dict[str, Any]) -> int:
        days = body.get("retention_days")
        if days is None:
            return self._default_retention_hours
        if not 1 <= days <= MAX_RETENTION_DAYS:
            raise malformed(f"The field retention_days must be from 1 to {MAX_RETENTION_DAYS}.")
        return int(days) * 24


def _engagement(request: web.Request) -> EngagementId:
    try:
        return parse_engagement_id(request.match_info["id"])
    except WireError:
        raise not_found() from None


def _participants(body: dict[str, Any]) -> tuple[Participant, ...]:
    listed = body["participants"]
    if not 1 <= len(listed) <= MAX_PARTICIPANTS:
        raise malformed(f"The field participants must list 1 to {MAX_PARTICIPANTS}.")
    return tuple(_participant(one) for one in listed)


def _participant(one: Any) -> Participant:
    check_type("participants[]", one, dict)
    if set(one) != {"user", "role"}:
        raise malformed("A participant has exactly the fields user and role.")
    try:
        user = parse_user_id(one["user"])
    except WireError:
        raise malformed(
            "A user is 1 to 64 of A-Z a-z 0-9 . _ : @ ~ -, beginning with a letter or digit."
        ) from None
    try:
        return Participant(user, parse_role(one["role"]))
    except WireError:
        raise malformed(f"A role is one of {', '.join(Role)}.") from None


def _answer(
    record: EngagementRecord, *, status: int = HTTPStatus.OK, headers: dict[str, str] | None = None
) -> web.Response:
    shown = {
        "id": record.id,
        "status": record.status,
        "created": record.created,
        "ended": record.ended or None,
        "retention_hours": record.retention_hours,
        "participants": [{"user": one.user, "role": one.role.value} for one in record.participants],
    }
    return web.json_response(shown, status=status, headers=headers)
