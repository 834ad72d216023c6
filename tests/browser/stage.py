"""A relay, a portal with its pages, a browser, and the vaults of people with the Python SDK."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from pathlib import Path
from typing import Any

from client_sdk import Client, Text
from tests.browser.chromium import Chromium, Portal, RelayForPages

PATIENCE = 200  # machines that do much else at the same time are slow


class Stage:
    """A relay, a portal with its pages, a browser, and the vaults of people with the Python SDK."""

    def __init__(self, relay: RelayForPages, portal: Portal, chromium: Chromium, vaults: Path) -> None:
        self.relay, self.portal, self.chromium, self.vaults = relay, portal, chromium, vaults

    async def page(self, user: str, engagement: str, *, name: str = "", beside: str | None = None) -> str:
        """A page of this person; the constants of its `start` are the user's name."""
        url = f"{self.portal.origin}/?user={user}&engagement={engagement}&relay={self.relay.url}"
        page = name or user
        more = {} if beside is None else {"beside": beside}
        await self.chromium.ask("open", name=page, url=url, **more)
        return page

    async def start(self, page: str, user: str) -> None:
        me = await self.chromium.run(page, "return window.start(called)", called=user.capitalize())
        assert (me["portal"], me["user"]) == ("growth", user)

    async def enters(self, user: str, engagement: str) -> str:
        """A page of this person, who is set up in it."""
        page = await self.page(user, engagement)
        await self.start(page, user)
        return page

    def python(self, user: str) -> AbstractAsyncContextManager[Client]:
        return Client.open(
            self.vaults / f"{user}.vault",
            key=user.encode().ljust(32, b"."),
            relay=self.relay.url,
            token=self.relay.token_for(user),
            name=user.capitalize(),
        )

    async def say(self, page: str, text: str) -> str:
        """Say it in the page, and wait until it is safe there; the relay has it later."""
        sent: str = await self.chromium.run(page, "return window.room.send(text)", text=text)
        return sent

    async def hears(self, page: str, text: str) -> str:
        """Who said it, once the page has it."""
        message = await self.chromium.run(page, "return window.hears(text)", text=text)
        sender: str = message["sender"]
        return sender

    async def texts(self, page: str) -> list[str]:
        found: list[str] = await self.chromium.run(
            page, "return (await window.room.history()).map((message) => message.text ?? message.kind)"
        )
        return found

    async def calm(self, *pages: str) -> None:
        """No alarm, and no error in any console."""
        for page in pages:
            assert await self.chromium.run(page, "return (await window.room.state()).alarm") is None
        assert await self.chromium.ask("errors") == []

    async def history(self, page: str) -> list[dict[str, Any]]:
        found: list[dict[str, Any]] = await self.chromium.run(page, "return window.room.history()")
        return found

    async def until(self, page: str, holds: str, **values: object) -> Any:
        """What this expression gives in the page, as soon as that is something."""
        return await self.chromium.run(page, f"return window.until(async () => {holds})", **values)


@asynccontextmanager
async def staged(folder: Path, chromium: Chromium) -> AsyncIterator[Stage]:
    """Everything that a story needs, and its end."""
    portal = Portal()
    await portal.start()
    relay = portal.relay = RelayForPages(folder, portal.origin)
    await relay.start()
    try:
        yield Stage(relay, portal, chromium, folder)
    finally:
        await relay.kill()
        await portal.stop()


async def reads(items: AsyncIterator[object]) -> str:
    """The next text."""
    item = await anext(items)
    assert isinstance(item, Text)
    return item.text


async def next_of(items: AsyncIterator[object], kind: type) -> Any:
    """The next item of a class."""
    while True:
        item = await anext(items)
        if isinstance(item, kind):
            return item
