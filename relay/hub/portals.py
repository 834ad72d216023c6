"""Portals in the Directory: for the relay, and for the CLI while a relay runs."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace
from typing import Final, NamedTuple

from relay.core import portals as rules
from relay.core.portals import PortalRecord
from relay.errors import AccessRefused, InvalidRequest, NotFound, RecordConflict
from relay.hub import spaces
from relay.store.interface import ABSENT, Directory
from relay.wire.errors import ErrorCode
from relay.wire.ids import PortalId

_PAGE: Final = 256


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

    async def add(self, portal: str, *, origins: Sequence[str] = ()) -> NewKeys:
        """A new portal with keys of its own; raises `InvalidRequest`, also if it exists."""
        api_key = rules.make_api_key(rules.check_portal_id(portal), self._rng(rules.API_KEY_RANDOM_BYTES))
        record = rules.new_portal(
            portal,
            api_key=api_key,
            token_secret=self._rng(rules.TOKEN_SECRET_BYTES),
            origins=origins,
            now=int(self._clock()),
        )
        try:
            await self._directory.put(spaces.PORTALS, record.id, record.serialize(), expect=ABSENT)
        except RecordConflict:
            raise InvalidRequest("this portal exists") from None
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

    async def rotate(self, portal: PortalId) -> NewKeys:
        """New keys; the old ones are worth nothing from now on. Raises `NotFound`."""
        record = await self.read(portal)
        api_key = rules.make_api_key(portal, self._rng(rules.API_KEY_RANDOM_BYTES))
        renewed = replace(
            record,
            api_key_hash=rules.hash_api_key(api_key),
            token_secret=self._rng(rules.TOKEN_SECRET_BYTES),
        )
        await self._directory.put(spaces.PORTALS, portal, renewed.serialize())
        return NewKeys(renewed, api_key)

    async def remove(self, portal: PortalId) -> None:
        """Shut a portal out; its engagements stay until their retention is over. Raises `NotFound`."""
        await self.read(portal)
        await self._directory.delete(spaces.PORTALS, portal)

    async def authenticate(self, api_key: str) -> PortalRecord:
        """The portal whose API key this is; raises `AccessRefused` (`token_invalid`)."""
        try:
            record = await self.read(rules.portal_of_api_key(api_key))
        except NotFound:
            raise AccessRefused(ErrorCode.TOKEN_INVALID) from None
        record.check_api_key(api_key)
        return record
