"""What a device keeps of the stream in case the relay loses it, and for how long (PROTOCOL 4.1)."""

from __future__ import annotations

import pytest

from client_sdk.engine import keeping, spaces
from client_sdk.engine.records import CommitRecord, OutboxRecord
from relay.wire import EntryKind
from tests.support.own_devices import linked
from tests.support.world import Device, World, alarms, say

pytestmark = pytest.mark.usefixtures("depot")


def stored(device: Device, space: str) -> list[bytes]:
    with device.engine.vault.transaction() as tx:
        return [data for _, data in tx.scan(space, limit=1000)]


def ciphertexts(device: Device) -> list[bytes]:
    return [body for data in stored(device, spaces.OUTBOX) if (body := OutboxRecord.parse(data).body)]


async def test_own_ciphertexts_stay_until_every_device_has_attested_them(world: World) -> None:
    async with world.pair() as (anna, ben), linked(world, ben, "tablet") as tablet:
        await world.pass_time(20)
        await say(world, anna, "one")
        world.relay.lies.withheld = {tablet.engine.account.device}
        await say(world, anna, "two")
        await world.pass_time(20)
        texts = world.relay.streams[world.stream].log.entries
        mine = [e.body for e in texts if e.device == anna.engine.account.device]
        assert mine[-1] in ciphertexts(anna), "Ben has attested it, his tablet has not"
        world.relay.lies.withheld = set()
        world.relay.push_all()
        await world.pass_time(20)
        await say(world, anna, "three")
        await world.pass_time(20)
        assert mine[-1] not in ciphertexts(anna)
        assert alarms(anna, ben, tablet) == []


async def test_of_what_is_in_the_history_no_second_copy_of_the_words_stays(world: World) -> None:
    async with world.pair() as (anna, _):
        world.relay.lies.withheld = {world.relay.device_of("ben")}
        await say(world, anna, "sent")
        kept = [OutboxRecord.parse(data) for data in stored(anna, spaces.OUTBOX)]
        assert kept
        assert all(record.content == b"" for record in kept if record.in_history)


async def test_commits_stay_as_they_are_in_the_stream(world: World) -> None:
    async with world.pair() as (anna, ben):
        async with linked(world, anna, "laptop"):
            await world.pass_time(20)
        log = world.relay.streams[world.stream].log
        there = [entry.body for entry in log.entries if entry.kind is EntryKind.COMMIT]
        assert [CommitRecord.parse(data).body for data in stored(anna, spaces.COMMIT)] == there
        assert [CommitRecord.parse(data).body for data in stored(ben, spaces.COMMIT)] == there[1:]


async def test_so_many_commits_are_enough(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(keeping, "MOST_COMMITS", 2)
    async with world.pair() as (anna, _):
        for number in range(2):
            async with linked(world, anna, f"laptop-{number}"):
                await world.pass_time(10)
        kept = stored(anna, spaces.COMMIT)
        log = world.relay.streams[world.stream].log
        there = [entry.body for entry in log.entries if entry.kind is EntryKind.COMMIT]
        assert [CommitRecord.parse(data).body for data in kept] == there[-2:]


async def test_for_a_device_that_never_speaks_so_many_bytes_are_kept(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(keeping, "KEPT_BYTES", 4000)
    async with world.pair() as (anna, _):
        world.relay.lies.withheld = {world.relay.device_of("ben")}
        for number in range(30):
            await say(world, anna, f"{number}")
        bodies = ciphertexts(anna)
        assert 2000 < sum(map(len, bodies)) <= 4000 + max(map(len, bodies))
        assert anna.conversation.standing.record.kept_bytes == sum(map(len, bodies))
        newest = world.relay.streams[world.stream].log.entries[-1].body
        assert newest in bodies, "the oldest have gone"


async def test_what_has_passed_is_forgotten_in_the_end(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(keeping, "MOST_PASSED", 20)
    monkeypatch.setattr(keeping, "PRUNE_EVERY", 8)
    async with world.pair() as (anna, ben):
        for number in range(40):
            await say(world, anna, f"{number}")
        for device in (anna, ben):
            assert 20 <= len(stored(device, spaces.PASSED)) <= 28


async def test_after_the_policys_age_nothing_is_kept(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(keeping, "PRUNE_EVERY", 4)
    monkeypatch.setattr(keeping, "retention_seconds", lambda _work: 100)
    async with world.pair() as (anna, _):
        world.relay.lies.withheld = {world.relay.device_of("ben")}
        await say(world, anna, "old")
        (old,) = ciphertexts(anna)[-1:]
        world.relay.lies.withheld = set()
        world.relay.push_all()
        await world.pass_time(200)
        for number in range(8):
            await say(world, anna, f"{number}")
        assert old not in ciphertexts(anna)
