"""How long linking a device takes, and how soon a stolen one is out: `python -m tests.bench.devices`.

A real relay and real clients with vaults on this disk, all clients in this process.
"""

from __future__ import annotations

import argparse
import asyncio
import sys
import tempfile
import time
from contextlib import AsyncExitStack
from dataclasses import replace
from pathlib import Path

from client_sdk import Client, Engagement
from client_sdk.devices import LinkSecret
from tests.support.real_relay import RealRelay

MESSAGES = 10_000
DEVICES = 8
LINKING_SECONDS = 20.0
REVOKING_SECONDS = 1.0
PATIENCE = 300
_PAGE = 500


class Scene:
    """Anna and Ben at one relay, and devices that are linked to theirs."""

    def __init__(self, folder: Path, relay: RealRelay, stack: AsyncExitStack) -> None:
        self.folder = folder
        self.relay = relay
        self.stack = stack
        self.engagement = ""

    async def open(self, user: str) -> tuple[Client, Engagement]:
        """The first device of a person."""
        client = await self.stack.enter_async_context(
            Client.open(
                self.folder / f"{user}.vault",
                key=user.encode().ljust(32, b"."),
                relay=self.relay.url,
                token=self.relay.token_for(user),
                name=user.capitalize(),
            )
        )
        return client, await client.engagement(self.engagement)

    async def link(self, by: Client, vault: str) -> tuple[Client, float]:
        """A further device; the seconds from the person's yes until it has everything and takes part."""
        shown: asyncio.Future[LinkSecret] = asyncio.get_running_loop().create_future()
        opening = asyncio.ensure_future(
            self.stack.enter_async_context(
                Client.link(
                    self.folder / f"{vault}.vault",
                    key=vault.encode().ljust(32, b"."),
                    relay=self.relay.url,
                    token=self.relay.token_for(str(by.user)),
                    show=shown.set_result,
                    device_name=vault,
                )
            )
        )
        found = await by.devices.find((await shown).code)
        began = time.monotonic()
        linking = asyncio.ensure_future(by.devices.link(found))
        client = await opening
        await client.devices.wait_history()
        room = await client.engagement(self.engagement)
        await room.wait_joined()
        took = time.monotonic() - began
        await linking
        return client, took


def fill(room: Engagement, messages: int) -> None:
    """Let the history have so many messages: copies of the one that is there, each under an id of its own."""
    vault = room._engine.vault
    with vault.transaction() as tx:
        (one,) = (item for item in tx.history(room.id, limit=_PAGE) if item.kind == "text")
    for start in range(1, messages, _PAGE):
        with vault.transaction() as tx:
            for number in range(start, min(start + _PAGE, messages)):
                text = f"{one.text} {number}"
                tx.add_item(replace(one, id=number.to_bytes(16, "big"), text=text, mine=False))


async def linking(scene: Scene, messages: int) -> float:
    """Seconds to link a device to a person with so many messages."""
    anna, room = await scene.open("anna")
    _, theirs = await scene.open("ben")
    await room.wait_joined()
    await room.send("How was the week? " * 12)
    await room.wait_sent()
    await theirs.wait_caught_up()
    fill(room, messages)
    linked, took = await scene.link(anna, "anna-2")
    with linked._engine.vault.transaction() as tx:
        count, before = 0, None
        while page := tx.history(room.id, limit=_PAGE, before=before):
            count += sum(item.kind == "text" for item in page)
            before = page[-1].id
    if count != messages:
        raise RuntimeError(f"{count} of {messages} messages came")
    return took


async def revoking(scene: Scene) -> tuple[float, float]:
    """Seconds until a device is out of a conversation of eight: at the one that removes it, and at all."""
    anna, room = await scene.open("anna")
    ben, _ = await scene.open("ben")
    await room.wait_joined()
    clients = [anna, ben]
    for number in range(2, DEVICES // 2 + 1):
        for first, user in ((anna, "anna"), (ben, "ben")):
            clients.append((await scene.link(first, f"{user}-{number}"))[0])
    rooms = [await client.engagement(scene.engagement) for client in clients]
    await asyncio.gather(*(_until(each, DEVICES) for each in rooms))
    lost = anna.devices.named("anna-2")
    began = time.monotonic()
    await anna.devices.remove(lost)
    await anna.devices.wait_removed(lost)
    own = time.monotonic() - began
    others = [r for r, c in zip(rooms, clients, strict=True) if c._engine.account.device != lost.id]
    await asyncio.gather(*(_until(each, DEVICES - 1) for each in others))
    return own, time.monotonic() - began


async def _until(room: Engagement, members: int) -> None:
    await room.wait_until(lambda: _members(room) == members)


def _members(room: Engagement) -> int:
    view = room._conversation.standing.view
    return 0 if view is None else len(view.leaves)


async def measure(messages: int) -> bool:
    """Print both figures; whether both are as they should be."""
    with tempfile.TemporaryDirectory() as folder:
        async with asyncio.timeout(PATIENCE):
            async with AsyncExitStack() as stack:
                took = await linking(await _scene(Path(folder) / "one", stack), messages)
                print(f"linking with {messages:,} messages   {took:6.2f} s   (bound {LINKING_SECONDS:.0f} s)")
            async with AsyncExitStack() as stack:
                own, everybody = await revoking(await _scene(Path(folder) / "two", stack))
                print(f"revoked, out at the revoker      {own:6.2f} s   (bound {REVOKING_SECONDS:.0f} s)")
                print(f"revoked, out at everybody's      {everybody:6.2f} s")
    return took < LINKING_SECONDS and own < REVOKING_SECONDS


async def _scene(folder: Path, stack: AsyncExitStack) -> Scene:
    folder.mkdir()
    relay = RealRelay(folder)
    await relay.start()
    stack.push_async_callback(relay.stop)
    scene = Scene(folder, relay, stack)
    scene.engagement = await relay.create_engagement(anna="coach", ben="client")
    return scene


def main() -> int:
    """Measure; 1 if a figure is beyond its bound."""
    parser = argparse.ArgumentParser(description="Linking and revoking devices against a real relay.")
    parser.add_argument("--messages", type=int, default=MESSAGES, help="how long the history is (10,000)")
    return 0 if asyncio.run(measure(parser.parse_args().messages)) else 1


if __name__ == "__main__":
    sys.exit(main())
