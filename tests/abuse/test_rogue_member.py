"""A member that breaks the rules: what it can do to the others, and what it cannot."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import replace
from functools import partial
from pathlib import Path

import pytest

from client_sdk.delivery import BundleMismatch, SecurityAlarm
from client_sdk.engine import WaitReason
from client_sdk.engine.membership import Made
from client_sdk.engine.records import CommitReason
from client_sdk.engine.sending import put_commit
from client_sdk.identity import ConversationInfo
from client_sdk.mls import GroupContextExtensions, GroupState, Proposal, ReInit
from relay.wire.ids import Role
from tests.faults.people import client_of
from tests.support.real_relay import RealRelay
from tests.support.rogue import rogue_commit
from tests.support.world import Device, World


@pytest.fixture
async def world(tmp_path: Path) -> World:
    return World(tmp_path)


@asynccontextmanager
async def three(world: World) -> AsyncIterator[tuple[Device, Device, Device]]:
    """Anna, Ben, and Sue, who was let in and is the rogue."""
    async with world.pair() as (anna, ben):
        world.relay.set_roster(world.stream, anna="coach", ben="client", sue="supervisor")
        async with world.device("sue", name="Sue") as sue:
            await world.pass_time(10)
            await anna.room.admit(anna.room.people.named("sue"))
            await world.pass_time(10)
            yield anna, ben, sue


def is_whole(device: Device) -> bool:
    """Whether all three take part, as this device sees it."""
    view = device.conversation.standing.view
    return view is not None and {leaf.user for leaf in view.leaves} == {"anna", "ben", "sue"}


def group_of(device: Device) -> GroupState:
    group = device.conversation.standing.group
    assert group is not None
    return group


def commit_anyway(device: Device, made: Made) -> None:
    """Have a member's program send a commit without asking its own rules."""
    with device.conversation.work("rogue") as work:
        put_commit(work, made, CommitReason.MEMBERSHIP, commit_id=device.conversation.context.new_id())
    device.conversation.go_on()


def cut_off(world: World, rogue: Device, victim: str) -> None:
    """A bundle that tells the relay to remove a device which its commit keeps: void for every member."""
    names = ((), (world.relay.device_of(victim),))
    commit_anyway(rogue, rogue_commit(group_of(rogue), now=int(world.time.now()), names=names))


async def test_cutting_a_device_off_at_the_relay_is_an_alarm_and_loses_nothing(
    relay: RealRelay, tmp_path: Path
) -> None:
    engagement = await relay.create_engagement(anna="coach", ben="client", sue="supervisor")
    async with asyncio.timeout(150), AsyncExitStack() as stack:
        devices = []
        for user in ("anna", "ben", "sue"):
            client = await stack.enter_async_context(client_of(relay, tmp_path, user))
            devices.append(Device(client, await client.engagement(engagement)))
        anna, ben, sue = devices
        await anna.engine.wait_until(lambda: all(person.needs_admission for person in anna.room.people))
        for person in anna.room.people:
            await anna.room.admit(person)
        for device in devices:
            await device.engine.wait_until(partial(is_whole, device))

        names = ((), (ben.engine.account.device,))
        commit_anyway(sue, rogue_commit(group_of(sue), now=int(time.time()), names=names))
        await anna.engine.wait_until(lambda: anna.room.alarm is not None)
        assert isinstance(anna.room.alarm, BundleMismatch), "who is left is told"
        with pytest.raises(SecurityAlarm):
            await anna.room.send("into the void")
        assert is_whole(anna), "the group keeps him"
        await ben.room.send("does anybody hear me?")
        await ben.engine.wait_until(lambda: ben.room.outbox[0].reason is WaitReason.STOPPED)


async def test_who_was_cut_off_is_brought_back_by_removing_and_adding(world: World) -> None:
    """The way back that the protocol has; no client takes it by itself yet (docs/SECURITY.md)."""
    async with three(world) as (anna, ben, sue):
        cut_off(world, sue, "ben")
        await world.settle()
        alarm = anna.room.alarm
        assert alarm is not None
        await anna.room.resolve_alarm(alarm)
        await world.pass_time(10)
        view = anna.conversation.standing.view
        assert view is not None
        (leaf,) = (leaf.index for leaf in view.leaves if leaf.user == "ben")
        commit_anyway(anna, rogue_commit(group_of(anna), now=int(world.time.now()), remove=[leaf]))
        world.relay.drop_connections()
        await world.pass_time(90)  # who was removed is not added again within a minute
        await anna.room.send("are you back?")
        await world.pass_time(10)
        assert (await ben.texts())[-1:] == ["are you back?"]


def as_coach(info: ConversationInfo) -> ConversationInfo:
    """The description in which the supervisor has made herself the coach."""
    people = tuple(replace(p, role=Role.COACH) if p.user == "sue" else p for p in info.participants)
    return replace(info, participants=people)


def forbidden(what: str, group: GroupState) -> list[Proposal]:
    """What RFC 9420 lets a member propose, and a conversation does not."""
    demands, info = group.extensions
    match what:
        case "re-initialise it":
            return [ReInit(b"elsewhere", 1, group.suite.id, group.extensions)]
        case "demand nothing of members":
            return [GroupContextExtensions((info,))]
        case "change a role":
            changed = as_coach(ConversationInfo.from_extensions(group.extensions))
            return [GroupContextExtensions((demands, changed.to_extension()))]
    raise ValueError(what)


@pytest.mark.parametrize("what", ["re-initialise it", "demand nothing of members", "change a role"])
async def test_what_no_member_may_change_is_void_and_the_rest_talk_on(world: World, what: str) -> None:
    async with three(world) as (anna, ben, sue):
        group = group_of(sue)
        commit_anyway(sue, rogue_commit(group, now=int(world.time.now()), more=forbidden(what, group)))
        await world.pass_time(10)
        assert group_of(anna).group_context == group_of(ben).group_context == group.group_context
        assert anna.room.alarm is None
        await anna.room.send("where were we?")
        await world.pass_time(10)
        assert (await ben.texts())[-1:] == ["where were we?"]
        assert await anna.client.engagements()


async def test_the_rogue_itself_falls_out_and_the_rest_talk_on(world: World) -> None:
    async with three(world) as (anna, ben, sue):
        cut_off(world, sue, "sue")
        await world.settle()
        for device in (anna, ben):
            alarm = device.room.alarm
            assert isinstance(alarm, BundleMismatch)
            await device.room.resolve_alarm(alarm)
        await world.pass_time(10)
        await anna.room.send("without her")
        await world.settle()
        await ben.room.send("fine")
        await world.settle()
        assert await anna.texts() == await ben.texts() == ["without her", "fine"]
