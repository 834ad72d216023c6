"""`coach demo`: the whole story on this machine, with a real relay."""

from __future__ import annotations

import argparse
from typing import Any

from client_sdk.cli.errors import CliError, Exit
from client_sdk.cli.options import add_command, seconds

EXAMPLES = """\
  coach demo                                        about a minute; leaves nothing behind
  coach demo --keep                                 leaves the relay running, for you to type along
  coach demo --page                                 a coach and a client side by side in your browser
"""


def register(commands: Any) -> None:
    """Add the command."""
    parser = add_command(
        commands,
        "demo",
        about="watch a coach and a client meet over a relay that cannot read them",
        examples=EXAMPLES,
        run=run,
    )
    parser.add_argument(
        "--keep", action="store_true", help="leave relay and vaults for you to use, and say how"
    )
    parser.add_argument(
        "--page", action="store_true", help="serve a portal's pages with a coach and a client, until Ctrl-C"
    )
    # For tests, which have less time than people.
    parser.add_argument("--file-bytes", type=int, default=25_000_000, help=argparse.SUPPRESS)
    parser.add_argument("--call-seconds", type=seconds, default=10.0, help=argparse.SUPPRESS)
    parser.add_argument("--crash-messages", type=int, default=30, help=argparse.SUPPRESS)


async def run(args: argparse.Namespace) -> Exit:
    """Run it; it is imported only here, because it needs what the SDK alone does not."""
    try:
        from client_sdk.demo.page import run_page
        from client_sdk.demo.run import run_demo
        from client_sdk.demo.stage import Options
    except ModuleNotFoundError as error:
        raise CliError(
            f"The demo needs {error.name}, which is not installed here.",
            do='Install everything: pip install "coach-relay[relay,calls]"',
        ) from error
    if args.page:
        return await run_page()
    options = Options(
        file_bytes=args.file_bytes,
        call_seconds=args.call_seconds,
        crash_messages=args.crash_messages,
        keep=args.keep,
    )
    return await run_demo(options)
