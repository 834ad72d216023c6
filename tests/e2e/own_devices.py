"""Several devices of a person at the real relay."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable, Coroutine
from contextlib import AbstractAsyncContextManager, AsyncExitStack, asynccontextmanager
from pathlib import Path

from client_sdk import Client, Engagement, Text
from client_sdk.attachments import OnProgress
from client_sdk.devices import LinkSecret
from tests.support.real_relay import RealRelay


def opened(
    relay: RealRelay, folder: Path, user: str, vault: str = "", *, on_progress: OnProgress | None = None
) -> AbstractAsyncContextManager[Client]:
    """A program of this user."""
    name = vault or user
    return Client.open(
        folder / f"{name}.vault",
        relay=relay.url,
        token=relay.token_for(user),
        key=name.encode().ljust(32, b"."),
        name=user.title(),
        on_progress=on_progress,
    )


@asynccontextmanager
async def newcomer(
    relay: RealRelay, folder: Path, user: str, vault: str, shown: asyncio.Future[LinkSecret]
) -> AsyncIterator[Client]:
    """The program of a new device, from showing its words on."""
    async with Client.link(
        folder / f"{vault}.vault",
        relay=relay.url,
        token=relay.token_for(user),
        key=vault.encode().ljust(32, b"."),
        show=shown.set_result,
        device_name=vault,
    ) as client:
        yield client


@asynccontextmanager
async def linking(by: Client, shown: asyncio.Future[LinkSecret]) -> AsyncIterator[asyncio.Task[None]]:
    """The other device of the person, where the words are typed and the name is confirmed."""

    async def confirm() -> None:
        await by.devices.link(await by.devices.find(" ".join((await shown).words)))

    confirming = asyncio.ensure_future(confirm())
    try:
        yield confirming
    finally:
        confirming.cancel()
        await asyncio.gather(confirming, return_exceptions=True)


@asynccontextmanager
async def linked(relay: RealRelay, folder: Path, by: Client, vault: str) -> AsyncIterator[Client]:
    """A further device of this person, with everything that was said."""
    shown: asyncio.Future[LinkSecret] = asyncio.get_running_loop().create_future()
    async with linking(by, shown) as confirming, AsyncExitStack() as stack:
        opening = stack.enter_async_context(newcomer(relay, folder, str(by.user), vault, shown))
        client = await together(opening, confirming)
        await client.devices.wait_history()
        yield client


async def together(entering: Coroutine[None, None, Client], confirming: asyncio.Task[None]) -> Client:
    """The new device once both are done; whoever fails first ends it, or the other would wait for long."""
    opening = asyncio.ensure_future(entering)
    try:
        client, _ = await asyncio.gather(opening, confirming)
    finally:
        opening.cancel()
        await asyncio.gather(opening, return_exceptions=True)
    return client


async def texts(room: Engagement) -> list[str]:
    """Every text in the history, the oldest first."""
    items = await room.history(limit=500)
    return [item.text for item in reversed(items) if isinstance(item, Text)]


async def until(condition: Callable[[], bool]) -> None:
    """Wait for what nobody is told of."""
    async with asyncio.timeout(60):
        while not condition():  # noqa: ASYNC110
            await asyncio.sleep(0.01)
