"""The newest signed device list of each user: who is revoked is out at once (PROTOCOL 2.4)."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from relay.core.manifests import HeldManifest, Manifest, read_manifest, take_manifest
from relay.errors import InvalidRequest, StoreUnavailable
from relay.hub.session import Session
from relay.store.interface import ABSENT
from relay.wire import frames as fr
from relay.wire.errors import ErrorCode, WireError

if TYPE_CHECKING:
    from relay.hub.hub import Hub

_ATTEMPTS: Final = 16  # more devices than a user may have cannot be in each other's way longer


class Manifests:
    """Answers `PutManifest`."""

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
                await self._shut_out(session, held)
        session.send(fr.HeldManifest(frame.request, None if held is None else held.manifest))

    async def _put(self, session: Session, manifest: Manifest) -> HeldManifest | None:
        devices = self._hub.devices
        for _ in range(_ATTEMPTS):
            held, version = await devices.manifest(session.portal, session.user, cached=False)
            taken = take_manifest(held, manifest, session.device)
            if taken is None or taken == held:
                return held
            if await devices.keep_manifest(session.portal, session.user, taken, version or ABSENT):
                return taken
        raise StoreUnavailable("too many device lists of one user at once")

    async def _shut_out(self, session: Session, held: HeldManifest) -> None:
        """Done again when the same list is put again: a crash may have come in between."""
        hub = self._hub
        for device in held.revoked:
            hub.end_device(device, ErrorCode.DEVICE_REVOKED)
        if await hub.devices.release(session.portal, session.user, held.revoked):
            for device in held.revoked:
                hub.key_packages.forgotten(device)
            hub.spawn(hub.engagements_of_changed(session.portal, session.user))


def _read(session: Session, raw: bytes) -> Manifest:
    try:
        manifest = read_manifest(raw)
    except InvalidRequest as error:
        raise WireError(ErrorCode.MALFORMED, str(error)) from error
    if (manifest.portal, manifest.user) != (session.portal, session.user):
        raise WireError(ErrorCode.MALFORMED, "a device list of somebody else")
    return manifest
