"""A person's program, run as a process of its own: says its numbered lines, and ends when it has heard all.

It says each line once over all its lives: what stands in its history, or waits in its outbox, was said.
Every line that it writes to standard output is a moment at which it may be killed.
"""

from __future__ import annotations

import asyncio
import json
import sys
from pathlib import Path

from client_sdk import Client, Engagement, Text
from tests.support.wire_client import WirePortal

PAGE = 500


async def texts(room: Engagement) -> list[str]:
    """Every text in the history, the oldest first."""
    found = [item.text for item in await room.history(limit=PAGE) if isinstance(item, Text)]
    return found[::-1]


def tell(event: str) -> None:
    """Say where we are to whoever started us."""
    print(event, flush=True)


async def hear(room: Engagement) -> None:
    async for _ in room.items():
        tell("heard")


async def live(order: dict[str, object]) -> None:
    """One life of the program; ends when its history holds everybody's lines and nothing waits."""
    user, count = str(order["user"]), int(str(order["count"]))
    portal = WirePortal(dict(json.loads(str(order["portal"]))))

    async def fetch() -> str:
        return portal.token(user)

    async with Client.open(
        Path(str(order["vault"])),
        relay=str(order["url"]),
        key=user.encode().ljust(32, b"."),
        token=fetch,
        name=user,
    ) as client:
        room = await client.engagement(str(order["engagement"]))
        await room.wait_joined()
        tell("joined")
        hearing = asyncio.create_task(hear(room))
        said = set(await texts(room))
        for line in (f"{user} {number}" for number in range(count)):
            if line not in said:
                await room.send(line)
                tell("said")
        await room.wait_sent()
        tell("sent")
        while len(await texts(room)) < 2 * count or room.outbox:
            await asyncio.wait([hearing], timeout=0.05)
            if hearing.done():
                hearing.result()
        hearing.cancel()
        placed = room.alarm is None and not room.outbox
        print(json.dumps({"texts": await texts(room), "fine": placed}), flush=True)


if __name__ == "__main__":
    asyncio.run(live(json.loads(sys.argv[1])))
