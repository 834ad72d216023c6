"""What the demo prints, with and without a terminal."""

from __future__ import annotations

import io

from client_sdk.demo.screen import Screen, marks_for


def printed(*, encoding: str = "utf-8") -> tuple[Screen, io.TextIOWrapper]:
    out = io.TextIOWrapper(io.BytesIO(), encoding=encoding, errors="replace")
    return Screen(out, steps=10), out


def text_of(out: io.TextIOWrapper) -> str:
    out.flush()
    raw = out.buffer
    assert isinstance(raw, io.BytesIO)
    return raw.getvalue().decode(out.encoding)


def test_without_a_terminal_there_are_plain_lines_only() -> None:
    screen, out = printed()
    screen.title("Title", "What it is.")
    screen.step(3, "They write", "Why it matters.")
    screen.says("Anna", "How was the week?")
    screen.check("Ben received it")
    with screen.progress("Ben", "downloads") as move:
        for done in range(0, 101, 5):
            move(done * 250_000, 25_000_000)
    text = text_of(out)
    assert "\x1b" not in text
    assert "\r" not in text
    assert "Step 3 of 10  They write" in text
    assert "✔ Ben received it" in text
    assert text.count("downloads") == 4
    assert not [line for line in text.splitlines() if line != line.rstrip()]


def test_long_lines_are_wrapped_under_themselves() -> None:
    screen, out = printed()
    screen.did("Anna", "word " * 60)
    lines = text_of(out).splitlines()
    assert len(lines) > 1
    assert all(len(line) <= 100 for line in lines)
    assert {len(line) - len(line.lstrip()) for line in lines[1:]} == {lines[0].index("word")}


def test_command_lines_are_never_wrapped() -> None:
    screen, out = printed()
    screen.plain("coach " + "x" * 300)
    assert text_of(out) == "coach " + "x" * 300 + "\n"


def test_what_people_say_is_not_taken_for_markup() -> None:
    screen, out = printed()
    screen.says("Anna", "[bold]loud[/bold] :smile:")
    assert "[bold]loud[/bold] :smile:" in text_of(out)


def test_a_terminal_without_unicode_gets_words() -> None:
    screen, out = printed(encoding="ascii")
    screen.check("done")
    assert "[ok] done" in text_of(out)
    assert marks_for("utf-8").checked == "✔"
    assert marks_for("no such encoding").failed == "[FAILED]"
