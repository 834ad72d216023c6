"""What a command says when it cannot do what was asked, and the exit code it ends with."""

from __future__ import annotations

import sys
from enum import IntEnum

from client_sdk.cli.printable import printable
from client_sdk.delivery import IdentityChanged, IdentityRecovered, OwnIdentityChanged, SecurityAlarm
from client_sdk.errors import (
    AccessRefused,
    CoachRelayError,
    RelayError,
    RelayUnreachable,
    VaultError,
)
from relay.wire.errors import ErrorCode


class Exit(IntEnum):
    """The exit codes of `coach`, for scripts."""

    DONE = 0
    FAILED = 1
    USAGE = 2
    """The command line does not make sense; argparse uses the same code."""
    VAULT = 3
    """The vault is missing, in use, damaged, or the passphrase is wrong."""
    RELAY = 4
    """The relay cannot be reached, or refuses."""
    WAITING = 5
    """Kept safe on this device, and not yet sent: the next connected command sends it."""
    INTERRUPTED = 130
    """Ctrl-C."""


class CliError(CoachRelayError):
    """A command cannot go on: what happened and why, and what to do next."""

    code = "cli"

    def __init__(self, what: str, *, do: str = "", exit_code: Exit = Exit.FAILED) -> None:
        super().__init__(what)
        self.do = do
        self.exit_code = exit_code


_OF_THE_TOKEN = (AccessRefused.code, ErrorCode.TOKEN_INVALID, ErrorCode.TOKEN_REVOKED)

_WHEN_LOOKED_INTO = "When you have looked into it: coach verify --go-on"

_NEXT: dict[type[CoachRelayError], str] = {  # the first that fits
    RelayUnreachable: "Check the address (--relay) and that the relay runs.",
    IdentityRecovered: _WHEN_LOOKED_INTO,
    OwnIdentityChanged: _WHEN_LOOKED_INTO,
    IdentityChanged: "If it is so: coach verify, or without comparing, coach verify --accept. "
    "If not: coach verify --go-on",
    SecurityAlarm: _WHEN_LOOKED_INTO,
    AccessRefused: "Check where the token comes from (--token-url, --token-command or COACH_TOKEN).",
}


class AlarmShown(CliError):
    """A security alarm that ends a command, told with the name of whom it is about."""

    code = "alarm_shown"

    def __init__(self, said: str, alarm: SecurityAlarm) -> None:
        super().__init__(f"SECURITY ALARM. {said}", do=next_step_of(alarm))


def exit_code_of(error: CoachRelayError) -> Exit:
    """Return the exit code that fits the error."""
    if isinstance(error, CliError):
        return error.exit_code
    if isinstance(error, VaultError):
        return Exit.VAULT
    return Exit.RELAY if isinstance(error, RelayError) else Exit.FAILED


def next_step_of(error: CoachRelayError) -> str:
    """Return what the person can do about the error; empty when its message says so itself."""
    if isinstance(error, CliError):
        return error.do
    if isinstance(error, AccessRefused) and error.code not in _OF_THE_TOKEN:
        return ""
    return next((step for kind, step in _NEXT.items() if isinstance(error, kind)), "")


def complain(error: CoachRelayError) -> None:
    """Say on standard error what happened and what to do next."""
    print(f"coach: {printable(str(error))}", file=sys.stderr)
    step = next_step_of(error)
    if step:
        print(f"       {printable(step)}", file=sys.stderr)
