"""What a device may ask of a relay that was set back: those of its entries that stand before the loss."""

from __future__ import annotations

import pytest

from client_sdk.delivery import StreamForked
from tests.support.restored import back_up, restore
from tests.support.world import World, alarms, say


@pytest.mark.parametrize("behind", [0, 1])
async def test_entries_are_counted_exactly_by_who_has_been_in_since_before_the_loss(
    world: World, behind: int
) -> None:
    """The relay goes back to where Ben came in anew, or to just before, and has one entry of his less."""
    async with world.pair() as (anna, ben):
        await say(world, ben, "one", "two")
        ben.conversation.raise_alarm(StreamForked(seq=1))
        alarm = ben.room.alarm
        assert alarm is not None
        await ben.room.resolve_alarm(alarm)
        await world.pass_time(10)
        await say(world, ben, "three")
        await world.pass_time(10)
        entered, device = ben.conversation.standing.record.entered, ben.engine.account.device
        assert entered > 3
        copy = back_up(world)
        copy.log.truncate(entered - behind)

        counters = copy.log.counters[device]
        counters.window.pop(counters.last)
        counters.last -= 1
        await restore(world, copy)
        await world.pass_time(30)
        if behind == 0:
            assert alarms(ben) == ["stream_rolled_back"], "he has seen each of his own pass, and knows"
        else:
            assert alarms(anna, ben) == [], "what passed while he was out of step he cannot count"
            await say(world, ben, "four")
            await world.pass_time(10)
            assert sorted(await anna.texts()) == sorted(await ben.texts()) == ["four", "one", "three", "two"]
