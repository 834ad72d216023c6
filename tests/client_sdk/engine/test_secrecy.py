"""Nothing secret or personal is in a log line, an error or a repr."""

from __future__ import annotations

import logging

import pytest

from client_sdk.errors import CoachRelayError, VaultFull
from tests.support.world import World, alarms

CANARY = "canary-in-the-coal-mine"


async def test_logs_and_reprs_tell_nothing(world: World, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.DEBUG)
    async with world.device("anna", name=f"Anna {CANARY}") as anna, world.device("ben") as ben:
        await world.pass_time(6)
        item = await anna.room.send(CANARY)
        await world.pass_time(6)
        world.relay.drop_connections()
        await world.pass_time(31)
        assert await ben.texts() == [CANARY]
        shown = [
            repr(thing)
            for thing in (
                *(anna.client, anna.room, anna.engine, anna.conversation, item, ben.room.people),
                *(anna.conversation.standing, anna.conversation.standing.record, anna.engine.account),
                *(anna.conversation.context, await ben.room.history(), anna.room.outbox),
            )
        ]
        private = (
            anna.engine.account.record.device,
            anna.engine.account.record.identity,
            anna.engine.account.record.recovery,
        )
        token = await world.relay.token_for("anna")()
        for text in (*shown, caplog.text):
            assert CANARY not in text
            assert token.split(".")[1][:20] not in text
            for key in private:
                assert repr(key)[2:-1] not in text
                assert key.hex() not in text


async def test_an_alarm_tells_public_facts_alone(world: World) -> None:
    async with world.pair() as (anna, ben):
        await anna.room.send(CANARY)
        await world.settle()
        log = world.relay.streams[world.stream].log
        log.truncate(log.head - 1)
        world.relay.drop_connections()
        await world.pass_time(2)
        alarm = ben.room.alarm
        assert alarm is not None
        assert CANARY not in f"{alarm!r} {alarm} {dict(alarm.evidence)}"


async def test_a_full_disk_loses_nothing_and_is_said(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    async with world.pair() as (anna, ben):
        full = True

        def step(name: str) -> None:
            if full and name.endswith(": made"):
                raise VaultFull("The disk is full.")

        object.__setattr__(ben.conversation._env, "step", step)
        await anna.room.send("while Ben's disk is full")
        await world.pass_time(5)
        assert await ben.texts() == []
        with pytest.raises(CoachRelayError):
            await ben.room.send("not taken")
        error = ben.client.status.error
        assert isinstance(error, VaultFull)
        full = False
        await world.pass_time(60)
        assert await ben.texts() == ["while Ben's disk is full"]
        assert alarms(anna, ben) == []
