"""A phone lost and a printed page: `coach recover` against the real relay, and what the other one sees."""

from __future__ import annotations

import io
import sys
from pathlib import Path

import pytest

from client_sdk.cli import recover
from client_sdk.cli.errors import Exit
from tests.e2e.cli.test_kit import words_on
from tests.e2e.cli.town import Terminal, open_town, read_until, start


def test_from_the_page_alone(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    with open_town(tmp_path) as town:
        town.join_both()
        coach = Terminal(town, capsys)
        coach("anna", ["kit"], "--printed", "--text", str(tmp_path / "kit.txt"))
        words = words_on((tmp_path / "kit.txt").read_text())
        coach("anna", ["send"], "before the loss")
        assert coach("anna", ["archive"], "on").code == Exit.DONE
        assert "An archive is kept." in coach("anna", ["archive"], "status").out
        coach("anna", ["send"], "the last words")
        town.vault("anna").rename(tmp_path / "stolen.vault")
        where = ("--relay", town.relay.url, "--token-url", town.portal.token_url("anna"))

        (tmp_path / "wrong.txt").write_text(" ".join([*words[:3], "kabel", *words[4:]]))
        wrong = coach("anna", ["recover"], "--words-from", str(tmp_path / "wrong.txt"), *where)
        assert wrong.code == Exit.FAILED
        assert "Word 4 is not one of the words" in wrong.err
        assert not town.vault("anna").exists()

        typed = iter(["kabel", *[word[:4] for word in words[:2]], " ".join(words[2:])])
        monkeypatch.setattr(sys, "stdin", type("Tty", (io.StringIO,), {"isatty": lambda self: True})())
        monkeypatch.setattr(recover, "ask", lambda question: next(typed))
        following = start("read", "--vault", str(town.vault("ben")), "--follow")
        try:
            read_until(following, "live from here")
            back = coach("anna", ["recover"], *where, "--name", "Anna Lindqvist")
            assert back.code == Exit.DONE, back.err
            assert "Is it " in back.out
            assert "Looking for you at the relay ...\n" in back.out
            assert "You are back, and your earlier devices are out. With you: Ben Okafor" in back.out
            assert "2 items came back from your archive" in back.out
            shown = read_until(following, "SECURITY ALARM")
            assert "Anna Lindqvist came back on a new device with the recovery kit" in shown
        finally:
            following.terminate()
            following.communicate()

        stopped = coach("ben", ["send"], "who are you?")
        assert stopped.code == Exit.FAILED
        assert "Nothing more is sent" in stopped.err
        assert "is verified from now on" in coach("ben", ["verify"], "--yes").out
        assert coach("ben", ["send"], "welcome back").code == Exit.DONE
        read = coach("anna", ["read"])
        assert "Ben Okafor: welcome back" in read.out
        assert "you: before the loss" in read.out
        assert "you: the last words" in read.out
        assert "Your archive ends here" in read.out
        assert read.err == ""
