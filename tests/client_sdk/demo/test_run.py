"""How the demo fails: it says where, what was expected, what was found, and where to look; and it ends."""

from __future__ import annotations

import os
import re
import tempfile
from collections.abc import Awaitable, Callable
from importlib.util import find_spec
from pathlib import Path

import pytest

from client_sdk.cli.errors import CliError, Exit
from client_sdk.demo import run, story
from client_sdk.demo.errors import DemoError
from client_sdk.demo.stage import Options, Stage
from client_sdk.demo.story import Step


@pytest.fixture(autouse=True)
def _own_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))


async def perform(
    step: Callable[[Stage], Awaitable[None]],
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> tuple[Exit, str]:
    """The demo with one step only; what it ended with and printed."""
    monkeypatch.setattr(story, "STEPS", (Step("The only step", "It matters.", step),))
    code = await run.run_demo(Options())
    return code, capsys.readouterr().out


def assert_ended(output: str) -> None:
    ids = [int(found) for found in re.findall(r"process (\d+)", output)]
    assert len(ids) == 2
    for pid in ids:
        with pytest.raises(ProcessLookupError):
            os.kill(pid, 0)


async def test_a_check_that_fails_is_explained(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    async def count(stage: Stage) -> None:
        stage.check_equal("all pears are there", expected=2, found=2)
        stage.check_equal("all apples are there", expected=7, found="six")

    code, output = await perform(count, monkeypatch, capsys)
    assert code is Exit.FAILED
    assert "✔ all pears are there" in output
    assert "✔ all apples" not in output
    assert "A check failed in step 1, “The only step”: all apples are there" in output
    assert "expected: 7\n  found:    'six'" in output
    [kept] = tmp_path.iterdir()
    assert f"kept in {kept}" in output
    assert (kept / "relay" / "relay.log").exists()
    assert_ended(output)


async def test_a_condition_that_does_not_hold(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    async def measure(stage: Stage) -> None:
        stage.check("it is loud", stage.folder is None, expected="at least 3", found=1)

    code, output = await perform(measure, monkeypatch, capsys)
    assert (code, "expected: 'at least 3'" in output) == (Exit.FAILED, True)


async def test_what_could_not_be_done_names_its_log(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    async def wait(stage: Stage) -> None:
        raise DemoError("Ben waited in vain", log=stage.ben.log)

    code, output = await perform(wait, monkeypatch, capsys)
    assert code is Exit.FAILED
    assert "The demo failed in step 1, “The only step”: Ben waited in vain" in output
    assert re.search(r"Look first into .*/logs/ben\.log", output)
    assert_ended(output)


async def test_a_fault_of_the_demo_leaves_its_traceback_in_a_file(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    async def stumble(_stage: Stage) -> None:
        raise ZeroDivisionError("oops")

    code, output = await perform(stumble, monkeypatch, capsys)
    assert (code, "Traceback" in output) == (Exit.FAILED, False)
    [kept] = tmp_path.iterdir()
    assert "ZeroDivisionError: oops" in (kept / "logs" / "demo.log").read_text()


async def test_when_all_went_well_nothing_is_left(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    async def nothing(_stage: Stage) -> None:
        return

    code, output = await perform(nothing, monkeypatch, capsys)
    assert code is Exit.DONE
    assert list(tmp_path.iterdir()) == []
    assert_ended(output)


async def test_what_is_missing_is_named_with_how_to_install_it(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(run, "find_spec", lambda name: None if name == "aiortc" else find_spec(name))
    with pytest.raises(CliError) as caught:
        await run.run_demo(Options())
    assert "aiortc" in str(caught.value)
    assert 'pip install "coach-relay[calls]"' in caught.value.do
