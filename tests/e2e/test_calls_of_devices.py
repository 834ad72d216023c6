"""Calls where people have several devices, call each other at once, or lose the program in the middle."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Iterator
from contextlib import AsyncExitStack, asynccontextmanager, contextmanager
from functools import partial
from pathlib import Path

import pytest

from client_sdk import CallEnded, CallInvite, Client, Engagement, Ring
from client_sdk.calls import Call, CalledAlready, CallSettings, Outcome, Phase
from client_sdk.engine.items import CallEndedItem
from relay.wire import frames as fr
from tests.support.linking import link_device
from tests.support.real_relay import RealRelay

PATIENCE = 150


@asynccontextmanager
async def program(relay: RealRelay, folder: Path, user: str, vault: str = "") -> AsyncIterator[Client]:
    name = vault or user
    async with Client.open(
        folder / f"{name}.vault",
        key=name.encode().ljust(32, b"."),
        relay=relay.url,
        token=relay.token_for(user),
        name=user.capitalize(),
        call_settings=CallSettings(loopback=True),
    ) as client:
        yield client


async def ring(room: Engagement) -> Ring:
    async for item in room.items():
        if isinstance(item, Ring):
            return item
    raise AssertionError("items never end")


async def last_end(room: Engagement) -> CallEndedItem:
    """How the newest call went, as soon as the history says so."""
    found: list[CallEndedItem] = []

    async def look() -> bool:
        found[:] = [item for item in await room.history() if isinstance(item, CallEndedItem)]
        return bool(found)

    while not await look():  # noqa: ASYNC110  the history is no event
        await asyncio.sleep(0.02)
    return found[0]


@asynccontextmanager
async def ben_with_two(relay: RealRelay, folder: Path) -> AsyncIterator[tuple[Engagement, ...]]:
    """Anna with one device and Ben with two, all in the conversation."""
    engagement = await relay.create_engagement(anna="coach", ben="client")
    async with program(relay, folder, "anna") as anna, program(relay, folder, "ben") as ben:
        rooms = await anna.engagement(engagement), await ben.engagement(engagement)
        await asyncio.gather(*(room.wait_joined() for room in rooms))
    link_device(folder, "ben", "ben-2")
    async with AsyncExitStack() as stack:
        clients = [
            await stack.enter_async_context(program(relay, folder, user, vault))
            for user, vault in (("anna", ""), ("ben", ""), ("ben", "ben-2"))
        ]
        opened = [await client.engagement(engagement) for client in clients]
        await asyncio.gather(*(room.wait_joined() for room in opened))
        await opened[0].wait_until(lambda: _devices(opened[0]) == 3)
        yield tuple(opened)


def _has_invited(room: Engagement, user: str) -> bool:
    with room._engine.vault.transaction() as tx:
        found = tx.history(room.id)
    return any(item.kind == CallInvite.KIND and item.sender_user == user for item in found)


@contextmanager
def on_its_way(room: Engagement) -> Iterator[None]:
    """What the stream brings reaches this device only when the block ends."""
    conversation = room._conversation
    held: list[tuple[fr.Entry, ...]] = []
    vars(conversation)["on_entries"] = held.append
    try:
        yield
    finally:
        del vars(conversation)["on_entries"]
        for entries in held:
            conversation.on_entries(entries)


def _devices(room: Engagement) -> int:
    view = room._conversation.standing.view
    return 0 if view is None else len(view.leaves)


async def test_answered_on_one_device_it_stops_ringing_on_the_other(relay: RealRelay, tmp_path: Path) -> None:
    async with asyncio.timeout(PATIENCE), ben_with_two(relay, tmp_path) as (anna, ben, ben2):
        call = await anna.call(video=False)
        first, second = await asyncio.gather(ring(ben), ring(ben2))
        taken = await second.accept()
        assert await first.over() == "You answered on another device of yours."
        assert await second.over() == "You answered."
        await asyncio.gather(call.wait_connected(), taken.wait_connected())
        assert call.words == taken.words
        await call.hang_up()
        assert (await taken.ended()).outcome is Outcome.ANSWERED
        ends = [await last_end(room) for room in (anna, ben, ben2)]
        assert {(end.outcome, end.answered_by) for end in ends} == {("answered", "ben")}
        assert {end.device for end in ends} == {ben2._engine.account.device}
        assert [end.elsewhere for end in ends] == ["", "another device of yours", ""]


async def test_declined_on_one_device_it_stops_ringing_on_the_other(relay: RealRelay, tmp_path: Path) -> None:
    async with asyncio.timeout(PATIENCE), ben_with_two(relay, tmp_path) as (anna, ben, ben2):
        call = await anna.call(video=False)
        first, second = await asyncio.gather(ring(ben), ring(ben2))
        await first.decline()
        assert await second.over() == "You declined on another device of yours."
        assert await first.over() == "You declined."
        assert (await call.ended()).outcome is Outcome.DECLINED
        ends = [await last_end(room) for room in (anna, ben, ben2)]
        assert [(end.outcome, end.elsewhere) for end in ends] == [
            ("declined", ""),
            ("declined", ""),
            ("declined", "another device of yours"),
        ]
        assert not any(end.missed for end in ends)


async def test_a_call_that_nobody_took_is_missed_on_every_device(relay: RealRelay, tmp_path: Path) -> None:
    async with asyncio.timeout(PATIENCE), ben_with_two(relay, tmp_path) as (anna, ben, ben2):
        call = await anna.call(video=False)
        rung = await asyncio.gather(ring(ben), ring(ben2))
        await call.hang_up()
        for one in rung:
            assert await one.over() == "Anna does not call any more. You missed the call."
        ends = [await last_end(room) for room in (anna, ben, ben2)]
        assert [end.missed for end in ends] == [False, True, True]


@pytest.mark.parametrize("order", [("anna", "ben"), ("ben", "anna")])
async def test_both_call_at_once_and_the_lower_position_wins(
    relay: RealRelay, tmp_path: Path, order: tuple[str, str]
) -> None:
    engagement = await relay.create_engagement(anna="coach", ben="client")
    async with (
        asyncio.timeout(PATIENCE),
        program(relay, tmp_path, "anna") as anna,
        program(relay, tmp_path, "ben") as ben,
    ):
        rooms = {"anna": await anna.engagement(engagement), "ben": await ben.engagement(engagement)}
        await asyncio.gather(*(room.wait_joined() for room in rooms.values()))
        winner, loser = order
        calls: dict[str, Call] = {}
        with on_its_way(rooms[loser]):  # the second one calls before the first one's invitation has come
            calls[winner] = await rooms[winner].call(video=False)
            await rooms[winner].wait_sent()
            calls[loser] = await rooms[loser].call(video=False)
            await rooms[winner].wait_until(partial(_has_invited, rooms[winner], loser))
        assert (await calls[loser].ended()).reason == "glare"
        rung = await ring(rooms[loser])
        assert rung.call.id == calls[winner].id
        taken = await rung.accept()
        await asyncio.gather(calls[winner].wait_connected(), taken.wait_connected())
        assert calls[winner].words == taken.words
        for user in order:
            invites = [item for item in await rooms[user].history() if isinstance(item, CallInvite)]
            assert [item.call for item in reversed(invites)] == [calls[winner].id, calls[loser].id]
            # The loser's call rings nowhere: there is one call.
            assert sum(call.end is None for call in rooms[user]._calls._live.values()) == 1
        await calls[winner].hang_up()


async def test_a_call_whose_program_died_is_told_when_it_runs_again(relay: RealRelay, tmp_path: Path) -> None:
    engagement = await relay.create_engagement(anna="coach", ben="client")
    async with asyncio.timeout(PATIENCE), program(relay, tmp_path, "ben") as ben:
        theirs = await ben.engagement(engagement)
        async with program(relay, tmp_path, "anna") as anna:
            room = await anna.engagement(engagement)
            await asyncio.gather(room.wait_joined(), theirs.wait_joined())
            # As if the program had been killed between the invitation and its end.
            room._calls._store_end = lambda ended: None  # type: ignore[method-assign]  # the process is gone
            await room.call(video=False)
            rung = await ring(theirs)
        await rung.over()
        assert [type(item).__name__ for item in await theirs.history()] == ["CallInviteItem"]
        async with program(relay, tmp_path, "anna") as anna:
            await (await anna.engagement(engagement)).wait_sent()
            end = await last_end(theirs)
            assert (end.outcome, end.missed) == ("missed", True)
        async with program(relay, tmp_path, "anna") as anna:
            room = await anna.engagement(engagement)
            await room.wait_caught_up()
            assert sum(isinstance(item, CallEnded) for item in await room.history()) == 1


async def test_who_is_being_called_does_not_call_past_it(relay: RealRelay, tmp_path: Path) -> None:
    engagement = await relay.create_engagement(anna="coach", ben="client")
    async with (
        asyncio.timeout(PATIENCE),
        program(relay, tmp_path, "anna") as anna,
        program(relay, tmp_path, "ben") as ben,
    ):
        rooms = await anna.engagement(engagement), await ben.engagement(engagement)
        await asyncio.gather(*(room.wait_joined() for room in rooms))
        await rooms[0].call(video=False)
        rung = await ring(rooms[1])
        with pytest.raises(CalledAlready):
            await rooms[1].call(video=False)
        await rung.decline()


async def test_only_who_called_says_how_it_went(relay: RealRelay, tmp_path: Path) -> None:
    async with asyncio.timeout(PATIENCE), ben_with_two(relay, tmp_path) as (anna, ben, ben2):
        call = await anna.call(video=False)
        rung = await ring(ben)
        conversation = ben2._conversation
        conversation.say(CallEnded(call.id, "missed"), message_id=conversation.context.new_id())
        await last_end(ben)
        assert rung.call.state is Phase.RINGING
        taken = await rung.accept()
        await asyncio.gather(call.wait_connected(), taken.wait_connected())
        await call.hang_up()
