"""Devices in the Directory: bound to the user that first proved them, at most 8 a user."""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterable
from typing import Any, Final

from relay.core.devices import DeviceBinding, UserDevices, note_device
from relay.core.manifests import HeldManifest, read_manifest
from relay.errors import AccessRefused, RecordConflict, StoreUnavailable
from relay.hub import spaces
from relay.hub.cache import Cache
from relay.store.interface import ABSENT, Directory
from relay.wire.errors import ErrorCode
from relay.wire.ids import DeviceId, PortalId, UserId
from relay.wire.limits import MAX_DEVICES_PER_USER

_CACHED: Final = 16_384
_ATTEMPTS: Final = 16  # more devices than a user may have cannot be in each other's way longer

_Held = tuple[HeldManifest | None, int]


class Devices:
    """Admits devices and knows whose they are. `forgotten` is told whose key packages were deleted."""

    def __init__(self, directory: Directory, forgotten: Callable[[DeviceId], None]) -> None:
        self._directory = directory
        self._forgotten = forgotten
        self._bindings: Cache[DeviceId, DeviceBinding] = Cache(_CACHED)
        self._users: Cache[tuple[PortalId, UserId], UserDevices] = Cache(_CACHED)
        self._manifests: Cache[tuple[PortalId, UserId], _Held] = Cache(_CACHED)

    @property
    def caches(self) -> tuple[Cache[Any, Any], ...]:
        """What is kept in memory."""
        return self._bindings, self._users, self._manifests

    def forget(self, portal: PortalId, user: UserId) -> None:
        """Another node has changed something about a user's devices."""
        self._users.drop((portal, user))
        self._manifests.drop((portal, user))

    async def binding(self, device: DeviceId) -> DeviceBinding | None:
        """Whose a device is; None if nobody has proved it."""

        async def load() -> DeviceBinding | None:
            record = await self._directory.get(spaces.BINDINGS, spaces.device_key(device))
            return DeviceBinding.parse(record.value) if record else None

        return await self._bindings.read(device, load)

    async def of_user(self, portal: PortalId, user: UserId) -> Iterable[DeviceId]:
        """The devices of a user."""

        async def load() -> UserDevices | None:
            record = await self._directory.get(spaces.USERS, spaces.user_key(portal, user))
            # That a user has none is worth remembering too: a roster may be full of those who never came.
            return UserDevices.parse(record.value) if record else UserDevices()

        known = await self._users.read((portal, user), load)
        return known.seen if known else ()

    async def seen(self, portal: PortalId, user: UserId) -> dict[DeviceId, int]:
        """The devices of a user, and the day (since 1970) on which each was last connected."""
        record = await self._directory.get(spaces.USERS, spaces.user_key(portal, user))
        return UserDevices.parse(record.value).seen if record else {}

    async def admit(self, portal: PortalId, user: UserId, device: DeviceId, *, now: int) -> bool:
        """Note that a device of this user is here; whether it is new.

        Raises `AccessRefused`: `device_foreign` if another user proved it first, `device_revoked` if the
        user took it off their list, `device_limit` if there are 8.
        """
        mine = DeviceBinding(portal, user)
        bound = await self.binding(device)
        if bound is not None and bound != mine:
            raise AccessRefused(ErrorCode.DEVICE_FOREIGN)
        if await self.is_revoked(portal, user, device):
            raise AccessRefused(ErrorCode.DEVICE_REVOKED)
        is_new = await self._note(portal, user, device, now)
        if bound is None:
            await self._bind(device, mine)
        return is_new

    async def _bind(self, device: DeviceId, mine: DeviceBinding) -> None:
        try:
            await self._directory.put(
                spaces.BINDINGS, spaces.device_key(device), mine.serialize(), expect=ABSENT
            )
        except RecordConflict:
            # Another connection was a moment faster. If it is the same user's, the same has been written.
            self._bindings.drop(device)
            if await self.binding(device) != mine:
                raise AccessRefused(ErrorCode.DEVICE_FOREIGN) from None

    async def _note(self, portal: PortalId, user: UserId, device: DeviceId, now: int) -> bool:
        key = spaces.user_key(portal, user)
        for _ in range(_ATTEMPTS):
            record = await self._directory.get(spaces.USERS, key)
            before = UserDevices.parse(record.value) if record else UserDevices()
            after, forgotten = note_device(before, device, now, await self._listed(portal, user, before))
            if after == before:
                return False
            try:
                version = record.version if record else ABSENT
                await self._directory.put(spaces.USERS, key, after.serialize(), expect=version)
            except RecordConflict:
                continue
            self._users.put((portal, user), after)
            for old in forgotten:
                await self._forget(old)
            return device not in before.seen
        raise StoreUnavailable("too many devices of one user at once")

    # The signed list

    async def manifest(
        self, portal: PortalId, user: UserId, *, cached: bool = True
    ) -> tuple[HeldManifest | None, int]:
        """The list that is held for a user, and the version of its record."""

        async def load() -> _Held | None:
            record = await self._directory.get(spaces.MANIFESTS, spaces.user_key(portal, user))
            # That there is none is worth remembering too: every connection asks.
            return (HeldManifest.parse(record.value), record.version) if record else (None, 0)

        if not cached:
            self._manifests.drop((portal, user))
        return await self._manifests.read((portal, user), load) or (None, 0)

    async def keep_manifest(self, portal: PortalId, user: UserId, held: HeldManifest, expect: int) -> bool:
        """Store the list if its record is still this version; whether it was."""
        key = spaces.user_key(portal, user)
        try:
            await self._directory.put(spaces.MANIFESTS, key, held.serialize(), expect=expect)
        except RecordConflict:
            return False
        finally:
            self._manifests.drop((portal, user))
        return True

    async def is_revoked(self, portal: PortalId, user: UserId, device: DeviceId) -> bool:
        """Whether the user has taken this device off their list."""
        held, _ = await self.manifest(portal, user)
        return held is not None and device in held.revoked

    async def release(self, portal: PortalId, user: UserId, revoked: Collection[DeviceId]) -> bool:
        """Take these devices from the user's, with their key packages; whether any was there."""
        key = spaces.user_key(portal, user)
        for _ in range(_ATTEMPTS):
            record = await self._directory.get(spaces.USERS, key)
            before = UserDevices.parse(record.value) if record else UserDevices()
            seen = {device: day for device, day in before.seen.items() if device not in revoked}
            if record is None or len(seen) == len(before.seen):
                return False
            after = UserDevices(seen)
            try:
                await self._directory.put(spaces.USERS, key, after.serialize(), expect=record.version)
            except RecordConflict:
                continue
            self._users.put((portal, user), after)
            for device in before.seen.keys() - seen.keys():
                await self._forget(device)
            return True
        raise StoreUnavailable("too many devices of one user at once")

    async def _listed(
        self, portal: PortalId, user: UserId, before: UserDevices
    ) -> Collection[DeviceId] | None:
        """The devices of the list, which are asked for only when there may be no room."""
        if len(before.seen) < MAX_DEVICES_PER_USER:
            return None
        held, _ = await self.manifest(portal, user)
        if held is None:
            return None
        return read_manifest(held.manifest).devices if held.manifest else ()

    async def _forget(self, device: DeviceId) -> None:
        """The binding stays: a device never becomes another user's."""
        key = spaces.device_key(device)
        await self._directory.delete(spaces.LAST_RESORT, key)
        while await self._directory.take(spaces.KEY_PACKAGES, key + "/"):
            continue
        self._forgotten(device)
