"""A relay, a portal, two people with vaults, and a terminal to type `coach` into."""

from __future__ import annotations

import asyncio
import os
import subprocess
import sys
from collections.abc import Callable, Coroutine, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
from nacl.pwhash import argon2id

from client_sdk.cli.main import main
from client_sdk.demo.servers import PortalServer
from tests.support.real_relay import RealRelay

PATIENCE = 90.0
PASSPHRASE = "correct horse battery"
QUICK_KEYS = {"OPSLIMIT": argon2id.OPSLIMIT_MIN, "MEMLIMIT": argon2id.MEMLIMIT_MIN}
"""A passphrase that costs nothing to try: these tests open a vault some eighty times."""

PROGRAM = f"""
import sys
from client_sdk.vault import keys
vars(keys).update({QUICK_KEYS!r})
from client_sdk.cli.main import main
sys.exit(main())
"""
COACH = (sys.executable, "-c", PROGRAM)


Run = Callable[[Coroutine[Any, Any, None]], None]


class Town:
    """A relay, a portal, and Anna and Ben with a vault each."""

    def __init__(self, folder: Path, relay: RealRelay, portal: PortalServer, run: Run) -> None:
        self.folder = folder
        self.relay = relay
        self.portal = portal
        self.run = run
        self.engagement = ""

    def vault(self, user: str) -> Path:
        return self.folder / f"{user}.vault"

    def join(self, user: str, *more: str) -> list[str]:
        where = ("--relay", self.relay.url, "--token-url", self.portal.token_url(user))
        return ["join", "--vault", str(self.vault(user)), *where, *more]

    def join_both(self) -> None:
        """Both join, each from a process of its own, at the same time."""
        both = [
            start(*self.join("anna", "--name", "Anna Lindqvist")),
            start(*self.join("ben", "--name", "Ben Okafor")),
        ]
        outputs = [process.communicate(timeout=PATIENCE)[0] for process in both]
        assert [process.returncode for process in both] == [0, 0], outputs


@contextmanager
def open_town(folder: Path) -> Iterator[Town]:
    """A town whose relay and portal run until the block ends."""
    relay, portal = RealRelay(folder), PortalServer(folder / "portal.log")
    with asyncio.Runner() as runner:
        runner.run(relay.start())
        runner.run(portal.start(relay=relay.url, keys=relay.portal))
        town = Town(folder, relay, portal, runner.run)
        town.engagement = runner.run(portal.open_engagement())["id"]
        try:
            yield town
        finally:
            runner.run(portal.end())
            runner.run(relay.stop())


class Typed:
    """What a command ended with and printed."""

    def __init__(self, code: int, out: str, err: str) -> None:
        self.code, self.out, self.err = code, out, err


class Terminal:
    """Types commands into this process."""

    def __init__(self, town: Town, capsys: pytest.CaptureFixture[str]) -> None:
        self._town = town
        self._capsys = capsys

    def __call__(self, user: str, command: Sequence[str], *arguments: str) -> Typed:
        self._capsys.readouterr()
        code = main([*command, "--vault", str(self._town.vault(user)), *arguments])
        return Typed(code, *self._capsys.readouterr())

    def raw(self, *line: str) -> Typed:
        self._capsys.readouterr()
        return Typed(main(line), *self._capsys.readouterr())


def start(*line: str) -> subprocess.Popen[str]:
    environment = {**os.environ, "COACH_PASSPHRASE": PASSPHRASE, "PYTHONUNBUFFERED": "1"}
    return subprocess.Popen(
        [*COACH, *line],
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        env=environment,
    )


def read_until(process: subprocess.Popen[str], wanted: str) -> str:
    """The lines up to the one that contains `wanted`; the test's time-out ends a wait in vain."""
    assert process.stdout is not None
    seen = ""
    for line in process.stdout:
        seen += line
        if wanted in line:
            return seen
    raise AssertionError(f"{wanted!r} never came: {seen}")
