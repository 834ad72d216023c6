"""`coach join`: makes the vault of one person and brings it into their engagement."""

from __future__ import annotations

import argparse
import asyncio
from typing import Any, Final

from client_sdk import Engagement, WaitReason
from client_sdk.cli.errors import Exit
from client_sdk.cli.opened import choose_engagement, connected, given_settings, name_device, within
from client_sdk.cli.options import add_command, add_vault_options
from client_sdk.cli.passphrase import known_passphrase, new_passphrase
from client_sdk.cli.printable import one_line
from client_sdk.cli.settings import load_settings, save_settings

GREETING_SECONDS: Final = 5.0
"""For being let in by somebody, and for saying one's name; they may be away, and then it happens later."""

EXAMPLES = """\
  coach join --vault anna.vault --relay https://relay.example --token-url https://portal.example/token
  COACH_TOKEN=eyJ... coach join --vault anna.vault --relay http://127.0.0.1:8470 --name "Anna"
"""


def register(commands: Any) -> None:
    """Add the command."""
    parser = add_command(
        commands,
        "join",
        about="make your vault and join the engagement that your portal opened for you",
        examples=EXAMPLES,
        run=run,
    )
    add_vault_options(parser)
    parser.add_argument("--name", help="what the others see; you can join again to change it")
    parser.add_argument(
        "--device-name", default="", help="what you call this device, for yourself (the computer's name)"
    )


async def run(args: argparse.Namespace) -> Exit:
    """Make or open the vault, connect, and remember where everything is."""
    settings = given_settings(args, load_settings(args.vault))
    is_new = not args.vault.exists()
    passphrase = None
    if not settings.keyring:
        passphrase = new_passphrase(args.vault) if is_new else known_passphrase(args.vault)
    async with connected(args.vault, settings, passphrase, name=args.name) as me:
        await within(me, me.wait_online(), args.patience)
        room = await choose_engagement(me, settings.engagement, args.patience)
        save_settings(args.vault, settings.overridden(engagement=room.id))
        await name_device(me, args.device_name)
        print(f"{'Made' if is_new else 'Opened'} {args.vault}: you are {me.user} in {room.id}.")
        await _greet(args, room)
        if me.recovery_kit_due:
            print(f"Should this device ever be lost: coach kit --vault {args.vault} prints your way back.")
    return Exit.DONE


async def _greet(args: argparse.Namespace, room: Engagement) -> None:
    try:
        async with asyncio.timeout(GREETING_SECONDS):
            await room.wait_joined()
            await room.wait_caught_up()
            await room.wait_sent()  # what this user is called
    except TimeoutError:
        print(f"With you: {one_line(str(room.people))}")
        if room.needs_acceptance:
            print(WaitReason.NOT_ACCEPTED.value)
            print("To come back with your kit instead, into another vault: coach recover")
            return
        print("Nobody else was online: once they are, they let your device in, or join it themselves.")
        print("Until then, what you say waits in your vault. To wait for them:")
        print(f"  coach read --vault {args.vault} --follow")
        return
    print(f"With you: {one_line(str(room.people))}")
    print(f'Say something: coach send --vault {args.vault} "Hello"')
    if not all(person.verified for person in room.people):
        print(f"Make sure that it is really them: coach verify --vault {args.vault}")
