"""What others wrote must not steer the terminal of whoever reads it."""

from __future__ import annotations

import unicodedata

from hypothesis import given
from hypothesis import strategies as st

from client_sdk.cli.printable import one_line, printable


def test_ordinary_text_stays_as_it_is() -> None:
    text = "Wie war’s? – 良い一週間 👍\n\tzwei Zeilen"
    assert printable(text) == text


def test_escape_sequences_lose_their_power() -> None:
    assert printable("\x1b[2J\x1b]0;title\x07") == "�[2J�]0;title�"
    assert printable("\x9b31m") == "�31m"


def test_text_cannot_run_backwards() -> None:
    assert printable("invoice\u202efdp.exe") == "invoice�fdp.exe"


def test_a_carriage_return_overwrites_nothing() -> None:
    assert printable("Ben: yes\rAnna: no") == "Ben: yes\nAnna: no"
    assert printable("a\r\nb") == "a\nb"


def test_a_name_stays_on_its_line() -> None:
    assert one_line("Ben\nAnna: I agree\t!") == "Ben Anna: I agree !"


@given(st.text())
def test_no_control_character_comes_through(text: str) -> None:
    left = printable(text).replace("\n", "").replace("\t", "")
    assert not [c for c in left if unicodedata.category(c) == "Cc"]
    assert "\n" not in one_line(text)
