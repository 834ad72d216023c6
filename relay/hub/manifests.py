"""The newest signed device list of each user: who is revoked is out at once (PROTOCOL 2.4)."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from relay.core.manifests import HeldManifest, Manifest, end_list, read_manifest, take_manifest
from relay.errors import InvalidRequest, NotFound, StoreUnavailable
from relay.hub.nodes import MANIFEST
from relay.hub.session import Session
from relay.store.interface import ABSENT
from relay.wire import frames as fr
from relay.wire.errors import ErrorCode, WireError
from relay.wire.ids import PortalId, UserId

if TYPE_CHECKING:
    from relay.hub.hub import Hub

_ATTEMPTS: Final = 16  # more devices than a user may have cannot be in each other's way longer


class Manifests:
    """Answers `PutManifest`, and ends a list for a portal."""

    def __init__(self, hub: Hub) -> None:
        self._hub = hub

    async def put(self, session: Session, frame: fr.PutManifest) -> None:
        """Keep a list that follows the one that is held, and end the connections of those who left it."""
        devices = self._hub.devices
        if frame.manifest is None:
            held, _ = await devices.manifest(session.portal, session.user)
        else:
            held = await self._put(session, _read(session, frame.manifest))
            if held is not None and held.manifest == frame.manifest:
                await self._shut_out(session.portal, session.user, held)
        session.send(fr.HeldManifest(frame.request, (held.manifest or None) if held else None))

    async def end_list(self, portal: PortalId, user: UserId, named: bytes) -> None:
        """The user has lost all devices and the recovery kit: the next list is a first one.

        Who was on the list is shut out for good, and the user's tokens count no more: a device that connects
        again does so with one that the portal gave it afterwards. Raises `NotFound` if this list is not held.
        """
        devices = self._hub.devices
        for _ in range(_ATTEMPTS):
            held, version = await devices.manifest(portal, user, cached=False)
            if held is None or held.list_id != named:
                raise NotFound("no such device list")
            ended = end_list(held)
            # Before the list: a repeated request does not find it any more, whatever a crash left undone.
            self._end_connections(ended)
            await self._hub.access.revoke_tokens(portal, user)
            if await devices.keep_manifest(portal, user, ended, version):
                self._hub.nodes.tell(MANIFEST, portal, user)
                await self._shut_out(portal, user, ended)
                return
        raise StoreUnavailable("too many device lists of one user at once")

    async def _put(self, session: Session, manifest: Manifest) -> HeldManifest | None:
        devices = self._hub.devices
        for _ in range(_ATTEMPTS):
            held, version = await devices.manifest(session.portal, session.user, cached=False)
            taken = take_manifest(held, manifest, session.device)
            if taken is None or taken == held:
                return held
            if await devices.keep_manifest(session.portal, session.user, taken, version or ABSENT):
                self._hub.nodes.tell(MANIFEST, session.portal, session.user)
                return taken
        raise StoreUnavailable("too many device lists of one user at once")

    async def _shut_out(self, portal: PortalId, user: UserId, held: HeldManifest) -> None:
        """Done again when the same list is put again: a crash may have come in between."""
        hub = self._hub
        self._end_connections(held)
        if await hub.devices.release(portal, user, held.revoked):
            hub.spawn(hub.engagements_of_changed(portal, user))

    def _end_connections(self, held: HeldManifest) -> None:
        for device in held.revoked:
            self._hub.end_device(device, ErrorCode.DEVICE_REVOKED)


def _read(session: Session, raw: bytes) -> Manifest:
    try:
        manifest = read_manifest(raw)
    except InvalidRequest as error:
        raise WireError(ErrorCode.MALFORMED, str(error)) from error
    if (manifest.portal, manifest.user) != (session.portal, session.user):
        raise WireError(ErrorCode.MALFORMED, "a device list of somebody else")
    return manifest
