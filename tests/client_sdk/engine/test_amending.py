"""Replies, edits, retractions and reactions between people with one device or two."""

from __future__ import annotations

from pathlib import Path

import pytest

from client_sdk import Change, Changed, Delivery, Item, Retracted, Text
from client_sdk.attachments import TransferInterrupted
from client_sdk.content import Content, Edit, File, Reaction, Retract
from client_sdk.content.packing import unpack
from client_sdk.engine import Conversation, Files, TextItem, amending, spaces
from client_sdk.engine.amending import MOST_HELD
from client_sdk.engine.handover import Import, export_history
from client_sdk.errors import ContentInvalid, EngagementUnavailable, UsageError
from client_sdk.vault import Vault
from relay.wire.ids import BlobId
from tests.support.linking import ben_and_two_of_anna
from tests.support.world import Device, World, alarms

HEART, UP = "❤️", "👍"


async def newest(device: Device) -> Item:
    return (await device.room.history())[0]


async def said(world: World, device: Device, text: str) -> Item:
    item = await device.room.send(text)
    await world.settle()
    return item


def raw(device: Device, content: Content) -> None:
    """Say what the SDK would not let a person say."""
    device.conversation.say(content, message_id=device.conversation.context.new_id())


async def reactions(device: Device, item: Item) -> list[tuple[str, bool, list[str]]]:
    found = await device.room.item(item.id)
    assert found is not None
    return [(r.emoji, r.mine, [str(person.user) for person in r.others]) for r in found.reactions]


def vault_bytes(world: World, name: str) -> list[str]:
    """Everything that the history of a closed vault holds, as text."""
    with (
        Vault.open(world.folder / f"{name}.vault", key=name.encode().ljust(32, b".")) as vault,
        vault.transaction() as tx,
    ):
        rows = tx.history(world.stream, limit=500)
        records = tx.scan(spaces.OUTBOX, limit=500)
        return [*(f"{row.text} {row.payload!r}" for row in rows), *(repr(value) for _, value in records)]


# Replies


async def test_a_reply_names_what_it_answers(world: World) -> None:
    async with world.pair() as (anna, ben):
        asked = await said(world, anna, "How was the week?")
        await ben.room.send("Long.", reply_to=asked)
        await world.settle()
        for device in (anna, ben):
            reply = await newest(device)
            assert isinstance(reply, TextItem)
            assert reply.reply_to == asked.id
            answered = await device.room.item(asked.id)
            assert isinstance(answered, TextItem)
            assert answered.text == "How was the week?"
        with pytest.raises(UsageError):
            await ben.room.send("To nothing.", reply_to=bytes(16))


# Edits


async def test_an_edit_leaves_nothing_of_the_earlier_words(world: World) -> None:
    async with world.pair() as (anna, ben):
        item = await said(world, anna, "See you at nine o'clock.")
        await ben.room.send("Fine.")
        edited = await anna.room.edit(item, "See you at ten o'clock.")
        assert isinstance(edited, TextItem)
        assert (edited.text, edited.edited, edited.id) == ("See you at ten o'clock.", True, item.id)
        await world.settle()
        for device in (anna, ben):
            assert await device.texts() == ["See you at ten o'clock.", "Fine."]
            shown = (await device.room.history(search="ten o'clock"))[0]
            assert shown.edited
            assert await device.room.history(search="nine") == []
        changes = [found for found in await ben.received() if isinstance(found, Changed)]
        assert [(found.change, found.sender.user, found.item.id) for found in changes] == [
            (Change.EDITED, "anna", item.id)
        ]
        await anna.room.edit(item, "See you at eleven.")
        await world.settle()
        assert (await ben.texts())[0] == "See you at eleven."
    for name in ("anna", "ben"):
        held = "".join(vault_bytes(world, name))
        assert "eleven" in held
        assert "nine" not in held
        assert "ten o'clock" not in held


async def test_an_edit_made_offline_is_shown_here_and_goes_later(world: World) -> None:
    async with world.pair() as (anna, ben):
        item = await said(world, anna, "first")
        world.relay.lies.offline = True
        world.relay.drop_connections()
        await world.settle()
        await anna.room.edit(item, "second")
        shown = await newest(anna)
        assert isinstance(shown, TextItem)
        assert (shown.text, shown.edited, shown.delivery) == ("second", True, Delivery.DELIVERED)
        assert len(anna.room.outbox) == 1
        assert await ben.texts() == ["first"]
        world.relay.lies.offline = False
        await world.pass_time(31)
        assert await anna.texts() == await ben.texts() == ["second"]
        assert not list(anna.room.outbox)


async def test_nobody_else_edits_or_takes_back(world: World) -> None:
    async with world.pair() as (anna, ben):
        item = await said(world, anna, "mine")
        with pytest.raises(UsageError):
            await ben.room.edit(item, "yours")
        with pytest.raises(UsageError):
            await ben.room.retract(item)
        raw(ben, Edit(item.id, "yours"))
        raw(ben, Retract(item.id))
        await world.pass_time(6)
        for device in (anna, ben):
            assert await device.texts() == ["mine"]
            assert not (await newest(device)).edited
        assert [found for found in await anna.received() if isinstance(found, Changed)] == []
        assert alarms(anna, ben) == []


async def test_no_amendment_takes_the_place_of_a_message(world: World) -> None:
    async with world.pair() as (anna, ben):
        item = await said(world, anna, "mine")
        other = await said(world, ben, "his own")
        ben.conversation.say(Edit(other.id, "changed"), message_id=item.id, in_history=False)
        await world.pass_time(6)
        assert await anna.texts() == ["mine", "his own"]


# Retractions


async def test_what_is_taken_back_is_erased_and_its_place_stays(world: World) -> None:
    async with world.pair() as (anna, ben):
        item = await said(world, anna, "what nobody should have read")
        await ben.room.react(item, UP)
        await anna.room.edit(item, "what nobody should have read, edited")
        await said(world, anna, "after it")
        gone = await anna.room.retract(item)
        assert isinstance(gone, Retracted)
        await world.settle()
        for device in (anna, ben):
            after, placeholder = await device.room.history()
            assert isinstance(after, Text)
            assert isinstance(placeholder, Retracted)
            assert (placeholder.id, placeholder.sender.user) == (item.id, "anna")
            assert placeholder.reactions == ()
            assert await device.room.history(search="nobody") == []
        changes = [found.change for found in await ben.received() if isinstance(found, Changed)]
        assert changes[-1] is Change.RETRACTED
        for refused in (anna.room.edit(item, "again"), anna.room.retract(item), anna.room.react(item, UP)):
            with pytest.raises(UsageError):
                await refused
        raw(anna, Edit(item.id, "again"))
        raw(ben, Reaction(item.id, HEART))
        await world.pass_time(6)
        assert isinstance((await ben.room.history())[1], Retracted)
    for name in ("anna", "ben"):
        assert "nobody" not in "".join(vault_bytes(world, name))


class Withdrawn:
    """What the relay is asked to erase; it does not answer as long as it is `away`."""

    def __init__(self, patch: pytest.MonkeyPatch) -> None:
        self.asked: list[tuple[str, str]] = []
        self.away = False

        async def withdraw(files: Files, _conversation: Conversation, blob: BlobId) -> None:
            self.asked.append((files._engine.account.user, blob))
            if self.away:
                raise TransferInterrupted("away")

        patch.setattr(Files, "withdraw", withdraw)


@pytest.fixture
def withdrawn(monkeypatch: pytest.MonkeyPatch) -> Withdrawn:
    return Withdrawn(monkeypatch)


async def test_the_device_that_sent_a_file_has_the_relay_erase_it(world: World, withdrawn: Withdrawn) -> None:
    file = File("plan.pdf", "application/pdf", 5, "A" * 22, bytes(32), 100, bytes(32))
    withdrawn.away = True
    async with world.pair() as (anna, _):
        raw(anna, file)
        await world.settle()
        await anna.room.retract(await newest(anna))
        await world.pass_time(1)
    assert withdrawn.asked == [("anna", "A" * 22)]
    withdrawn.away = False
    async with world.device("anna") as anna:
        await world.pass_time(60)
        assert withdrawn.asked == [("anna", "A" * 22)] * 2, "after a restart, until it is done"
        with anna.engine.vault.transaction() as tx:
            assert not tx.scan(spaces.WITHDRAWN, limit=1)


async def test_with_an_ended_engagement_there_is_nothing_to_erase(world: World, withdrawn: Withdrawn) -> None:
    withdrawn.away = True
    async with world.pair() as (anna, _):
        raw(anna, File("plan.pdf", "application/pdf", 5, "A" * 22, bytes(32), 100, bytes(32)))
        await world.settle()
        await anna.room.retract(await newest(anna))
        await world.settle()
        world.relay.end(world.stream)
        await world.pass_time(60)
        asked = len(withdrawn.asked)
        await world.pass_time(60)
        assert len(withdrawn.asked) == asked
        with anna.engine.vault.transaction() as tx:
            assert not tx.scan(spaces.WITHDRAWN, limit=1)


async def test_the_key_of_a_file_is_erased(world: World, withdrawn: Withdrawn) -> None:
    key = b"k" * 32
    async with world.pair() as (anna, ben):
        raw(anna, File("plan.pdf", "application/pdf", 5, "A" * 22, key, 100, bytes(32)))
        await world.settle()
        item = await newest(anna)
        assert item.id == (await newest(ben)).id
        with pytest.raises(UsageError):
            await anna.room.edit(item, "no text")
        half = world.folder / "ben.vault.files" / f"in-{'A' * 22}"  # a download that was interrupted
        half.parent.mkdir(exist_ok=True)
        half.write_bytes(b"sealed")
        await anna.room.retract(item)
        await world.settle()
        assert not half.exists()
        for device in (anna, ben):
            assert isinstance(await newest(device), Retracted)
    for name in ("anna", "ben"):
        held = "".join(vault_bytes(world, name))
        assert "k" * 32 not in held
        assert "plan.pdf" not in held


# Reactions


async def test_reactions_are_given_and_taken_back(world: World) -> None:
    async with world.pair() as (anna, ben):
        item = await said(world, anna, "I ran ten kilometres.")
        await ben.room.react(item, HEART)
        await ben.room.react(item, UP)
        await ben.room.react(item, UP)
        await anna.room.react(item, UP)
        await world.settle()
        assert await reactions(anna, item) == [(UP, True, ["ben"]), (HEART, False, ["ben"])]
        assert await reactions(ben, item) == [(UP, True, ["anna"]), (HEART, True, [])]
        await ben.room.react(item, HEART, on=False)
        await world.settle()
        for device in (anna, ben):
            assert [(emoji, mine) for emoji, mine, _ in await reactions(device, item)] == [(UP, True)]
            assert len(await device.room.history()) == 1
        changes = [(f.change, f.emoji) for f in await anna.received() if isinstance(f, Changed)]
        assert changes == [(Change.REACTED, UP), (Change.REACTION_TAKEN_BACK, HEART)]
        with pytest.raises(ContentInvalid):
            await ben.room.react(item, "👎")


# Several devices, and what is not here


async def test_the_devices_of_one_user_see_one_thing(world: World) -> None:
    async with world.pair() as (anna, ben):
        item = await said(world, anna, "first")
    async with ben_and_two_of_anna(world) as (ben, one, two):
        both = await said(world, one, "from the first device")
        # Both devices of the author edit at once: the later one in the stream's order stays, for everybody.
        await two.room.edit(both, "from the second device")
        await one.room.edit(both, "from the first device again")
        await ben.room.react(both, UP)
        await world.pass_time(6)
        texts = [(await device.texts())[-1] for device in (one, two, ben)]
        assert len(set(texts)) == 1
        assert texts[0] != "from the first device"
        await two.room.retract(both)
        await world.settle()
        for device in (one, two, ben):
            assert isinstance(await newest(device), Retracted)
        # The second device never had the first message: an amendment to it is held, and shows nothing.
        await one.room.edit(item, "first, edited")
        await world.settle()
        assert (await ben.texts())[0] == "first, edited"
        assert await two.room.item(item.id) is None
        assert alarms(ben, one, two) == []


async def test_what_is_about_nothing_here_is_held_within_bounds(world: World) -> None:
    async with world.pair() as (anna, ben):
        for number in range(MOST_HELD + 20):
            raw(ben, Edit(number.to_bytes(16, "big"), f"about nothing {number}"))
        await world.pass_time(31)
        with anna.engine.vault.transaction() as tx:
            held = tx.amendments(world.stream, [number.to_bytes(16, "big") for number in range(300)])
        assert len(held) == MOST_HELD
        assert await anna.room.history() == []
        assert await anna.received() == []


async def test_an_amendment_that_came_first_counts_once_its_message_comes(world: World) -> None:
    async with world.pair() as (anna, ben):
        early = bytes([7]) * 16
        raw(ben, Edit(early, "edited before it came"))
        raw(anna, Edit(early, "not hers"))
        await world.settle()
        ben.conversation.say(Text("as it was"), message_id=early)
        await world.pass_time(6)
        assert await anna.texts() == ["edited before it came"]
        assert await anna.room.history(search="as it was") == []
        with anna.engine.vault.transaction() as tx:
            assert len(tx.amendments(world.stream, [early])) == 1


async def test_nothing_is_changed_in_what_has_ended(world: World) -> None:
    async with world.pair() as (anna, _ben):
        item = await said(world, anna, "last words")
        world.relay.end(world.stream)
        await world.settle()
        with pytest.raises(EngagementUnavailable):
            await anna.room.edit(item, "other words")


async def test_a_history_that_comes_later_ends_up_the_same(world: World, memory: Path) -> None:
    async with world.pair() as (anna, ben):
        kept, gone = await said(world, anna, "as it was first"), await said(world, anna, "to be taken back")
        liked = await said(world, anna, "liked")
        await ben.room.react(liked, UP)
        await world.settle()
    async with ben_and_two_of_anna(world) as (ben, one, two):
        sealed, key = memory / "history", bytes(32)
        export_history(one.engine.vault, world.stream, sealed, key)
        # Before the history is taken in, all of it is changed.
        await one.room.edit(kept, "as it is now")
        await one.room.retract(gone)
        await ben.room.react(liked, HEART)
        await world.pass_time(6)
        assert await two.room.history() == []
        cursor = two.conversation.standing.record.cursor
        taking = Import(two.engine.vault, world.stream, sealed, key, up_to=cursor)
        while taking.step():
            pass
        with two.conversation.work("arrive") as work:
            amending.settle_held(work)
            assert unpack(work.tx.get(spaces.HELD, work.key) or b"") == []
        for device in (one, two, ben):
            assert await device.texts() == ["as it is now", "liked"]
            assert await device.kinds() == ["text", "retracted", "text"]
            assert [emoji for emoji, _, _ in await reactions(device, liked)] == [UP, HEART]
            assert await device.room.history(search="first") == []
    assert "taken back" not in "".join(vault_bytes(world, "anna-2"))
    assert "as it was first" not in "".join(vault_bytes(world, "anna-2"))


async def test_what_has_never_left_the_device_is_gone_without_a_trace(world: World) -> None:
    async with world.pair() as (anna, ben):
        world.relay.lies.offline = True
        world.relay.drop_connections()
        await world.settle()
        item = await anna.room.send("written in anger")
        await anna.room.edit(item, "written in anger, edited")
        await anna.room.send("kept")
        assert isinstance(await anna.room.retract(item), Retracted)
        assert await anna.texts() == ["kept"]
        assert len(anna.room.outbox) == 1
        with pytest.raises(UsageError):
            await anna.room.retract(item)
        world.relay.lies.offline = False
        await world.pass_time(31)
        assert await ben.kinds() == await anna.kinds() == ["text"]
        assert await ben.texts() == ["kept"]
    assert "anger" not in "".join(vault_bytes(world, "anna"))


async def test_what_may_have_left_the_device_is_taken_back_for_all(world: World) -> None:
    async with world.pair() as (anna, ben):
        world.relay.lies.append = lambda _peer, _frame: []  # nobody knows whether it was stored
        item = await anna.room.send("perhaps it arrived")
        await anna.room.retract(item)
        world.relay.drop_connections()
        world.relay.lies.append = None
        await world.pass_time(31)
        assert await anna.kinds() == await ben.kinds() == ["retracted"]
        assert alarms(anna, ben) == []
