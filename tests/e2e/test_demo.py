"""The demo as people run it: it tells the whole story, fails loudly, and leaves nothing behind."""

from __future__ import annotations

import os
import re
import shlex
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from client_sdk.cli.errors import Exit

SMALL = ("--file-bytes", "3000000", "--call-seconds", "3", "--crash-messages", "9")
PATIENCE = 280.0
ENDING = 30.0


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """Where the demo puts its files."""
    (tmp_path / "t").mkdir()
    return tmp_path / "t"


def start(folder: Path, *more: str) -> subprocess.Popen[str]:
    return subprocess.Popen(
        [sys.executable, "-m", "client_sdk.cli.main", "demo", *SMALL, *more],
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        env={**os.environ, "TMPDIR": str(folder)},
    )


def server_ids(output: str) -> list[int]:
    """The ids of the relay's and the portal's processes, as the demo names them."""
    return [int(found) for found in re.findall(r"process (\d+)", output)]


def is_running(pid: int) -> bool:
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    return True


@pytest.mark.timeout(300)
def test_the_whole_story(folder: Path) -> None:
    demo = start(folder)
    output, _none = demo.communicate(timeout=PATIENCE)
    assert demo.returncode == 0, output
    assert re.findall(r"^Step (\d+) of 10  ", output, re.MULTILINE) == [str(n) for n in range(1, 11)]
    assert "All 10 steps done" in output
    assert output.count("✔") >= 30
    assert "FOUND" not in output
    assert not set(output) & set("\x1b\r")
    assert list(folder.iterdir()) == []
    ids = server_ids(output)
    assert len(ids) >= 4
    assert not [pid for pid in ids if is_running(pid)]


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_ctrl_c_ends_its_own_processes_and_removes_its_files(folder: Path, number: signal.Signals) -> None:
    demo = start(folder)
    assert demo.stdout is not None
    seen = ""
    for line in demo.stdout:
        seen += line
        if "made a vault" in line:
            break
    demo.send_signal(number)
    rest, _none = demo.communicate(timeout=PATIENCE)
    assert demo.returncode == Exit.INTERRUPTED
    assert "Traceback" not in rest
    assert list(folder.iterdir()) == []
    assert not [pid for pid in server_ids(seen) if is_running(pid)]


def test_killed_at_once_it_leaves_no_process_behind(folder: Path) -> None:
    demo = start(folder)
    assert demo.stdout is not None
    seen = ""
    for line in demo.stdout:
        seen += line
        if "made a vault" in line:
            break
    children = {pid for pid, parent in processes().items() if parent == demo.pid}
    assert set(server_ids(seen)) <= children
    assert len(children) >= 3  # the people's programs too
    demo.kill()
    demo.communicate()
    deadline = time.monotonic() + ENDING
    while (left := children & processes().keys()) and time.monotonic() < deadline:
        time.sleep(0.05)
    assert not left


def processes() -> dict[int, int]:
    """The processes that run, and who started each; one that nobody has reaped does not run."""
    listed = subprocess.run(
        ["ps", "-A", "-o", "pid=,ppid=,stat="], capture_output=True, text=True, check=True
    )
    lines = [line.split() for line in listed.stdout.splitlines()]
    return {int(pid): int(parent) for pid, parent, state in lines if not state.startswith("Z")}


@pytest.fixture
def kept(folder: Path) -> Iterator[str]:
    """What `coach demo --keep` printed; what it left running is ended afterwards."""
    demo = start(folder, "--keep")
    output, _none = demo.communicate(timeout=PATIENCE)
    yield output
    for line in re.findall(r"^kill .*$", output, re.MULTILINE):
        subprocess.run(["sh", "-c", line], check=True)


@pytest.mark.timeout(300)
def test_what_is_kept_can_be_used(kept: str, folder: Path) -> None:
    assert "All 10 steps done" in kept, kept
    ben, anna = re.findall(r"^COACH_PASSPHRASE=.*$", kept, re.MULTILINE)
    sent = subprocess.run(["sh", "-c", anna], capture_output=True, text=True, timeout=PATIENCE, check=True)
    assert sent.stdout == "The message is sent.\n"
    assert shlex.split(ben)[-1] == "--follow"
    reading = ben.removesuffix(" --follow")
    read = subprocess.run(["sh", "-c", reading], capture_output=True, text=True, timeout=PATIENCE, check=True)
    assert "Anna Lindqvist: Hello Ben, this is me, from a terminal." in read.stdout
    assert "And sleep. You earned it." in read.stdout


def test_a_reader_that_goes_away_leaves_nothing_behind(folder: Path) -> None:
    command = f"{shlex.join([sys.executable, '-m', 'client_sdk.cli.main', 'demo', *SMALL])} | head -n 8"
    done = subprocess.run(
        ["sh", "-c", command],
        capture_output=True,
        text=True,
        timeout=PATIENCE,
        env={**os.environ, "TMPDIR": str(folder)},
        check=True,
    )
    assert "Traceback" not in done.stderr
    assert list(folder.iterdir()) == []
    assert not [pid for pid in server_ids(done.stdout) if is_running(pid)]
