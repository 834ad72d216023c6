"""Eight devices lost at once, and back with the printed words, against a real relay."""

from __future__ import annotations

import asyncio
from contextlib import AsyncExitStack
from dataclasses import replace
from pathlib import Path

import pytest

from client_sdk import Client, Text
from client_sdk.errors import AccessRefused
from relay.wire.limits import MAX_DEVICES_PER_USER
from tests.e2e.own_devices import linked, opened, texts, until
from tests.support.linking import link_device, read_account, write_account
from tests.support.real_relay import RealRelay

PATIENCE = 140
pytestmark = pytest.mark.timeout(300)


async def test_who_has_lost_eight_devices_comes_back_on_a_ninth(relay: RealRelay, tmp_path: Path) -> None:
    stream = await relay.create_engagement(anna="coach", ben="client")
    async with (
        asyncio.timeout(PATIENCE),
        opened(relay, tmp_path, "anna") as anna,
        opened(relay, tmp_path, "ben") as ben,
    ):
        room = await anna.engagement(stream)
        await ben.engagement(stream)
        await room.wait_joined()
        words = " ".join(anna.recovery_kit().words)
    vaults = eight_devices(tmp_path)
    async with asyncio.timeout(PATIENCE), AsyncExitStack() as stack:
        ben = await stack.enter_async_context(opened(relay, tmp_path, "ben"))
        lost = [await stack.enter_async_context(opened(relay, tmp_path, "anna", one)) for one in vaults]
        his, rooms = await ben.engagement(stream), [await one.engagement(stream) for one in lost]
        for room in rooms:
            await room.wait_joined()

        await Client.recover(
            tmp_path / "new.vault",
            words=words,
            relay=relay.url,
            token=relay.token_for("anna"),
            key=b"new".ljust(32, b"."),
        )
        await until(lambda: all(isinstance(one.status.error, AccessRefused) for one in lost))
        new = await stack.enter_async_context(opened(relay, tmp_path, "anna", "new"))
        room = await new.engagement(stream)
        await room.wait_joined()
        await until(lambda: his.alarm is not None)
        assert his.alarm is not None
        await his.resolve_alarm(his.alarm)
        await his.send("welcome back")
        async for item in room.items():
            if isinstance(item, Text):
                break
        assert await texts(room) == ["welcome back"]
        for room in rooms:
            assert "welcome back" not in await texts(room)
        async with linked(relay, tmp_path, new, "next"):
            assert len(new.devices.all) == 2, "the places of the lost ones are free"


def eight_devices(folder: Path) -> list[str]:
    """The vaults of Anna's device and seven more, all with the list that names all of them."""
    vaults = ["anna", *(f"anna-{number}" for number in range(2, MAX_DEVICES_PER_USER + 1))]
    for vault in vaults[1:]:
        link_device(folder, "anna", vault)
    newest = read_account(folder, "anna").record.manifest
    for vault in vaults[1:]:
        write_account(folder, vault, replace(read_account(folder, vault).record, manifest=newest))
    return vaults
