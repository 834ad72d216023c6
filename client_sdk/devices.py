"""A person's own devices, as the application sees them: looking, linking another one, removing one."""

from __future__ import annotations

from client_sdk.attachments import OnProgress
from client_sdk.engine import Engine
from client_sdk.engine.linking import NOT_TO_THE_END, Newcomer
from client_sdk.engine.ownlist import OTHER_LIST_HELD, OwnDevice
from client_sdk.errors import LinkFailed, UsageError
from client_sdk.identity.linking import LinkSecret


class Devices:
    """Made by `Client.devices`. What changes the list needs the relay, and a device that may link others."""

    def __init__(self, engine: Engine) -> None:
        self._engine = engine

    def __repr__(self) -> str:
        return f"<Devices: {len(self.all)}>"

    @property
    def all(self) -> tuple[OwnDevice, ...]:
        """Every device of this person; each prints as `laptop (this device, may link others)`."""
        return self._engine.own.devices

    def named(self, wanted: str) -> OwnDevice:
        """The device of this name, or whose id begins so; raises `UnknownDevice`."""
        return self._engine.own.device(wanted)

    @property
    def this(self) -> OwnDevice:
        """This device; raises `UnknownDevice` once it was removed."""
        return self._engine.own.device(self._engine.account.device.hex())

    async def rename(self, device: OwnDevice, name: str) -> None:
        """Call a device something else, on this one; devices that this one links later hear of it."""
        self._engine.own.set_name(device.id, name)

    async def check_may_link(self) -> None:
        """Whether this device may link another one now, so that nobody types words for nothing.

        Raises `MayNotLink`, `TooManyDevices`, and if there is a connection `OtherListHeld` or a `RelayError`.
        """
        own = self._engine.own
        own.check_may_change()
        own.check_room(b"")
        if self._engine.link.online:
            await own.check_held()

    async def find(self, shown: str) -> Newcomer:
        """Wait for the new device that shows these twelve words (or whose code was scanned).

        Show its name and ask the person before `link`. Raises `LinkCodeInvalid`, `MayNotLink`,
        `TooManyDevices`, `OtherListHeld`, `LinkTampered` or a `RelayError`; cancel it when the person has
        waited enough.
        """
        self._engine.check()
        self._engine.own.check_room(b"")
        return await self._engine.linking.find(LinkSecret.read(shown))

    async def link(
        self, newcomer: Newcomer, *, may_link: bool = False, progress: OnProgress | None = None
    ) -> None:
        """The person wants this device: list it, let it into every conversation, send it the history.

        `may_link` gives it the key by which it links and removes devices itself. Returns when it has
        everything but what it fetches from the relay by itself; cut off, it goes on when both are connected.
        Raises `TooManyDevices`, `DevicesChanged`, `OtherListHeld`, `LinkFailed` or a `RelayError`.
        """
        self._engine.check()
        self._engine.linking.progress = progress
        await self._engine.linking.link(newcomer, may_link=may_link)

    @property
    def unfinished(self) -> tuple[OwnDevice, ...]:
        """Devices that this one was linking when it was cut off: it goes on by itself, for a day."""
        waiting = self._engine.linking.unfinished
        return tuple(device for device in self.all if device.id in waiting)

    async def wait_linked(self, device: OwnDevice, *, progress: OnProgress | None = None) -> None:
        """Wait until a device of `unfinished` has everything; raises `LinkFailed` or `AccessRefused`."""
        linking = self._engine.linking
        linking.progress = progress or linking.progress
        await self._engine.wait_for(lambda: device.id not in linking.unfinished)
        if not linking.was_done(device.id):
            raise LinkFailed(NOT_TO_THE_END)

    async def refuse(self, newcomer: Newcomer) -> None:
        """The person does not want the device that was found: it is told so, and gets nothing."""
        await self._engine.linking.refuse(newcomer)

    async def remove(self, device: OwnDevice) -> None:
        """Take a device off the list, because it was lost or is not used any more.

        The relay ends its access at once (`relay_follows` tells whether it has taken the new list), and every
        conversation removes it before this device says anything more there; `wait_removed` waits for that.
        Raises `MayNotLink`, `DevicesChanged` or a `RelayError`.
        """
        self._engine.check()
        if device.is_this:
            raise UsageError("A device does not remove itself. Do it on another one of your devices.")
        await self._engine.own.remove(device.id)

    async def wait_removed(self, device: OwnDevice) -> None:
        """Wait until no conversation that this device takes part in has the other one any more."""
        views = (c for c in self._engine.conversations.values())
        rooms = list(views)

        def is_gone() -> bool:
            seen = [room.standing.view for room in rooms if not room.is_ended]
            return not any(view is not None and device.id in view.devices for view in seen)

        await self._engine.wait_for(is_gone)

    @property
    def relay_follows(self) -> bool:
        """Whether the relay has taken the list as this device knows it."""
        return self._engine.own.relay_follows

    async def other_list_held(self) -> bool:
        """Whether the relay keeps to another identity's list: that from before this person began anew.

        Then it takes no change of the list until the portal ends that one. Raises a `RelayError`.
        """
        return await self._engine.own.other_list_held()

    @property
    def history_is_here(self) -> bool:
        """Whether a device that was linked has everything that was said before."""
        return self._engine.arriving.is_done

    async def wait_history(self) -> None:
        """Wait until everything is here that the device had which linked this one."""
        await self._engine.wait_for(lambda: self._engine.arriving.is_done)


__all__ = ["OTHER_LIST_HELD", "Devices", "LinkFailed", "LinkSecret", "Newcomer", "OwnDevice"]
