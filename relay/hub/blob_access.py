"""Blob tokens of this relay: its secret is made once and kept in the Directory."""

from __future__ import annotations

import contextlib
from collections.abc import Callable

from relay.core.blob_access import SECRET_BYTES, BlobGrant, mint_blob_token, verify_blob_token
from relay.errors import AccessRefused, NotFound, RecordConflict, StoreCorrupt, StoreUnavailable
from relay.hub import spaces
from relay.hub.devices import Devices
from relay.hub.engagements import Engagements
from relay.store.interface import ABSENT, Directory
from relay.wire.errors import ErrorCode
from relay.wire.ids import DeviceId, EngagementId, PortalId
from relay.wire.limits import BLOB_TOKEN_SECONDS

_NAME = "blob"


class BlobAccess:
    """Mints tokens and verifies them."""

    def __init__(
        self,
        directory: Directory,
        engagements: Engagements,
        devices: Devices,
        *,
        clock: Callable[[], float],
        rng: Callable[[int], bytes],
    ) -> None:
        self._directory = directory
        self._engagements = engagements
        self._devices = devices
        self._clock = clock
        self._rng = rng
        self._secret: bytes | None = None

    async def start(self) -> None:
        """Read the secret, or make it; raises `StoreError`."""
        with contextlib.suppress(RecordConflict):  # it was made at an earlier start
            await self._directory.put(spaces.SECRETS, _NAME, self._rng(SECRET_BYTES), expect=ABSENT)
        record = await self._directory.get(spaces.SECRETS, _NAME)
        if record is None or len(record.value) != SECRET_BYTES:
            raise StoreCorrupt("the relay's secret is damaged")
        self._secret = record.value

    def mint(self, portal: PortalId, engagement: EngagementId, device: DeviceId) -> tuple[str, int]:
        """A token for uploads and downloads, and when it expires (Unix seconds)."""
        expires = int(self._clock()) + BLOB_TOKEN_SECONDS
        return mint_blob_token(self._known(), BlobGrant(portal, engagement, device, expires)), expires

    async def verify(self, token: str) -> BlobGrant:
        """What a token grants now: the engagement stands and the device's user is still on its roster.

        Raises `AccessRefused` (`token_invalid`, `token_expired`), `NotFound` or `StoreError`.
        """
        grant = verify_blob_token(self._known(), token, now=int(self._clock()))
        binding = await self._devices.binding(grant.device)
        if binding is None or binding.portal != grant.portal:
            raise AccessRefused(ErrorCode.TOKEN_INVALID)
        if await self._devices.is_revoked(binding.portal, binding.user, grant.device):
            raise AccessRefused(ErrorCode.TOKEN_INVALID)
        record = await self._engagements.load_for_user(grant.engagement, grant.portal, binding.user)
        if record.ended:
            raise NotFound("the engagement has ended")
        return grant

    def _known(self) -> bytes:
        if self._secret is None:
            raise StoreUnavailable("the hub has not started")
        return self._secret
