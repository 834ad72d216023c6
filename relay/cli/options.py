"""Options that several commands share."""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import Any

from relay.config import Settings, load_settings


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
