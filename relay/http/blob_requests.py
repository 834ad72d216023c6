"""What uploads and downloads share: who asks, for which blob, and how many may at once."""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager, contextmanager
from http import HTTPStatus

from aiohttp import web

from relay.core.blob_access import BlobGrant
from relay.core.portals import PortalRecord
from relay.core.uploads import UploadRecord
from relay.errors import AccessRefused
from relay.http.bearer import bearer
from relay.http.cors import check_origin
from relay.http.problems import RETRY_AFTER_SECONDS, Problem, not_found, unauthorized
from relay.hub import Hub
from relay.wire.errors import ErrorCode, WireError
from relay.wire.ids import BlobId, DeviceId, UserId, parse_blob_id


class BlobRequests:
    """The records behind blob requests, as far as a grant reaches."""

    def __init__(self, hub: Hub) -> None:
        self._hub = hub

    async def grant(self, request: web.Request) -> BlobGrant:
        """Return what the request's blob token allows now; raises `Problem`, `NotFound` or `StoreError`."""
        token = bearer(request, "a token from BlobAccess")
        try:
            grant = await self._hub.blob_access.verify(token)
        except AccessRefused as error:
            raise _no_longer(error) from None
        check_origin(request, await self.portal(grant))
        await self._check(grant, await self._user(grant))
        return grant

    @asynccontextmanager
    async def transfer(self, request: web.Request, grant: BlobGrant) -> AsyncIterator[None]:
        """Have the request's connection cut if what the grant allows is taken back meanwhile.

        It is noted first and then checked once more: what was taken back since `grant` raises `Problem` or
        `NotFound`.
        """

        def cut() -> None:
            if request.transport is not None:
                request.transport.abort()

        user = await self._user(grant)
        with self._hub.access.transfer(grant, user, cut):
            await self.portal(grant)
            await self._check(grant, user)
            yield

    async def _user(self, grant: BlobGrant) -> UserId:
        binding = await self._hub.devices.binding(grant.device)
        if binding is None:
            raise _no_longer(AccessRefused(ErrorCode.TOKEN_INVALID))
        return binding.user

    async def _check(self, grant: BlobGrant, user: UserId) -> None:
        try:
            await self._hub.access.check_grant(grant, user)
        except AccessRefused as error:
            raise _no_longer(error) from None

    async def portal(self, grant: BlobGrant) -> PortalRecord:
        """Return the portal that a grant belongs to; raises `NotFound` if it was removed."""
        return await self._hub.portals.read(grant.portal)

    async def create(self, grant: BlobGrant, size: int) -> UploadRecord:
        """Begin an upload; raises `InvalidRequest`, `RateLimited`, `QuotaExceeded` or `StoreError`."""
        portal = await self.portal(grant)
        return await self._hub.uploads.begin(grant.engagement, size, owner=grant.device, portal=portal)

    async def terminate(self, grant: BlobGrant, blob: BlobId, *, retracted: bool) -> None:
        """Give an upload up, or take it back; raises `NotFound` or `UploadNamed`."""
        await self._hub.uploads.terminate(grant.engagement, blob, grant.device, retracted=retracted)

    async def record(self, grant: BlobGrant, blob: BlobId) -> UploadRecord:
        """Return an upload of the grant's engagement; raises `NotFound`, for another engagement's too."""
        return await self._hub.uploads.read(grant.engagement, blob)

    async def reread(self, record: UploadRecord) -> UploadRecord:
        """Return an upload as it is now; raises `NotFound` if it was erased meanwhile."""
        return await self._hub.uploads.read(record.engagement, record.blob)

    async def finish(self, record: UploadRecord) -> None:
        """Note that all of it is durable; raises `NotFound` if it was erased meanwhile."""
        await self._hub.uploads.finish(record.engagement, record.blob)


def _no_longer(error: AccessRefused) -> Problem:
    return unauthorized("The blob token is not good, or no longer.", code=str(error.code))


def blob_id(request: web.Request) -> BlobId:
    """Return the blob that the path names; what is no id at all is not found either."""
    try:
        return parse_blob_id(request.match_info["id"])
    except WireError:
        raise not_found() from None


class Places:
    """So many requests at once, and so many of one device."""

    def __init__(self, most: int, *, per_device: int) -> None:
        self._most = most
        self._per_device = per_device
        self._taken: Counter[DeviceId] = Counter()
        self._idle = asyncio.Event()
        self._idle.set()

    async def wait_idle(self) -> None:
        """Wait until no place is taken."""
        await self._idle.wait()

    @contextmanager
    def take(self, grant: BlobGrant) -> Iterator[None]:
        """Take a place while the context lasts; raises `Problem` (`rate_limited`) if there is none."""
        if self._taken.total() >= self._most or self._taken[grant.device] >= self._per_device:
            raise Problem(
                HTTPStatus.TOO_MANY_REQUESTS,
                "rate_limited",
                "Too many transfers at once.",
                headers={"Retry-After": str(RETRY_AFTER_SECONDS)},
            )
        self._taken[grant.device] += 1
        self._idle.clear()
        try:
            yield
        finally:
            self._taken[grant.device] -= 1
            if not self._taken[grant.device]:
                del self._taken[grant.device]
            if not self._taken:
                self._idle.set()
