"""`coach send`: says something."""

from __future__ import annotations

import argparse
import sys
from typing import Any

from client_sdk.cli.amend import NAMING, is_said_by_others, named
from client_sdk.cli.errors import Exit
from client_sdk.cli.opened import opened
from client_sdk.cli.options import add_command, add_vault_options
from client_sdk.cli.sending import report_sent

EXAMPLES = """\
  coach send --vault anna.vault "How was the week?"
  coach send --vault anna.vault - < letter.txt
  coach send --vault ben.vault --reply-to last "Better than the last one."
"""


def register(commands: Any) -> None:
    """Add the command."""
    parser = add_command(commands, "send", about="send a message", examples=EXAMPLES, run=run)
    parser.add_argument("text", help="what to say; - reads it from standard input")
    parser.add_argument("--reply-to", metavar="ITEM", help=f"answer something: {NAMING}")
    add_vault_options(parser)


async def run(args: argparse.Namespace) -> Exit:
    """Say it, and wait until the relay has it."""
    text = sys.stdin.read() if args.text == "-" else args.text
    async with opened(args) as here:
        answered = None
        if args.reply_to is not None:
            await here.catch_up()
            answered = await named(here.room, args.reply_to, is_said_by_others, "message to answer")
        await here.room.send(text, reply_to=answered)
        return await report_sent(here, "The message")
