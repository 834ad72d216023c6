"""`coach devices`: a person's own devices: which there are, linking another one, removing one."""

from __future__ import annotations

import argparse
import asyncio
import sys
from collections.abc import Callable, Sequence
from typing import Any, Final

import segno

from client_sdk import Client, Engagement, SecurityAlarm
from client_sdk.attachments import Phase, Progress
from client_sdk.cli.asking import ask
from client_sdk.cli.errors import AlarmShown, CliError, Exit, complain
from client_sdk.cli.opened import given_settings, opened_vault, within
from client_sdk.cli.options import add_command, add_vault_options
from client_sdk.cli.passphrase import known_passphrase, new_passphrase
from client_sdk.cli.printable import one_line
from client_sdk.cli.progress import plain_bar
from client_sdk.cli.settings import load_settings, save_settings
from client_sdk.cli.tokens import token_source
from client_sdk.devices import OTHER_LIST_HELD, LinkSecret, Newcomer, OwnDevice
from client_sdk.errors import LinkCodeInvalid, RelayError

WORDS_IN_A_ROW: Final = 4
TRIES: Final = 3

EXAMPLES = """\
  coach devices list --vault anna.vault
  coach devices new --vault laptop.vault --relay https://relay.example --token-url https://portal.example/token
  coach devices link --vault anna.vault             on a device that you have: type the words of the new one
  coach devices revoke --vault anna.vault phone
  coach devices rename --vault anna.vault phone "old phone"
"""
LIST_EXAMPLES = """\
  coach devices list --vault anna.vault
"""
NEW_EXAMPLES = """\
  coach devices new --vault laptop.vault --relay https://relay.example --token-url https://portal.example/token
  coach devices new --vault laptop.vault --relay https://relay.example \\
      --token-url https://portal.example/token --device-name "Anna's laptop"
"""
LINK_EXAMPLES = """\
  coach devices link --vault anna.vault             asks for the twelve words that the new device shows
  coach devices link --vault anna.vault --may-link  it may then link and remove devices itself
"""
REVOKE_EXAMPLES = """\
  coach devices revoke --vault anna.vault phone
  coach devices revoke --vault anna.vault 3fa92c01 --yes
"""


RENAME_EXAMPLES = """\
  coach devices rename --vault anna.vault 3fa92c01 "Anna's phone"
"""


def register(commands: Any) -> None:
    """Add the command and its actions."""
    parser = add_command(
        commands,
        "devices",
        about="your own devices: link another one, remove one that is lost",
        examples=EXAMPLES,
        run=None,
    )
    actions = parser.add_subparsers(title="actions", metavar="ACTION", required=True)
    listing = add_command(actions, "list", about="list your devices", examples=LIST_EXAMPLES, run=show_list)
    add_vault_options(listing)
    new = add_command(
        actions, "new", about="make this a further device of yours", examples=NEW_EXAMPLES, run=become_new
    )
    new.add_argument("--device-name", default="", help="what you call this device (the computer's name)")
    add_vault_options(new)
    linking = add_command(
        actions, "link", about="link the new device that shows you words", examples=LINK_EXAMPLES, run=link
    )
    linking.add_argument("words", nargs="*", metavar="WORD", help="the twelve words; asked for if left out")
    linking.add_argument("--may-link", action="store_true", help="it may link and remove devices itself")
    linking.add_argument("--confirm", metavar="NAME", help="its name, if you know it: do not ask")
    add_vault_options(linking)
    renaming = add_command(
        actions, "rename", about="call a device something else", examples=RENAME_EXAMPLES, run=rename
    )
    renaming.add_argument("device", help="its name, or the beginning of its id, as `list` shows them")
    renaming.add_argument("name", help="what you call it on this device, and on those that it links later")
    add_vault_options(renaming)
    revoking = add_command(
        actions, "revoke", about="remove a device of yours", examples=REVOKE_EXAMPLES, run=revoke
    )
    revoking.add_argument("device", help="its name, or the beginning of its id, as `list` shows them")
    revoking.add_argument("--yes", action="store_true", help="do not ask")
    add_vault_options(revoking)


async def show_list(args: argparse.Namespace) -> Exit:
    """Print a line for each device."""
    async with opened_vault(args) as me:
        await _settled(me, args.patience)
        for device in me.devices.all:
            print(f"  {device.short_id}  {one_line(str(device))}")
        if me.status.online and await within(me, me.devices.other_list_held(), args.patience):
            print(OTHER_LIST_HELD)
    return Exit.DONE


async def _settled(me: Client, patience: float) -> None:
    """Hear what another device of this person has changed; without a connection, what is known counts."""
    try:
        await within(me, me.wait_online(), patience)
        for room in await me.engagements():
            if not room.ended and room.alarm is None:
                await _heard(me, room, patience)
    except (CliError, RelayError) as error:
        print(f"coach: {error} This is what your vault has.", file=sys.stderr)


async def _heard(me: Client, room: Engagement, patience: float) -> None:
    try:
        await within(me, room.wait_caught_up(), patience)
    except SecurityAlarm as alarm:
        complain(AlarmShown(room.said(alarm), alarm))


# The new device


async def become_new(args: argparse.Namespace) -> Exit:
    """Show the words, wait to be linked, then bring the history over."""
    settings = given_settings(args, load_settings(args.vault))
    passphrase = None
    if not settings.keyring:
        passphrase = known_passphrase(args.vault) if args.vault.exists() else new_passphrase(args.vault)
    opening = Client.link(
        args.vault,
        relay=settings.relay,
        token=token_source(settings),
        show=_show,
        device_name=args.device_name,
        passphrase=passphrase,
        keyring=passphrase is None,
        on_progress=_bars(),
    )
    async with opening as me:
        save_settings(args.vault, settings)
        print(f"Linked: you are {one_line(me.name or me.user)} here too. Fetching what was said ...")
        await me.devices.wait_history()
        print("Everything is here. Try: coach read --vault " + str(args.vault))
    return Exit.DONE


def _show(secret: LinkSecret) -> None:
    print("On a device that you have already, scan this, or run `coach devices link` and type the words:")
    print()
    segno.make(secret.code, error="m").terminal(out=sys.stdout, compact=True)
    print()
    words = secret.words
    for start in range(0, len(words), WORDS_IN_A_ROW):
        row = enumerate(words[start : start + WORDS_IN_A_ROW], start + 1)
        print("  " + "".join(f"{number:>2}. {word:<10}" for number, word in row).rstrip())
    print()
    print("Show them to nobody else: whoever has them now could become a device of yours. They count for")
    print("a quarter of an hour. Waiting ...", flush=True)


# The device that is there already


async def link(args: argparse.Namespace) -> Exit:
    """Find the new device, have the person confirm its name, and give it everything."""
    async with opened_vault(args) as me:
        if not args.words and (unfinished := me.devices.unfinished):
            return await _finish(me, unfinished)
        await within(me, me.wait_online(), args.patience)
        await _settled(me, args.patience)
        await within(me, me.devices.check_may_link(), args.patience)
        shown = " ".join(args.words) or _words()
        found = await within(me, me.devices.find(shown), args.patience)
        if not _confirmed(found, args.confirm):
            await me.devices.refuse(found)
            print("Not linked. The new device was told so, and has nothing.")
            return Exit.FAILED
        print(f"Linking {one_line(found.name)}: leave both devices on until it is done.")
        await me.devices.link(found, may_link=args.may_link, progress=_bars())
        print(f"{one_line(found.name)} is linked.")
        if args.may_link:
            print("It may link and remove devices itself. If it is ever lost, you need your recovery kit.")
    return Exit.DONE


async def _finish(me: Client, unfinished: Sequence[OwnDevice]) -> Exit:
    for device in unfinished:
        name = one_line(device.name or device.short_id)
        print(f"Going on with linking {name}: leave both devices on until it is done.", flush=True)
        await me.devices.wait_linked(device, progress=_bars())
        print(f"{name} is linked.")
    return Exit.DONE


def _words() -> str:
    """What the person types off the new device's screen; a slip costs nothing but typing it once more."""
    for _ in range(TRIES - 1):
        typed = _asked("The twelve words that the new device shows: ")
        try:
            LinkSecret.read(typed)
        except LinkCodeInvalid as error:
            print(error)
        else:
            return typed
    return _asked("The twelve words that the new device shows: ")


def _confirmed(found: Newcomer, given: str | None) -> bool:
    name = one_line(found.name)
    if given is not None:
        return _is_name(given, name)
    print(f"The device that shows these words calls itself “{name}”. Is it yours, and in your hands?")
    for _ in range(TRIES):
        typed = _asked("Type its name to link it, or press Enter to refuse it: ")
        if not typed.strip() or _is_name(typed, name):
            return bool(typed.strip())
        print(f"That is not the name that it gives itself: “{name}”.")
    return False


def _is_name(typed: str, name: str) -> bool:
    return " ".join(one_line(typed).split()).casefold() == name.casefold()


def _asked(question: str) -> str:
    if not sys.stdin.isatty():
        raise CliError(
            "There is no terminal to ask on.",
            do="Give the words, and the new device's name with --confirm NAME.",
            exit_code=Exit.USAGE,
        )
    return ask(question)


async def rename(args: argparse.Namespace) -> Exit:
    """Call a device something else."""
    async with opened_vault(args) as me:
        device = me.devices.named(args.device)
        await me.devices.rename(device, args.name)
        print(f"{device.short_id} is called {one_line(me.devices.named(device.short_id).name)} here now.")
    return Exit.DONE


# Removing


async def revoke(args: argparse.Namespace) -> Exit:
    """Take a device off the list, and wait until every conversation has removed it."""
    async with opened_vault(args) as me:
        await within(me, me.wait_online(), args.patience)
        await _settled(me, args.patience)
        device = me.devices.named(args.device)
        name = one_line(device.name or device.short_id)
        if not (args.yes or _sure(name)):
            print(f"{name} was not removed.")
            return Exit.DONE
        await within(me, me.devices.remove(device), args.patience)
        await _told_of_removal(me, name, args.patience)
        await _gone(me, device, name, args.patience)
        if device.may_link:
            print(
                f"{name} could link devices: whoever has it, unlocked, holds a key that speaks for you. "
                "If it is in other hands, use your recovery kit now: coach recover"
            )
    return Exit.DONE


async def _told_of_removal(me: Client, name: str, patience: float) -> None:
    if me.devices.relay_follows:
        print(f"{name} is no longer a device of yours. The relay does not let it in any more.")
        return
    print(f"{name} is no longer a device of yours, but the relay has not taken your new list yet: it may")
    print(f"still let {name} connect. What is said from now on, {name} cannot read all the same.")
    if await within(me, me.devices.other_list_held(), patience):
        print(OTHER_LIST_HELD)


async def _gone(me: Client, device: OwnDevice, name: str, patience: float) -> None:
    try:
        async with asyncio.timeout(patience):
            await me.devices.wait_removed(device)
    except TimeoutError:
        print(f"Not every conversation could remove {name} yet: this happens before anything else is sent.")
        print("Let this device connect again soon: coach devices list")
        return
    print(f"Every conversation has removed {name}: it cannot read what is said from now on.")


def _sure(name: str) -> bool:
    question = f"Remove {name} from your devices? It cannot read anything new then. [y/N] "
    return _asked(question).strip().lower() in ("y", "yes")


def _bars() -> Callable[[Progress], None]:
    """A line at each quarter of each history that is moved."""
    moves: dict[Phase, Callable[[int, int], None]] = {}
    doing = {Phase.UPLOAD: "sending what was said", Phase.DOWNLOAD: "receiving what was said"}

    def show(progress: Progress) -> None:
        if progress.phase in doing:
            move = moves.setdefault(progress.phase, plain_bar(print, doing[progress.phase]))
            move(progress.done, progress.total)

    return show
