"""Options that several commands share."""

from __future__ import annotations

import argparse
import sys
from pathlib import Path
from typing import Any, NoReturn

from relay.config import Settings, load_settings
from relay.errors import InvalidRequest


class Parser(argparse.ArgumentParser):
    """A command line whose refusals say where the help of that very command is."""

    def error(self, message: str) -> NoReturn:
        """Say what is wrong with the command line, and end."""
        self.print_usage(sys.stderr)
        self.exit(2, f"{self.prog}: {message}\nWhat it takes, with an example: {self.prog} --help\n")


def add_command(
    commands: Any, name: str, *, help: str, example: str, description: str = ""
) -> argparse.ArgumentParser:
    """Add a command whose help ends with an example. `commands` is what `add_subparsers` returned."""
    parser: argparse.ArgumentParser = commands.add_parser(
        name,
        help=help,
        description=description or f"{help[0].upper()}{help[1:]}.",
        epilog=f"example:\n  {example}",
        formatter_class=argparse.RawDescriptionHelpFormatter,
        allow_abbrev=False,
    )
    parser.set_defaults(command=parser)
    return parser


def add_settings(parser: argparse.ArgumentParser) -> None:
    """Add the options that say which relay on this machine is meant."""
    parser.add_argument("--config", type=Path, metavar="FILE", help="settings, as in deploy/coach-relay.toml")
    parser.add_argument(
        "--data-dir", "--data", type=Path, metavar="DIR", help="where the relay keeps its data"
    )


def settings_of(args: argparse.Namespace, **options: Any) -> Settings:
    """Read the settings that a command was given; raises `ConfigError`."""
    return load_settings(config=args.config, options={"data_dir": args.data_dir, **options})


def add_yes(parser: argparse.ArgumentParser) -> None:
    """Add the option that answers `confirm`."""
    parser.add_argument("--yes", action="store_true", help="do not ask")


def confirm(question: str, args: argparse.Namespace) -> None:
    """Ask before something final; raises `InvalidRequest` unless the answer, or `--yes`, says so."""
    if args.yes:
        return
    if not sys.stdin.isatty():
        raise InvalidRequest("this asks before it does something final; say --yes where nobody can answer")
    print(f"{question} [y/N] ", end="", file=sys.stderr, flush=True)
    if sys.stdin.readline().strip().lower() not in ("y", "yes"):
        raise InvalidRequest("nothing was changed")
