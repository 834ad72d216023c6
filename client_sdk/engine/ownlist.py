"""This user's signed list of devices: changing it, and following what another device of theirs changed."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Final

from client_sdk.delivery import SecurityAlarm
from client_sdk.engine import spaces
from client_sdk.engine.account import Account
from client_sdk.engine.conversation import Conversation
from client_sdk.errors import (
    AccessRefused,
    DevicesChanged,
    ManifestInvalid,
    MayNotLink,
    OtherListHeld,
    RelayRefused,
    RelayUnreachable,
    TooManyDevices,
    UnknownDevice,
)
from client_sdk.identity import (
    DeviceFlags,
    KeyPair,
    ManifestDevice,
    ManifestForked,
    VerifiedManifest,
    check_successor,
    next_manifest,
    verify_manifest,
)
from client_sdk.identity.linking import NAME_BYTES
from relay.wire import frames as fr
from relay.wire.ids import DeviceId
from relay.wire.limits import MAX_DEVICES_PER_USER

if TYPE_CHECKING:
    from client_sdk.engine.engine import Engine

_log = logging.getLogger(__name__)

_KEY: Final = b"account"
_INTENDED: Final = b"intended"
_REGISTERED: Final = b"registered"
LOOK_SECONDS: Final = 1.0
OTHER_LIST_HELD: Final = (
    "The relay still keeps another list of devices for you: that of the devices which you had before you "
    "began anew, or of somebody who connects in your name. Until it is ended, you can link no other device, "
    "and one that you remove may still connect. Ask whoever runs your coaching portal to end your earlier "
    "list of devices; those on it are shut out then."
)
FOLLOW_SECONDS: Final = 10.0
"""For a change that another device made to reach this one by a conversation they share."""


@dataclass(frozen=True, slots=True, kw_only=True)
class OwnDevice:
    """One device of this person. `name` is empty if this device never heard what it is called."""

    id: DeviceId
    name: str = field(repr=False)
    may_link: bool
    is_this: bool

    @property
    def short_id(self) -> str:
        """Enough of the id to tell a person's devices apart."""
        return self.id.hex()[:8]

    def __str__(self) -> str:
        """As in `Anna's laptop (this device, may link others)`."""
        marks = ["this device"] * self.is_this + ["may link others"] * self.may_link
        return (self.name or f"device {self.short_id}") + (f" ({', '.join(marks)})" if marks else "")


def usable_name(name: str) -> str:
    """A name as it may travel: one line, not too long, never empty."""
    line = " ".join("".join(c if c.isprintable() else " " for c in name).split())
    return line.encode()[:NAME_BYTES].decode(errors="ignore").strip() or "a device"


class OwnList:
    """The list of one client's user."""

    def __init__(self, engine: Engine) -> None:
        self._engine = engine
        self._changing = asyncio.Lock()
        self._followed: dict[object, object] = {}

    # Looking

    @property
    def devices(self) -> tuple[OwnDevice, ...]:
        """All devices that the list names."""
        account = self._engine.account
        with self._engine.vault.transaction() as tx:
            names = {d.id: tx.get(spaces.DEVICE_NAME, d.id) for d in account.manifest.devices}
        return tuple(
            OwnDevice(
                id=device.id,
                name=(names[device.id] or b"").decode(),
                may_link=device.may_link,
                is_this=device.id == account.device,
            )
            for device in account.manifest.devices
        )

    @property
    def names(self) -> dict[DeviceId, str]:
        """The devices whose names are known."""
        return {device.id: device.name for device in self.devices if device.name}

    def device(self, wanted: str) -> OwnDevice:
        """The device of this name, or whose id begins so; raises `UnknownDevice`."""
        every = self.devices
        found = [d for d in every if d.name == wanted] or [
            d for d in every if len(wanted) >= 4 and d.id.hex().startswith(wanted.lower())
        ]
        if len(found) == 1:
            return found[0]
        what = "There is no device" if not found else "There are several devices"
        listed = "; ".join(f"{device} {device.short_id}" if device.name else str(device) for device in every)
        raise UnknownDevice(f"{what} called “{usable_name(wanted)}”. Your devices: {listed}.")

    def set_name(self, device: DeviceId, name: str) -> None:
        """What this person calls a device; it stays among their own devices."""
        with self._engine.vault.transaction() as tx:
            tx.put(spaces.DEVICE_NAME, device, usable_name(name).encode())

    def check_may_change(self) -> None:
        """Whether this device holds the identity key; raises `MayNotLink`."""
        if not self._engine.account.record.identity:
            able = [str(d) for d in self.devices if d.may_link and not d.is_this]
            where = f" Do it on one of these: {', '.join(able)}." if able else " Use your recovery kit."
            raise MayNotLink("This device may not change the list of your devices." + where)

    def check_room(self, device_key: bytes) -> None:
        """Whether one more device may be listed; raises `TooManyDevices`."""
        manifest = self._engine.account.manifest
        if len(manifest.devices) >= MAX_DEVICES_PER_USER and not manifest.lists(device_key):
            raise TooManyDevices(
                f"You have {MAX_DEVICES_PER_USER} devices already, which is as many as there can be. "
                "Remove one that you do not use any more, then link the new one."
            )

    @property
    def relay_follows(self) -> bool:
        """Whether the relay has taken the list as it is here."""
        with self._engine.vault.transaction() as tx:
            return tx.get(spaces.OWN_LIST, _REGISTERED) == self._engine.account.manifest.hash

    async def other_list_held(self) -> bool:
        """Whether the relay keeps another identity's list for this user; raises `RelayError`."""
        held = await self._ask(None)
        return held is not None and self._is_of_another(held)

    async def check_held(self) -> None:
        """Whether the relay keeps a list of this identity, or none; raises `OtherListHeld`, `RelayError`."""
        if await self.other_list_held():
            raise OtherListHeld(OTHER_LIST_HELD)

    def _is_of_another(self, held: VerifiedManifest) -> bool:
        return held.recovery_key != self._engine.account.manifest.recovery_key

    # Changing

    async def add(self, device_key: bytes, name: str, *, may_link: bool) -> None:
        """List a device; one that is listed already stays as it is."""
        flags = DeviceFlags.MAY_LINK if may_link else DeviceFlags.NONE
        added = ManifestDevice(device_key, flags)
        async with self._changing:
            self.check_may_change()
            self.check_room(device_key)
            if not self._engine.account.manifest.lists(device_key):
                await self._change(lambda devices: (*devices, added))
        self.set_name(added.id, name)

    async def remove(self, device: DeviceId) -> None:
        """Take a device off the list: the relay ends its access, and every conversation removes it.

        A relay that does not take the new list cannot keep it from the conversations.
        """
        async with self._changing:
            self.check_may_change()
            await self._change(
                lambda devices: tuple(d for d in devices if d.id != device), although_refused=True
            )

    async def _change(
        self,
        change: Callable[[tuple[ManifestDevice, ...]], Iterable[ManifestDevice]],
        *,
        although_refused: bool = False,
    ) -> None:
        account = self._engine.account
        key = KeyPair.from_private(account.record.identity)
        manifest = next_manifest(account.manifest, key=key, devices=change(account.manifest.devices))
        with self._engine.vault.transaction() as tx:
            tx.put(spaces.OWN_LIST, _INTENDED, manifest.raw)
        await self._put(manifest, although_refused=although_refused)

    async def _put(self, manifest: VerifiedManifest, *, although_refused: bool) -> None:
        """Have the relay take the list before anybody sees it: so no two devices sign one version."""
        try:
            held = await self._ask_until_answered(manifest.raw)
        except RelayRefused:
            if not although_refused:
                raise
            held = None
        if held is not None and held.raw != manifest.raw and self._stands_against(held, manifest):
            self._drop_intended()
            await self._follow_held(held)
            raise DevicesChanged(
                "Your devices were changed on another one of them at the same time. Nothing was done here. "
                "Look at the list again, then repeat what you wanted."
            )
        taken = held is not None and held.raw == manifest.raw
        if not taken and not although_refused:
            self._drop_intended()
            if held is not None and self._is_of_another(held):
                raise OtherListHeld(OTHER_LIST_HELD)
            raise RelayRefused("The relay did not take the new list of your devices. Try again later.")
        self._adopt(manifest)
        if taken:
            self._note_registered(manifest)

    def _stands_against(self, held: VerifiedManifest, mine: VerifiedManifest) -> bool:
        account = self._engine.account
        return (
            held.version >= mine.version
            and (held.portal, held.user, held.recovery_key)
            == (account.portal, account.user, account.manifest.recovery_key)
            and _succeeds(account.manifest, held)
        )

    async def _ask_until_answered(self, raw: bytes) -> VerifiedManifest | None:
        """Across broken connections, as it may have been taken; raises `AccessRefused`, `RelayRefused`."""
        link = self._engine.link
        while True:
            try:
                return await self._ask(raw)
            except RelayUnreachable:
                while not await self._engine.wait_within(LOOK_SECONDS, lambda: link.online):
                    if isinstance(link.status.error, AccessRefused):
                        raise link.status.error from None

    async def _ask(self, raw: bytes | None) -> VerifiedManifest | None:
        answer = await self._engine.requests.ask(lambda number: fr.PutManifest(number, raw), fr.HeldManifest)
        try:
            return None if answer.manifest is None else verify_manifest(answer.manifest)
        except ManifestInvalid:
            return None  # nothing that anybody of us signed

    def _drop_intended(self) -> None:
        with self._engine.vault.transaction() as tx:
            tx.delete(spaces.OWN_LIST, _INTENDED)

    # Following

    async def relay_was_restored(self) -> None:
        """The relay may hold an earlier list by now: whoever left it since would be let in again."""
        with self._engine.vault.transaction() as tx:
            tx.delete(spaces.OWN_LIST, _REGISTERED)
        await self.connected()

    async def connected(self) -> None:
        """Finish a change that was interrupted, and have the relay know the list."""
        with self._engine.vault.transaction() as tx:
            intended = tx.get(spaces.OWN_LIST, _INTENDED)
            registered = tx.get(spaces.OWN_LIST, _REGISTERED)
        manifest = self._engine.account.manifest
        if intended is not None and not self._changing.locked():
            async with self._changing:
                await self._finish(verify_manifest(intended))
        elif registered != manifest.hash:
            held = await self._ask(manifest.raw)
            if held is not None and held.raw == manifest.raw:
                self._note_registered(manifest)

    async def _finish(self, intended: VerifiedManifest) -> None:
        if not _succeeds(self._engine.account.manifest, intended):
            self._drop_intended()
            return
        account = self._engine.account
        removes = all(account.manifest.lists(device.device_key) for device in intended.devices)
        try:
            # Who is removed is out of the conversations, whatever the relay says to it.
            await self._put(intended, although_refused=removes)
        except (DevicesChanged, OtherListHeld, RelayRefused) as error:
            _log.info("an interrupted change of the devices is given up: %s", error.code)

    def _note_registered(self, manifest: VerifiedManifest) -> None:
        with self._engine.vault.transaction() as tx:
            tx.put(spaces.OWN_LIST, _REGISTERED, manifest.hash)

    async def _follow_held(self, held: VerifiedManifest) -> None:
        """Wait until the change of another device comes by a conversation that this one shares with it.

        The relay's word alone counts only while this device is in no conversation: it could show a list that
        a thief signed with a stolen key, and this device would vouch for it.
        """
        engine = self._engine
        members = [c for c in engine.conversations.values() if c.is_member and not c.is_ended]
        if not members:
            if held.lists(engine.account.device_key.public):
                self._adopt(held)
            return
        await engine.wait_within(FOLLOW_SECONDS, lambda: engine.account.manifest.version >= held.version)

    def follow(self, conversation: Conversation) -> None:
        """A member device of this user vouches for a newer list in a conversation: use it here too."""
        view = conversation.standing.view
        if view is None or self._followed.get(conversation.id) is view:
            return
        self._followed[conversation.id] = view
        own = self._engine.account.manifest
        governing = view.governing(own.user)
        if governing is None or governing.version < own.version or governing.raw == own.raw:
            return
        if governing.version == own.version or not _succeeds(own, governing):
            alarm: SecurityAlarm = ManifestForked(user=own.user, version=own.version)
            if conversation.alarm is None:
                conversation.raise_alarm(alarm)
        elif governing.lists(self._engine.account.device_key.public):
            self._adopt(governing)

    def _adopt(self, manifest: VerifiedManifest) -> None:
        engine = self._engine
        record = replace(engine.account.record, manifest=manifest.raw)
        with engine.vault.transaction() as tx:
            tx.put(spaces.ACCOUNT, _KEY, record.serialize())
            tx.delete(spaces.OWN_LIST, _INTENDED)
        engine.use_account(Account(record))
        for conversation in engine.conversations.values():
            engine.changed(conversation)
            conversation.go_on()


def _succeeds(before: VerifiedManifest, after: VerifiedManifest) -> bool:
    try:
        check_successor(before, after)
    except ManifestInvalid:
        return False
    return True
