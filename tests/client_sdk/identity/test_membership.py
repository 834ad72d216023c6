"""The rules of membership: every commit that breaks one is void, and the verdict rests on the group alone."""

from __future__ import annotations

from dataclasses import replace

import pytest

from client_sdk.errors import CredentialRefused, IdentityError, MembershipError
from client_sdk.identity import (
    BundleNamesDiffer,
    ConversationView,
    check_commit,
    check_joined,
    check_view,
)
from relay.wire.ids import DeviceId, EngagementId, PortalId, Role

from .people import ENGAGEMENT, PORTAL, Person, info_of, view

NOBODY: list[DeviceId] = []


class Room:
    """A coach with two devices, a client with one, and a third person outside."""

    def __init__(self) -> None:
        self.anna = Person("anna", Role.COACH, count=2)
        self.ben = Person("ben")
        self.eve = Person("eve", Role.SUPERVISOR)
        self.leaves = [self.anna.leaf(0, 0), self.anna.leaf(1, 1), self.ben.leaf(2)]
        self.before = view([self.anna, self.ben], self.leaves)


@pytest.fixture
def room() -> Room:
    return Room()


def commit(before: ConversationView, after: ConversationView, *, external: bool = False) -> None:
    """Check a commit whose bundle names are right."""
    adds, removes = after.devices - before.devices, before.devices - after.devices
    check_commit(before, after, adds=adds, removes=removes, external=external)


# What is allowed


def test_nothing_changes(room: Room) -> None:
    commit(room.before, room.before)
    assert room.before.leaves_to_remove == ()


def test_a_further_person_comes_with_their_device(room: Room) -> None:
    people = [room.anna, room.ben, room.eve]
    commit(room.before, view(people, [*room.leaves, room.eve.leaf(3)]))


def test_a_person_goes(room: Room) -> None:
    commit(room.before, view([room.anna, room.ben], room.leaves[:2]))
    commit(room.before, view([room.anna], room.leaves[:2]))


def test_a_new_device_of_a_participant_comes(room: Room) -> None:
    room.ben.link()
    commit(room.before, view([room.anna, room.ben], [*room.leaves, room.ben.leaf(3, 1)]))


def test_a_device_comes_with_an_older_list_that_the_newest_confirms(room: Room) -> None:
    ben, first = room.ben, room.ben.manifest
    ben.link()
    before = view([room.anna, ben], [*room.leaves[:2], ben.leaf(2, 1)])
    commit(before, view([room.anna, ben], [*before.leaves, ben.leaf(3, 0, first)]))


def test_policy_and_features_may_change(room: Room) -> None:
    info = replace(room.before.info, policy={"retention_hours": 24}, features=("polls",))
    commit(room.before, replace(room.before, info=info))


def test_an_identity_changes_by_the_recovery_key(room: Room) -> None:
    room.ben.recovered(room.ben.devices)
    commit(room.before, view([room.anna, room.ben], [*room.leaves[:2], room.ben.leaf(2)]))


# What is void


def void(room: Room, after: ConversationView, rule: type[IdentityError] = MembershipError) -> None:
    with pytest.raises(rule) as caught:
        commit(room.before, after)
    assert not isinstance(caught.value, BundleNamesDiffer)


def test_a_device_of_somebody_who_does_not_take_part(room: Room) -> None:
    void(room, view([room.anna, room.ben], [*room.leaves, room.eve.leaf(3)]), CredentialRefused)


def test_a_device_under_a_forged_identity(room: Room) -> None:
    impostor = Person("ben", seed="an impostor")
    void(room, view([room.anna, room.ben], [*room.leaves, impostor.leaf(3)]), CredentialRefused)


def test_a_device_of_another_portal(room: Room) -> None:
    foreign = Person("ben", portal=PortalId("elsewhere"), seed="another one")
    void(room, view([room.anna, room.ben], [*room.leaves, foreign.leaf(3)]), CredentialRefused)


def test_a_device_that_its_list_does_not_name(room: Room) -> None:
    ghost = replace(room.ben.leaf(3), device_key=room.eve.devices[0].public)
    void(room, view([room.anna, room.ben], [*room.leaves, ghost]))


def test_a_device_twice(room: Room) -> None:
    void(room, view([room.anna, room.ben], [*room.leaves, room.ben.leaf(3)]))


def test_more_devices_than_a_conversation_may_have(room: Room) -> None:
    people = [Person(f"person-{n}", count=8) for n in range(5)]
    leaves = [p.leaf(8 * n + d, d) for n, p in enumerate(people) for d in range(8)]
    with pytest.raises(MembershipError):
        check_view(view(people, leaves[:33]))
    check_view(view(people, leaves[:32]))
    with pytest.raises(MembershipError):
        check_view(view(people, []))


@pytest.mark.parametrize(
    "change",
    [
        {"generation": 2},
        {"engagement": EngagementId("eng_AAAAAAAAAAAAAAAAAAAAAQ")},
    ],
)
def test_another_conversation(room: Room, change: dict[str, object]) -> None:
    info = replace(room.before.info, **change)  # type: ignore[arg-type]  # one field of its type
    void(room, replace(room.before, info=info))  # the group's id stays
    void(room, replace(room.before, info=info, group_id=info.group_id))  # it moves along


def test_a_new_participant_without_a_device(room: Room) -> None:
    void(room, view([room.anna, room.ben, room.eve], room.leaves))


def test_a_participant_is_taken_off_while_their_device_stays(room: Room) -> None:
    void(room, view([room.anna], room.leaves), CredentialRefused)


def test_an_identity_is_replaced_without_the_recovery_key(room: Room) -> None:
    impostor = Person("ben", seed="an impostor")
    void(room, view([room.anna, impostor], [*room.leaves[:2], impostor.leaf(2)]))
    void(room, view([room.anna, impostor], room.leaves[:2]))


def test_an_identity_is_replaced_by_another_recovery_key(room: Room) -> None:
    impostor = Person("ben", seed="an impostor")
    impostor.recovered(impostor.devices)
    void(room, view([room.anna, impostor], [*room.leaves[:2], impostor.leaf(2)]))


def test_an_identity_goes_back_to_an_earlier_one(room: Room) -> None:
    ben = room.ben
    ben.link()
    second = ben.recovered(ben.devices)
    between = view([room.anna, ben], [*room.leaves[:2], ben.leaf(2)])
    ben.recovered(ben.devices)
    before = view([room.anna, ben], [*room.leaves[:2], ben.leaf(2)])
    for device in (0, 1):
        leaves = [*room.leaves[:2], ben.leaf(2, device, second)]
        with pytest.raises(MembershipError):
            commit(before, ConversationView(between.group_id, between.info, tuple(leaves)))


def test_another_list_of_the_same_version_in_its_place(room: Room) -> None:
    ben, first = room.ben, room.ben.manifest
    ben.link()
    before = view([room.anna, ben], [*room.leaves[:2], ben.leaf(2)])
    ben.manifest = first
    ben.signed([ben.devices[1]])
    with pytest.raises(MembershipError):
        commit(before, view([room.anna, ben], [*room.leaves[:2], ben.leaf(2, 1)]))


def test_a_new_identity_while_a_device_of_the_old_one_stays(room: Room) -> None:
    ben = room.ben
    ben.link()
    both = view([room.anna, ben], [*room.leaves[:2], ben.leaf(2), ben.leaf(3, 1)])
    old = ben.manifest
    ben.recovered(ben.devices)
    after = view([room.anna, ben], [*room.leaves[:2], ben.leaf(2), ben.leaf(3, 1, old)])
    with pytest.raises(CredentialRefused):
        commit(both, after)


def test_a_device_goes_back_to_an_older_list(room: Room) -> None:
    first = room.ben.manifest
    room.ben.link()
    before = view([room.anna, room.ben], [*room.leaves[:2], room.ben.leaf(2)])
    after = view([room.anna, room.ben], [*room.leaves[:2], room.ben.leaf(2, 0, first)])
    with pytest.raises(MembershipError):
        commit(before, after)


def test_two_lists_of_one_version(room: Room) -> None:
    anna, first = room.anna, room.anna.manifest
    one = anna.signed(anna.devices)
    anna.manifest = first
    other = anna.signed(list(reversed(anna.devices)))
    assert (one.version, one.raw) != (other.version, other.raw)
    void(room, view([anna, room.ben], [anna.leaf(0, 0, one), anna.leaf(1, 1, other), room.ben.leaf(2)]))


def test_a_device_that_its_user_has_removed_is_not_added_again(room: Room) -> None:
    anna, first = room.anna, room.anna.manifest
    anna.signed(anna.devices[:1])
    before = view([anna, room.ben], [anna.leaf(0), room.ben.leaf(2)])
    after = view([anna, room.ben], [*before.leaves, anna.leaf(3, 1, first)])
    with pytest.raises(MembershipError):
        commit(before, after)


def test_a_device_changes_hands(room: Room) -> None:
    room.eve.devices.append(room.ben.devices[0])
    room.eve.signed(room.eve.devices)
    people = [room.anna, room.ben, room.eve]
    void(room, view(people, [*room.leaves[:2], room.eve.leaf(2, 1)]))


# Who has to go


def test_a_device_that_left_its_users_list_has_to_go(room: Room) -> None:
    anna = room.anna
    first = anna.manifest
    anna.signed(anna.devices[1:])
    after = view([anna, room.ben], [anna.leaf(0, 0, first), anna.leaf(1, 1), room.ben.leaf(2)])
    commit(room.before, after)
    assert after.leaves_to_remove == (0,)
    assert [after.places_before(index) for index in (1, 2)] == [0, 1]
    commit(after, view([anna, room.ben], after.leaves[1:]))


# Names


def test_the_bundles_names_are_those_that_come_and_go(room: Room) -> None:
    room.ben.link()
    come = room.ben.leaf(3, 1)
    after = view([room.anna, room.ben], [room.leaves[0], room.leaves[2], come])
    gone, other = room.leaves[1].device, room.leaves[0].device
    check_commit(room.before, after, adds=[come.device], removes=[gone])
    for adds, removes in (
        (NOBODY, [gone]),
        ([come.device], NOBODY),
        ([come.device, other], [gone]),
        ([come.device], [gone, other]),
        ([gone], [come.device]),
        ([other], [gone]),
    ):
        with pytest.raises(BundleNamesDiffer):
            check_commit(room.before, after, adds=adds, removes=removes)


# Rejoining


def test_a_device_rejoins_in_its_own_place(room: Room) -> None:
    room.ben.link()
    after = view([room.anna, room.ben], [*room.leaves[:2], room.ben.leaf(5)])
    check_commit(room.before, after, adds=NOBODY, removes=NOBODY, external=True)


def test_a_rejoin_that_brings_somebody_else_is_void(room: Room) -> None:
    room.ben.link()
    taken = view([room.anna, room.ben], [*room.leaves[:2], room.ben.leaf(2, 1)])
    further = view([room.anna, room.ben], [*room.leaves, room.ben.leaf(3, 1)])
    fewer = view([room.anna, room.ben], [room.leaves[0], room.leaves[2]])
    for after in (taken, further, fewer):
        adds, removes = after.devices - room.before.devices, room.before.devices - after.devices
        with pytest.raises(MembershipError):
            check_commit(room.before, after, adds=adds, removes=removes, external=True)
        commit(room.before, after)  # what a member may do, a rejoin may not


def test_a_rejoin_changes_nothing_else(room: Room) -> None:
    after = replace(room.before, info=replace(room.before.info, policy={"retention_hours": 1}))
    with pytest.raises(MembershipError):
        check_commit(room.before, after, adds=NOBODY, removes=NOBODY, external=True)


# Joining


def test_a_joiner_checks_whose_conversation_it_is(room: Room) -> None:
    check_joined(room.before, portal=PORTAL, engagement=ENGAGEMENT)
    with pytest.raises(MembershipError):
        check_joined(room.before, portal=PortalId("other"), engagement=ENGAGEMENT)
    with pytest.raises(MembershipError):
        check_joined(room.before, portal=PORTAL, engagement=EngagementId("eng_AAAAAAAAAAAAAAAAAAAAAQ"))
    with pytest.raises(MembershipError):
        check_joined(replace(room.before, group_id=bytes(32)), portal=PORTAL, engagement=ENGAGEMENT)


def test_a_view_knows_its_people(room: Room) -> None:
    assert [leaf.index for leaf in room.before.leaves_of(room.anna.user)] == [0, 1]
    assert room.before.governing(room.ben.user) == room.ben.manifest
    assert room.before.governing(room.eve.user) is None
    assert info_of(room.anna).participant(room.ben.user) is None
