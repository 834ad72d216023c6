"""`coach read --follow` in a terminal: what is typed there is sent."""

from __future__ import annotations

import os
import pty
import select
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from client_sdk.cli.errors import Exit
from tests.e2e.cli.town import COACH, PASSPHRASE, PATIENCE, Terminal, Town, read_until, start

CTRL_C = b"\x03"
CTRL_D = b"\x04"
AGAIN = 8.0
"""Seconds before a key is pressed once more: longer than a slow machine takes to end a program."""


def opened_terminal() -> tuple[int, int]:
    try:
        return pty.openpty()
    except OSError as error:
        pytest.skip(f"this machine has no pseudo-terminals: {error.strerror}")


@pytest.mark.parametrize("key", [CTRL_C, CTRL_D], ids=["Ctrl-C", "Ctrl-D"])
def test_lines_typed_while_following_are_sent(joined: Town, coach: Terminal, key: bytes) -> None:
    controller, terminal = opened_terminal()
    listening = start("read", "--vault", str(joined.vault("ben")), "--follow")
    try:
        read_until(listening, "live from here")
        following = subprocess.Popen(
            [
                sys.executable,
                "-c",
                IN_TERMINAL,
                *COACH,
                "read",
                "--vault",
                str(joined.vault("anna")),
                "--follow",
            ],
            stdin=terminal,
            stdout=terminal,
            stderr=terminal,
            start_new_session=True,
            env={**os.environ, "COACH_PASSPHRASE": PASSPHRASE},
        )
        shown = b""
        while b"live from here" not in shown:
            shown += os.read(controller, 4096)
        os.write(controller, "\nSchöne Grüße\n".encode())
        assert "Anna Lindqvist: Schöne Grüße" in read_until(listening, "Grüße")
        os.write(controller, key)
        assert following.wait(PATIENCE) == 0
    finally:
        listening.kill()
        listening.communicate()
        for end in (controller, terminal):
            os.close(end)


IN_TERMINAL = """
import fcntl, os, sys, termios
fcntl.ioctl(0, termios.TIOCSCTTY, 0)  # so that Ctrl-C reaches it
os.execv(sys.argv[1], sys.argv[1:])
"""


@pytest.mark.parametrize(
    ("typed", "code", "said"),
    [(CTRL_D, Exit.FAILED, "Nothing was typed"), (CTRL_C, Exit.INTERRUPTED, "")],
    ids=["Ctrl-D", "Ctrl-C"],
)
@pytest.mark.parametrize("prompt", ["1. ", "Choose a passphrase"])
def test_a_question_may_be_left_by_a_key(
    tmp_path: Path, typed: bytes, code: Exit, said: str, prompt: str
) -> None:
    controller, terminal = opened_terminal()
    environment = {name: value for name, value in os.environ.items() if name != "COACH_PASSPHRASE"}
    words = [] if prompt == "1. " else ["--words-from", str(tmp_path / "kit.txt")]
    (tmp_path / "kit.txt").write_text("abandon")
    where = ["--vault", str(tmp_path / "new.vault"), "--relay", "http://127.0.0.1:1", "--token-url", "x"]
    asking = subprocess.Popen(
        [sys.executable, "-c", IN_TERMINAL, *COACH, "recover", *where, *words],
        stdin=terminal,
        stdout=terminal,
        stderr=terminal,
        start_new_session=True,
        env=environment,
    )
    os.close(terminal)
    try:
        shown = b""
        while prompt.encode() not in shown:
            shown += os.read(controller, 4096)
        shown += rest_after(controller, typed)
        assert asking.wait(PATIENCE) in (code, -signal.SIGINT if code is Exit.INTERRUPTED else code)
        assert said in shown.decode()
        assert b"Traceback" not in shown
    finally:
        asking.kill()
        asking.wait()
        os.close(controller)


def rest_after(controller: int, typed: bytes) -> bytes:
    """What is shown until the program has gone; the key is pressed again while nothing comes of it.

    A Ctrl-C between the prompt and the moment in which Python begins to read is heard at the next one only.
    """
    found = b""
    os.write(controller, typed)
    while True:
        try:
            while not select.select([controller], [], [], AGAIN)[0]:
                os.write(controller, typed)
            piece = os.read(controller, 4096)
        except OSError:  # how Linux says that nobody has the terminal any more
            return found
        if not piece:
            return found
        found += piece
