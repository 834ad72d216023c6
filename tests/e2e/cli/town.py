"""A relay, a portal, two people with vaults, and a terminal to type `coach` into."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path

import pytest
from nacl.pwhash import argon2id

from client_sdk.cli.main import main
from client_sdk.demo.servers import PortalServer
from tests.support.real_relay import RealRelay

PATIENCE = 30.0
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


class Town:
    """A relay, a portal, and Anna and Ben with a vault each."""

    def __init__(self, folder: Path, relay: RealRelay, portal: PortalServer) -> None:
        self.folder = folder
        self.relay = relay
        self.portal = portal
        self.engagement = ""

    def vault(self, user: str) -> Path:
        return self.folder / f"{user}.vault"

    def join(self, user: str, *more: str) -> list[str]:
        where = ("--relay", self.relay.url, "--token-url", self.portal.token_url(user))
        return ["join", "--vault", str(self.vault(user)), *where, *more]


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
