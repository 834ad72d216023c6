"""What this device believes about people, and whom it adds."""

from __future__ import annotations

import pytest

from client_sdk.delivery import (
    IdentityChanged,
    IdentityRecovered,
    ManifestForked,
    ManifestRolledBack,
    OwnIdentityChanged,
)
from client_sdk.errors import ApprovalRequired, RecordInvalid, UsageError
from client_sdk.identity import (
    TrustRecord,
    TrustState,
    check_admission,
    check_not_older,
    next_manifest,
    observe,
)
from relay.wire.ids import UserId

from .people import Person


def met(person: Person) -> TrustRecord:
    return observe(None, person.manifest, now_ms=1000)


# Records


def test_a_first_identity_is_taken_on_trust_and_not_more() -> None:
    ben = Person("ben")
    record = met(ben)
    assert (record.user, record.state, record.first_seen_ms) == ("ben", TrustState.UNVERIFIED, 1000)
    assert record.identity_key == ben.keys.identity.public
    record.check_may_send()


def test_comparing_verifies_the_key_that_was_compared() -> None:
    ben, eve = Person("ben"), Person("eve")
    with pytest.raises(UsageError):
        met(ben).verified(eve.keys.identity.public, now_ms=2000)
    record = met(ben).verified(ben.keys.identity.public, now_ms=2000)
    assert (record.state, record.decided_ms) == (TrustState.VERIFIED, 2000)
    assert observe(record, ben.link(), now_ms=3000).state is TrustState.VERIFIED


@pytest.mark.parametrize("verified", [False, True])
def test_a_changed_identity_stops_sending_until_a_person_decides(verified: bool) -> None:
    ben = Person("ben")
    record = met(ben)
    old = ben.keys.identity.public
    if verified:
        record = record.verified(old, now_ms=2000)
    record = observe(record, ben.recovered(ben.devices), now_ms=3000)
    assert (record.state, record.identity_key) == (TrustState.CHANGED, old)
    with pytest.raises(IdentityChanged):
        record.check_may_send()
    with pytest.raises(UsageError):
        record.verified(old, now_ms=4000)
    record = observe(record, ben.link(), now_ms=4000)
    assert record.state is TrustState.CHANGED
    accepted = record.change_accepted(now_ms=5000)
    compared = record.verified(ben.keys.identity.public, now_ms=5000)
    for decided, state in ((accepted, TrustState.UNVERIFIED), (compared, TrustState.VERIFIED)):
        decided.check_may_send()
        assert (decided.state, decided.identity_key) == (state, ben.keys.identity.public)


def test_there_is_nothing_to_accept_without_a_change() -> None:
    with pytest.raises(UsageError):
        met(Person("ben")).change_accepted(now_ms=2000)


def test_one_persons_list_does_not_touch_anothers_record() -> None:
    with pytest.raises(UsageError):
        observe(met(Person("ben")), Person("eve").manifest, now_ms=2000)


def test_an_older_list_is_an_alarm_and_changes_nothing() -> None:
    ben = Person("ben")
    first = ben.manifest
    record = met(ben)
    record = observe(record, ben.link(), now_ms=2000)
    assert observe(record, first, now_ms=3000) == record
    check_not_older(None, first)
    check_not_older(record, ben.manifest)
    check_not_older(record, ben.link())
    with pytest.raises(ManifestRolledBack) as caught:
        check_not_older(record, first)
    assert caught.value.evidence == {"user": "ben", "seen": 2, "offered": 1}


def test_two_lists_of_one_version_are_an_alarm() -> None:
    ben = Person("ben")
    first = ben.manifest
    record = observe(met(ben), ben.link(), now_ms=2000)
    with pytest.raises(ManifestForked):
        check_not_older(record, next_manifest(first, key=ben.keys.identity))


def test_a_record_survives_being_stored_and_a_damaged_one_is_refused() -> None:
    ben = Person("ben")
    record = observe(met(ben), ben.recovered(ben.devices), now_ms=2000)
    data = record.serialize()
    assert TrustRecord.parse(data) == record
    for wrong in (b"", data[:-1], data + b"\0", b"\x96\x02" + data[2:], data.replace(b"changed", b"verifix")):
        with pytest.raises(RecordInvalid):
            TrustRecord.parse(wrong)
    assert "identity" not in repr(record)


# Admission


class Meeting:
    """Anna's view of who waits."""

    def __init__(self) -> None:
        self.anna, self.ben, self.eve = Person("anna", count=2), Person("ben", count=2), Person("eve")
        self.roster = {self.anna.user, self.ben.user}
        self.met: set[UserId] = set()
        self.record: TrustRecord | None = None

    def admit(
        self,
        person: Person,
        device: int = 0,
        *,
        approved: bool = False,
        takes_part: bool = False,
    ) -> None:
        check_admission(
            person.manifest,
            person.devices[device].public,
            own=self.anna.manifest,
            record=self.record,
            roster=self.roster,
            met=self.met,
            approved=approved,
            takes_part=takes_part,
        )


def test_the_other_of_two_is_taken_on_trust_at_first_contact() -> None:
    Meeting().admit(Person("ben"))


def test_a_further_person_needs_approval() -> None:
    meeting = Meeting()
    meeting.roster.add(meeting.eve.user)
    for person in (meeting.ben, meeting.eve):  # with three on the roster nobody is "the other one"
        with pytest.raises(ApprovalRequired):
            meeting.admit(person)
        meeting.admit(person, approved=True)


def test_a_roster_that_swaps_the_other_one_needs_approval() -> None:
    meeting = Meeting()
    meeting.met = {meeting.ben.user}
    meeting.roster = {meeting.anna.user, meeting.eve.user}
    with pytest.raises(ApprovalRequired):
        meeting.admit(meeting.eve)


def test_somebody_off_the_roster_is_not_added_even_if_approved() -> None:
    meeting = Meeting()
    with pytest.raises(ApprovalRequired):
        meeting.admit(meeting.eve, approved=True)


def test_a_new_device_of_somebody_who_takes_part_needs_only_their_list() -> None:
    meeting = Meeting()
    meeting.record = met(meeting.ben)
    meeting.met = {meeting.ben.user}
    meeting.ben.link()
    meeting.admit(meeting.ben, 2)


def test_a_list_that_no_member_device_brought_counts_only_while_there_is_none() -> None:
    """Somebody with the identity key alone signs a newer list: whoever takes part has to confirm it."""
    meeting = Meeting()
    meeting.record = met(meeting.ben)
    meeting.met = {meeting.ben.user}
    before = meeting.ben.manifest
    meeting.ben.link()
    with pytest.raises(ApprovalRequired):
        meeting.admit(meeting.ben, 2, takes_part=True)
    meeting.admit(meeting.ben, 0, takes_part=True)  # a device of the list before
    meeting.record = observe(meeting.record, meeting.ben.manifest, now_ms=2000)
    meeting.admit(meeting.ben, 2, takes_part=True)
    assert before.version < meeting.ben.manifest.version


def test_a_device_of_ones_own_comes_in_by_ones_own_list() -> None:
    meeting = Meeting()
    newer = Person("anna", count=2)
    newer.keys, newer.devices, newer.manifest = (
        meeting.anna.keys,
        meeting.anna.devices,
        meeting.anna.manifest,
    )
    meeting.admit(newer, 1)
    newer.link()
    with pytest.raises(ApprovalRequired):
        meeting.admit(newer, 2)


def test_known_from_elsewhere_is_not_admitted_here() -> None:
    meeting = Meeting()
    meeting.roster.add(meeting.eve.user)
    meeting.record = met(meeting.ben).verified(meeting.ben.keys.identity.public, now_ms=2000)
    with pytest.raises(ApprovalRequired):
        meeting.admit(meeting.ben)


def test_another_identity_is_an_alarm_also_with_approval() -> None:
    meeting = Meeting()
    meeting.record = met(meeting.ben)
    impostor = Person("ben", seed="an impostor")
    for others in (set[UserId](), {meeting.ben.user}):
        meeting.met = others
        with pytest.raises(IdentityChanged):
            meeting.admit(impostor, approved=True)
    meeting.record = observe(meeting.record, impostor.manifest, now_ms=2000)
    meeting.admit(impostor)
    with pytest.raises(IdentityChanged):
        meeting.admit(meeting.ben)


def test_a_key_package_with_an_older_list_is_fine_while_the_device_is_listed() -> None:
    meeting = Meeting()
    ben = meeting.ben
    first = ben.manifest
    meeting.record = observe(met(ben), ben.signed(ben.devices[:1]), now_ms=2000)
    ben.manifest = first
    meeting.admit(ben, 0)
    with pytest.raises(ManifestRolledBack):
        meeting.admit(ben, 1)


def test_a_forked_list_is_an_alarm() -> None:
    meeting = Meeting()
    ben = meeting.ben
    first = ben.manifest
    meeting.record = observe(met(ben), ben.signed(ben.devices), now_ms=2000)
    ben.manifest = next_manifest(first, key=ben.keys.identity, suites=[1])
    with pytest.raises(ManifestForked):
        meeting.admit(ben)


def test_own_devices_stand_in_the_own_list() -> None:
    meeting = Meeting()
    meeting.admit(meeting.anna, 1)
    old = Person("anna", count=2)
    meeting.anna.signed(meeting.anna.devices[:1])
    meeting.admit(old, 0)
    with pytest.raises(ManifestRolledBack):
        meeting.admit(old, 1)
    for other in (Person("anna", seed="an impostor"), Person("anna")):
        other.recover(era=1)
        with pytest.raises(OwnIdentityChanged):
            meeting.admit(other)


def test_who_came_back_by_the_recovery_key_is_let_in_and_the_thief_is_not() -> None:
    meeting, ben = Meeting(), Person("ben", count=2)
    meeting.record, meeting.met = met(ben), {ben.user}
    thief = Person("ben", count=2)
    for _ in range(5):
        thief.link()
    assert thief.manifest.version > ben.manifest.version
    ben.recover(era=1)
    meeting.admit(ben)
    meeting.record = observe(meeting.record, thief.manifest, now_ms=2000)  # the thief was faster
    meeting.admit(ben)
    meeting.record = observe(meeting.record, ben.manifest, now_ms=3000)
    assert meeting.record.state is TrustState.CHANGED
    with pytest.raises(IdentityRecovered):
        meeting.record.check_may_send()
    for device in range(7):
        with pytest.raises(ManifestRolledBack):
            meeting.admit(thief, device)
    assert observe(meeting.record, thief.manifest, now_ms=4000) == meeting.record


def test_who_was_set_up_anew_is_told_from_who_came_back() -> None:
    record = observe(met(Person("ben")), Person("ben", seed="anew").manifest, now_ms=2000)
    assert (record.state, record.vouched) == (TrustState.CHANGED, False)
    with pytest.raises(IdentityChanged) as raised:
        record.check_may_send()
    assert not isinstance(raised.value, IdentityRecovered)
    assert TrustRecord.parse(record.serialize()) == record
