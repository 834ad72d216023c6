"""`coach kit`: the page on the screen or in a file, and the words gone from the device afterwards."""

from __future__ import annotations

import io
import stat
import sys
from pathlib import Path

import pytest

from client_sdk.cli import kit
from client_sdk.cli.errors import Exit
from client_sdk.identity import RecoverySeed
from tests.e2e.cli.town import Terminal, open_town


def words_on(page: str) -> list[str]:
    block = page.partition("let you in again.")[2].partition("Keep this page")[0]
    return [word for word in block.split() if word.isalpha()]


def test_the_kit_from_the_first_sight_to_the_end(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    with open_town(tmp_path) as town:
        town.join_both()
        coach = Terminal(town, capsys)
        shown = coach("anna", ["kit"])
        assert shown.code == Exit.DONE
        assert "Your device keeps the words until you have confirmed the page" in shown.out
        seed = RecoverySeed.from_words(" ".join(words_on(shown.out)))

        text, pdf = tmp_path / "kit.txt", tmp_path / "kit.pdf"
        written = coach("anna", ["kit"], "--text", str(text), "--pdf", str(pdf))
        assert written.code == Exit.DONE
        assert words_on(text.read_text()) == list(seed.words)
        assert seed.words[0] not in written.out.split()
        assert pdf.read_bytes().startswith(b"%PDF-")
        assert {stat.S_IMODE(path.stat().st_mode) for path in (text, pdf)} == {0o600}
        refused = coach("anna", ["kit"], "--text", str(text))
        assert refused.code == Exit.FAILED
        assert "already" in refused.err

        asked: list[str] = []

        def typed(question: str) -> str:
            asked.append(question)
            number = int(question.removeprefix("Word ").removesuffix(": "))
            return "zoo" if len(asked) <= 2 else seed.words[number - 1]

        monkeypatch.setattr(sys, "stdin", type("Tty", (io.StringIO,), {"isatty": lambda self: True})())
        monkeypatch.setattr(kit, "ask", typed)
        made = coach("anna", ["kit"])
        assert len(asked) == 4
        assert "is another one on your page" in made.out
        assert "this device has forgotten them" in made.out
        assert "Its words are on that page and nowhere else." in coach("anna", ["kit"]).out
