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


@pytest.mark.parametrize("alarm", ALARMS.values(), ids=lambda alarm: alarm.__name__)
def test_an_alarm_says_what_why_and_what_to_do_without_jargon(alarm: type[SecurityAlarm]) -> None:
    raised = alarm(seq=5)
    for part in (raised.what, raised.why, raised.do):
        assert part.endswith(".")
        assert part != SecurityAlarm.what
    kept = "Nothing more is sent, and what you wrote is kept, until you decide."
    assert str(raised) == raised.sentence == f"{raised.what} {raised.why} {kept} {raised.do}"
    assert not [word for word in JARGON if word in raised.sentence.lower().split()]
    assert raised.fault is Fault.REMOTE
    assert isinstance(raised, CoachRelayError)


def test_every_alarm_has_a_code_of_its_own() -> None:
    found = set(SecurityAlarm.__subclasses__())
    assert set(ALARMS.values()) == found
    assert len(ALARMS) == len(found)


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
