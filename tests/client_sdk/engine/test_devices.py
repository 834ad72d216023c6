"""Several devices of one person: let in by their signed list alone, and removed by it."""

from __future__ import annotations

from contextlib import AsyncExitStack
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from client_sdk import Delivery, Text
from client_sdk.engine import sending
from client_sdk.mls import GroupState, encrypt
from relay.wire import Bundle, EntryKind
from tests.support.linking import ben_and_two_of_anna, link_device, read_account, revoke_device, write_account
from tests.support.world import World, alarms, say


async def meet(world: World) -> None:
    async with world.pair() as (anna, ben):
        await say(world, anna, "from the first device")
        assert await ben.texts() == ["from the first device"]


async def test_a_second_device_is_let_in_by_its_list_alone(world: World) -> None:
    await meet(world)
    async with ben_and_two_of_anna(world) as (ben, one, two):
        assert two.conversation.is_member
        await say(world, two, "from the second")
        await say(world, ben, "to both")
        await say(world, one, "from the first again")
        said = ["from the second", "to both", "from the first again"]
        assert (await one.texts())[-3:] == (await ben.texts())[-3:] == await two.texts() == said
        assert [str(person) for person in ben.room.people] == ["Anna (coach), not yet verified"]
        received = [item for item in await two.received() if isinstance(item, Text)]
        assert [(item.sender.user, item.mine) for item in received] == [("ben", False), ("anna", True)]
        assert alarms(ben, one, two) == []


async def test_another_device_of_ones_own_does_not_make_it_delivered(world: World) -> None:
    await meet(world)
    link_device(world.folder, "anna", "anna-2")
    async with world.device("ben"), world.device("anna"), world.device("anna", vault="anna-2"):
        await world.pass_time(10)
    async with world.device("anna") as one, world.device("anna", vault="anna-2") as two:
        await say(world, one, "while Ben is away")
        await world.pass_time(10)
        assert (await two.texts()) == ["while Ben is away"]
        assert (await one.room.history())[0].delivery is Delivery.SENT
        async with world.device("ben"):
            await world.pass_time(10)
            assert (await one.room.history())[0].delivery is Delivery.DELIVERED


async def test_a_revoked_device_is_removed_before_anything_more_is_said(world: World) -> None:
    await meet(world)
    link_device(world.folder, "anna", "anna-2")
    async with world.device("ben"), world.device("anna"), world.device("anna", vault="anna-2"):
        await world.pass_time(10)
    revoke_device(world.folder, "anna", "anna-2")
    async with world.device("anna", vault="anna-2") as two:
        await world.settle()
        async with world.device("ben") as ben, world.device("anna") as one:
            await ben.room.send("not for the lost device")
            await world.pass_time(10)
            await say(world, one, "neither is this")
            assert (await one.texts())[-2:] == ["not for the lost device", "neither is this"]
            removing = [
                entry.seq
                for entry in world.relay.streams[world.stream].log.entries
                if entry.kind is EntryKind.COMMIT and Bundle.parse(entry.body).removes
            ]
            assert len(removing) == 1
            texts = await two.texts()
            assert "neither is this" not in texts
            view = ben.conversation.standing.view
            assert view is not None
            assert len(view.leaves) == 2
            assert alarms(ben, one) == []


async def test_two_devices_of_one_person_create_at_once(world: World) -> None:
    """Both are there before any group is; one bundle is the first, and nobody is left outside."""
    async with world.device("anna"):
        pass
    link_device(world.folder, "anna", "anna-2")
    log = world.relay.streams[world.stream].log
    log.entries.clear()
    log.head = log.last_commit = 0
    log.members.clear()
    log.counters.clear()
    for vault in ("anna", "anna-2"):
        record = read_account(world.folder, vault).record
        (world.folder / f"{vault}.vault").unlink()
        write_account(world.folder, vault, record, create=True)
    async with (
        world.device("anna", name="Anna") as one,
        world.device("anna", vault="anna-2", name="Anna") as two,
        world.device("ben", name="Ben") as ben,
    ):
        await world.pass_time(20)
        await say(world, ben, "to both")
        await say(world, one, "from one")
        await say(world, two, "from two")
        assert (
            await one.texts() == await two.texts() == await ben.texts() == ["to both", "from one", "from two"]
        )
        assert alarms(one, two, ben) == []
        creations = [entry for entry in log.entries if entry.after_commit == 0]
        assert len(creations) == 1


async def test_away_for_longer_than_anything_is_kept(world: World) -> None:
    """Nothing comes that would show what is missing: it rejoins all the same, and may speak first."""
    await meet(world)
    link_device(world.folder, "anna", "anna-2")
    async with world.device("ben"), world.device("anna"), world.device("anna", vault="anna-2"):
        await world.pass_time(10)
    async with world.device("ben") as ben, world.device("anna"):
        await say(world, ben, "while the second was away")
        await world.pass_time(10)
    await world.pass_time(31 * 86_400)
    log = world.relay.streams[world.stream].log
    log.expire(log.head + 1)
    async with (
        world.device("ben") as ben,
        world.device("anna") as one,
        world.device("anna", vault="anna-2") as two,
    ):
        await world.pass_time(60)
        for device, text in ((two, "back again"), (ben, "welcome")):
            await device.room.send(text)
            await world.pass_time(10)
        assert (await two.texts())[-2:] == ["back again", "welcome"]
        assert "gap" in await two.kinds()
        assert "gap" not in await ben.kinds()
        assert (await ben.texts())[-2:] == (await one.texts())[-2:] == ["back again", "welcome"]
        assert alarms(ben, one, two) == []


@pytest.mark.timeout(300)
async def test_thirty_two_devices_in_one_conversation(memory: Path) -> None:
    """Four people with eight devices each: all speak, one device goes, and one view stays."""
    world = World(memory)
    people = ("anna", "ben", "cara", "dan")
    roles = dict(zip(people, ("coach", "client", "team-member", "supervisor"), strict=True))
    world.relay.set_roster(world.stream, **roles)
    async with AsyncExitStack() as stack:
        devices = {}
        for person in people:
            devices[person] = await stack.enter_async_context(world.device(person, name=person.capitalize()))
            await world.pass_time(4)
            for other in people[: people.index(person)]:
                await devices[other].room.admit(devices[other].room.people.named(person))
            await world.pass_time(10)
    vaults = {person: [person] for person in people}
    for person in people:
        for number in range(2, 9):
            link_device(world.folder, person, f"{person}-{number}")
            vaults[person].append(f"{person}-{number}")
        newest = read_account(world.folder, person).record.manifest
        for vault in vaults[person]:
            record = read_account(world.folder, vault).record
            write_account(world.folder, vault, replace(record, manifest=newest))
    async with AsyncExitStack() as stack:
        everybody = [
            await stack.enter_async_context(world.device(person, vault=vault))
            for person in people
            for vault in vaults[person]
        ]
        for _ in range(6):
            await world.pass_time(30)
        speaking = everybody[::4]
        for number, device in enumerate(speaking):
            await device.room.send(f"from {number}")
        for _ in range(4):
            await world.pass_time(10)
        views = [device.conversation.standing.view for device in everybody]
        assert [len(view.leaves) for view in views if view is not None] == [32] * 32
        expected = await everybody[0].texts()
        assert sorted(expected) == sorted(f"from {number}" for number in range(8))
        for device in everybody:
            assert await device.texts() == expected
            assert "gap" not in await device.kinds()
            assert device.room.outbox == ()
        assert alarms(*everybody) == []


async def test_a_ghost_device_in_ones_own_name_is_shown_and_not_let_in(world: World) -> None:
    """The portal, or whoever has a token, connects a device with an identity of its own."""
    async with world.pair() as (anna, ben), world.device("anna", vault="ghost") as ghost:
        await world.pass_time(30)
        assert alarms(anna) == ["own_identity_changed"]
        assert anna.room.alarm is not None
        for _ in range(3):
            await world.pass_time(120)
        for device in (anna, ben):
            view = device.conversation.standing.view
            assert view is not None
            assert ghost.engine.account.device not in view.devices
        await anna.room.resolve_alarm(anna.room.alarm)
        await say(world, anna, "between us")
        await world.pass_time(300)
        assert "between us" in await ben.texts()
        assert await ghost.texts() == []
        assert not ghost.conversation.is_member
        assert alarms(anna) == []


async def test_a_message_to_eight_devices_is_encrypted_once(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    await meet(world)
    vaults = {"ben": "ben", "anna": "anna"} | {f"anna-{number}": "anna" for number in range(2, 8)}
    for number in range(2, 8):
        link_device(world.folder, "anna", f"anna-{number}")
    newest = read_account(world.folder, "anna").record.manifest
    for vault, user in vaults.items():
        if user == "anna":
            record = read_account(world.folder, vault).record
            write_account(world.folder, vault, replace(record, manifest=newest))
    async with AsyncExitStack() as stack:
        devices = {
            vault: await stack.enter_async_context(world.device(user, vault=vault))
            for vault, user in vaults.items()
        }
        for _ in range(4):
            await world.pass_time(20)
        view = devices["ben"].conversation.standing.view
        assert view is not None
        assert len(view.leaves) == 8
        encrypted: list[int] = []

        def counted(group: GroupState, data: bytes, **options: Any) -> Any:
            encrypted.append(group.own_leaf_index)
            return encrypt(group, data, **options)

        monkeypatch.setattr(sending, "encrypt", counted)
        bens = devices["ben"].conversation.standing.group
        assert bens is not None
        await say(world, devices["ben"], "to all seven")
        for device in devices.values():
            assert "to all seven" in await device.texts()
        assert encrypted.count(bens.own_leaf_index) == 1
