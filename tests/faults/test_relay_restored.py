"""A relay whose data folder was set back to an old copy, by its operator or a thief: devices notice."""

from __future__ import annotations

import asyncio
import shutil
from pathlib import Path

import pytest

from client_sdk.errors import SecurityAlarm
from tests.faults.people import client_of, pair, texts, until_heard
from tests.support.real_relay import RealRelay


async def test_a_copy_without_the_newest_messages_is_an_alarm(relay: RealRelay, tmp_path: Path) -> None:
    engagement = await relay.create_engagement(anna="coach", ben="client")
    async with asyncio.timeout(150):
        async with pair(relay, tmp_path, engagement) as (anna, ben):
            await anna.send("before the copy")
            await until_heard(ben, "before the copy")
        await relay.stop()
        copy = tmp_path / "copy"
        shutil.copytree(relay.data, copy)
        await relay.start()
        async with pair(relay, tmp_path, engagement) as (anna, ben):
            await anna.send("after the copy")
            await until_heard(ben, "after the copy")
        await relay.kill()
        shutil.rmtree(relay.data)
        shutil.copytree(copy, relay.data)

        async with client_of(relay, tmp_path, "ben") as offline:
            room = await offline.engagement(engagement)
            await room.send("waits here")
            await relay.start()
            with pytest.raises(SecurityAlarm) as found:
                await room.wait_caught_up()
            assert found.value.code == "stream_rolled_back"
            with pytest.raises(SecurityAlarm):
                await room.send("nothing more is taken")
            assert len(room.outbox) == 1, "what was said is kept, and not sent"
            assert await texts(room) == ["before the copy", "after the copy", "waits here"]
        async with client_of(relay, tmp_path, "ben") as again:
            room = await again.engagement(engagement)
            alarm = room.alarm
            assert alarm is not None, "it is remembered"
            assert alarm.code == "stream_rolled_back"
            assert len(room.outbox) == 1


async def test_another_folder_under_the_same_name_is_an_alarm(relay: RealRelay, tmp_path: Path) -> None:
    """The operator (or whoever took the relay's place) begins the stream anew."""
    engagement = await relay.create_engagement(anna="coach", ben="client")
    async with asyncio.timeout(150):
        async with pair(relay, tmp_path, engagement) as (anna, ben):
            await anna.send("hello")
            await until_heard(ben, "hello")
        await relay.stop()
        for file in relay.data.glob("streams.db*"):
            file.unlink()
        await relay.start()
        async with client_of(relay, tmp_path, "anna") as client:
            room = await client.engagement(engagement)
            with pytest.raises(SecurityAlarm) as found:
                await room.wait_caught_up()
            assert found.value.code in ("stream_replaced", "stream_rolled_back")
            assert await texts(room) == ["hello"]
