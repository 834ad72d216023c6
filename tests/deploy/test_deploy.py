"""The files of deploy/: what they start is started, and answers."""

from __future__ import annotations

import re
import shlex
import shutil
import subprocess
import sys
from pathlib import Path

import aiohttp
import pytest

from relay.config import load_settings
from tests.relay.cli.processes import ROOT, relay_process

DEPLOY = ROOT / "deploy"
PROGRAM = (sys.executable, "-m", "relay.cli.main")


def unit() -> dict[str, list[str]]:
    """The settings of the service, as lists: a setting may stand more than once."""
    found: dict[str, list[str]] = {}
    for line in (DEPLOY / "coach-relay.service").read_text(encoding="utf-8").splitlines():
        name, equals, value = line.partition("=")
        if equals and not line.startswith("#"):
            found.setdefault(name, []).append(value)
    return found


async def answers(url: str) -> None:
    async with aiohttp.ClientSession(url) as http:
        for path in ("/livez", "/readyz"):
            async with http.get(path) as answer:
                assert answer.status == 200


async def test_what_the_service_starts_answers(tmp_path: Path) -> None:
    program, *arguments = shlex.split(unit()["ExecStart"][0])
    assert program.endswith("/bin/coach-relay")
    config = tmp_path / "coach-relay.toml"
    shutil.copy(DEPLOY / "coach-relay.toml", config)
    arguments = [str(config) if one == "/etc/coach-relay/coach-relay.toml" else one for one in arguments]
    environment = dict(line.split("=", 1) for line in unit()["Environment"])
    assert environment == {"COACH_RELAY_DATA_DIR": "/var/lib/coach-relay"}
    async with relay_process(
        tmp_path,
        *arguments,
        command=PROGRAM,
        COACH_RELAY_DATA_DIR=str(tmp_path / "data"),
        COACH_RELAY_PORT="0",
    ) as relay:
        await answers(relay.url)
        assert await relay.stop() == 0


def test_the_service_waits_longer_than_the_relay_drains() -> None:
    assert (
        int(unit()["TimeoutStopSec"][0]) > load_settings(environ={"XDG_DATA_HOME": "/x"}).drain_seconds + 10
    )


def test_the_service_may_write_where_it_writes() -> None:
    found = unit()
    assert found["ProtectSystem"] == ["strict"]
    assert found["StateDirectory"] == ["coach-relay"]  # /var/lib/coach-relay
    assert found["User"] == ["coach-relay"]
    assert int(found["LimitNOFILE"][0]) > load_settings(environ={"XDG_DATA_HOME": "/x"}).max_connections


@pytest.mark.skipif(not shutil.which("systemd-analyze"), reason="no systemd-analyze here")
def test_systemd_finds_no_fault_with_the_service(tmp_path: Path) -> None:
    text = (DEPLOY / "coach-relay.service").read_text(encoding="utf-8")
    copy = tmp_path / "coach-relay.service"
    copy.write_text(re.sub("^ExecStart=.*", "ExecStart=/bin/true", text, flags=re.M), encoding="utf-8")
    done = subprocess.run(
        ["systemd-analyze", "verify", str(copy)], capture_output=True, text=True, timeout=60, check=False
    )
    assert (done.returncode, done.stdout + done.stderr) == (0, "")
    rated = subprocess.run(
        ["systemd-analyze", "security", "--offline=true", "--threshold=20", str(copy)],
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert rated.returncode == 0, rated.stdout[-200:]  # an exposure of at most 2.0 of 10


def test_every_file_that_deploy_speaks_of_is_there() -> None:
    for target in re.findall(r"\]\(([^)]+)\)", (DEPLOY / "README.md").read_text(encoding="utf-8")):
        assert (DEPLOY / target).exists(), target
