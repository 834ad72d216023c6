"""Who comes into a conversation, and what becomes of commits that break its rules."""

from __future__ import annotations

from contextlib import AsyncExitStack

import pytest

from client_sdk.delivery import BundleMismatch
from client_sdk.engine import admitting
from client_sdk.engine.key_packages import SINGLE_USE
from client_sdk.engine.membership import Made
from client_sdk.engine.records import CommitReason
from client_sdk.engine.sending import put_commit
from client_sdk.identity import Leaf
from client_sdk.identity.alarms import IdentityChanged
from client_sdk.mls import MLSMessage, PrivateMessage
from client_sdk.mls.protection import open_sender_data
from relay.wire import Bundle, EntryKind
from relay.wire import frames as fr
from relay.wire.ids import DeviceId
from tests.support.fake_relay import Peer
from tests.support.rogue import forged_package, package_of, rogue_commit, stranger, strangers_external_commit
from tests.support.world import Device, World, alarms


def commits(world: World) -> list[Bundle]:
    entries = world.relay.streams[world.stream].log.entries
    return [Bundle.parse(entry.body) for entry in entries if entry.kind is EntryKind.COMMIT]


def send_rogue(device: Device, made: Made) -> None:
    """Have a member's program send a commit that its own rules would have refused."""
    with device.conversation.work("rogue") as work:
        put_commit(work, made, CommitReason.MEMBERSHIP, commit_id=device.conversation.context.new_id())
    device.conversation.go_on()


async def assert_they_talk(world: World, *devices: Device) -> None:
    for device in devices:
        await device.room.send(f"{device.client.user} speaks")
        await world.settle()
    said = [f"{device.client.user} speaks" for device in devices]
    for device in devices:
        assert await device.texts() == said
        assert device.room.alarm is None


# Coming in


async def test_who_comes_first_makes_the_group_alone_and_adds_who_comes_later(world: World) -> None:
    async with world.device("anna", name="Anna"):
        await world.settle()
        (alone,) = commits(world)
        assert (alone.adds, alone.commit) == ((), b"")
        async with world.device("ben", name="Ben"):
            await world.pass_time(6)
            _, second = commits(world)
            assert second.adds == (world.relay.device_of("ben"),)


async def test_who_waits_already_is_added_when_the_group_is_made(world: World) -> None:
    def not_for_ben(viewer: DeviceId, engagement: fr.Engagement) -> fr.Engagement:
        return engagement._replace(participants=()) if viewer == ben else engagement

    async with world.opened("ben", name="Ben"):
        ben = DeviceId(b"")
        world.relay.lies.engagement = lambda viewer, engagement: engagement._replace(participants=())
        await world.settle()
        ben = world.relay.device_of("ben")
        world.relay.lies.engagement = not_for_ben
        async with world.device("anna", name="Anna") as anna:
            await world.settle()
            (bundle,) = commits(world)
            assert bundle.adds == (ben,)
            assert anna.conversation.is_member


async def test_of_two_who_race_one_makes_the_group_and_the_other_is_added(world: World) -> None:
    held: list[tuple[object, fr.Append]] = []
    world.relay.lies.append = lambda peer, frame: held.append((peer, frame)) or []  # type: ignore[func-returns-value]  # collects
    async with AsyncExitStack() as stack:
        anna = await stack.enter_async_context(world.device("anna", name="Anna"))
        ben = await stack.enter_async_context(world.device("ben", name="Ben"))
        await world.settle()
        creators = {frame.after_commit for _, frame in held}
        assert len(held) == 2
        assert creators == {0}
        world.relay.lies.append = None
        world.relay.drop_connections()
        await world.pass_time(40)
        assert anna.conversation.is_member
        assert ben.conversation.is_member
        assert anna.conversation.standing.pending is ben.conversation.standing.pending is None
        await assert_they_talk(world, anna, ben)


async def test_names_are_told_sealed_after_joining(world: World) -> None:
    async with world.pair() as (anna, ben):
        assert str(anna.room.people) == "Ben (client), not yet verified"
        assert str(ben.room.people) == "Anna (coach), not yet verified"
        assert not any(b"Anna" in body or b"Ben" in body for body in world.relay.bodies(world.stream))
        await ben.client.set_name("Benjamin")
        await world.settle()
        assert anna.room.people.named("ben").name == "Benjamin"


async def test_both_see_the_same_safety_numbers_and_may_verify(world: World) -> None:
    async with world.pair() as (anna, ben):
        person = anna.room.people.named("ben")
        assert person.safety_number == ben.client.safety_number == ben.room.me.safety_number
        assert len(person.safety_number) == 30
        assert str(await anna.room.verify(person)) == "Ben (client), verified"
        async with world.device("anna", vault="other"):
            await world.settle()
        assert anna.room.people.named("ben").verified


async def test_key_packages_are_published_and_filled_up(world: World) -> None:
    async with world.pair() as (_anna, _ben):
        ben = world.relay.device_of("ben")
        assert len(world.relay.key_packages[ben]) == SINGLE_USE - 1
        assert ben in world.relay.last_resorts
        world.relay.key_packages[ben] = world.relay.key_packages[ben][:3]
        (peer,) = [p for p in world.relay.peers.values() if p.device == ben]
        peer.send([fr.KeyPackagesLow(3)])
        await world.settle()
        assert len(world.relay.key_packages[ben]) == SINGLE_USE


# What is refused


async def test_a_key_package_of_another_device_is_not_added(world: World) -> None:
    ghost = stranger("ben")

    def substitute(given: tuple[fr.ClaimedKeyPackage, ...]) -> tuple[fr.ClaimedKeyPackage, ...]:
        package = package_of(ghost, int(world.time.now()))
        return tuple(claimed._replace(package=package) for claimed in given)

    world.relay.lies.key_packages = substitute
    async with world.device("anna", name="Anna") as anna, world.device("ben", name="Ben") as ben:
        await world.pass_time(30)
        assert not ben.conversation.is_member
        assert all(ghost.device not in bundle.adds for bundle in commits(world))
        world.relay.lies.key_packages = None
        await world.pass_time(70)
        await assert_they_talk(world, anna, ben)


async def test_a_ghost_device_in_bens_name_raises_an_alarm_once(world: World) -> None:
    async with world.pair() as (anna, ben):
        ghost = stranger("ben")
        world.relay.devices[ghost.device] = ben.client.user
        world.relay.key_packages[ghost.device] = [package_of(ghost, int(world.time.now()))] * 3
        world.relay.announce(world.stream)
        await world.pass_time(10)
        alarm = anna.room.alarm
        assert isinstance(alarm, IdentityChanged)
        assert all(ghost.device not in bundle.adds for bundle in commits(world))
        await anna.room.resolve_alarm(alarm)
        await world.pass_time(300)
        assert anna.room.alarm is None
        assert all(ghost.device not in bundle.adds for bundle in commits(world))


async def test_a_forged_credential_is_not_added(world: World) -> None:
    async with world.pair() as (anna, ben):
        manifest = ben.engine.account.record.manifest
        device, package = forged_package(manifest, int(world.time.now()))
        world.relay.devices[device] = ben.client.user
        world.relay.key_packages[device] = [package]
        world.relay.announce(world.stream)
        await world.pass_time(10)
        assert all(device not in bundle.adds for bundle in commits(world))
        await assert_they_talk(world, anna, ben)


async def test_a_strangers_external_commit_is_void(world: World) -> None:
    async with world.pair() as (anna, ben):
        ghost, info = stranger("ben"), commits(world)[-1].group_info
        now = int(world.time.now())
        for remove in (None, 1):
            body = strangers_external_commit(info, ghost, remove=remove, now=now)
            world.relay.inject(world.stream, EntryKind.COMMIT, body)
            await world.settle()
        assert {leaf.device for leaf in _leaves(anna)} == {
            world.relay.device_of("anna"),
            world.relay.device_of("ben"),
        }
        await assert_they_talk(world, anna, ben)


async def test_a_members_commit_that_adds_an_unsigned_device_is_void_for_the_others(world: World) -> None:
    async with world.pair() as (anna, ben):
        ghost = stranger("mallory")
        group = anna.conversation.standing.group
        assert group is not None
        made = rogue_commit(group, now=int(world.time.now()), add=[package_of(ghost, int(world.time.now()))])
        world.relay.set_roster(world.stream, anna="coach", ben="client", mallory="supervisor")
        world.relay.devices[ghost.device] = ghost.user
        send_rogue(anna, made)
        await world.settle()
        assert ghost.device not in {leaf.device for leaf in _leaves(ben)}
        assert ben.conversation.is_member


async def test_a_bundle_with_other_names_is_void_and_an_alarm(world: World) -> None:
    async with world.pair() as (anna, ben):
        group = anna.conversation.standing.group
        assert group is not None
        made = rogue_commit(group, now=int(world.time.now()), names=((), (DeviceId(bytes(16)),)))
        send_rogue(anna, made)
        await world.settle()
        assert isinstance(ben.room.alarm, BundleMismatch)


async def test_a_welcome_replayed_changes_nothing(world: World) -> None:
    async with world.pair() as (anna, ben):
        body = commits(world)[-1].serialize()
        world.relay.inject(world.stream, EntryKind.COMMIT, body)
        await world.settle()
        await assert_they_talk(world, anna, ben)


async def test_waiting_in_turn_only_one_of_two_members_adds(world: World) -> None:
    async with world.pair() as (anna, ben):
        world.relay.set_roster(world.stream, anna="coach", ben="client", sue="supervisor")
        await world.settle()
        await anna.room.admit(anna.room.people.named("sue"))
        await ben.room.admit(ben.room.people.named("sue"))
        async with world.device("sue", name="Sue") as sue:
            await world.pass_time(10)
            assert sue.conversation.is_member
            adding = [b for b in commits(world) if world.relay.device_of("sue") in b.adds]
            assert len(adding) == 1
            await assert_they_talk(world, anna, ben, sue)


async def test_who_leaves_the_roster_while_they_are_let_in_stops_nobody(world: World) -> None:
    async with world.pair() as (anna, ben):
        world.relay.set_roster(world.stream, anna="coach", ben="client", sue="supervisor")
        async with world.device("sue", name="Sue") as sue:
            await world.pass_time(5)

            adding: list[fr.Append] = []

            def leaves_first(peer: Peer, frame: fr.Append) -> list[fr.RelayFrame] | None:
                if frame.kind is EntryKind.COMMIT:
                    adding.append(frame)
                    world.relay.set_roster(world.stream, anna="coach", ben="client")
                return None

            world.relay.lies.append = leaves_first
            await ben.room.admit(ben.room.people.named("sue"))
            await world.pass_time(10)
            assert len(adding) == 1
            await ben.room.send("without Sue")
            await world.pass_time(10)
            assert not sue.conversation.is_member
            assert await anna.texts() == await ben.texts() == ["without Sue"]
            assert ben.conversation.standing.pending is None
            assert alarms(anna, ben) == []


async def test_a_package_of_last_resort_serves_and_is_replaced(world: World) -> None:
    def exhausted(given: tuple[fr.ClaimedKeyPackage, ...]) -> tuple[fr.ClaimedKeyPackage, ...]:
        lasts = world.relay.last_resorts
        return tuple(c._replace(package=lasts[c.device], last_resort=True) for c in given)

    async with world.device("anna", name="Anna") as anna:
        world.relay.lies.key_packages = exhausted
        async with world.device("ben", name="Ben") as ben:
            await world.pass_time(6)
            assert ben.conversation.is_member
            device = world.relay.device_of("ben")
            published = [
                frame.last_resort
                for sender, frame in world.relay.received
                if sender == device and isinstance(frame, fr.PublishKeyPackages)
            ]
            assert None not in published
            assert len(set(published)) == 2
            assert world.relay.last_resorts[device] == published[-1]
            await assert_they_talk(world, anna, ben)


async def test_no_key_encrypts_two_commits(world: World) -> None:
    async with world.pair() as (anna, ben):
        world.relay.set_roster(world.stream, anna="coach", ben="client", sue="supervisor")
        await world.settle()
        tried: list[bytes] = []

        def refuse_commits(peer: Peer, frame: fr.Append) -> list[fr.RelayFrame] | None:
            if frame.kind is EntryKind.MESSAGE:
                return None
            tried.append(frame.body)
            return [fr.Refused(frame.stream, frame.counter, "too_many_devices", 0)]

        world.relay.lies.append = refuse_commits
        await anna.room.admit(anna.room.people.named("sue"))
        async with world.device("sue", name="Sue"):
            for _ in range(3):
                await world.pass_time(5)
                world.relay.drop_connections()
                await world.pass_time(31)
        group = ben.conversation.standing.group
        assert group is not None
        secret = group.epoch_state.secrets.sender_data_secret
        sealed = [MLSMessage.parse(Bundle.parse(body).commit).body for body in tried]
        private = [message for message in sealed if isinstance(message, PrivateMessage)]
        generations = [open_sender_data(group.suite, secret, message).generation for message in private]
        assert len(generations) > 1
        assert len(set(generations)) == len(generations)


async def test_of_two_commits_at_once_the_first_in_the_stream_wins(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(admitting, "WAIT_PER_PLACE_SECONDS", 0.0)
    async with world.pair() as (anna, ben):
        world.relay.set_roster(world.stream, anna="coach", ben="client", sue="supervisor")
        await world.settle()
        for device in (anna, ben):
            await device.room.admit(device.room.people.named("sue"))
        held: list[tuple[Peer, fr.Append]] = []

        def hold(peer: Peer, frame: fr.Append) -> list[fr.RelayFrame] | None:
            held.append((peer, frame))
            return []

        world.relay.lies.append = hold
        async with world.device("sue", name="Sue") as sue:
            await world.pass_time(2)
            epochs = [device.conversation.standing.group for device in (anna, ben)]
            assert [group.epoch for group in epochs if group is not None] == [1, 1]
            assert {peer.user for peer, frame in held if frame.kind is EntryKind.COMMIT} == {"anna", "ben"}
            world.relay.lies.append = None
            for peer, frame in held:
                peer.send(peer.append_honestly(frame))
                world.relay.push_all()
            await world.pass_time(10)
            adding = [b for b in commits(world) if world.relay.device_of("sue") in b.adds]
            assert len(adding) == 1
            assert [d.conversation.standing.pending for d in (anna, ben, sue)] == [None, None, None]
            await assert_they_talk(world, anna, ben, sue)


async def test_the_private_part_of_a_used_key_package_is_gone(world: World) -> None:
    async with world.pair() as (_anna, ben):
        with ben.engine.vault.transaction() as tx:
            kept = tx.scan("key-package", limit=1000)
        assert len(kept) == 2 * (SINGLE_USE + 1 - 1), "one of each suite an offer, and both went together"


def _leaves(device: Device) -> list[Leaf]:
    view = device.conversation.standing.view
    assert view is not None
    return list(view.leaves)


async def test_an_answer_that_is_older_than_what_was_told_since_does_not_replace_it(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Somebody's first key packages come just while the engagements are listed: they are not forgotten."""
    async with world.pair() as (anna, _ben):
        honest = Peer.on_listengagements

        def overtaken(peer: Peer, frame: fr.ListEngagements) -> list[fr.RelayFrame]:
            (answer,) = honest(peer, frame)
            assert isinstance(answer, fr.Engagements)
            (now,) = answer.engagements
            devices = tuple(device._replace(has_key_package=False) for device in now.devices)
            return [answer._replace(engagements=(now._replace(devices=devices),)), fr.EngagementChanged(now)]

        monkeypatch.setattr(Peer, "on_listengagements", overtaken)
        world.relay.drop_connections()
        await world.pass_time(31)
        assert anna.engine.listed.is_set()
        engagement = anna.conversation.engagement
        assert engagement is not None
        assert [device.has_key_package for device in engagement.devices] == [True, True]
