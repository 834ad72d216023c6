"""`coach admit`: a person lets somebody further, whom the portal invited, into the conversation."""

from __future__ import annotations

import argparse
import sys
from typing import Any

from client_sdk import Engagement, Person
from client_sdk.cli.asking import ask
from client_sdk.cli.errors import CliError, Exit
from client_sdk.cli.opened import opened
from client_sdk.cli.options import add_command, add_vault_options
from client_sdk.cli.printable import one_line

EXAMPLES = """\
  coach admit --vault anna.vault                    shows who waits, and asks
  coach admit --vault anna.vault cara --yes         you know that this is Cara
"""


def register(commands: Any) -> None:
    """Add the command."""
    parser = add_command(
        commands,
        "admit",
        about="let somebody further, whom your portal invited, into the conversation",
        examples=EXAMPLES,
        run=run,
    )
    parser.add_argument("person", nargs="?", metavar="USER", help="whom, by user id, if several wait")
    parser.add_argument("--yes", action="store_true", help="do not ask")
    add_vault_options(parser)


async def run(args: argparse.Namespace) -> Exit:
    """Show who waits, ask, and let them in."""
    async with opened(args) as here:
        await here.catch_up()
        person = _chosen(here.room, args.person)
        if person is None:
            print("Nobody waits to be let in.")
            return Exit.DONE
        name = one_line(person.name)
        print(
            f"Your portal invited {name} ({person.role}). Once let in, they read what is said from then on."
        )
        if not (args.yes or _asked(name)):
            print(f"{name} was not let in.")
            return Exit.DONE
        await here.room.admit(person)
        await here.within(here.room.wait_until(lambda: _is_in(here.room, person)))
        print(f"{name} takes part now, and everybody sees it. Make sure that it is really they: coach verify")
    return Exit.DONE


def _chosen(room: Engagement, user: str | None) -> Person | None:
    waiting = [person for person in room.people if person.needs_admission and user in (None, person.user)]
    if len(waiting) > 1:
        raise CliError(
            f"Several people wait: {', '.join(person.user for person in waiting)}.",
            do="Name one: coach admit USER",
            exit_code=Exit.USAGE,
        )
    return waiting[0] if waiting else None


def _is_in(room: Engagement, person: Person) -> bool:
    return any(known.joined for known in room.people if known.user == person.user)


def _asked(name: str) -> bool:
    if not sys.stdin.isatty():
        print(f"If you want {name} in the conversation: coach admit --yes")
        return False
    return ask(f"Let {name} in? [y/N] ").strip().lower() in ("y", "yes")
