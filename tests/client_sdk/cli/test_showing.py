"""How items look: complete, on their lines, and unable to steer the terminal."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from client_sdk.attachments import OnProgress
from client_sdk.cli.showing import Shown, changed, shown
from client_sdk.content import CallEnded, CheckIn, CheckInAnswer, Content, File, Question, Text, Unknown
from client_sdk.engine.items import (
    Alarm,
    AnyItem,
    CallEndedItem,
    Change,
    Changed,
    Delivery,
    Gap,
    Origin,
    Reacted,
    Retracted,
    item_of,
)
from client_sdk.engine.people import Person
from relay.wire.ids import PortalId, Role, UserId

EVIL = "\x1b[2Jno\x07\u202eesrever"
TURNED = "no\u202eesrever"


class Nowhere:
    """What is shown saves nothing."""

    async def save_file(
        self, file: File, folder: Path, *, overwrite: bool, progress: OnProgress | None
    ) -> Path:
        raise AssertionError("showing a file saved it")


def origin(number: int = 1, *, name: str = "Ben", **changes: Any) -> Origin:
    person = Person(PortalId("p"), UserId("ben"), Role.CLIENT, name)
    values: Mapping[str, Any] = {
        "id": bytes([number]) * 16,
        "sender": person,
        "sent_ms": 1_800_000_000_000,
        "seq": number,
        "mine": False,
        "delivery": Delivery.DELIVERED,
        "keeper": Nowhere(),
    }
    return Origin(**{**values, **changes})


def item(content: Content, number: int = 1, **changes: Any) -> AnyItem:
    return item_of(content, origin(number, **changes))


def test_a_text_has_its_time_and_sender() -> None:
    line = shown(item(Text("How was the week?")))
    assert line.endswith("Ben: How was the week?")
    assert line.startswith("2027-01-1")


def test_ones_own_is_from_you_and_says_whether_it_waits() -> None:
    waiting = item(Text("hello"), mine=True, seq=None, delivery=Delivery.WAITING)
    assert shown(waiting).endswith("you: hello  (waiting to be sent)")
    for delivery, ticks in (
        (Delivery.SENT, "✓ sent"),
        (Delivery.DELIVERED, "✓✓ delivered"),
        (Delivery.READ, "✓✓ read"),
    ):
        assert shown(item(Text("hello"), mine=True, delivery=delivery)).endswith(f"you: hello  {ticks}")
    assert shown(item(Text("hello"))).endswith("Ben: hello")


def test_further_lines_cannot_pass_for_another_message() -> None:
    lines = shown(item(Text("one\n2027-01-15 08:00  Anna: I agree"))).split("\n")
    assert len(lines) == 2
    assert lines[1].startswith("    ")


CONTENTS = [
    Text(EVIL),
    CheckIn(EVIL, (Question("a", EVIL), Question("b", EVIL, "choice", choices=(TURNED, "x")))),
    CheckInAnswer(bytes(16), {"a": EVIL, TURNED: 3}),
    File(TURNED, "text/plain", 1, "A" * 22, bytes(32), 100, bytes(32)),
    CallEnded(bytes(16), "answered", "ben", 7),
    Unknown(TURNED, 1, False, EVIL, b"\x80"),
]


@pytest.mark.parametrize("content", CONTENTS, ids=lambda content: type(content).__name__)
def test_nothing_that_others_say_steers_the_terminal(content: Content) -> None:
    text = Shown().text_of(item(content, name=f"Ben{EVIL}"))
    assert not set(text) & set("\x1b\x07\u202e")


def test_gaps_and_alarms_stand_out() -> None:
    gap = Gap(origin=origin(), reason=f"because{EVIL}")
    alarm = Alarm(origin=origin(), code="stream_forked", sentence=f"Look!{EVIL}")
    assert "something is missing here: because" in shown(gap)
    assert "SECURITY ALARM: Look!" in shown(alarm)
    assert "\x1b" not in shown(gap) + shown(alarm)


def test_answers_are_shown_with_their_questions() -> None:
    screen = Shown()
    screen.text_of(item(CheckIn("Week", (Question("e", "Energy?"), Question("w", "Why?", "text")))))
    text = screen.text_of(item(CheckInAnswer(bytes([1]) * 16, {"e": 7, "w": "because"}), 2))
    assert "Energy?  7" in text
    assert "Why?  because" in text


def test_what_was_shown_is_not_shown_again() -> None:
    screen = Shown()
    screen.text_of(item(Text("five"), 5))
    assert screen.has(item(Text("five"), 5))
    assert screen.has(item(Text("four"), 4))
    assert not screen.has(item(Text("six"), 6))
    assert not screen.has(item(Text("mine"), 7, seq=None))


def test_replies_edits_reactions_and_what_was_taken_back() -> None:
    asked = item(Text("How was the week? " * 5), mine=True)
    anna = Person(PortalId("p"), UserId("anna"), Role.COACH, "Anna")
    reply = item(
        Text("Long.", reply_to=asked.id),
        2,
        edited=True,
        reactions=(Reacted("👍", True, (anna,)), Reacted("❤️", False, (anna,))),
    )
    assert Shown().text_of(reply, asked).split("Ben: ")[1] == (
        "Long.  (edited)\n"
        "    ↳ in reply to your message: “How was the week? How was the week? How was the week? How wa…”\n"
        "    👍 you, Anna   ❤️ Anna"
    )
    assert "in reply to a message that is not on this device" in shown(reply)
    assert shown(Retracted(origin=origin(mine=True))).endswith("  you took back a message")


def test_what_happens_to_an_item_later_is_one_line() -> None:
    def line(change: Change, about: AnyItem, emoji: str = "") -> str:
        return changed(Changed(origin=origin(9), change=change, item=about, emoji=emoji))[18:]

    assert (
        line(Change.EDITED, item(Text(f"At ten.{EVIL}")))
        == "Ben changed a message to: “At ten.�[2Jno��esrever”"
    )
    gone = line(Change.RETRACTED, Retracted(origin=origin()))
    assert gone.startswith("Ben took back the message of 2027-01-1")
    assert line(Change.REACTED, item(Text("Good.")), "👍") == "Ben 👍 for “Good.”"
    assert line(Change.REACTION_TAKEN_BACK, item(Text("Good.")), "👍") == "Ben took back 👍 for “Good.”"


def test_ids_are_shown_on_request() -> None:
    assert Shown(ids=True).text_of(item(Text("x"))).startswith("01010101  2027-01-1")


def test_calls_are_told_from_ones_own_side() -> None:
    def line(content: CallEnded, *, mine: bool = False, elsewhere: str = "") -> str:
        found = item(content, mine=mine)
        assert isinstance(found, CallEndedItem)
        return shown(replace(found, elsewhere=elsewhere)).split(": ", 1)[1]

    call = bytes(16)
    assert line(CallEnded(call, "missed")) == "a call that you missed"
    assert line(CallEnded(call, "cancelled")) == "a call that you missed"
    assert line(CallEnded(call, "missed"), mine=True) == "a call that nobody answered"
    answered = line(CallEnded(call, "answered", "ben", 7), elsewhere="your device “laptop”")
    assert answered == "a call of 7 s, answered on your device “laptop”"
    declined = line(CallEnded(call, "declined"), elsewhere="another device of yours")
    assert declined == "a call, declined on another device of yours"
