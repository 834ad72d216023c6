"""`coach`: finds the command, runs it, and turns errors into sentences and an exit code."""

from __future__ import annotations

import argparse
import asyncio
import os
import sys
from collections.abc import Sequence
from importlib.metadata import PackageNotFoundError, version
from types import ModuleType

from client_sdk.cli import (
    admit,
    amend,
    archive,
    call,
    checkin,
    demo,
    devices,
    export,
    file,
    join,
    kit,
    read,
    receipts,
    recover,
    send,
    verify,
)
from client_sdk.cli.errors import CliError, Exit, complain, exit_code_of
from client_sdk.cli.options import Parser
from client_sdk.errors import CoachRelayError

COMMANDS: tuple[ModuleType, ...] = (
    join,
    send,
    read,
    amend,
    receipts,
    checkin,
    file,
    call,
    verify,
    kit,
    recover,
    archive,
    admit,
    devices,
    export,
    demo,
)

EXAMPLES = """examples:
  coach demo                                        see all of it at work, in about a minute
  coach join --vault anna.vault --relay https://relay.example --token-url https://portal.example/token
  coach send --vault anna.vault "How was the week?"
  coach read --vault anna.vault --follow
"""


def main(argv: Sequence[str] | None = None) -> int:
    """Run a command and return its exit code (client_sdk.cli.errors.Exit); 2 for wrong usage."""
    args, left = parser().parse_known_args(argv)
    if left:  # argparse would point to the help of `coach` alone
        args.command.error(f"it takes no {' '.join(left)}{_quoted(left)}")
    try:
        code = int(asyncio.run(args.run(args)))
        sys.stdout.flush()  # here it can still be told that this goes nowhere
        return code
    except CoachRelayError as error:
        complain(error)
        return exit_code_of(error)
    except KeyboardInterrupt:
        return Exit.INTERRUPTED
    except BrokenPipeError:  # the reader of our output has gone, as `head` does: nothing is wrong
        _drop_output()
        return Exit.DONE
    except OSError as error:
        complain(_of_this_machine(error))
        try:
            sys.stdout.flush()
        except OSError:
            _drop_output()
        return Exit.FAILED


def _quoted(left: Sequence[str]) -> str:
    is_option = any(word.startswith("-") for word in left)
    return "" if is_option else "; words that belong together need quotation marks around them"


def _drop_output() -> None:
    """What is still to be printed can go nowhere; Python would complain of it once more at its end."""
    os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())


def _of_this_machine(error: OSError) -> CliError:
    what = f"{error.filename}: " if error.filename is not None else ""
    return CliError(
        f"This machine did not do it: {what}{error.strerror or type(error).__name__}.",
        do="Look whether the path is right, may be read and written by you, and the disk has room.",
    )


def parser() -> argparse.ArgumentParser:
    """Return the parser of the whole command line."""
    top = Parser(
        prog="coach",
        description="A coach or a client in a terminal: what is said, only the two of you can read.",
        epilog=EXAMPLES,
        formatter_class=argparse.RawDescriptionHelpFormatter,
        allow_abbrev=False,
    )
    top.add_argument("--version", action="version", version=f"coach {_installed_version()}")
    commands = top.add_subparsers(title="commands", metavar="COMMAND", required=True)
    for command in COMMANDS:
        command.register(commands)
    return top


def _installed_version() -> str:
    try:
        return version("coach-relay")
    except PackageNotFoundError:
        return "unknown"


if __name__ == "__main__":
    sys.exit(main())
