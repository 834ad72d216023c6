"""The receiver's side: items at least once, history once, receipts in measure, and what peers may not do."""

from __future__ import annotations

import asyncio
import hashlib
from dataclasses import replace
from datetime import UTC, datetime

import pytest

from client_sdk import CheckIn, CheckInAnswer, Delivery, Gap, Item, Question, Text
from client_sdk.content import Attest, Envelope, Profile, Receipt, padded_length
from client_sdk.delivery import StreamGap
from client_sdk.engine import sending
from client_sdk.errors import AnswerInvalid, EngagementUnavailable, UnknownItem, UsageError
from client_sdk.mls import encrypt
from relay.wire import EntryKind
from relay.wire import frames as fr
from tests.support.fake_time import settle
from tests.support.world import Device, World, alarms, say


def receipts_sent(world: World, user: str) -> int:
    device = world.relay.device_of(user)
    return sum(
        isinstance(f, fr.Append) and f.kind is EntryKind.MESSAGE
        for sender, f in world.relay.received
        if sender == device
    )


# The application's side


async def test_items_resume_where_the_application_stopped(world: World) -> None:
    async with world.device("anna", name="Anna") as anna:
        async with world.device("ben", name="Ben") as ben:
            await world.pass_time(6)
            await say(world, anna, "one", "two", "three")
            items = ben.room.items()
            assert (await anext(items)).id  # taken, and the next one asked for
            second = await anext(items)
            assert isinstance(second, Text)
            assert second.text == "two"
            await items.aclose()
        async with world.device("ben") as ben:
            again = await ben.received()
            assert [item.text for item in again if isinstance(item, Text)] == ["two", "three"]
            assert again[0].id == second.id
        async with world.device("ben") as ben:
            assert await ben.received() == []


async def test_items_wait_for_what_comes(world: World) -> None:
    async with world.pair() as (anna, ben):
        coming = asyncio.ensure_future(anext(ben.room.items()))
        await settle()
        assert not coming.done()
        await say(world, anna, "now")
        item = coming.result()
        assert isinstance(item, Text)
        assert item.sender.user == "anna"
        assert item.sent_at == datetime.fromtimestamp(int(world.time.now() * 1000) / 1000, UTC)
        assert item.seq is not None
        assert not item.mine


async def test_own_messages_are_in_the_history_and_not_among_the_items(world: World) -> None:
    async with world.pair() as (anna, _ben):
        await say(world, anna, "mine")
        assert await anna.received() == []
        assert await anna.texts() == ["mine"]


async def test_history_comes_in_pages_and_can_be_searched(world: World) -> None:
    async with world.pair() as (anna, ben):
        await say(world, anna, *(f"message {number}" for number in range(7)))
        first = await ben.room.history(limit=3)
        second = await ben.room.history(limit=3, before=first[-1])
        third = await ben.room.history(limit=3, before=second[-1].id)
        texts = [item.text for item in (*first, *second, *third) if isinstance(item, Text)]
        assert texts == [f"message {number}" for number in reversed(range(7))]
        (found,) = await ben.room.history(search="MESSAGE 4")
        assert isinstance(found, Text)
        assert found.text == "message 4"
        with pytest.raises(UnknownItem):
            await ben.room.history(before=b"unknown")


async def test_a_check_in_and_its_answers(world: World) -> None:
    async with world.pair() as (anna, ben):
        asked = CheckIn(
            "Your week",
            (Question("energy", "Energy today?"), Question("step", "Done?", "choice", choices=("yes", "no"))),
        )
        await anna.room.send(asked)
        await world.settle()
        (item,) = await ben.received()
        assert isinstance(item, CheckIn)
        assert item.questions == asked.questions
        with pytest.raises(AnswerInvalid):
            await ben.room.answer(item, {"energy": 11, "step": "yes"})
        await ben.room.answer(item, {"energy": 7, "step": "yes"})
        await world.settle()
        (answer,) = await anna.received()
        assert isinstance(answer, CheckInAnswer)
        assert (answer.checkin, dict(answer.answers)) == (item.id, {"energy": 7, "step": "yes"})
        with pytest.raises(UsageError):
            await ben.room.answer(asked, {"energy": 7, "step": "yes"})


async def test_an_engagement_that_is_not_ours(world: World) -> None:
    elsewhere = world.relay.create_engagement(carl="coach", dora="client")
    async with world.device("anna", name="Anna") as anna:
        with pytest.raises(EngagementUnavailable):
            await anna.client.engagement(elsewhere)
        with pytest.raises(UsageError):
            await anna.client.engagement("not an id")
        assert [room.id for room in await anna.client.engagements()] == [world.stream]


async def test_a_known_engagement_is_there_without_the_relay(world: World) -> None:
    async with world.pair() as (anna, _ben):
        await say(world, anna, "remembered")
    world.relay.lies.offline = True
    async with world.device("anna") as anna:
        assert await anna.texts() == ["remembered"]
        assert str(anna.room.people) == "Ben (client), not yet verified"
        await anna.room.send("said offline")
        assert len(anna.room.outbox) == 1


# Receipts


async def test_receipts_are_sent_at_most_once_in_five_seconds_and_never_for_receipts(world: World) -> None:
    async with world.pair() as (anna, ben):
        await world.pass_time(30)
        before = receipts_sent(world, "ben"), receipts_sent(world, "anna")
        for number in range(40):
            await anna.room.send(str(number))
            await world.pass_time(0.5)
        await world.pass_time(60)
        assert 4 <= receipts_sent(world, "ben") - before[0] <= 6
        assert receipts_sent(world, "anna") - before[1] == 40
        after = len(world.relay.received)
        await world.pass_time(600)
        assert len(world.relay.received) == after
        assert alarms(anna, ben) == []


async def test_a_receipt_that_is_owed_survives_a_restart(world: World) -> None:
    async with world.device("anna", name="Anna") as anna:
        async with world.device("ben", name="Ben") as ben:
            await world.pass_time(6)
            await say(world, anna, "one")
            await world.pass_time(0.1)
            await say(world, anna, "two")
            assert await ben.texts() == ["one", "two"]
            assert (await anna.room.history())[0].delivery is Delivery.SENT
        async with world.device("ben"):
            await world.pass_time(6)
            assert (await anna.room.history())[0].delivery is Delivery.DELIVERED


async def test_an_answer_is_a_receipt_too(world: World) -> None:
    async with world.pair() as (anna, ben):
        await world.pass_time(30)
        await say(world, anna, "a question")
        await world.pass_time(30)
        before = receipts_sent(world, "ben")
        world.relay.lies.withheld.add(world.relay.device_of("ben"))
        await anna.room.send("another")
        await ben.room.send("an answer to both")
        await world.settle()
        assert receipts_sent(world, "ben") == before + 1


# What peers may not do


def forge(device: Device, envelope: Envelope) -> None:
    """Have a member's program send this very envelope, whatever its own rules are."""
    conversation = device.conversation
    with conversation.work("forge") as work:
        sending.queue(work, conversation.context.account, Receipt(), message_id=envelope.id, in_history=False)
        group = work.group
        assert group is not None
        sealed = encrypt(group, envelope.serialize(), rng=conversation.context.rng, padding=padded_length)
        work.group = sealed.state
        work.put_waiting(replace(work.waiting(envelope.id), body=sealed.message))
        work.box = work.box.encrypted(
            envelope.id,
            after_commit=work.record.last_commit,
            body_hash=hashlib.sha256(sealed.message).digest(),
        )
    conversation.go_on()


def envelope_of(device: Device, text: str, *, counter: int | None = None, **changes: object) -> Envelope:
    standing = device.conversation.standing
    assert standing.log is not None
    fields: dict[str, object] = {
        "id": bytes(15) + bytes([len(text)]),
        "counter": standing.box.next_message_counter if counter is None else counter,
        "attest": standing.log.attest,
        "closings": (),
        "sent_ms": 1_790_000_000_000,
        "content": Text(text),
        **changes,
    }
    return Envelope(**fields)  # type: ignore[arg-type]  # the defaults above fit


async def test_a_counter_that_skips_is_an_alarm_and_the_message_is_kept(world: World) -> None:
    async with world.pair() as (anna, ben):
        forge(anna, envelope_of(anna, "skips", counter=99))
        await world.settle()
        assert isinstance(ben.room.alarm, StreamGap)
        assert await ben.texts() == ["skips"]


async def test_an_attestation_that_differs_is_an_alarm(world: World) -> None:
    async with world.pair() as (anna, ben):
        mine = envelope_of(anna, "forged").attest
        forge(anna, envelope_of(anna, "forged", attest=Attest(mine.epoch, mine.seq, bytes(32))))
        await world.settle()
        assert alarms(ben) == ["stream_forked"]


async def test_the_same_id_twice_is_one_message(world: World) -> None:
    async with world.pair() as (anna, ben):
        forge(anna, envelope_of(anna, "first", id=b"i" * 16))
        await world.settle()
        forge(anna, envelope_of(anna, "again", id=b"i" * 16))
        await world.settle()
        assert await ben.texts() == ["first"]
        assert len(await ben.received()) == 1


@pytest.mark.parametrize("when", [0, 2**53 - 1])
async def test_a_clock_that_is_wrong_breaks_nothing(world: World, when: int) -> None:
    async with world.pair() as (anna, ben):
        forge(anna, envelope_of(anna, "when?", sent_ms=when))
        await world.settle()
        (item,) = await ben.received()
        assert isinstance(item, Item)
        assert item.sent_at.year in (1970, 9999)


async def test_a_name_is_taken_from_its_owner_alone(world: World) -> None:
    async with world.pair() as (anna, ben):
        forge(anna, envelope_of(anna, "profile", content=Profile("Ben")))
        await world.settle()
        assert ben.room.people.named("anna").name == "Ben"
        assert ben.room.me.name == "Ben"
        assert ben.room.me.user == "ben"
        assert await ben.received() == []


async def test_noise_in_a_row_is_an_alarm(world: World) -> None:
    async with world.pair() as (_anna, ben):
        for number in range(3):
            assert alarms(ben) == []
            world.relay.inject(world.stream, EntryKind.MESSAGE, bytes([number]) * 300)
            await world.settle()
        assert alarms(ben) == ["stream_forked"]
        gaps = [item for item in await ben.room.history() if isinstance(item, Gap)]
        assert len(gaps) == 3
