"""Which suite a conversation has, and how one moves to a stronger one without losing or doubling a word."""

from __future__ import annotations

import pytest

from client_sdk.mls import SUITE_3, SUITE_XWING
from tests.support.suites import Versions
from tests.support.world import Device, World, alarms


def suite_of(device: Device) -> int:
    group = device.conversation.standing.group
    assert group is not None
    return group.suite.id


def generation_of(device: Device) -> int:
    view = device.conversation.standing.view
    assert view is not None
    return view.info.generation


@pytest.fixture
def versions(monkeypatch: pytest.MonkeyPatch) -> Versions:
    return Versions(monkeypatch, "anna", "ben")


async def say(world: World, device: Device, *texts: str) -> None:
    for text in texts:
        await device.room.send(text)
        await world.settle()


async def test_a_new_conversation_is_post_quantum(world: World) -> None:
    async with world.pair() as (anna, ben):
        await say(world, anna, "hello")
        assert await ben.texts() == ["hello"]
        assert suite_of(anna) == suite_of(ben) == SUITE_XWING.id


async def test_a_conversation_of_suite_3_moves_when_all_can(world: World, versions: Versions) -> None:
    async with world.pair() as (anna, ben):
        await say(world, anna, "one")
        assert suite_of(anna) == suite_of(ben) == SUITE_3.id
    versions.update(["anna", "ben"])
    async with world.device("anna") as anna, world.device("ben") as ben:
        await world.pass_time(30)
        await say(world, anna, "two")
        await say(world, ben, "three")
        assert suite_of(anna) == suite_of(ben) == SUITE_XWING.id
        assert generation_of(anna) == generation_of(ben) == 2
        assert await anna.texts() == await ben.texts() == ["one", "two", "three"]
        assert alarms(anna, ben) == []
        assert "gap" not in await anna.kinds() + await ben.kinds()
