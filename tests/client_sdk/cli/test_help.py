"""Every command explains itself, with an example."""

from __future__ import annotations

import argparse
import shlex
from collections.abc import Iterator

import pytest

from client_sdk.cli.main import main, parser


def commands(top: argparse.ArgumentParser, path: tuple[str, ...] = ()) -> Iterator[tuple[str, ...]]:
    """Every command and action, by its words."""
    yield path
    for action in top._actions:
        if isinstance(action, argparse._SubParsersAction):
            for name, below in action.choices.items():
                yield from commands(below, (*path, name))


ALL = sorted(commands(parser()))


def help_of(path: tuple[str, ...], capsys: pytest.CaptureFixture[str]) -> str:
    with pytest.raises(SystemExit) as ended:
        main([*path, "--help"])
    assert ended.value.code == 0
    return capsys.readouterr().out


def test_all_commands_are_there() -> None:
    names = {path[0] for path in ALL if path}
    assert {"join", "send", "read", "checkin", "file", "call", "verify", "kit", "devices", "demo"} <= names
    assert {"edit", "retract", "react", "receipts"} <= names
    assert {("file", "send"), ("file", "save"), ("call", "ring"), ("call", "answer")} <= set(ALL)
    assert {("devices", action) for action in ("list", "new", "link", "revoke")} <= set(ALL)
    assert {("checkin", "ask"), ("checkin", "answer")} <= set(ALL)


@pytest.mark.parametrize("path", ALL, ids=" ".join)
def test_the_help_has_an_example(path: tuple[str, ...], capsys: pytest.CaptureFixture[str]) -> None:
    text = help_of(path, capsys)
    examples = text.partition("examples:\n")[2]
    assert f"coach {' '.join(path)}".strip() in examples


@pytest.mark.parametrize("path", [path for path in ALL if path], ids=" ".join)
def test_the_examples_are_valid_command_lines(
    path: tuple[str, ...], capsys: pytest.CaptureFixture[str]
) -> None:
    examples = help_of(path, capsys).partition("examples:\n")[2].replace("\\\n", " ")
    found = 0
    for line in examples.splitlines():
        words = shlex.split(
            line.partition("   ")[0] if not line.startswith(" ") else line.strip().partition("   ")[0]
        )
        while words and "=" in words[0]:
            words.pop(0)  # a variable for this one command
        if not words:
            continue
        words = words[: words.index("<")] if "<" in words else words
        assert words.pop(0) == "coach"
        assert parser().parse_args(words).run is not None
        found += 1
    assert found


def test_without_a_command_the_commands_are_named(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as ended:
        main([])
    assert ended.value.code == 2
    assert "COMMAND" in capsys.readouterr().err


@pytest.mark.parametrize(
    "line",
    [
        ["read", "--vault", "v", "--limit", "0"],
        ["read", "--vault", "v", "--limit", "501"],
        ["read", "--vault", "v", "--limit", "many"],
        ["send", "--vault", "v", "--patience", "0", "text"],
        ["send", "--vault", "v", "--patience", "nan", "text"],
        ["send", "--vault", "v", "--token-url", "a", "--token-command", "b", "text"],
        ["send", "text"],
        ["send", "--vau", "v", "text"],
    ],
)
def test_wrong_usage_has_its_exit_code(line: list[str], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("COACH_VAULT", raising=False)
    with pytest.raises(SystemExit) as ended:
        main(line)
    assert ended.value.code == 2


@pytest.mark.parametrize(
    ("line", "command", "said"),
    [
        ([], "coach", "COMMAND"),
        (["file", "save", "--limit"], "coach file save", "--vault"),
        (["send", "--vault", "v", "hello", "Ben"], "coach send", "takes no Ben; words that belong together"),
        (["devices", "list", "--vault", "v", "--all"], "coach devices list", "takes no --all\n"),
        (["read", "--vault", "v", "--limit", "many"], "coach read", "a number from 1 to 500, not many"),
        (["send", "--vault", "v", "--patience", "long", "x"], "coach send", "up to 3600, not long"),
    ],
)
def test_wrong_usage_points_to_the_help_of_the_very_command(
    line: list[str],
    command: str,
    said: str,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    monkeypatch.delenv("COACH_VAULT", raising=False)
    with pytest.raises(SystemExit):
        main(line)
    told = capsys.readouterr().err
    assert said in told
    assert told.endswith(f": {command} --help\n")


def test_the_vault_may_come_from_the_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("COACH_VAULT", "anna.vault")
    assert str(parser().parse_args(["send", "text"]).vault) == "anna.vault"
