"""A conversation of suite 3 that is to move to a stronger suite, and what can be seen of it."""

from __future__ import annotations

import contextlib
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from client_sdk import Gap
from client_sdk.mls import (
    SUITE_3,
    SUITE_XWING,
    GroupState,
)
from relay.wire import Bundle, EntryKind
from tests.support.world import Device, World, say


def group_of(device: Device) -> GroupState:
    group = device.conversation.standing.group
    assert group is not None
    return group


def generation_of(device: Device) -> int:
    view = device.conversation.standing.view
    assert view is not None
    return view.info.generation


def assert_moved(*devices: Device) -> None:
    assert [group_of(device).suite.id for device in devices] == [SUITE_XWING.id] * len(devices)
    assert [generation_of(device) for device in devices] == [2] * len(devices)
    assert len({group_of(device).epoch_authenticator for device in devices}) == 1
    assert len({device.conversation.standing.epoch for device in devices}) == 1


async def gaps(*devices: Device) -> list[str]:
    items = [item for device in devices for item in await device.room.history(limit=500)]
    return [item.reason for item in items if isinstance(item, Gap)]


def renewals(world: World) -> list[int]:
    """The positions of the entries that moved the conversation."""
    found = []
    for entry in world.relay.streams[world.stream].log.entries:
        if entry.kind is EntryKind.COMMIT:
            with contextlib.suppress(ValueError):
                bundle = Bundle.parse(entry.body)
                if bundle.welcome is not None and not bundle.adds:
                    found.append(entry.seq)
    return found


async def begin(world: World, *texts: str) -> None:
    """A conversation of suite 3, in which this was said; nobody runs afterwards."""
    async with world.pair() as (anna, ben):
        await say(world, anna, *texts)
        assert await ben.texts() == list(texts)
        assert group_of(anna).suite.id == group_of(ben).suite.id == SUITE_3.id


@asynccontextmanager
async def three(world: World) -> AsyncIterator[tuple[Device, Device, Device]]:
    """Anna, Ben and Sue in one conversation."""
    async with world.pair() as (anna, ben):
        world.relay.set_roster(world.stream, anna="coach", ben="client", sue="supervisor")
        async with world.device("sue", name="Sue") as sue:
            await world.pass_time(10)
            await anna.room.admit(anna.room.people.named("sue"))
            await world.pass_time(10)
            yield anna, ben, sue
