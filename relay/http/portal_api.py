"""The portal API (PROTOCOL 13): a portal's server opens, reads, changes and ends its engagements."""

from __future__ import annotations

from http import HTTPStatus
from typing import Any, Final

from aiohttp import web

from relay.core.engagement_pages import DEFAULT_PAGE, MAX_PAGE, STATUSES, Query
from relay.core.engagements import EngagementRecord
from relay.http.json_body import check_type, read_object, refuse_body
from relay.http.portal_access import PortalAccess
from relay.http.problems import malformed, not_found
from relay.http.query import read_query
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

_USER: Final = "A user is 1 to 64 of A-Z a-z 0-9 . _ : @ ~ -, beginning with a letter or digit."
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
            web.get("/v1/engagements", self.list_page, allow_head=False),
            web.get("/v1/engagements/{id}", self.read, allow_head=False),
            web.put("/v1/engagements/{id}/participants", self.set_participants),
            web.post("/v1/engagements/{id}/end", self.end),
        ]

    async def create(self, request: web.Request) -> web.Response:
        portal = await self._access.record(request)
        key = _idempotency_key(request)
        body = await read_object(request, required={"participants": list}, optional={"retention_days": int})
        record = await self._hub.engagements.create(
            portal.id,
            _participants(body),
            retention_hours=self._retention_hours(body),
            quotas=portal.quotas,
            key=key,
        )
        return _answer(
            record, status=HTTPStatus.CREATED, headers={"Location": f"/v1/engagements/{record.id}"}
        )

    async def list_page(self, request: web.Request) -> web.Response:
        """A page of the portal's engagements, the oldest first; `next` is the cursor of the page after it."""
        portal = await self._access.authenticate(request)
        asked = read_query(request, "user", "status", "limit", "cursor")
        page = await self._hub.engagements.list_page(
            portal, _query(asked), cursor=asked.get("cursor"), limit=_limit(asked)
        )
        return web.json_response(
            {"engagements": [_shown(record) for record in page.engagements], "next": page.next}
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


def _idempotency_key(request: web.Request) -> str | None:
    """The one Idempotency-Key of a request, if it has any (draft-ietf-httpapi-idempotency-key-header)."""
    found = request.headers.getall("Idempotency-Key", [])
    if len(found) > 1:
        raise malformed("The header Idempotency-Key stands twice.")
    return found[0] if found else None


def _query(asked: dict[str, str]) -> Query:
    status = asked.get("status")
    if status is not None and status not in STATUSES:
        raise malformed(f"The status is one of {', '.join(STATUSES)}.")
    try:
        return Query(parse_user_id(asked["user"]) if "user" in asked else None, status)
    except WireError:
        raise malformed(_USER) from None


def _limit(asked: dict[str, str]) -> int:
    text = asked.get("limit", str(DEFAULT_PAGE))
    if not (text.isascii() and text.isdecimal() and len(text) <= 3 and 1 <= int(text) <= MAX_PAGE):
        raise malformed(f"The limit is a whole number from 1 to {MAX_PAGE}.")
    return int(text)


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
        raise malformed(_USER) from None
    try:
        return Participant(user, parse_role(one["role"]))
    except WireError:
        raise malformed(f"A role is one of {', '.join(Role)}.") from None


def _answer(
    record: EngagementRecord, *, status: int = HTTPStatus.OK, headers: dict[str, str] | None = None
) -> web.Response:
    return web.json_response(_shown(record), status=status, headers=headers)


def _shown(record: EngagementRecord) -> dict[str, Any]:
    return {
        "id": record.id,
        "status": record.status,
        "created": record.created,
        "ended": record.ended or None,
        "retention_hours": record.retention_hours,
        "participants": [{"user": one.user, "role": one.role.value} for one in record.participants],
    }
