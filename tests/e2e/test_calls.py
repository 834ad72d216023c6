"""A call between two people over the real relay: invitation, ring, words, media, end."""

from __future__ import annotations

import asyncio
from contextlib import AbstractAsyncContextManager
from pathlib import Path

from client_sdk import CallEnded, Client, Engagement, Ring
from client_sdk.calls import CallSettings, Outcome
from tests.support.real_relay import RealRelay

PATIENCE = 150


def caller(relay: RealRelay, folder: Path, user: str) -> AbstractAsyncContextManager[Client]:
    return Client.open(
        folder / f"{user}.vault",
        key=user.encode().ljust(32, b"."),
        relay=relay.url,
        token=relay.token_for(user),
        name=user.capitalize(),
        call_settings=CallSettings(loopback=True),
    )


async def ring(room: Engagement) -> Ring:
    async for item in room.items():
        if isinstance(item, Ring):
            return item
    raise AssertionError("items never end")


async def ended(room: Engagement) -> CallEnded:
    """The end as the conversation tells it to who was called."""
    async for item in room.items():
        if isinstance(item, CallEnded):
            return item
    raise AssertionError("items never end")


async def test_a_call_is_taken_recorded_and_ended(relay: RealRelay, tmp_path: Path) -> None:
    engagement = await relay.create_engagement(anna="coach", ben="client")
    async with (
        asyncio.timeout(PATIENCE),
        caller(relay, tmp_path, "anna") as anna,
        caller(relay, tmp_path, "ben") as ben,
    ):
        room, theirs = await anna.engagement(engagement), await ben.engagement(engagement)
        await asyncio.gather(room.wait_joined(), theirs.wait_joined())
        call = await room.call()
        rung = await ring(theirs)
        assert rung.sender.user == "anna"
        taken = await rung.accept(record=tmp_path / "call.mp4")
        await asyncio.gather(call.wait_connected(), taken.wait_connected())
        assert call.words == taken.words
        assert len(call.words or ()) == 5
        await call.hang_up()
        end = await taken.ended()
        assert end.outcome is Outcome.ANSWERED
        shown = await ended(theirs)
        assert (shown.outcome, shown.answered_by) == ("answered", "ben")


async def test_a_call_that_is_declined(relay: RealRelay, tmp_path: Path) -> None:
    engagement = await relay.create_engagement(anna="coach", ben="client")
    async with (
        asyncio.timeout(PATIENCE),
        caller(relay, tmp_path, "anna") as anna,
        caller(relay, tmp_path, "ben") as ben,
    ):
        room, theirs = await anna.engagement(engagement), await ben.engagement(engagement)
        await asyncio.gather(room.wait_joined(), theirs.wait_joined())
        call = await room.call(video=False)
        await (await ring(theirs)).decline()
        assert (await call.ended()).outcome is Outcome.DECLINED
        assert (await ended(theirs)).outcome == "declined"


async def test_a_call_to_somebody_who_is_away_is_seen_later(relay: RealRelay, tmp_path: Path) -> None:
    engagement = await relay.create_engagement(anna="coach", ben="client")
    async with asyncio.timeout(PATIENCE), caller(relay, tmp_path, "anna") as anna:
        room = await anna.engagement(engagement)
        async with caller(relay, tmp_path, "ben") as ben:
            theirs = await ben.engagement(engagement)
            await asyncio.gather(room.wait_joined(), theirs.wait_joined())
        call = await room.call(video=False)
        await room.wait_sent()
        await call.hang_up()
        await room.wait_until(lambda: call.end is not None)
        async with caller(relay, tmp_path, "ben") as ben:
            theirs = await ben.engagement(engagement)
            shown = await ended(theirs)
            assert shown.outcome == "cancelled"
            assert shown.call == call.id
            kinds = [type(item).__name__ for item in await theirs.history()]
            assert kinds == ["CallEndedItem", "CallInviteItem"]


async def test_when_both_call_at_once_they_end_up_in_one_call(relay: RealRelay, tmp_path: Path) -> None:
    engagement = await relay.create_engagement(anna="coach", ben="client")
    async with (
        asyncio.timeout(PATIENCE),
        caller(relay, tmp_path, "anna") as anna,
        caller(relay, tmp_path, "ben") as ben,
    ):
        room, theirs = await anna.engagement(engagement), await ben.engagement(engagement)
        await asyncio.gather(room.wait_joined(), theirs.wait_joined())
        one, other = await asyncio.gather(room.call(video=False), theirs.call(video=False))
        rings = [asyncio.ensure_future(ring(room)), asyncio.ensure_future(ring(theirs))]
        done, waiting = await asyncio.wait(rings, return_when=asyncio.FIRST_COMPLETED)
        rung = done.pop().result()
        taken = await rung.accept()
        kept, gave_way = (one, other) if rung.sender.user == "anna" else (other, one)
        await asyncio.gather(kept.wait_connected(), taken.wait_connected())
        assert kept.words == taken.words
        assert (await gave_way.ended()).outcome is Outcome.CANCELLED
        await kept.hang_up()
        for task in waiting:
            task.cancel()
        await asyncio.gather(*waiting, return_exceptions=True)
