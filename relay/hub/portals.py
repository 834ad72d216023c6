"""Portals in the Directory: for the relay, and for the CLI while a relay runs."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace
from typing import Final, NamedTuple

from relay.core import portals as rules
from relay.core.portals import PortalRecord
from relay.core.quotas import Quotas, check_quotas
from relay.errors import AccessRefused, InvalidRequest, NotFound, RecordConflict, StoreUnavailable
from relay.hub import notes, spaces
from relay.store.interface import ABSENT, Directory
from relay.wire.errors import ErrorCode
from relay.wire.ids import PortalId

_PAGE: Final = 256
_ATTEMPTS: Final = 16


class NewKeys(NamedTuple):
    """A portal's record with its API key, which is shown once and not kept."""

    record: PortalRecord
    api_key: str

    def __repr__(self) -> str:
        return f"NewKeys({self.record.id})"


class Portals:
    """Adds, reads, renews and removes portals."""

    def __init__(
        self, directory: Directory, *, clock: Callable[[], float], rng: Callable[[int], bytes]
    ) -> None:
        self._directory = directory
        self._clock = clock
        self._rng = rng

    async def add(self, portal: str, *, origins: Sequence[str] = (), token_key: bytes = b"") -> NewKeys:
        """A new portal with keys of its own; raises `InvalidRequest`, also if it exists.

        With `token_key` (an Ed25519 public key) it has no token secret.
        """
        api_key = rules.make_api_key(rules.check_portal_id(portal), self._rng(rules.API_KEY_RANDOM_BYTES))
        record = rules.new_portal(
            portal,
            api_key=api_key,
            token_secret=b"" if token_key else self._rng(rules.TOKEN_SECRET_BYTES),
            token_key=token_key,
            origins=origins,
            now=int(self._clock()),
        )
        try:
            await self._directory.put(spaces.PORTALS, record.id, record.serialize(), expect=ABSENT)
        except RecordConflict:
            raise InvalidRequest(
                f"the portal {record.id} is registered already: `coach-relay portal rotate {record.id}` "
                f"gives it new keys, `coach-relay portal set-origins {record.id} ORIGIN` other pages"
            ) from None
        return NewKeys(record, api_key)

    async def read(self, portal: PortalId) -> PortalRecord:
        """A portal; raises `NotFound`."""
        record = await self._directory.get(spaces.PORTALS, portal)
        if record is None:
            raise NotFound("no such portal")
        return PortalRecord.parse(record.value)

    async def list(self) -> list[PortalRecord]:
        """All portals, in the order of their ids."""
        found: list[PortalRecord] = []
        after = ""
        while True:
            page = await self._directory.scan(spaces.PORTALS, "", after=after, limit=_PAGE)
            found.extend(PortalRecord.parse(value) for _, value in page)
            if len(page) < _PAGE:
                return found
            after = page[-1][0]

    async def rotate(self, portal: PortalId, *, overlap: int = 0) -> NewKeys:
        """New keys; the old ones are worth nothing after `overlap` seconds. Raises `NotFound`."""
        api_key = rules.make_api_key(portal, self._rng(rules.API_KEY_RANDOM_BYTES))
        secret = self._rng(rules.TOKEN_SECRET_BYTES)
        now = int(self._clock())
        renewed = await self._change(
            portal,
            lambda record: rules.rotated(
                record, api_key=api_key, token_secret=secret, now=now, overlap=overlap
            ),
        )
        return NewKeys(renewed, api_key)

    async def add_token_key(self, portal: PortalId, public: bytes) -> PortalRecord:
        """Register an Ed25519 public key; raises `NotFound` or `InvalidRequest`."""
        now = int(self._clock())
        return await self._change(portal, lambda record: rules.with_token_key(record, public, now))

    async def remove_token_key(self, portal: PortalId, name: str) -> PortalRecord:
        """Take away a registered key, or the token secret; raises `NotFound` or `InvalidRequest`."""
        return await self._change(portal, lambda record: rules.without_token_key(record, name))

    async def set_origins(self, portal: PortalId, origins: Sequence[str]) -> PortalRecord:
        """Other pages from which browsers may connect; raises `NotFound` or `InvalidRequest`."""
        return await self._change(portal, lambda record: rules.with_origins(record, origins))

    async def set_quotas(self, portal: PortalId, change: Callable[[Quotas], Quotas]) -> PortalRecord:
        """Other quotas; raises `NotFound` or `InvalidRequest`."""
        return await self._change(
            portal, lambda record: replace(record, quotas=check_quotas(change(record.quotas)))
        )

    async def remove(self, portal: PortalId) -> None:
        """Shut a portal out; its engagements stay until their retention is over. Raises `NotFound`."""
        await self.read(portal)
        await self._directory.delete(spaces.PORTALS, portal)
        await notes.leave(self._directory, notes.PORTAL, portal)

    async def _change(self, portal: PortalId, change: Callable[[PortalRecord], PortalRecord]) -> PortalRecord:
        """Change a portal, and let the relay that runs look at its connections again."""
        for _ in range(_ATTEMPTS):
            stored = await self._directory.get(spaces.PORTALS, portal)
            if stored is None:
                raise NotFound("no such portal")
            after = change(PortalRecord.parse(stored.value))
            try:
                await self._directory.put(spaces.PORTALS, portal, after.serialize(), expect=stored.version)
            except RecordConflict:
                continue
            await notes.leave(self._directory, notes.PORTAL, portal)
            return after
        raise StoreUnavailable("too many changes of one portal at once")

    async def authenticate(self, api_key: str) -> PortalRecord:
        """The portal whose API key this is; raises `AccessRefused` (`token_invalid`)."""
        try:
            record = await self.read(rules.portal_of_api_key(api_key))
        except NotFound:
            raise AccessRefused(ErrorCode.TOKEN_INVALID) from None
        record.check_api_key(api_key, int(self._clock()))
        return record
