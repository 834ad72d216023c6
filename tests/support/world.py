"""A portal, a relay that may lie, and people with devices, all in this process and on one clock."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from client_sdk import Changed, Client, Engagement, Text
from client_sdk.engine import AnyItem, Conversation, Engine, Ring
from client_sdk.engine.membership import make_commit
from client_sdk.engine.records import CommitReason
from client_sdk.transport import Environment
from tests.support.fake_relay import ORIGIN, FakeRelay
from tests.support.fake_time import FakeTime, SeededRandom, settle


@dataclass(slots=True)
class Device:
    """A program of one user that runs now."""

    client: Client
    room: Engagement

    @property
    def engine(self) -> Engine:
        return self.client._engine

    @property
    def conversation(self) -> Conversation:
        return self.room._conversation

    async def texts(self) -> list[str]:
        """Every text in the history, the oldest first."""
        items = await self.room.history(limit=500)
        return [item.text for item in reversed(items) if isinstance(item, Text)]

    async def kinds(self) -> list[str]:
        """The kind of everything in the history, the oldest first."""
        items = await self.room.history(limit=500)
        return [str(getattr(item, "KIND", "unknown")) for item in reversed(items)]

    async def received(self) -> list[AnyItem | Changed | Ring]:
        """What the application has not taken yet; it takes it all."""
        found: list[AnyItem | Changed | Ring] = []
        items = self.room.items()
        while True:
            coming = asyncio.ensure_future(anext(items))
            await settle(4)
            if not coming.done():
                coming.cancel()
                await asyncio.gather(coming, return_exceptions=True)
                return found
            found.append(coming.result())


class World:
    """Make clients with `device`; `settle` lets everything happen that can happen at this moment."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.time = FakeTime()
        self.relay = FakeRelay(now=self.time.now, random=SeededRandom("relay"))
        self.stream = self.relay.create_engagement(anna="coach", ben="client")
        self._runs = 0

    @asynccontextmanager
    async def device(
        self,
        user: str,
        *,
        vault: str | None = None,
        name: str | None = None,
        step: Callable[[str], None] | None = None,
        room: bool = True,
    ) -> AsyncIterator[Device]:
        """Run a program of this user until the block ends."""
        async with self.opened(user, vault=vault, name=name, step=step) as client:
            await self.settle()
            yield Device(client, await asyncio.wait_for(client.engagement(self.stream), 10))

    def opened(
        self,
        user: str,
        *,
        vault: str | None = None,
        name: str | None = None,
        step: Callable[[str], None] | None = None,
    ) -> Any:
        self._runs += 1
        environment = Environment(
            now=self.time.now,
            monotonic=self.time.monotonic,
            rng=SeededRandom(f"{user} {vault} {self._runs}"),
            sleep=self.time.sleep,
            **({} if step is None else {"step": step}),
        )
        return Client.open(
            self.folder / f"{vault or user}.vault",
            relay=ORIGIN,
            token=self.relay.token_for(user),
            key=(vault or user).encode().ljust(32, b"."),
            name=name,
            environment=environment,
            dial=self.relay.dial,
        )

    @asynccontextmanager
    async def pair(self) -> AsyncIterator[tuple[Device, Device]]:
        """Anna and Ben, both there and both in the conversation."""
        async with AsyncExitStack() as stack:
            anna = await stack.enter_async_context(self.device("anna", name="Anna"))
            await self.settle()
            ben = await stack.enter_async_context(self.device("ben", name="Ben"))
            await self.pass_time(6)
            yield anna, ben

    async def settle(self) -> None:
        """Let everything happen that needs no time to pass."""
        await settle()

    async def pass_time(self, seconds: float) -> None:
        await self.time.advance(seconds)


async def say(world: World, device: Device, *texts: str) -> None:
    """Say it, one text after the other, until all who are there have it."""
    for text in texts:
        await device.room.send(text)
        await world.settle()


def move_on(world: World, device: Device) -> None:
    """Have a device begin another epoch, as any member may."""
    conversation, standing = device.conversation, device.conversation.standing
    assert standing.group is not None
    assert standing.view is not None
    account, rng = conversation.context.account, conversation.context.rng
    made = make_commit(standing.group, standing.view, account, [], now=int(world.time.now()), rng=rng)
    assert conversation.commit(made, CommitReason.MEMBERSHIP, after_commit=standing.record.last_commit)


def alarms(*devices: Device) -> list[str]:
    """The codes of the alarms that any of them shows."""
    return [device.room.alarm.code for device in devices if device.room.alarm is not None]
