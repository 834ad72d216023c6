"""The command line as a whole: help that helps, errors in one sentence, exit codes."""

from __future__ import annotations

import argparse
import re
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from relay.cli import doctor, serve
from relay.cli.main import main, parser
from relay.errors import StoreInUse
from tests.relay.cli.processes import environment, start


def commands(top: argparse.ArgumentParser, path: tuple[str, ...] = ()) -> Iterator[tuple[str, ...]]:
    yield path
    for action in top._actions:
        if isinstance(action, argparse._SubParsersAction):
            for name, parser_of_it in action.choices.items():
                yield from commands(parser_of_it, (*path, name))


ALL = sorted(commands(parser()))


def test_these_are_the_commands() -> None:
    assert [" ".join(path) for path in ALL] == [
        "",
        "backup",
        "doctor",
        "engagement",
        "engagement end",
        "engagement list",
        "engagement show",
        "migrate",
        "portal",
        "portal add",
        "portal key",
        "portal key add",
        "portal key list",
        "portal key remove",
        "portal list",
        "portal remove",
        "portal rotate",
        "portal set-origins",
        "portal set-quota",
        "restore",
        "serve",
    ]


@pytest.mark.parametrize("path", ALL, ids=" ".join)
def test_every_command_explains_itself_with_an_example(
    path: tuple[str, ...], capsys: pytest.CaptureFixture[str]
) -> None:
    with pytest.raises(SystemExit) as caught:
        main([*path, "--help"])
    assert caught.value.code == 0
    said = capsys.readouterr().out
    example = re.search(r"examples?:\n  (coach-relay .+)", said)
    assert example is not None
    assert example[1].startswith(" ".join(("coach-relay", *path)))


@pytest.mark.parametrize("path", ALL, ids=" ".join)
def test_the_example_is_one_that_the_command_takes(
    path: tuple[str, ...], capsys: pytest.CaptureFixture[str]
) -> None:
    with pytest.raises(SystemExit):
        main([*path, "--help"])
    names = "serve|portal|engagement|doctor|backup|restore|migrate"
    line_of_a_command = rf"^  (coach-relay (?:{names}).*?)(?: {{3}}.*| > .*)?$"
    shown = re.findall(line_of_a_command, capsys.readouterr().out, re.M)
    assert shown
    for line in shown:
        assert parser().parse_args(line.split()[1:]).run


@pytest.mark.parametrize(
    "arguments",
    [[], ["dance"], ["portal"], ["portal", "add"], ["serve", "--prot", "1"], ["serve", "--por", "1"]],
)
def test_wrong_usage_is_exit_code_2(arguments: list[str], capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as caught:
        main(arguments)
    assert caught.value.code == 2
    assert "usage: coach-relay" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("arguments", "command", "why"),
    [
        (["dance"], "coach-relay", "dance"),
        (["portal"], "coach-relay portal", "ACTION"),
        (["portal", "add"], "coach-relay portal add", "portal"),
        (["portal", "key", "add", "growth"], "coach-relay portal key add", "FILE"),
        (["portal", "list", "growth"], "coach-relay portal list", "it takes no growth"),
        (["serve", "--prot", "1"], "coach-relay serve", "it takes no --prot 1"),
        (["portal", "key", "list", "growth", "--x"], "coach-relay portal key list", "it takes no --x"),
    ],
)
def test_wrong_usage_points_to_the_help_of_that_very_command(
    arguments: list[str], command: str, why: str, capsys: pytest.CaptureFixture[str]
) -> None:
    with pytest.raises(SystemExit) as caught:
        main(arguments)
    assert caught.value.code == 2
    usage, *_, said, pointer = capsys.readouterr().err.splitlines()
    assert usage.startswith(f"usage: {command} ")
    assert said.startswith(f"{command}: ")
    assert why in said
    assert pointer == f"What it takes, with an example: {command} --help"


def test_the_version_is_told(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as caught:
        main(["--version"])
    assert caught.value.code == 0
    assert capsys.readouterr().out.startswith("coach-relay ")


def test_an_error_is_one_sentence_and_exit_code_1(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def fail(_args: argparse.Namespace) -> int:
        raise StoreInUse("another relay has this data folder open")

    monkeypatch.setattr(serve, "run", fail)
    assert main(["serve"]) == 1
    assert capsys.readouterr().err == (
        "coach-relay: another relay has this data folder open; stop it, or name another folder with "
        "--data-dir\n"
    )


def test_an_interrupted_command_says_nothing(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def interrupt(_args: argparse.Namespace) -> int:
        raise KeyboardInterrupt

    monkeypatch.setattr(doctor, "run", interrupt)
    assert main(["doctor"]) == 130
    assert capsys.readouterr().err == ""


@pytest.mark.parametrize(("folder", "code"), [("data", 0), ("/dev/null", 1)])
async def test_a_command_ends_its_process_before_a_thread_of_a_library_can_abort_it(
    tmp_path: Path, folder: str, code: int
) -> None:
    torn_down = "import atexit, os, sys; atexit.register(os.abort)\n"
    command = f"sys.argv = ['coach-relay', 'portal', 'add', 'growth', '--data-dir', {folder!r}]\n"
    script = f"{torn_down}{command}from relay.cli.main import main; sys.exit(main())"
    process = await start([sys.executable, "-c", script], environment(), tmp_path)
    out, err = await process.communicate()
    assert process.returncode == code, err
    assert bool(out) == (code == 0), "what it printed was written all the same"
    assert err, "and what it said beside that"


async def test_a_path_that_is_forbidden_is_a_sentence(tmp_path: Path) -> None:
    """Whatever of the system's errors comes: one line says of what, why, and what to do."""
    (tmp_path / "file").write_text("")
    words = ["migrate", "--from", f"sqlite:{tmp_path}/file/x", "--to", f"sqlite:{tmp_path}/y"]
    process = await start([sys.executable, "-m", "relay.cli.main", *words], environment(), tmp_path)
    _, errors = await process.communicate()
    assert process.returncode == 1
    assert errors.startswith(b"coach-relay: ")
    assert errors.count(b"\n") == 1
