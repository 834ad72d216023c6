"""`coach send`: says something."""

from __future__ import annotations

import argparse
import sys
from typing import Any

from client_sdk.cli.errors import Exit
from client_sdk.cli.opened import opened
from client_sdk.cli.options import add_command, add_vault_options
from client_sdk.cli.sending import report_sent

EXAMPLES = """\
  coach send --vault anna.vault "How was the week?"
  coach send --vault anna.vault - < letter.txt
"""


def register(commands: Any) -> None:
    """Add the command."""
    parser = add_command(commands, "send", about="send a message", examples=EXAMPLES, run=run)
    parser.add_argument("text", help="what to say; - reads it from standard input")
    add_vault_options(parser)


async def run(args: argparse.Namespace) -> Exit:
    """Say it, and wait until the relay has it."""
    text = sys.stdin.read() if args.text == "-" else args.text
    async with opened(args) as here:
        await here.room.send(text)
        return await report_sent(here, "The message")
