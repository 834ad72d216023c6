"""Engagements as their participants see them: roster, devices, membership."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from relay.core.engagements import EngagementRecord
from relay.wire import frames as fr
from relay.wire.codec import encode_frame
from relay.wire.ids import DeviceId, PortalId, UserId
from relay.wire.limits import MAX_DEVICES_PER_USER, MAX_FRAME_BYTES, MAX_PARTICIPANTS

if TYPE_CHECKING:
    from relay.hub.hub import Hub

_FRAME_MARGIN_BYTES: Final = 64
_MOST_DEVICES: Final = MAX_PARTICIPANTS * MAX_DEVICES_PER_USER
"""What the frame holds. More there are only if most participants have a ninth device, not listed yet."""


class Overview:
    """Builds the `Engagement` structure of the protocol."""

    def __init__(self, hub: Hub) -> None:
        self._hub = hub

    async def of(self, record: EngagementRecord) -> fr.Engagement:
        """One engagement; of an ended one nothing is left but the roster."""
        if record.ended:
            return _engagement(record, (), 0)
        members, last_commit = await self._members(record)
        devices = [
            fr.EngagementDevice(
                participant.user, device, device in members, (await self._hub.key_packages.stock(device)).any
            )
            for participant in record.participants
            for device in await self._hub.devices.of_user(record.portal, participant.user)
        ]
        return _engagement(record, tuple(devices[:_MOST_DEVICES]), last_commit)

    async def of_user(self, portal: PortalId, user: UserId) -> tuple[fr.Engagement, ...]:
        """A user's engagements, as many of them as one frame holds: active and new ones first."""
        found: list[fr.Engagement] = []
        size = _FRAME_MARGIN_BYTES
        for record in await self._hub.engagements.of_user(portal, user):
            engagement = await self.of(record)
            size += len(encode_frame(fr.EngagementChanged(engagement)))
            if size > MAX_FRAME_BYTES:
                break
            found.append(engagement)
        return tuple(found)

    async def _members(self, record: EngagementRecord) -> tuple[set[DeviceId], int]:
        room = self._hub.rooms.get(record.id)
        if room is not None and not self._hub.nodes.is_shared:  # a commit elsewhere may not be known here yet
            return set(room.joined), room.last_commit
        view = await self._hub.streams.view(record.id)
        return (set(view.members), view.last_commit) if view else (set(), 0)


def _engagement(
    record: EngagementRecord, devices: tuple[fr.EngagementDevice, ...], last_commit: int
) -> fr.Engagement:
    return fr.Engagement(
        record.id,
        record.status,
        record.created,
        record.retention_hours,
        record.participants,
        devices,
        last_commit,
    )
