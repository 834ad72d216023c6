"""`coach edit`, `coach retract`, `coach react`: doing something with what was said before."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Callable
from typing import Any, Final

from client_sdk import REACTIONS, Engagement, Gap, Text
from client_sdk.cli.errors import CliError, Exit
from client_sdk.cli.opened import opened
from client_sdk.cli.options import add_command, add_vault_options
from client_sdk.cli.reading import find_any, whole_history
from client_sdk.cli.sending import report_sent
from client_sdk.cli.showing import quoted
from client_sdk.content import CallEnded, CallInvite
from client_sdk.engine import Alarm, AnyItem, Retracted

LAST: Final = "last"
NAMING: Final = "which one: its id, as `coach read --ids` shows it, or “last”"

EDIT_EXAMPLES = """\
  coach edit --vault anna.vault last "See you at ten."         your newest message
  coach edit --vault anna.vault 3f9a01c2 "See you at ten."     the one that coach read --ids shows so
"""
RETRACT_EXAMPLES = """\
  coach retract --vault anna.vault last           take back what you said last
  coach retract --vault anna.vault 3f9a01c2       the one that coach read --ids shows so
"""
REACT_EXAMPLES = """\
  coach react --vault ben.vault last heart             to what the other said last
  coach react --vault ben.vault 3f9a01c2 👍
  coach react --vault ben.vault last heart --off       take it back
"""


def register(commands: Any) -> None:
    """Add the three commands."""
    editing = add_command(
        commands, "edit", about="say a message of yours anew", examples=EDIT_EXAMPLES, run=edit
    )
    editing.add_argument("item", help=NAMING)
    editing.add_argument("text", help="the new words; - reads them from standard input")
    retracting = add_command(
        commands,
        "retract",
        about="take back what you said; it is erased here and on the others' devices",
        examples=RETRACT_EXAMPLES,
        run=retract,
    )
    retracting.add_argument("item", help=NAMING)
    reacting = add_command(
        commands, "react", about="react to what somebody said", examples=REACT_EXAMPLES, run=react
    )
    reacting.add_argument("item", help=NAMING)
    reacting.add_argument(
        "reaction", type=_emoji, help=", ".join(f"{name} {emoji}" for emoji, name in REACTIONS.items())
    )
    reacting.add_argument("--off", action="store_true", help="take the reaction back")
    for parser in (editing, retracting, reacting):
        add_vault_options(parser)


async def edit(args: argparse.Namespace) -> Exit:
    """Change a message."""
    text = sys.stdin.read() if args.text == "-" else args.text
    async with opened(args) as here:
        await here.catch_up()
        item = await named(here.room, args.item, _is_own_text, "message of yours")
        await here.room.edit(item, text)
        return await report_sent(here, f"The new wording of {quoted(item)}")


async def retract(args: argparse.Namespace) -> Exit:
    """Take a message back."""
    async with opened(args) as here:
        await here.catch_up()
        item = await named(here.room, args.item, _is_own, "message of yours")
        about = quoted(item)
        await here.room.retract(item)
        print(f"{about} is taken back. Whoever has read or saved it before still knows it.")
        return await report_sent(here, "That you took it back", quiet=True)


async def react(args: argparse.Namespace) -> Exit:
    """React to a message, or take the reaction back."""
    async with opened(args) as here:
        await here.catch_up()
        item = await named(here.room, args.item, is_said_by_others, "message that one can react to")
        await here.room.react(item, args.reaction, on=not args.off)
        what = "That you took back your" if args.off else "Your"
        return await report_sent(here, f"{what} {args.reaction} for {quoted(item)}")


async def named(room: Engagement, name: str, fits: Callable[[AnyItem], bool], what: str) -> AnyItem:
    """Return the item with this id, or the newest that fits for `last`; raises `CliError`."""
    if name != LAST:
        return await find_any(room, name, "message")
    async for item in whole_history(room):
        if fits(item):
            return item
    raise CliError(f"There is no {what} here.", do="See what there is: coach read --ids")


def is_said_by_others(item: AnyItem) -> bool:
    """Whether somebody else said it, so that one can answer it."""
    return not item.mine and not isinstance(item, Gap | Alarm | Retracted | CallInvite | CallEnded)


def _is_own(item: AnyItem) -> bool:
    return item.mine and not isinstance(item, Gap | Alarm | Retracted | CallInvite | CallEnded)


def _is_own_text(item: AnyItem) -> bool:
    return item.mine and isinstance(item, Text)


def _emoji(text: str) -> str:
    for emoji, name in REACTIONS.items():
        if text in (name, emoji, emoji.rstrip("\ufe0f")):
            return emoji
    raise argparse.ArgumentTypeError(f"one of {', '.join(REACTIONS.values())}")
