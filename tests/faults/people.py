"""Clients of the real relay in this process."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from pathlib import Path

from client_sdk import Client, Engagement, Text
from client_sdk.engine import AnyItem
from tests.support.real_relay import RealRelay

_PAGE = 500  # the most that are given at once


def key_of(user: str) -> bytes:
    return user.encode().ljust(32, b".")


def client_of(relay: RealRelay, folder: Path, user: str) -> AbstractAsyncContextManager[Client]:
    """This user's one device."""
    vault = folder / f"{user}.vault"
    return Client.open(
        vault, key=key_of(user), relay=relay.url, token=relay.token_for(user), name=user.capitalize()
    )


async def texts(room: Engagement) -> list[str]:
    """Every text in the history, the oldest first."""
    found: list[AnyItem] = []
    while page := await room.history(limit=_PAGE, before=found[-1].id if found else None):
        found += page
    return [item.text for item in reversed(found) if isinstance(item, Text)]


@asynccontextmanager
async def pair(
    relay: RealRelay, folder: Path, engagement: str
) -> AsyncIterator[tuple[Engagement, Engagement]]:
    """Anna and Ben, both there and both in the conversation."""
    async with client_of(relay, folder, "anna") as anna, client_of(relay, folder, "ben") as ben:
        rooms = await anna.engagement(engagement), await ben.engagement(engagement)
        for room in rooms:
            await room.wait_joined()
        yield rooms


async def until_heard(room: Engagement, text: str) -> None:
    """Wait until this was said."""
    async for item in room.items():
        if isinstance(item, Text) and item.text == text:
            return
