"""How commands are described, and the options that several of them share."""

from __future__ import annotations

import argparse
import os
import sys
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Final, NoReturn

from client_sdk.cli.errors import Exit

VAULT_VARIABLE: Final = "COACH_VAULT"

# argparse has no public name for what add_subparsers returns.
Commands = argparse._SubParsersAction
Run = Callable[[argparse.Namespace], Awaitable[Exit]]


class Parser(argparse.ArgumentParser):
    """A command line whose refusals say where the help of that very command is."""

    def error(self, message: str) -> NoReturn:
        """Say what is wrong with the command line, and end."""
        self.print_usage(sys.stderr)
        self.exit(Exit.USAGE, f"{self.prog}: {message}\nWhat it takes, with examples: {self.prog} --help\n")


def add_command(
    commands: Commands[argparse.ArgumentParser], name: str, *, about: str, examples: str, run: Run | None
) -> argparse.ArgumentParser:
    """Add a command whose help ends with examples."""
    parser = commands.add_parser(
        name,
        help=about,
        description=about[0].upper() + about[1:] + ".",
        epilog=f"examples:\n{examples}",
        formatter_class=argparse.RawDescriptionHelpFormatter,
        allow_abbrev=False,
    )
    parser.set_defaults(command=parser)
    if run is not None:
        parser.set_defaults(run=run)
    return parser


def add_vault_options(parser: argparse.ArgumentParser) -> None:
    """Add what every command that works with a vault takes."""
    given = os.environ.get(VAULT_VARIABLE)
    parser.add_argument(
        "--vault",
        type=Path,
        metavar="FILE",
        default=Path(given) if given else None,
        required=not given,
        help=f"the encrypted file with your keys and history ({VAULT_VARIABLE} sets it too); its "
        "passphrase is asked for, or taken from COACH_PASSPHRASE",
    )
    about = "`coach join` remembers these; given again, they count once"
    where = parser.add_argument_group("where to connect", about)
    where.add_argument("--relay", metavar="URL", help="the relay's address")
    token = where.add_mutually_exclusive_group()
    token.add_argument("--token-url", metavar="URL", help="where your portal gives you an access token")
    token.add_argument("--token-command", metavar="COMMAND", help="a command that prints an access token")
    where.add_argument("--engagement", metavar="ID", help="which engagement, if you have several")
    where.add_argument("--keyring", action="store_true", help="the vault's key is in the system's keyring")
    where.add_argument(
        "--patience",
        metavar="SECONDS",
        type=seconds,
        default=20.0,
        help="how long to wait for the relay (20)",
    )


def seconds(text: str) -> float:
    """Read a number of seconds from the command line."""
    try:
        value = float(text)
    except ValueError:
        value = 0.0
    if not 0 < value <= 3600:
        raise argparse.ArgumentTypeError(f"a number of seconds up to 3600, not {text}")
    return value
