"""`coach verify`: shows the safety numbers of both people, and marks the other as verified."""

from __future__ import annotations

import argparse
import sys
from typing import Any, Final

import segno

from client_sdk import Engagement, Person, SecurityAlarm
from client_sdk.cli.asking import ask
from client_sdk.cli.errors import CliError, Exit
from client_sdk.cli.opened import opened
from client_sdk.cli.options import add_command, add_vault_options
from client_sdk.cli.printable import one_line
from client_sdk.delivery import IdentityChanged, IdentityRecovered, OwnIdentityChanged
from client_sdk.identity import TrustState

EXAMPLES = """\
  coach verify --vault anna.vault                   shows the numbers, and asks whether they are the same
  coach verify --vault anna.vault --yes             you have compared them already
  coach verify --vault anna.vault --qr              the same as a code that the other one scans
  coach verify --vault anna.vault --go-on           after a security alarm that you have looked into
  coach verify --vault anna.vault --accept          somebody's key changed, and you know that it was they
"""


_AFTERWARDS: Final[dict[type[SecurityAlarm], str]] = {
    IdentityRecovered: "Sending goes on, with the new key. It is not verified yet: coach verify",
    IdentityChanged: "Sending goes on with the key that you knew; the new one stays outside. "
    "To let it in after all: coach verify --accept",
    OwnIdentityChanged: "Sending goes on from this device, as long as the others keep it in.",
}


def register(commands: Any) -> None:
    """Add the command."""
    parser = add_command(
        commands,
        "verify",
        about="make sure that the others are who they seem to be",
        examples=EXAMPLES,
        run=run,
    )
    parser.add_argument("--person", metavar="USER", help="whom, by user id, if there are several")
    parser.add_argument("--qr", action="store_true", help="show your code for the other one to scan")
    parser.add_argument("--scanned", metavar="CODE", help="what you scanned off the other one's screen")
    parser.add_argument("--yes", action="store_true", help="the numbers were compared: do not ask")
    parser.add_argument(
        "--accept", action="store_true", help="let a changed key in without having compared the numbers"
    )
    parser.add_argument("--go-on", action="store_true", help="send again after a security alarm")
    add_vault_options(parser)


async def run(args: argparse.Namespace) -> Exit:
    """Show both numbers and ask."""
    async with opened(args) as here:
        await here.catch_up()
        if args.go_on:
            return await _go_on(here.room)
        person = _chosen(here.room, args.person)
        if args.accept:
            return await _accept(here.room, person)
        if args.scanned:
            return await _scanned(here.room, person, args.scanned)
        _show(here.room.me, person)
        if args.qr:
            _draw(here.room, person)
        print(here.room.protection)
        print()
        if person.verified:
            print(f"{one_line(person.name)} is verified already.")
            return Exit.DONE
        if not (args.yes or _asked(person)):
            print("Not marked as verified.")
            return Exit.DONE
        await here.room.verify(person)
        print(f"{one_line(person.name)} is verified from now on. If their key ever changes, sending stops.")
    return Exit.DONE


async def _go_on(room: Engagement) -> Exit:
    alarm = room.alarm
    if alarm is None:
        print("There is no security alarm.")
        return Exit.DONE
    await room.resolve_alarm(alarm)
    print(_AFTERWARDS.get(type(alarm), "Sending goes on. The conversation shows where something is missing."))
    return Exit.DONE


async def _scanned(room: Engagement, person: Person, code: str) -> Exit:
    await room.verify_scanned(person, code)
    print(f"The codes agree: {one_line(person.name)} is verified from now on.")
    return Exit.DONE


def _draw(room: Engagement, person: Person) -> None:
    code = room.verification_code(person)
    print()
    print(f"Or let {one_line(person.name)} scan this, and scan theirs:")
    print()
    segno.make(code, error="m", micro=False).terminal(out=sys.stdout, compact=True)
    print(code)
    print("Whoever scanned it: coach verify --scanned CODE")
    print()


async def _accept(room: Engagement, person: Person) -> Exit:
    if person.trust is not TrustState.CHANGED:
        raise CliError(f"The security key of {one_line(person.name)} has not changed.")
    await room.accept_identity(person)
    print(f"The new key of {one_line(person.name)} is let in. Compare the numbers when you can: coach verify")
    return Exit.DONE


def _chosen(room: Engagement, user: str | None) -> Person:
    present = [person for person in room.people if person.joined and user in (None, person.user)]
    if len(present) == 1:
        return present[0]
    if not present:
        raise CliError(
            "There is nobody to compare numbers with yet." if user is None else f"There is no {user} here.",
            do="See who is there: coach read --follow waits for them.",
        )
    raise CliError(
        f"There are several people: {', '.join(person.user for person in present)}.",
        do="Name one: --person USER",
        exit_code=Exit.USAGE,
    )


def _show(me: Person, person: Person) -> None:
    name = one_line(person.name)
    width = max(len(name), len("you")) + 2
    print(f"Compare these numbers with {name}, by telephone or when you meet, not in this conversation:")
    print()
    print(f"  {'you':<{width}}{in_groups(me.safety_number)}")
    print(f"  {name:<{width}}{in_groups(person.safety_number)}")
    print()
    print(
        f"{name} sees the same two, the other way round. If a digit differs, somebody may stand between you."
    )


def in_groups(digits: str) -> str:
    """Return digits in groups of five, to be read out."""
    return " ".join(digits[start : start + 5] for start in range(0, len(digits), 5))


def _asked(person: Person) -> bool:
    if not sys.stdin.isatty():
        print("When you have compared them: coach verify --yes")
        return False
    answer = ask(f"Did you compare them with {one_line(person.name)}, and are they the same? [y/N] ")
    return answer.strip().lower() in ("y", "yes")
