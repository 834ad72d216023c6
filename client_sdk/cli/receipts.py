"""`coach receipts`: whether the others are told what you have read."""

from __future__ import annotations

import argparse
from typing import Any

from client_sdk.cli.errors import Exit
from client_sdk.cli.opened import opened
from client_sdk.cli.options import add_command, add_vault_options

EXAMPLES = """\
  coach receipts --vault ben.vault             are the others told what you have read?
  coach receipts off --vault ben.vault         keep it to yourself from now on
"""


def register(commands: Any) -> None:
    """Add the command."""
    parser = add_command(
        commands,
        "receipts",
        about="tell the others what you have read, or keep it to yourself",
        examples=EXAMPLES,
        run=run,
    )
    parser.add_argument("wish", nargs="?", choices=("on", "off"), help="without it: say how it is")
    add_vault_options(parser)


async def run(args: argparse.Namespace) -> Exit:
    """Say how it is, after changing it if told so."""
    async with opened(args) as here:
        if args.wish is not None:
            await here.me.set_read_receipts(args.wish == "on")
        if here.me.read_receipts:
            print("The others see what you have read, and you see what they have read.")
        else:
            print("The others do not see what you have read, and you do not see what they have read.")
            print("This is for this device; they still see that messages were delivered.")
    return Exit.DONE
