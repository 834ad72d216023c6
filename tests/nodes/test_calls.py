"""A call between two people at two nodes, both of which are restarted meanwhile."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Sequence
from contextlib import AsyncExitStack, asynccontextmanager
from pathlib import Path
from typing import Final

import pytest

from client_sdk import Client, Engagement, Ring, Text
from client_sdk.calls import Call, CallSettings, Outcome, Phase, media_from_file
from client_sdk.demo.media import make_media
from relay.wire.frames import IceServer
from tests.nodes.relays import Relays, relays
from tests.support import real_redis as redis

pytestmark = [
    pytest.mark.skipif(redis.PROGRAM is None, reason=redis.MISSING),
    pytest.mark.timeout(240),
]
PATIENCE: Final = 200.0
LOOK_SECONDS: Final = 0.25
STANDSTILL_SECONDS: Final = 5.0
"""Without a frame of sound or picture for so long, a call would be taken for lost."""


class Held:
    """Keeps an answer back: a device asks for servers before it answers."""

    def __init__(self) -> None:
        self.asked = asyncio.Event()
        self.released = asyncio.Event()

    async def servers(self) -> Sequence[IceServer]:
        self.asked.set()
        await self.released.wait()
        return ()


class Watch:
    """How long at most nothing was decoded on either side, and in which states the call was."""

    def __init__(self, *calls: Call) -> None:
        self._calls = calls
        self.standstill = 0.0
        self.states: set[tuple[Phase, int]] = set()

    async def frames(self) -> tuple[int, ...]:
        found = [await call.statistics() for call in self._calls]
        return tuple(kind.frames_decoded for one in found for kind in (one.audio, one.video))

    async def look(self) -> None:
        """Until it is cancelled."""
        clock = asyncio.get_running_loop().time
        before = await self.frames()
        changed = [clock()] * len(before)
        while True:
            await asyncio.sleep(LOOK_SECONDS)
            self.states |= {(call.state, call.attempt) for call in self._calls}
            now = await self.frames()
            for place, (old, new) in enumerate(zip(before, now, strict=True)):
                self.standstill = max(self.standstill, clock() - changed[place])
                if new > old:
                    changed[place] = clock()
            before = now


@asynccontextmanager
async def person(
    relay: Relays, place: int, folder: Path, user: str, settings: CallSettings
) -> AsyncIterator[Client]:
    """Somebody whose device comes to that node first."""
    relay.in_service = {relay.nodes[place]}
    async with Client.open(
        folder / f"{user}.vault",
        key=user.encode().ljust(32, b"."),
        relay=relay.url,
        token=relay.nodes[0].token_for(user),
        name=user.capitalize(),
        call_settings=settings,
    ) as client:
        await client.wait_online()
        yield client


@asynccontextmanager
async def two_at_two_nodes(
    folder: Path, *, bens: CallSettings, codes: Sequence[Path | None] = ()
) -> AsyncIterator[tuple[Relays, Engagement, Engagement]]:
    async with AsyncExitStack() as stack:
        servers = stack.enter_context(redis.real_redis(redis.Standalone))
        relay = await stack.enter_async_context(relays(folder, [servers.url] * 2, codes=codes))
        engagement = await relay.engagement(anna="coach", ben="client")
        settings = CallSettings(loopback=True)
        anna = await stack.enter_async_context(person(relay, 0, folder, "anna", settings))
        ben = await stack.enter_async_context(person(relay, 1, folder, "ben", bens))
        relay.in_service = set(relay.nodes)
        room, theirs = await anna.engagement(engagement), await ben.engagement(engagement)
        await asyncio.gather(room.wait_joined(), theirs.wait_joined())
        yield relay, room, theirs


async def ring(room: Engagement) -> Ring:
    async for item in room.items():
        if isinstance(item, Ring):
            return item
    raise AssertionError("items never end")


async def heard(room: Engagement, text: str) -> None:
    async for item in room.items():
        if isinstance(item, Text) and item.text == text:
            return


async def restart_both(relay: Relays) -> None:
    for node in relay.nodes:
        await relay.restart(node)


async def test_a_call_goes_on_while_both_nodes_are_restarted(tmp_path: Path) -> None:
    film = tmp_path / "film.mp4"
    await asyncio.to_thread(make_media, film, 10)
    async with (
        asyncio.timeout(PATIENCE),
        two_at_two_nodes(tmp_path, bens=CallSettings(loopback=True)) as (relay, room, theirs),
    ):
        call = await room.call(media=await media_from_file(film, loop=True))
        taken = await (await ring(theirs)).accept(media=await media_from_file(film, loop=True))
        await asyncio.gather(call.wait_connected(), taken.wait_connected())
        words, watch = call.words, Watch(call, taken)
        assert words == taken.words
        watching = asyncio.create_task(watch.look())
        await restart_both(relay)
        after = await watch.frames()
        await room.send("Are you still there?")
        await heard(theirs, "Are you still there?")
        while any(new <= old for new, old in zip(await watch.frames(), after, strict=True)):  # noqa: ASYNC110  no event
            await asyncio.sleep(LOOK_SECONDS)
        watching.cancel()
        await asyncio.gather(watching, return_exceptions=True)
        assert watch.standstill < STANDSTILL_SECONDS
        assert watch.states == {(Phase.CONNECTED, 1)}
        assert call.words == taken.words == words
        await call.hang_up()
        assert (await taken.ended()).outcome is Outcome.ANSWERED


async def test_what_is_being_negotiated_while_both_nodes_are_restarted_comes_about(tmp_path: Path) -> None:
    held = Held()
    bens = CallSettings(loopback=True, ice_servers=held.servers)
    async with asyncio.timeout(PATIENCE), two_at_two_nodes(tmp_path, bens=bens) as (relay, room, theirs):
        call = await room.call(video=False)
        taken = await (await ring(theirs)).accept()
        await held.asked.wait()  # the offer has come, and the answer has not gone
        first, second = relay.nodes
        await relay.restart(first)
        assert {call.state, taken.state} == {Phase.CONNECTING}
        restarting = asyncio.create_task(relay.restart(second))
        held.released.set()
        await asyncio.gather(call.wait_connected(), taken.wait_connected())
        await restarting
        assert call.words == taken.words
        await call.hang_up()
        assert (await taken.ended()).outcome is Outcome.ANSWERED
