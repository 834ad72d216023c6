"""Who may be here: what each connection was let in with, and what portal and operator have taken back.

A revocation is stored first and then looked for among the connections; a connection is noted first and then
checked against what is stored. So whichever comes first, none slips through.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING, Final, NamedTuple

from relay.core import revocations as rules
from relay.core.access import AccessToken
from relay.core.blob_access import BlobGrant
from relay.core.quotas import Quotas
from relay.core.revocations import NOTHING_REVOKED, Revocations
from relay.errors import AccessRefused, NotFound, QuotaExceeded, RecordConflict, StoreUnavailable
from relay.hub import notes, spaces
from relay.hub.nodes import PORTAL, REVOKED
from relay.hub.session import Session
from relay.store.interface import ABSENT
from relay.wire.errors import ErrorCode
from relay.wire.ids import DeviceId, EngagementId, PortalId, UserId

if TYPE_CHECKING:
    from relay.hub.hub import Hub

_ATTEMPTS: Final = 16
_PAGE: Final = 256


class _Entry(NamedTuple):
    token: AccessToken
    device: DeviceId


class _Transfer(NamedTuple):
    grant: BlobGrant
    user: UserId
    cut: Callable[[], None]


class Access:
    """Keeps every connection's token against what is revoked."""

    def __init__(self, hub: Hub) -> None:
        self._hub = hub
        self._entries: dict[Session, _Entry] = {}
        self._transfers: dict[object, _Transfer] = {}
        self._polling = False
        self._doubts = 0
        self._settled = 0  # of the doubts
        self.connections: Counter[PortalId] = Counter()
        self.refused_connections = 0
        self.portal_changes = 0  # how often a portal's keys may have changed since we started

    # For connections

    async def enter(self, session: Session, token: AccessToken, device: DeviceId, changes: int) -> None:
        """Note what a connection shows, and check it; raises `AccessRefused` or `StoreError`.

        `changes` is what `portal_changes` was before the token was verified.
        """
        if session.closed:
            return
        self._check_quota(session, token, device)
        if session not in self._entries:
            self.connections[token.portal] += 1
        self._entries[session] = _Entry(token, device)
        if changes != self.portal_changes and token.key not in await self._key_names(token.portal):
            raise AccessRefused(ErrorCode.TOKEN_INVALID)
        (await self._read(token.portal, token.user)).check_token(token, device)

    def leave(self, session: Session) -> None:
        """A connection is gone."""
        entry = self._entries.pop(session, None)
        if entry is not None:
            self.connections[entry.token.portal] -= 1
            if not self.connections[entry.token.portal]:
                del self.connections[entry.token.portal]

    def _check_quota(self, session: Session, token: AccessToken, device: DeviceId) -> None:
        """Raise `QuotaExceeded` if the portal has no connection left; one in place of another is no more."""
        if not token.max_connections or session in self._entries:
            return
        older = self._hub.session_of(device)
        used = self.connections[token.portal] - (older is not None and older in self._entries)
        used += self._hub.nodes.connections_elsewhere(token.portal)
        try:
            Quotas(connections=token.max_connections).check("connections", used=used)
        except QuotaExceeded:
            self.refused_connections += 1
            raise

    # For uploads and downloads

    async def check_grant(self, grant: BlobGrant, user: UserId) -> None:
        """Raise `AccessRefused` if what a blob token grants was taken back."""
        (await self._read(grant.portal, user)).check_grant(grant)

    @contextmanager
    def transfer(self, grant: BlobGrant, user: UserId, cut: Callable[[], None]) -> Iterator[None]:
        """Have `cut` called if the grant is taken back while the context lasts."""
        key = object()
        self._transfers[key] = _Transfer(grant, user, cut)
        try:
            yield
        finally:
            del self._transfers[key]

    # For the portal

    async def revoke_tokens(
        self, portal: PortalId, user: UserId, *, issued_before: int | None = None
    ) -> Revocations:
        """Refuse a user's tokens, and end the connections that came with them; raises `InvalidRequest`."""
        return await self._change(
            portal,
            user,
            lambda before, now: rules.revoke_tokens(before, issued_before=issued_before, now=now),
        )

    async def revoke_token(self, portal: PortalId, user: UserId, token_id: str) -> Revocations:
        """Refuse one token of a user, by its `jti`; raises `InvalidRequest`."""
        return await self._change(portal, user, lambda before, now: rules.revoke_token(before, token_id, now))

    async def revoke_device(self, portal: PortalId, user: UserId, device: DeviceId) -> None:
        """Shut a device of a user out for good; raises `NotFound` if it is not the user's."""
        hub = self._hub
        binding = await hub.devices.binding(device)
        if binding is None or (binding.portal, binding.user) != (portal, user):
            raise NotFound("no such device")
        await self._change(portal, user, lambda before, now: rules.revoke_device(before, device, now))
        if await hub.devices.release(portal, user, [device]):
            hub.spawn(hub.engagements_of_changed(portal, user))

    # For what other processes change

    async def reread(self, portal: PortalId, user: UserId) -> None:
        """Another node has taken something back from a user."""
        self._end_revoked(portal, user, await self._read(portal, user))

    def doubt(self) -> None:
        """News of what was taken back may have been missed: look at everybody, until that could be done."""
        self._doubts += 1
        self._hub.spawn(self.poll())

    async def _settle_doubts(self) -> None:
        doubts = self._doubts
        if doubts > self._settled:
            await self._check_all()
            self._settled = doubts

    async def _check_all(self) -> None:
        users = {(token.portal, token.user) for token, _ in self._entries.values()}
        users |= {(transfer.grant.portal, transfer.user) for transfer in self._transfers.values()}
        for portal in {portal for portal, _ in users}:
            await self.portal_changed(portal)
        for place in users:
            await self.reread(*place)
            held, _ = await self._hub.devices.manifest(*place)
            for device in held.revoked if held else ():
                self._hub.end_device(device, ErrorCode.DEVICE_REVOKED)

    async def poll(self) -> None:
        """Look at what we may have missed, and at what the CLI has changed beside us; raises `StoreError`."""
        if self._polling:
            return
        self._polling = True
        try:
            await self._settle_doubts()
            await notes.work_off(
                self._hub.directory,
                {notes.PORTAL: self._portal_noted, notes.ENGAGEMENT: self._engagement_noted},
            )
        finally:
            self._polling = False

    async def sweep(self, now: int) -> None:
        """Forget what no longer matters."""
        after = ""
        while page := await self._hub.directory.scan(spaces.REVOCATIONS, "", after=after, limit=_PAGE):
            for key, value in page:
                if Revocations.parse(value).without_past(now) == NOTHING_REVOKED:
                    await self._forget(key, now)
            after = page[-1][0]

    # Inside

    async def _read(self, portal: PortalId, user: UserId) -> Revocations:
        record = await self._hub.directory.get(spaces.REVOCATIONS, spaces.user_key(portal, user))
        return Revocations.parse(record.value) if record else NOTHING_REVOKED

    async def _change(
        self, portal: PortalId, user: UserId, change: Callable[[Revocations, int], Revocations]
    ) -> Revocations:
        directory, key = self._hub.directory, spaces.user_key(portal, user)
        for _ in range(_ATTEMPTS):
            record = await directory.get(spaces.REVOCATIONS, key)
            before = Revocations.parse(record.value) if record else NOTHING_REVOKED
            after = change(before, int(self._hub.clock()))
            try:
                version = record.version if record else ABSENT
                await directory.put(spaces.REVOCATIONS, key, after.serialize(), expect=version)
            except RecordConflict:
                continue
            self._end_revoked(portal, user, after)
            self._hub.nodes.tell(REVOKED, portal, user)
            return after
        raise StoreUnavailable("too many revocations of one user at once")

    def _end_revoked(self, portal: PortalId, user: UserId, revoked: Revocations) -> None:
        for session, (token, device) in list(self._entries.items()):
            if (token.portal, token.user) == (portal, user):
                try:
                    revoked.check_token(token, device)
                except AccessRefused as error:
                    session.end(ErrorCode(error.code))
        for transfer in list(self._transfers.values()):
            if (transfer.grant.portal, transfer.user) == (portal, user):
                try:
                    revoked.check_grant(transfer.grant)
                except AccessRefused:
                    transfer.cut()

    async def _portal_noted(self, name: str) -> None:
        self._hub.nodes.tell(PORTAL, name)
        await self.portal_changed(name)

    async def portal_changed(self, name: str) -> None:
        """End what was let in with a key that its portal no longer has."""
        self.portal_changes += 1
        names = await self._key_names(PortalId(name))
        for transfer in list(self._transfers.values()):
            if not names and transfer.grant.portal == name:
                transfer.cut()
        for session, (token, _) in list(self._entries.items()):
            if token.portal == name and token.key not in names:
                session.end(ErrorCode.TOKEN_INVALID)

    async def _key_names(self, portal: PortalId) -> frozenset[str]:
        """The keys of a portal; none if it was removed."""
        try:
            record = await self._hub.portals.read(portal)
        except NotFound:
            return frozenset()
        return record.token_key_names(int(self._hub.clock()))

    async def _engagement_noted(self, name: str) -> None:
        await self._hub.engagements.noted(EngagementId(name))

    async def _forget(self, key: str, now: int) -> None:
        directory = self._hub.directory
        record = await directory.get(spaces.REVOCATIONS, key)
        if record is None or Revocations.parse(record.value).without_past(now) != NOTHING_REVOKED:
            return
        try:
            await directory.delete(spaces.REVOCATIONS, key, expect=record.version)
        except RecordConflict:
            return  # something was revoked just now
