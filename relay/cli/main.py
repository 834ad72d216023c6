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
from relay.cli.options import Parser
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
    "not_found": "; see that the id is right, and --config or --data-dir the relay's",
    "store_in_use": "; stop it, or name another folder with --data-dir",
    "store_corrupt": "; `coach-relay doctor` tells more",
    "store_version": "; use that version, or restore a copy from before it",
    "store_full": "; make room on its disk",
    "store_unavailable": "; see that this user may, and what `coach-relay doctor` says",
}
"""What to do about an error whose own sentence cannot know."""


def main(argv: Sequence[str] | None = None) -> int:
    """Run a command; returns 0, or 1 with a sentence on standard error (2 for wrong usage, as argparse has
    it). Without `argv` it is what this process was started for, and ends the process.
    """
    if argv is None:
        os.umask(0o077)  # what it writes is for its user alone: backups hold secrets
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
    args, left = parser().parse_known_args(argv)
    if left:  # argparse would point to the help of `coach-relay` alone
        args.command.error(f"it takes no {' '.join(left)}")
    try:
        return int(args.run(args))
    except RelayError as error:
        print(f"coach-relay: {error}{ADVICE.get(str(error.code), '')}", file=sys.stderr)
        return 1
    except OSError as error:
        what = f"{error.filename}: " if error.filename else ""
        why = error.strerror or type(error).__name__
        print(f"coach-relay: {what}{why}; see that the path is right, and this user may", file=sys.stderr)
        return 1
    except KeyboardInterrupt:
        return 130  # what a shell expects after Ctrl-C


def parser() -> argparse.ArgumentParser:
    top = Parser(
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
