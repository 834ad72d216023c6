"""A relay that plays with key packages: it may weaken an invitation, and never lets anybody else in."""

from __future__ import annotations

from pathlib import Path

import pytest

from client_sdk.delivery import StreamSkipped
from client_sdk.engine.records import CommitReason
from client_sdk.engine.sending import put_commit
from relay.wire import frames as fr
from relay.wire.ids import DeviceId
from tests.support.rogue import rogue_commit
from tests.support.world import Device, World


@pytest.fixture
async def world(tmp_path: Path) -> World:
    return World(tmp_path)


async def assert_they_talk(world: World, anna: Device, ben: Device) -> None:
    await anna.room.send("How was the week?")
    await world.pass_time(6)
    await ben.room.send("Long.")
    await world.pass_time(6)
    assert (await ben.texts())[-2:] == (await anna.texts())[-2:] == ["How was the week?", "Long."]
    assert anna.room.alarm is None
    assert ben.room.alarm is None


async def test_one_of_last_resort_is_replaced_after_it_was_used(world: World) -> None:
    """The relay pretends that there is no other, at every invitation."""

    used: list[bytes] = []

    def exhausted(given: tuple[fr.ClaimedKeyPackage, ...]) -> tuple[fr.ClaimedKeyPackage, ...]:
        used.extend(world.relay.last_resorts[one.device] for one in given)
        return tuple(
            fr.ClaimedKeyPackage(one.device, world.relay.last_resorts[one.device], True) for one in given
        )

    world.relay.lies.key_packages = exhausted
    async with world.pair() as (anna, ben):
        await assert_they_talk(world, anna, ben)
        assert used
        assert world.relay.last_resorts[world.relay.device_of("ben")] not in used


async def test_a_package_that_was_used_before_brings_nobody_else_in(world: World) -> None:
    """Ben is removed and added again, by the package that brought him in the first time.

    He cannot open that, so nothing proves to him that he was away, and not that something is kept from him.
    """
    seen: dict[DeviceId, bytes | None] = {}

    def first_one_again(given: tuple[fr.ClaimedKeyPackage, ...]) -> tuple[fr.ClaimedKeyPackage, ...]:
        return tuple(one._replace(package=seen.setdefault(one.device, one.package)) for one in given)

    world.relay.lies.key_packages = first_one_again
    async with world.pair() as (anna, ben):
        group, view = anna.conversation.standing.group, anna.conversation.standing.view
        assert group is not None
        assert view is not None
        (leaf,) = (leaf.index for leaf in view.leaves if leaf.user == "ben")
        made = rogue_commit(group, now=int(world.time.now()), remove=[leaf])
        with anna.conversation.work("remove") as work:
            put_commit(work, made, CommitReason.MEMBERSHIP, commit_id=anna.conversation.context.new_id())
        anna.conversation.go_on()
        world.relay.drop_connections()
        await world.pass_time(90)  # who was removed is not added again within a minute
        assert list(seen) == [world.relay.device_of("ben")]
        alarm = ben.room.alarm
        assert isinstance(alarm, StreamSkipped)
        await ben.room.resolve_alarm(alarm)
        await world.pass_time(10)
        await assert_they_talk(world, anna, ben)
        view = anna.conversation.standing.view
        assert view is not None
        assert {leaf.device for leaf in view.leaves} == {
            world.relay.device_of("anna"),
            world.relay.device_of("ben"),
        }
        assert "gap" in await ben.kinds(), "he sees that he missed something"
