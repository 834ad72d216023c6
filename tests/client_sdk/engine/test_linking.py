"""Linking a device: words on one, a name on the other, and then the same history, trust and floors."""

from __future__ import annotations

import pytest

from client_sdk.engine import trusting
from client_sdk.identity import TrustState
from tests.support.own_devices import Depot, linked
from tests.support.world import Device, World, alarms


@pytest.fixture(autouse=True)
def depot(monkeypatch: pytest.MonkeyPatch) -> Depot:
    found = Depot()
    found.install(monkeypatch)
    return found


async def say(world: World, device: Device, text: str) -> None:
    await device.room.send(text)
    await world.settle()


async def test_a_linked_device_has_all_that_the_first_one_had(world: World) -> None:
    async with world.pair() as (anna, ben):
        await say(world, anna, "before, from Anna")
        await say(world, ben, "before, from Ben")
        await anna.room.verify(anna.room.people.named("ben"))
        async with linked(world, anna, "anna-2") as two:
            await world.pass_time(5)
            assert two.conversation.is_member
            assert await two.texts() == await anna.texts() == ["before, from Anna", "before, from Ben"]
            assert [item.mine for item in reversed(await two.room.history())] == [True, False]
            assert str(two.room.people) == str(anna.room.people) == "Ben (client), verified"
            await say(world, two, "after, from the second")
            await say(world, ben, "after, from Ben")
            assert await two.texts() == await anna.texts() == await ben.texts()
            assert [str(d) for d in two.client.devices.all] == [
                f"{anna.client.devices.all[0].name or 'device ' + anna.client.devices.all[0].short_id}"
                " (may link others)",
                "anna-2 (this device)",
            ]
            with two.engine.vault.transaction() as tx:
                record = trusting.trust_of(tx, "ben")
            assert record is not None
            assert record.state is TrustState.VERIFIED
            assert alarms(anna, ben, two) == []
