"""`coach-relay`: finds the command, runs it, and turns errors into one sentence and an exit code."""

from __future__ import annotations

import argparse
import logging
import os
import sys
from collections.abc import Sequence
from types import ModuleType
from typing import NoReturn

from relay.cli import backup, doctor, engagement, migrate, portal, restore, serve
from relay.errors import RelayError
from relay.version import installed_version

COMMANDS: tuple[ModuleType, ...] = (serve, portal, engagement, doctor, backup, restore, migrate)

EXAMPLES = """examples:
  coach-relay serve                     run the relay on this machine: http://127.0.0.1:8470
  coach-relay portal add growth         register a portal, and print its keys once
  coach-relay engagement list growth    what runs at a portal
  coach-relay backup 2026-11-22         copy everything that the relay keeps, while it runs
  coach-relay doctor                    check this installation, and say what to do
"""


ADVICE = {
    "store_in_use": "; stop it, or name another folder with --data-dir",
    "store_corrupt": "; `coach-relay doctor` tells more",
    "store_version": "; use that version, or restore a copy from before it",
    "store_full": "; make room on its disk",
}
"""What to do about an error whose own sentence cannot know."""


def main(argv: Sequence[str] | None = None) -> int:
    """Run a command; returns 0, or 1 with a sentence on standard error (2 for wrong usage, as argparse has
    it). Without `argv` it is what this process was started for, and ends the process.
    """
    if argv is None:
        _end(_run(sys.argv[1:]))
    return _run(argv)


def _end(code: int) -> NoReturn:
    """End the process without tearing the interpreter down: the blob store's own threads outlive each
    operation by a moment, and one that comes back to Python then aborts the process (SIGABRT)."""
    logging.shutdown()
    sys.stdout.flush()
    sys.stderr.flush()
    os._exit(code)


def _run(argv: Sequence[str]) -> int:
    args = parser().parse_args(argv)
    try:
        return int(args.run(args))
    except RelayError as error:
        print(f"coach-relay: {error}{ADVICE.get(str(error.code), '')}", file=sys.stderr)
        return 1
    except KeyboardInterrupt:
        return 130  # what a shell expects after Ctrl-C


def parser() -> argparse.ArgumentParser:
    top = argparse.ArgumentParser(
        prog="coach-relay",
        description="A relay for coaching conversations that it cannot read.",
        epilog=EXAMPLES,
        formatter_class=argparse.RawDescriptionHelpFormatter,
        allow_abbrev=False,
    )
    top.add_argument("--version", action="version", version=f"coach-relay {installed_version()}")
    commands = top.add_subparsers(title="commands", metavar="COMMAND", required=True)
    for command in COMMANDS:
        command.register(commands)
    return top


if __name__ == "__main__":
    sys.exit(main())
