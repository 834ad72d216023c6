"""Alarms: named, in words for a coach, with public evidence, and the same after being stored."""

from __future__ import annotations

import pytest

from client_sdk.delivery import ALARMS, StreamForked, alarm_from
from client_sdk.errors import CoachRelayError, Fault, RecordInvalid, SecurityAlarm

JARGON = (
    "epoch",
    "commit",
    "hash",
    "seq",
    "mls",
    "leaf",
    "manifest",
    "cursor",
    "counter",
    "vault",
    "incarnation",
)


def kinds(root: type[SecurityAlarm] = SecurityAlarm) -> set[type[SecurityAlarm]]:
    """Every kind of alarm that there is."""
    return {found for kind in root.__subclasses__() for found in {kind, *kinds(kind)}}


@pytest.mark.parametrize("alarm", ALARMS.values(), ids=lambda alarm: alarm.__name__)
def test_an_alarm_says_what_why_and_what_to_do_without_jargon(alarm: type[SecurityAlarm]) -> None:
    raised = alarm(seq=5)
    for part in (raised.what, raised.why, raised.do):
        assert part.endswith(".")
        assert part != SecurityAlarm.what
    kept = "Nothing more is sent, and what you wrote is kept, until you decide."
    assert str(raised) == raised.sentence
    said = raised.sentence_about("Ben")
    for part in (raised.what, raised.why, kept, raised.do):
        assert part.replace("{who}", "Ben") in said
    assert not [word for word in JARGON if word in said.lower().split()]
    assert raised.fault is Fault.REMOTE
    assert isinstance(raised, CoachRelayError)


@pytest.mark.parametrize("alarm", ALARMS.values(), ids=lambda alarm: alarm.__name__)
def test_an_alarm_names_whom_it_is_about_where_it_is_shown_and_nowhere_else(
    alarm: type[SecurityAlarm],
) -> None:
    raised = alarm(user="ben-4711")
    assert raised.user == "ben-4711"
    assert "ben-4711" not in f"{raised} {raised!r}"
    for said in (raised.sentence, raised.sentence_about("Ben Okafor")):
        assert "{" not in said
        assert said[0].isupper()
        assert not [part for part in said.split(". ") if not part[:1].isupper()]
    if alarm.__module__.endswith("identity.alarms") and alarm.code != "own_identity_changed":
        assert "Ben Okafor" in raised.sentence_about("Ben Okafor")


def test_every_alarm_has_a_code_of_its_own() -> None:
    assert set(ALARMS.values()) == kinds()
    assert len(ALARMS) == len(kinds())


def test_evidence_is_plain_and_stays_out_of_the_message() -> None:
    alarm = StreamForked(seq=77123, own_hash=b"\xab" * 32)
    assert alarm.evidence == {"seq": 77123, "own_hash": "ab" * 32}
    assert "77123" not in str(alarm)
    assert "abab" not in repr(alarm)
    with pytest.raises(TypeError):
        alarm.evidence["seq"] = 1  # type: ignore[index]  # wrong on purpose


def test_an_alarm_survives_being_stored() -> None:
    alarm = StreamForked(seq=5, own_hash=b"\xab" * 32)
    again = alarm_from(alarm.code, alarm.evidence)
    assert type(again) is StreamForked
    assert again.evidence == alarm.evidence
    with pytest.raises(RecordInvalid):
        alarm_from("no_such_alarm", {})
