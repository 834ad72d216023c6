"""A vault restored from yesterday, or used on two machines: noticed, no key used twice, and back in step."""

from __future__ import annotations

import shutil
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import pytest

from client_sdk import Client
from client_sdk.delivery import ClonedDevice
from client_sdk.engine.freshness import RESTORED
from client_sdk.transport import Environment
from client_sdk.vault import KeyringCounter, KeyringKey
from relay.wire import EntryKind
from relay.wire import frames as fr
from relay.wire.ids import DeviceId
from tests.support.fake_relay import ORIGIN
from tests.support.fake_time import SeededRandom
from tests.support.world import Device, World, alarms, say


def copy(world: World, source: str, target: str) -> None:
    shutil.copy(world.folder / source, world.folder / target)


def appends(world: World, device: DeviceId) -> list[fr.Append]:
    return [f for d, f in world.relay.received if d == device and isinstance(f, fr.Append)]


async def go_on(world: World, device: Device) -> None:
    """What a person does who knows that they restored a backup."""
    alarm = device.room.alarm
    assert isinstance(alarm, ClonedDevice)
    await device.room.resolve_alarm(alarm)
    await world.pass_time(20)


# Without a keyring: the relay's counters and the entries themselves tell


async def test_restored_from_yesterday_it_says_nothing_and_then_comes_back(world: World) -> None:
    async with world.device("ben", name="Ben") as ben:
        async with world.device("anna", name="Anna") as anna:
            await world.pass_time(6)
            await say(world, anna, "before the copy")
            device = anna.engine.account.device
        copy(world, "anna.vault", "yesterday")
        async with world.device("anna") as anna:
            await say(world, anna, "after the copy")
            await world.pass_time(6)
        copy(world, "yesterday", "anna.vault")
        before = len(appends(world, device))
        async with world.device("anna") as anna:
            await world.pass_time(30)
            assert alarms(anna) == ["cloned_device"]
            assert len(appends(world, device)) == before, "nothing went out"
            await go_on(world, anna)
            first = appends(world, device)[before]
            assert first.kind is EntryKind.COMMIT, "new keys come first"
            await say(world, anna, "with new keys")
            await say(world, ben, "welcome back")
            assert (await ben.texts())[-2:] == (await anna.texts())[-2:] == ["with new keys", "welcome back"]
            assert (await ben.texts()).count("after the copy") == 1
            assert "gap" in await anna.kinds()
            assert "gap" not in await ben.kinds(), "nothing came that Ben could not open"
            assert alarms(anna, ben) == []


async def test_a_backup_from_before_a_message_that_still_waited_says_it_once(world: World) -> None:
    async with world.device("ben", name="Ben") as ben:
        async with world.device("anna", name="Anna") as anna:
            await world.pass_time(6)
            world.relay.lies.offline = True
            world.relay.drop_connections()
            await say(world, anna, "waits in the backup")
        copy(world, "anna.vault", "yesterday")
        world.relay.lies.offline = False
        async with world.device("anna") as anna:
            await world.pass_time(6)
            assert await ben.texts() == ["waits in the backup"]
        copy(world, "yesterday", "anna.vault")
        async with world.device("anna") as anna:
            await world.pass_time(20)
            await go_on(world, anna)
            await world.pass_time(20)
            await say(world, anna, "and on")
            assert await ben.texts() == ["waits in the backup", "and on"]
            assert anna.room.outbox == ()


async def test_two_machines_with_one_vault(world: World) -> None:
    """Whoever comes second notices it, whichever speaks first, and takes no key that the other used."""
    async with world.device("ben", name="Ben") as ben:
        async with world.device("anna", name="Anna") as anna:
            await world.pass_time(6)
            await say(world, anna, "one machine")
            device = anna.engine.account.device
        copy(world, "anna.vault", "elsewhere.vault")
        async with world.device("anna") as anna:
            await say(world, anna, "from the first")
            await world.pass_time(3)
        before = len(appends(world, device))
        async with opened(world, "elsewhere.vault", b"anna") as other:
            await world.pass_time(20)
            assert alarms(other) == ["cloned_device"]
            assert len(appends(world, device)) == before
            await go_on(world, other)
            await say(world, other, "from the second")
            assert (await ben.texts())[-2:] == ["from the first", "from the second"]
        async with world.device("anna") as anna:
            await world.pass_time(20)
            assert alarms(anna) == ["cloned_device"]
            assert "gap" not in await ben.kinds()
            assert alarms(ben) == []


async def test_two_machines_at_the_same_time(world: World) -> None:
    async with world.device("ben", name="Ben") as ben:
        async with world.device("anna", name="Anna") as anna:
            await world.pass_time(6)
            await say(world, anna, "one machine")
        copy(world, "anna.vault", "elsewhere.vault")
        async with world.device("anna") as anna, opened(world, "elsewhere.vault", b"anna") as other:
            for number in range(6):
                await anna.room.send(f"first {number}") if not anna.room.alarm else None
                await other.room.send(f"second {number}") if not other.room.alarm else None
                await world.pass_time(20)
            assert "cloned_device" in alarms(anna, other)
            assert "gap" not in await ben.kinds(), "no key was used for two messages"
            assert alarms(ben) == []
            texts = await ben.texts()
            assert len(texts) == len(set(texts))


@asynccontextmanager
async def opened(world: World, vault: str, secret: bytes) -> AsyncIterator[Device]:
    """The same person's vault in another place."""
    environment = Environment(
        now=world.time.now,
        monotonic=world.time.monotonic,
        rng=SeededRandom(f"elsewhere {vault}"),
        sleep=world.time.sleep,
    )
    async with Client.open(
        world.folder / vault,
        relay=ORIGIN,
        token=world.relay.token_for("anna"),
        key=secret.ljust(32, b"."),
        environment=environment,
        dial=world.relay.dial,
    ) as client:
        await world.settle()
        yield Device(client, await client.engagement(world.stream))


# With a keyring: it is noticed at home, before the relay is asked, and even if the relay lies


@pytest.fixture
def keyring(monkeypatch: pytest.MonkeyPatch) -> dict[str, int]:
    """What this machine's keyring holds beside the vaults."""
    kept: dict[str, int] = {}
    monkeypatch.setattr(KeyringCounter, "read", lambda self: kept.get(self.name))
    monkeypatch.setattr(KeyringCounter, "write", lambda self, number: kept.update({self.name: number}))
    monkeypatch.setattr(KeyringKey, "load", lambda self: b"k" * 32)
    monkeypatch.setattr(KeyringKey, "load_or_generate", lambda self: b"k" * 32)
    return kept


@asynccontextmanager
async def with_keyring(world: World, seed: str = "") -> AsyncIterator[Device]:
    environment = Environment(
        now=world.time.now,
        monotonic=world.time.monotonic,
        rng=SeededRandom(f"keyring {seed}"),
        sleep=world.time.sleep,
    )
    async with Client.open(
        world.folder / "anna.vault",
        relay=ORIGIN,
        token=world.relay.token_for("anna"),
        key=KeyringKey("anna"),
        environment=environment,
        dial=world.relay.dial,
    ) as client:
        await world.settle()
        yield Device(client, await client.engagement(world.stream))


async def test_the_keyring_knows_that_a_newer_state_was_in_use(world: World, keyring: dict[str, int]) -> None:
    async with world.device("ben", name="Ben") as ben:
        async with with_keyring(world) as anna:
            await world.pass_time(6)
            await say(world, anna, "before the copy")
            device = anna.engine.account.device
            copy(world, "anna.vault", "yesterday")  # while it was open
            await say(world, anna, "after the copy")
            await world.pass_time(6)
        copy(world, "yesterday", "anna.vault")
        before = len(appends(world, device))
        async with with_keyring(world, "again") as anna:
            await world.pass_time(20)
            assert alarms(anna) == []
            assert appends(world, device)[before].kind is EntryKind.COMMIT, "new keys come first"
            gaps = [getattr(item, "reason", "") for item in await anna.room.history()]
            assert RESTORED in gaps
            await say(world, anna, "with new keys")
            texts = await ben.texts()
            assert texts == ["before the copy", "after the copy", "with new keys"]
            assert "gap" not in await ben.kinds()
            assert alarms(anna, ben) == []


async def test_it_is_noticed_even_if_the_relay_shows_the_past(world: World, keyring: dict[str, int]) -> None:
    """The relay hides all that came after the backup, so that the keys of then would be used again."""
    async with world.device("ben", name="Ben") as ben:
        async with with_keyring(world) as anna:
            await world.pass_time(6)
            await say(world, anna, "before the copy")
            device = anna.engine.account.device
        copy(world, "anna.vault", "yesterday")
        past = world.relay.streams[world.stream].log.copy()
        async with with_keyring(world, "later") as anna:
            await say(world, anna, "after the copy")
            await world.pass_time(6)
        copy(world, "yesterday", "anna.vault")
        world.relay.streams[world.stream].forks[device] = past
        before = len(appends(world, device))
        async with with_keyring(world, "again") as anna:
            await anna.room.send("with which keys?")
            await world.pass_time(30)
            sent = appends(world, device)[before:]
            assert sent
            assert sent[0].kind is EntryKind.COMMIT, "nothing under the keys of the backup"
        assert alarms(ben) == []


async def test_an_orderly_life_and_a_crash_are_no_restored_copy(
    world: World, keyring: dict[str, int], monkeypatch: pytest.MonkeyPatch
) -> None:
    async with world.device("ben", name="Ben") as ben:
        for run in range(3):
            async with with_keyring(world, str(run)) as anna:
                await world.pass_time(6)
                await say(world, anna, f"run {run}")
        count = keyring["anna"]
        keyring["anna"] = count - 1  # a crash between the vault and the keyring
        async with with_keyring(world, "after the crash") as anna:
            await world.pass_time(6)
            await say(world, anna, "still in step")
            assert "gap" not in await anna.kinds()
        assert (await ben.texts())[-1] == "still in step"


async def test_a_vault_carried_to_another_machine_rejoins(world: World, keyring: dict[str, int]) -> None:
    async with world.device("ben", name="Ben") as ben:
        async with with_keyring(world) as anna:
            await world.pass_time(6)
            await say(world, anna, "here")
        keyring.clear()
        async with with_keyring(world, "there") as anna:
            await world.pass_time(20)
            await say(world, anna, "there")
            assert "gap" in await anna.kinds()
        assert await ben.texts() == ["here", "there"]
        assert alarms(ben) == []
