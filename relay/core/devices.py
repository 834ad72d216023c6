"""Which devices a user has at the relay, and to whom a device is bound (PROTOCOL 2.1)."""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import dataclass, field, replace
from typing import Final

from relay.core.records import pack_record, unpack_record
from relay.errors import AccessRefused
from relay.wire import fields as f
from relay.wire.errors import ErrorCode
from relay.wire.ids import DeviceId, PortalId, UserId, parse_device_id, parse_portal_id, parse_user_id
from relay.wire.limits import MAX_DEVICES_PER_USER, MAX_RETENTION_HOURS

_VERSION: Final = 1
_DAY: Final = 86_400
# A device that has been away for longer than anything is kept has nothing left here: its place may be taken.
FORGOTTEN_AFTER_DAYS: Final = MAX_RETENTION_HOURS // 24
# One beside a full list: who comes back with the recovery kit has to connect before the list can name them.
MOST_SEEN: Final = MAX_DEVICES_PER_USER + 1


@dataclass(frozen=True, slots=True)
class DeviceBinding:
    """The user that first proved a device."""

    portal: PortalId
    user: UserId

    def serialize(self) -> bytes:
        """The record as bytes."""
        return pack_record(_VERSION, (self.portal, self.user))

    @classmethod
    def parse(cls, value: bytes) -> DeviceBinding:
        """The record in these bytes; raises `StoreCorrupt`."""
        return cls(*unpack_record(value, _VERSION, (parse_portal_id, parse_user_id)))


@dataclass(frozen=True, slots=True)
class UserDevices:
    """A user's devices and the day (since 1970) on which each last connected: days, to collect no more."""

    seen: dict[DeviceId, int] = field(default_factory=dict)

    def serialize(self) -> bytes:
        """The record as bytes."""
        return pack_record(_VERSION, (list(self.seen.items()),))

    @classmethod
    def parse(cls, value: bytes) -> UserDevices:
        """The record in these bytes; raises `StoreCorrupt`."""
        (pairs,) = unpack_record(value, _VERSION, (_PAIRS,))
        return cls(dict(pairs))


def _pair(*values: object) -> tuple[object, ...]:
    return values


_PAIRS: Final = f.many(f.record(_pair, parse_device_id, f.uint), most=MOST_SEEN)


def note_device(
    devices: UserDevices, device: DeviceId, now: int, listed: Collection[DeviceId] | None = None
) -> tuple[UserDevices, tuple[DeviceId, ...]]:
    """The user's devices with this one seen today, and those that had to make room.

    `listed` are the devices of the user's signed list, if the relay holds one: attempts to link that came to
    nothing make room for the next, and if all 8 are listed, there is room for one more that is not. Raises
    `AccessRefused` (`device_limit`) if there is no list, and the user has 8 others, none of them forgotten.
    """
    today = now // _DAY
    seen = {**devices.seen, device: today}
    if device in devices.seen or len(seen) <= MAX_DEVICES_PER_USER:
        return replace(devices, seen=seen), ()
    forgotten = tuple(d for d, day in seen.items() if today - day > FORGOTTEN_AFTER_DAYS)
    if not forgotten and listed is not None:
        strangers = [d for d in seen if d not in listed and d != device]
        forgotten = tuple(sorted(strangers, key=lambda d: seen[d])[:1])
        if not forgotten and len(seen) <= MOST_SEEN:
            return replace(devices, seen=seen), ()
    if not forgotten:
        raise AccessRefused(ErrorCode.DEVICE_LIMIT)
    return replace(devices, seen={d: day for d, day in seen.items() if d not in forgotten}), forgotten
