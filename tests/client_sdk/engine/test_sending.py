"""The sender's side of the delivery contract: the outbox, retries, and what each refusal leads to."""

from __future__ import annotations

import pytest

from client_sdk import Delivery, Text, WaitReason
from client_sdk.content import File
from client_sdk.delivery import MOST_IN_FLIGHT
from client_sdk.errors import ContentInvalid, EngagementUnavailable, UsageError
from relay.wire import EntryKind
from relay.wire import frames as fr
from relay.wire.ids import DeviceId
from tests.support.fake_relay import Peer
from tests.support.world import Device, World, alarms, move_on


def appends(world: World, user: str) -> list[fr.Append]:
    device = world.relay.device_of(user)
    return [f for sender, f in world.relay.received if sender == device and isinstance(f, fr.Append)]


def messages(world: World, user: str) -> list[fr.Append]:
    return [append for append in appends(world, user) if append.kind is EntryKind.MESSAGE]


async def reasons(device: Device) -> list[WaitReason]:
    return [waiting.reason for waiting in device.room.outbox]


async def test_before_anybody_has_joined_it_waits_and_says_why(world: World) -> None:
    async with world.device("anna", name="Anna") as anna:
        item = await anna.room.send("Are you there?")
        await world.pass_time(60)
        assert item.delivery is Delivery.WAITING
        assert item.seq is None
        assert await reasons(anna) == [WaitReason.NOBODY_THERE]
        assert messages(world, "anna") == []
        async with world.device("ben", name="Ben") as ben:
            await world.pass_time(6)
            assert await ben.texts() == ["Are you there?"]
            assert anna.room.outbox == ()


async def test_offline_it_waits_and_goes_later(world: World) -> None:
    async with world.pair() as (anna, ben):
        world.relay.lies.offline = True
        world.relay.drop_connections()
        await world.settle()
        for number in range(3):
            await anna.room.send(f"{number}")
        assert await reasons(anna) == [WaitReason.OFFLINE] * 3
        world.relay.lies.offline = False
        await world.pass_time(31)
        await anna.room.wait_sent()
        await world.pass_time(31)
        assert await ben.texts() == ["0", "1", "2"]


async def test_how_far_a_message_has_come(world: World) -> None:
    async with world.pair() as (anna, _ben):
        ben = world.relay.device_of("ben")
        world.relay.lies.withheld.add(ben)
        item = await anna.room.send("seen?")
        await world.pass_time(10)
        assert (await anna.room.history())[0].id == item.id
        assert (await anna.room.history())[0].delivery is Delivery.SENT
        world.relay.lies.withheld.clear()
        world.relay.push_all()
        await world.pass_time(10)
        assert (await anna.room.history())[0].delivery is Delivery.DELIVERED


async def test_at_most_so_many_are_in_flight(world: World) -> None:
    async with world.pair() as (anna, ben):
        before = len(messages(world, "anna"))
        held: list[tuple[Peer, fr.Append]] = []

        def hold(peer: Peer, frame: fr.Append) -> list[fr.RelayFrame] | None:
            held.append((peer, frame))
            return []

        world.relay.lies.append = hold
        for number in range(3 * MOST_IN_FLIGHT):
            await anna.room.send(str(number))
        await world.settle()
        assert len(messages(world, "anna")) - before == MOST_IN_FLIGHT
        world.relay.lies.append = None
        world.relay.drop_connections()
        await world.pass_time(10)
        assert await ben.texts() == [str(number) for number in range(3 * MOST_IN_FLIGHT)]


async def test_a_retry_sends_identical_bytes(world: World) -> None:
    async with world.pair() as (anna, ben):
        before = len(messages(world, "anna"))
        world.relay.lies.append = lambda peer, frame: []
        await anna.room.send("once")
        await world.settle()
        for _ in range(3):
            world.relay.drop_connections()
            await world.pass_time(31)
        world.relay.lies.append = None
        world.relay.drop_connections()
        await world.pass_time(31)
        attempts = messages(world, "anna")[before:]
        assert len(attempts) == 5
        assert len(set(attempts)) == 1
        assert await ben.texts() == ["once"]


async def test_an_answer_that_got_lost_is_no_second_message(world: World) -> None:
    async with world.pair() as (anna, ben):

        def answer_nothing(peer: Peer, frame: fr.Append) -> list[fr.RelayFrame] | None:
            peer.append_honestly(frame)
            return []

        world.relay.lies.append = answer_nothing
        world.relay.lies.withheld.add(world.relay.device_of("anna"))
        await anna.room.send("stored, not answered")
        await world.settle()
        world.relay.lies.append = None
        world.relay.lies.withheld.clear()
        world.relay.drop_connections()
        await world.pass_time(31)
        assert await anna.texts() == await ben.texts() == ["stored, not answered"]
        assert anna.room.outbox == ()
        assert anna.room.alarm is None


async def test_stale_means_encrypt_anew_under_the_new_epoch_and_the_same_numbers(world: World) -> None:
    async with world.pair() as (anna, ben):
        world.relay.set_roster(world.stream, anna="coach", ben="client", sue="supervisor")
        async with world.device("sue", name="Sue") as sue:
            await world.pass_time(5)
            anna_device = world.relay.device_of("anna")
            world.relay.lies.withheld.add(anna_device)
            await ben.room.admit(ben.room.people.named("sue"))
            await world.pass_time(10)
            assert sue.conversation.is_member
            before = len(messages(world, "anna"))
            for number in range(3):
                await anna.room.send(f"across the commit {number}")
            await world.settle()
            world.relay.lies.withheld.clear()
            world.relay.push_all()
            await world.pass_time(10)
            sent = messages(world, "anna")[before:]
            first = [append for append in sent if append.after_commit == sent[0].after_commit]
            again = sent[len(first) :][:3]
            assert [a.counter for a in first] == [a.counter for a in again][: len(first)]
            assert {a.after_commit for a in again} == {sue.conversation.standing.record.last_commit}
            assert not {a.body for a in first} & {a.body for a in again}
            expected = [f"across the commit {number}" for number in range(3)]
            assert await anna.texts() == await ben.texts() == await sue.texts() == expected
            assert alarms(anna, ben, sue) == []


async def test_a_commit_behind_a_message_that_another_commit_overtook_holds_nothing_up(world: World) -> None:
    async with world.pair() as (anna, ben):
        held: list[tuple[Peer, fr.Append]] = []

        def hold(peer: Peer, frame: fr.Append) -> list[fr.RelayFrame] | None:
            if peer.user != "anna":
                return None
            held.append((peer, frame))
            return []

        world.relay.lies.append = hold
        await anna.room.send("overtaken")
        await world.settle()
        move_on(world, ben)
        await world.settle()
        move_on(world, anna)
        await world.settle()
        assert [frame.kind for _, frame in held] == [EntryKind.MESSAGE, EntryKind.COMMIT]
        world.relay.lies.append = None
        for peer, frame in held:
            peer.send(peer.append_honestly(frame))
        await world.pass_time(10)
        assert anna.conversation.standing.pending is None
        await anna.room.send("afterwards")
        move_on(world, anna)
        await world.pass_time(10)
        assert await anna.texts() == await ben.texts() == ["overtaken", "afterwards"]
        assert anna.room.outbox == ()
        assert alarms(anna, ben) == []


async def test_a_refusal_from_before_it_was_let_in_again_stops_nobody(world: World) -> None:
    """Word that the device takes part again may be heard before a refusal from while it did not."""
    async with world.pair() as (anna, ben):
        refused: list[int] = []

        def refuse_once(peer: Peer, frame: fr.Append) -> list[fr.RelayFrame] | None:
            if peer.user != "anna" or refused:
                return None
            refused.append(frame.counter)
            return [fr.Refused(frame.stream, frame.counter, "not_member", frame.after_commit)]

        world.relay.lies.append = refuse_once
        await anna.room.send("written while out")
        await world.pass_time(5)
        assert len(refused) == 1
        assert "written while out" not in await ben.texts()
        await ben.room.send("let in again")
        await world.pass_time(5)
        assert await anna.texts() == await ben.texts() == ["let in again", "written while out"]
        assert alarms(anna, ben) == []


async def test_a_counter_gap_is_sent_again_in_order(world: World) -> None:
    async with world.pair() as (anna, ben):
        refused: list[int] = []

        def refuse_first(peer: Peer, frame: fr.Append) -> list[fr.RelayFrame] | None:
            if peer.user == "anna" and not refused:
                refused.append(frame.counter)
                return [fr.Refused(frame.stream, frame.counter, "rate_limited", 0)]
            return None

        world.relay.lies.append = refuse_first
        world.relay.lies.offline = True
        world.relay.drop_connections()
        await world.settle()
        for number in range(10):
            await anna.room.send(str(number))
        world.relay.lies.offline = False
        await world.pass_time(60)
        assert refused
        assert await ben.texts() == [str(number) for number in range(10)]


@pytest.mark.parametrize("code", ["rate_limited", "store_full", "store_unavailable", "internal", "a_new_one"])
async def test_a_relay_that_cannot_just_now_is_asked_again_less_and_less_often(
    world: World, code: str
) -> None:
    async with world.pair() as (anna, ben):
        before = len(messages(world, "anna"))
        world.relay.lies.append = lambda peer, frame: [fr.Refused(frame.stream, frame.counter, code, 0)]
        await anna.room.send("patience")
        await world.pass_time(120)
        attempts = messages(world, "anna")[before:]
        assert 5 <= len(attempts) <= 10
        assert len(set(attempts)) == 1
        world.relay.lies.append = None
        await world.pass_time(31)
        assert await ben.texts() == ["patience"]


async def test_a_gap_that_never_closes_is_no_busy_loop(world: World) -> None:
    async with world.pair() as (anna, _ben):
        before = len(messages(world, "anna"))
        world.relay.lies.append = lambda p, frame: [fr.Refused(frame.stream, frame.counter, "counter_gap", 0)]
        await anna.room.send("waits")
        await world.pass_time(60)
        assert len(messages(world, "anna")) - before < 10


async def test_what_the_relay_will_never_take_is_said_so(world: World) -> None:
    async with world.pair() as (anna, ben):
        first: list[int] = []

        def refuse_once(peer: Peer, frame: fr.Append) -> list[fr.RelayFrame] | None:
            if first:
                return None
            first.append(frame.counter)
            return [fr.Refused(frame.stream, frame.counter, "blob_not_found", 0)]

        world.relay.lies.append = refuse_once
        await anna.room.send("refused for good")
        await anna.room.send("but this goes")
        await world.pass_time(10)
        assert await ben.texts() == ["but this goes"]
        assert "gap" in await anna.kinds()
        assert alarms(anna, ben) == []


@pytest.mark.parametrize("what", ["", "x" * 40_000, File])
async def test_what_cannot_be_said_is_refused_at_once_and_leaves_nothing(
    world: World, what: str | type
) -> None:
    async with world.pair() as (anna, _ben):
        if isinstance(what, str):
            with pytest.raises(ContentInvalid):
                await anna.room.send(what)
        else:
            file = File(
                name="plan.pdf",
                media_type="application/pdf",
                size=1,
                blob="A" * 22,
                key=bytes(32),
                sealed_size=297,
                sealed_hash=bytes(32),
            )
            with pytest.raises(UsageError):
                await anna.room.send(file)
        assert anna.room.outbox == ()
        assert await anna.texts() == []


async def test_after_the_end_nothing_more_is_taken(world: World) -> None:
    async with world.pair() as (anna, _ben):
        world.relay.end(world.stream)
        await world.settle()
        with pytest.raises(EngagementUnavailable):
            await anna.room.send("too late")
        await anna.room.wait_sent()
        assert await anna.texts() == []


async def test_what_is_said_is_in_the_history_at_once(world: World) -> None:
    async with world.device("anna", name="Anna") as anna:
        item = await anna.room.send(Text("noted"))
        assert isinstance(item, Text)
        assert item.mine
        assert item.sender.name == "Anna"
        assert [found.id for found in await anna.room.history()] == [item.id]


async def test_the_relay_sees_neither_words_nor_lengths(world: World) -> None:
    async with world.pair() as (anna, _ben):
        before = len(messages(world, "anna"))
        for text in ("yes", "no, not really", "I will think about it and tell you tomorrow"):
            await anna.room.send(text)
            await world.settle()
        bodies = [append.body for append in messages(world, "anna")[before:]]
        assert len({len(body) for body in bodies}) == 1
        assert not any(b"think" in body for body in world.relay.bodies(world.stream))


async def test_one_transaction_for_many_messages(world: World) -> None:
    async with world.pair() as (anna, ben):
        world.relay.lies.withheld.add(DeviceId(world.relay.device_of("ben")))
        for number in range(100):
            await anna.room.send(str(number))
        await world.pass_time(5)
        steps: list[str] = []
        environment = ben.conversation._env
        object.__setattr__(environment, "step", steps.append)
        world.relay.lies.withheld.clear()
        world.relay.push_all()
        await world.settle()
        assert len(await ben.texts()) == 100
        # One for all that came, and one for our own receipt when it came back.
        assert steps.count("receive: durable") == 2
