"""The archive: all back with the words, nothing for anybody else, and a relay that cheats is caught."""

from __future__ import annotations

import pytest

from client_sdk import Gap
from client_sdk.delivery import ArchiveRolledBack, ArchiveWithheld
from client_sdk.engine import spaces
from client_sdk.engine.archiving import AT_LATEST_SECONDS, SOON, TELL_SECONDS
from client_sdk.engine.restoring import BROKEN, NOTHING, UP_TO
from client_sdk.errors import RelayRefused, RelayUnreachable, UsageError
from client_sdk.identity import TrustState
from relay.wire import frames as fr
from relay.wire.ids import EngagementId, UserId
from tests.client_sdk.engine.test_recovering import printed, recover
from tests.support.fake_relay import Peer
from tests.support.linking import link_device, read_account
from tests.support.world import Device, World, alarms, say

ANNA = UserId("anna")


def kept(world: World) -> dict[bytes, list[bytes]]:
    return world.relay.archives.get((world.stream, ANNA), {})


async def archived(world: World, *said: str) -> str:
    """Anna keeps an archive of what she and Ben said; the words on her page."""
    async with world.pair() as (anna, ben):
        words = printed(anna)
        await ben.room.verify(ben.room.people.named("anna"))
        await anna.room.verify(anna.room.people.named("ben"))
        await anna.client.recovery_kit_made(dict(enumerate(words.split(), 1)))
        await anna.client.keep_archive()
        for number, text in enumerate(said):
            await say(world, (anna, ben)[number % 2], text)
            await world.pass_time(AT_LATEST_SECONDS + 1)
    return words


async def gaps(device: Device) -> list[str]:
    return [item.reason for item in await device.room.history(limit=500) if isinstance(item, Gap)]


async def test_history_people_and_names_come_back(world: World) -> None:
    said = [f"number {number}" for number in range(8)]
    words = await archived(world, *said)
    assert sum(map(len, kept(world).values())) >= 8
    found = await recover(world, "anna", words, vault="new")
    assert (found.conversations, found.items, found.broken) == (1, 8, False)
    async with world.device("ben") as ben, world.device("anna", vault="new") as anna:
        await world.pass_time(10)
        assert await anna.texts() == said
        assert await gaps(anna) == [UP_TO]
        person = anna.room.people.named("ben")
        assert (person.name, person.trust) == ("Ben", TrustState.VERIFIED)
        assert [item.mine for item in reversed(await anna.room.history()) if hasattr(item, "text")] == [
            number % 2 == 0 for number in range(8)
        ]
        assert await anna.received() == []
        await ben.room.verify(ben.room.people.named("anna"))
        await say(world, ben, "and on it goes")
        assert (await anna.texts())[-1] == "and on it goes"
        assert alarms(anna, ben) == []


async def test_it_goes_on_from_the_new_device_and_holds_for_the_next_loss(world: World) -> None:
    words = await archived(world, "one", "two")
    await recover(world, "anna", words, vault="second")
    async with world.device("ben") as ben, world.device("anna", vault="second") as anna:
        await world.pass_time(10)
        await ben.room.verify(ben.room.people.named("anna"))
        assert anna.client.archive_wanted
        await say(world, anna, "three")
        await world.pass_time(AT_LATEST_SECONDS + 1)
    found = await recover(world, "anna", words, vault="third")
    assert not found.broken
    async with world.device("anna", vault="third") as anna:
        assert await anna.texts() == ["one", "two", "three"]


async def test_only_what_is_new_is_sent(world: World) -> None:
    await archived(world, "one", "two")
    before = {series: list(parts) for series, parts in kept(world).items()}
    async with world.device("anna") as anna, world.device("ben"):
        await world.pass_time(5 * AT_LATEST_SECONDS)
        assert kept(world) == before
        await say(world, anna, "three")
        await world.pass_time(AT_LATEST_SECONDS + 1)
    ((series, parts),) = kept(world).items()
    assert parts[: len(before[series])] == before[series]
    assert len(parts) == len(before[series]) + 1


async def test_many_messages_do_not_wait_for_the_minute(world: World) -> None:
    await archived(world)
    async with world.device("anna") as anna, world.device("ben"):
        await world.settle()
        for number in range(SOON):
            await anna.room.send(f"number {number}")
        await world.pass_time(2)
        assert kept(world)


async def test_without_being_wanted_nothing_is_kept(world: World) -> None:
    async with world.pair() as (anna, _ben):
        words = printed(anna)
        await say(world, anna, "not in any archive")
        await world.pass_time(3 * AT_LATEST_SECONDS)
        assert kept(world) == {}
        assert not anna.client.archive_wanted
    found = await recover(world, "anna", words, vault="new")
    assert found.items == 0
    async with world.device("anna", vault="new") as anna:
        assert await gaps(anna) == [NOTHING]
        assert not anna.client.archive_wanted


async def test_turned_off_it_is_erased(world: World) -> None:
    await archived(world, "one")
    async with world.device("anna") as anna, world.device("ben"):
        await anna.client.erase_archive()
        await say(world, anna, "two")
        await world.pass_time(3 * AT_LATEST_SECONDS)
        assert kept(world) == {}
        await anna.client.keep_archive()
        await world.pass_time(AT_LATEST_SECONDS + 1)
        assert kept(world)


@pytest.mark.parametrize("how", ["ended", "left"])
async def test_it_is_turned_off_also_where_a_conversation_is_over(world: World, how: str) -> None:
    """The relay erases an archive with its engagement, and takes no word from who is not in it."""
    await archived(world, "one")
    async with world.device("anna") as anna, world.device("ben"):
        if how == "ended":
            world.relay.end(world.stream)
        else:
            world.relay.set_roster(world.stream, ben="client")
        await world.settle()
        await anna.client.erase_archive()
        assert not anna.client.archive_wanted


async def test_a_linked_device_may_not_keep_one(world: World) -> None:
    words = await archived(world, "one")
    assert words
    link_device(world.folder, "anna", "anna-2")
    async with world.device("anna"), world.device("ben"), world.device("anna", vault="anna-2") as two:
        await world.pass_time(10)
        assert two.engine.account.recovery_seed is None
        with pytest.raises(UsageError, match="Turn it on there"):
            await two.client.keep_archive()


async def test_what_is_removed_here_does_not_come_back(world: World) -> None:
    words = await archived(world, "stays", "goes")
    async with world.device("anna") as anna, world.device("ben"):
        gone = next(item for item in await anna.room.history() if getattr(item, "text", "") == "goes")
        with anna.engine.vault.transaction() as tx:
            tx.remove_item(world.stream, gone.id)
        await world.pass_time(AT_LATEST_SECONDS + 1)
    await recover(world, "anna", words, vault="new")
    async with world.device("anna", vault="new") as anna:
        assert await anna.texts() == ["stays"]


# A relay that cheats


async def test_the_relay_sees_neither_words_nor_keys(world: World) -> None:
    words = await archived(world, "a canary in the archive")
    stored = b"".join(part for parts in kept(world).values() for part in parts)
    account = read_account(world.folder, "anna")
    for secret in (b"canary", account.record.identity, account.record.device, words.encode()):
        assert secret not in stored


async def test_no_live_key_of_the_conversation_is_in_it(world: World) -> None:
    async with world.pair() as (anna, _ben):
        words = printed(anna)
        await anna.client.keep_archive()
        await say(world, anna, "hello")
        await world.pass_time(AT_LATEST_SECONDS + 1)
        group = anna.conversation.standing.group
        assert group is not None
        live = [group.ratchet_part(), group.epoch_part()]
    await recover(world, "anna", words, vault="new")
    async with world.device("anna", vault="new") as new:
        with new.engine.vault.transaction() as tx:
            values = [bytes(row[0]) for row in tx._alive().execute("SELECT value FROM records")]
            values += [bytes(row[0]) for row in tx._alive().execute("SELECT payload FROM items")]
    assert not [value for value in values if value in live]


async def test_a_part_dropped_in_the_middle_or_altered_is_noticed(world: World) -> None:
    words = await archived(world, *[f"number {number}" for number in range(6)])
    ((series, parts),) = kept(world).items()
    whole = list(parts)
    swapped = [*whole[:2], whole[3], whole[2], *whole[4:]]
    altered = [*whole[:3], whole[3][:-1] + bytes([whole[3][-1] ^ 1]), *whole[4:]]
    for number, cheated in enumerate(([*whole[:2], *whole[3:]], swapped, altered, [b"garbage", *whole[1:]])):
        kept(world)[series] = list(cheated)
        found = await recover(world, "anna", words, vault=f"new-{number}", unchecked=True)
        assert found.broken
        async with world.device("anna", vault=f"new-{number}") as anna:
            texts = await anna.texts()
            assert texts == [f"number {n}" for n in range(6)][: len(texts)]
            assert len(texts) < 6
            assert BROKEN in await gaps(anna)


async def test_parts_of_two_engagements_cannot_be_swapped(world: World) -> None:
    first = world.stream
    words = await archived(world, "of the first")
    world.stream = second = world.relay.create_engagement(anna="coach", ben="client")
    async with world.pair() as (anna, _ben):
        await say(world, anna, "of the second")
        await world.pass_time(AT_LATEST_SECONDS + 1)
    archives = world.relay.archives
    assert archives[first, ANNA]
    assert archives[second, ANNA]
    archives[first, ANNA], archives[second, ANNA] = archives[second, ANNA], archives[first, ANNA]
    found = await recover(world, "anna", words, vault="new")
    assert found.broken
    assert found.items == 0


async def test_an_archive_that_the_relay_made_up_counts_for_nothing(world: World) -> None:
    words = await archived(world, "true")
    async with world.pair():
        pass
    stranger = world.relay.archives[world.stream, ANNA]
    ((_, parts),) = stranger.items()
    stranger[b"f" * 16] = [parts[0]]
    found = await recover(world, "anna", words, vault="new")
    assert found.broken
    async with world.device("anna", vault="new") as anna:
        assert await anna.texts() == ["true"]


async def test_a_relay_that_rolls_the_archive_back_raises_an_alarm_and_it_is_written_anew(
    world: World,
) -> None:
    words = await archived(world, "one", "two", "three")
    ((_, parts),) = kept(world).items()
    del parts[1:]
    async with world.device("anna") as anna, world.device("ben"):
        await say(world, anna, "four")
        await world.pass_time(AT_LATEST_SECONDS + 1)
        alarm = anna.room.alarm
        assert isinstance(alarm, ArchiveRolledBack)
        await anna.room.resolve_alarm(alarm)
        await world.pass_time(2 * AT_LATEST_SECONDS + 1)
    await recover(world, "anna", words, vault="new")
    async with world.device("anna", vault="new") as anna:
        assert await anna.texts() == ["one", "two", "three", "four"]


async def test_a_relay_that_keeps_no_part_does_not_keep_the_device_busy(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    put: list[int] = []

    def forgets(_: Peer, frame: fr.PutArchive) -> list[fr.RelayFrame]:
        put.append(frame.number)
        return [fr.ArchiveStored(frame.request, 0)]

    monkeypatch.setattr(Peer, "on_putarchive", forgets)
    async with world.pair() as (anna, _):
        words = printed(anna)
        await anna.client.recovery_kit_made(dict(enumerate(words.split(), 1)))
        await anna.client.keep_archive()
        await say(world, anna, "one")
        await world.pass_time(AT_LATEST_SECONDS + 1)
        assert isinstance(anna.room.alarm, ArchiveRolledBack)
    assert set(put) == {1}
    assert len(put) <= 3  # once each time that one is due


async def test_one_conversation_that_the_relay_keeps_no_archive_of_does_not_keep_back_the_others(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    keeps = Peer.on_putarchive
    refused = world.stream
    taken: list[EngagementId] = []

    def keeps_but_one(peer: Peer, frame: fr.PutArchive) -> list[fr.RelayFrame]:
        if frame.stream == refused:
            return [fr.Error(frame.request, "quota_exceeded", "")]
        taken.append(frame.stream)
        return keeps(peer, frame)

    monkeypatch.setattr(Peer, "on_putarchive", keeps_but_one)
    async with world.pair() as (anna, ben):
        others = [world.relay.create_engagement(anna="coach", ben="client") for _ in range(2)]
        await anna.client.recovery_kit_made(dict(enumerate(printed(anna).split(), 1)))
        await anna.client.keep_archive()
        await say(world, anna, "not kept")
        for stream in others:
            rooms = [await one.client.engagement(stream) for one in (anna, ben)]
            await world.pass_time(2)
            await rooms[0].send("kept")
            await rooms[0].wait_sent()
        await world.pass_time(AT_LATEST_SECONDS + 1)
        with pytest.raises(RelayRefused):
            await anna.client.wait_archived()
        assert set(taken) == set(others)


async def test_without_a_connection_nobody_is_told_that_it_is_archived(world: World) -> None:
    await archived(world, "one", "two")
    ((_, parts),) = kept(world).items()
    before = list(parts)
    async with world.device("anna") as anna, world.device("ben"):
        await world.settle()
        await anna.room.send("three")
        await anna.room.wait_sent()
        world.relay.lies.offline = True
        world.relay.drop_connections()
        await world.settle()
        with pytest.raises(RelayUnreachable):
            await anna.client.wait_archived()
        assert parts == before
        world.relay.lies.offline = False
        await world.pass_time(60)
        await anna.client.wait_archived()
        assert len(parts) == len(before) + 1


async def test_what_was_restored_once_cannot_be_rolled_back_for_the_next_time(world: World) -> None:
    words = await archived(world, "one", "two", "three")
    ((series, _),) = kept(world).items()
    await recover(world, "anna", words, vault="second")
    async with world.device("ben") as ben, world.device("anna", vault="second") as anna:
        await world.pass_time(10)
        await ben.room.verify(ben.room.people.named("anna"))
        await say(world, anna, "four")
        await world.pass_time(AT_LATEST_SECONDS + 1)
    whole = list(kept(world)[series])
    del kept(world)[series][-1]
    assert (await recover(world, "anna", words, vault="third")).broken
    kept(world)[series] = [*whole, b"what a thief of the first device adds"]
    found = await recover(world, "anna", words, vault="fourth")
    assert not found.broken
    async with world.device("anna", vault="fourth") as anna:
        assert await anna.texts() == ["one", "two", "three", "four"]


async def test_what_the_relay_withholds_from_an_empty_device_the_others_know_of(world: World) -> None:
    words = await archived(world, "one", "two")
    async with world.device("anna") as anna, world.device("ben"):
        await say(world, anna, "three")
        await world.pass_time(TELL_SECONDS + 2 * AT_LATEST_SECONDS)
    ((_, parts),) = kept(world).items()
    del parts[-1]
    assert not (await recover(world, "anna", words, vault="new")).broken
    async with world.device("ben") as ben, world.device("anna", vault="new") as anna:
        await world.pass_time(10)
        await ben.room.verify(ben.room.people.named("anna"))
        await world.pass_time(10)
        alarm = anna.room.alarm
        assert isinstance(alarm, ArchiveWithheld)
        await anna.room.resolve_alarm(alarm)
        await say(world, anna, "on we go")
        assert alarms(anna, ben) == []


async def test_what_came_back_whole_is_no_alarm(world: World) -> None:
    words = await archived(world, "one", "two")
    await recover(world, "anna", words, vault="new")
    async with world.device("ben") as ben, world.device("anna", vault="new") as anna:
        await world.pass_time(10)
        await ben.room.verify(ben.room.people.named("anna"))
        await world.pass_time(10)
        with ben.engine.vault.transaction() as tx:
            assert len(tx.scan(spaces.WITNESS, limit=10)) == 1
        assert alarms(anna, ben) == []
