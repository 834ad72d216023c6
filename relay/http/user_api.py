"""The portal API about users (PROTOCOL 13): their devices, and taking access back at once."""

from __future__ import annotations

from datetime import UTC, datetime
from http import HTTPStatus
from typing import Final

from aiohttp import web

from relay.http.json_body import read_object
from relay.http.portal_access import PortalAccess
from relay.http.problems import malformed, not_found
from relay.hub import Hub
from relay.hub.manifests import Manifests
from relay.wire.errors import WireError
from relay.wire.ids import DeviceId, UserId, parse_device_id, parse_user_id

_DAY_SECONDS: Final = 86_400


class UserApi:
    """The handlers. A device of another portal's user answers exactly as one that does not exist."""

    def __init__(self, hub: Hub, access: PortalAccess) -> None:
        self._hub = hub
        self._access = access
        self._manifests = Manifests(hub)

    def routes(self) -> list[web.RouteDef]:
        return [
            web.get("/v1/users/{user}/devices", self.devices, allow_head=False),
            web.delete("/v1/users/{user}/devices/{device}", self.revoke_device),
            web.delete("/v1/users/{user}/device-lists/{list}", self.end_list),
            web.post("/v1/users/{user}/revoke-tokens", self.revoke_tokens),
        ]

    async def devices(self, request: web.Request) -> web.Response:
        """The devices of a user, the day on which each was last connected, and which list is held."""
        portal = await self._access.authenticate(request)
        user = _user(request)
        seen = await self._hub.devices.seen(portal, user)
        shown = [{"device": device.hex(), "last_seen": _date(day)} for device, day in sorted(seen.items())]
        held, _ = await self._hub.devices.manifest(portal, user)
        name = held.list_id if held is not None else None
        return web.json_response({"devices": shown, "device_list": None if name is None else name.hex()})

    async def revoke_device(self, request: web.Request) -> web.Response:
        """Shut a device out for good; its connection ends."""
        portal = await self._access.authenticate(request)
        await self._hub.access.revoke_device(portal, _user(request), _device(request))
        return web.Response(status=HTTPStatus.NO_CONTENT)

    async def end_list(self, request: web.Request) -> web.Response:
        """End the list of a user who has lost all devices and the kit: the next one is a first one."""
        portal = await self._access.authenticate(request)
        await self._manifests.end_list(portal, _user(request), _list(request))
        return web.Response(status=HTTPStatus.NO_CONTENT)

    async def revoke_tokens(self, request: web.Request) -> web.Response:
        """Refuse all tokens of a user that exist, or one; the connections that came with them end."""
        portal = await self._access.authenticate(request)
        user = _user(request)
        body = await read_object(request, required={}, optional={"issued_before": int, "jti": str})
        if len(body) > 1:
            raise malformed("Name issued_before or jti, not both.")
        if "jti" in body:
            await self._hub.access.revoke_token(portal, user, body["jti"])
        else:
            await self._hub.access.revoke_tokens(portal, user, issued_before=body.get("issued_before"))
        return web.Response(status=HTTPStatus.NO_CONTENT)


def _user(request: web.Request) -> UserId:
    try:
        return parse_user_id(request.match_info["user"])
    except WireError:
        raise not_found() from None


def _device(request: web.Request) -> DeviceId:
    try:
        return parse_device_id(_hex(request.match_info["device"]))
    except WireError:
        raise not_found() from None


def _list(request: web.Request) -> bytes:
    return _hex(request.match_info["list"])


def _hex(text: str) -> bytes:
    try:
        return bytes.fromhex(text) if text == text.strip().lower() else b""
    except ValueError:
        raise not_found() from None


def _date(day: int) -> str:
    return datetime.fromtimestamp(day * _DAY_SECONDS, UTC).date().isoformat()
