"""`coach archive`: keeps what was said at the relay, sealed so that only the recovery words open it."""

from __future__ import annotations

import argparse
from typing import Any

from client_sdk.cli.errors import Exit
from client_sdk.cli.opened import opened
from client_sdk.cli.options import add_command, add_vault_options

EXAMPLES = """\
  coach archive on --vault anna.vault     from now on, with everything that is there already
  coach archive off --vault anna.vault    erases it at the relay
  coach archive status --vault anna.vault
"""
ABOUT = "keep what was said for the day on which this device is lost"


def register(commands: Any) -> None:
    """Add the command."""
    parser = add_command(commands, "archive", about=ABOUT, examples=EXAMPLES, run=run)
    parser.add_argument(
        "what", choices=("on", "off", "status"), help="keep an archive, erase it, or just ask"
    )
    add_vault_options(parser)


async def run(args: argparse.Namespace) -> Exit:
    """Turn the archive on or off, or say which of both it is."""
    async with opened(args) as here:
        me = here.me
        await here.within(me.wait_online())
        if args.what == "on":
            await me.keep_archive()
            await here.within(here.room.wait_caught_up())
            print("Leaving what was said at the relay, sealed ...", flush=True)
            await me.wait_archived()  # as long as it takes: a relay that answers no more ends it
            print("What was said is at the relay now, sealed; what comes is added. Only your recovery words")
            print("open it, so print them if you have not yet: coach kit. It is erased with the engagement.")
        elif args.what == "off":
            await here.within(me.erase_archive())
            print("Your archive is erased at the relay, and none is kept from this device any more.")
        else:
            print("An archive is kept." if me.archive_wanted else "No archive is kept from this device.")
    return Exit.DONE
