from __future__ import annotations

from tests.support.world import World


async def test_two_people_talk(world: World) -> None:
    async with world.pair() as (anna, ben):
        await anna.room.send("How was the week?")
        await world.settle()
        await ben.room.send("Long.")
        await world.settle()
        assert await anna.texts() == await ben.texts() == ["How was the week?", "Long."]
