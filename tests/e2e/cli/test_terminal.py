"""`coach read --follow` in a terminal: what is typed there is sent."""

from __future__ import annotations

import os
import pty
import subprocess
import sys

import pytest

from tests.e2e.cli.town import COACH, PASSPHRASE, PATIENCE, Terminal, Town, read_until, start

CTRL_C = b"\x03"


def opened_terminal() -> tuple[int, int]:
    try:
        return pty.openpty()
    except OSError as error:
        pytest.skip(f"this machine has no pseudo-terminals: {error.strerror}")


def test_lines_typed_while_following_are_sent(joined: Town, coach: Terminal) -> None:
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
        os.write(controller, CTRL_C)
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
