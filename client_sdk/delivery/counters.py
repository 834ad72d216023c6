"""Message counters: every device numbers its messages in a conversation without gaps (docs/PROTOCOL.md 9)."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from types import MappingProxyType
from typing import Self, cast

from relay.wire.ids import DeviceId

from ..content.packing import pack, unpack
from ..errors import RecordInvalid
from .alarms import StreamGap

MOST_DEVICES = 256
"""Devices remembered, also after they left: eight times what one conversation may have at once."""

_FORMAT = 1


@dataclass(frozen=True, slots=True)
class MessageCounters:
    """The last counter of each device, the device heard last at the end."""

    last: Mapping[DeviceId, int] = field(default_factory=lambda: MappingProxyType({}))

    def check(self, device: DeviceId, counter: int) -> None:
        """Whether this is the device's next message; raises StreamGap.

        A device not heard before may begin anywhere: it may have taken part before this device joined.
        """
        expected = self.last.get(device, counter - 1) + 1
        if counter != expected:
            raise StreamGap(device=device, expected=expected, got=counter)

    def after(self, device: DeviceId, counter: int) -> Self:
        """Behind that message (also when its check raised, so that one gap alarms once)."""
        others = [(d, c) for d, c in self.last.items() if d != device][1 - MOST_DEVICES :]
        return type(self)(MappingProxyType(dict([*others, (device, counter)])))

    def serialize(self) -> bytes:
        """Encode for the vault."""
        return pack([_FORMAT, [[device, counter] for device, counter in self.last.items()]])

    @classmethod
    def parse(cls, data: bytes) -> Self:
        """Decode from the vault; raises RecordInvalid."""
        try:
            version, pairs = cast(list[object], unpack(data))
            last = dict(cast(list[tuple[DeviceId, int]], pairs))
            if version != _FORMAT or not all(type(d) is bytes and type(c) is int for d, c in last.items()):
                raise ValueError("a field of another form")
        except (ValueError, TypeError) as error:
            raise RecordInvalid("Stored message counters are damaged. Restore the vault.") from error
        return cls(MappingProxyType(last))
