"""`coach recover`: comes back on an empty device with the words of the recovery kit."""

from __future__ import annotations

import argparse
import asyncio
import sys
from datetime import datetime
from pathlib import Path
from typing import Any, Final

from client_sdk import Client, Engagement
from client_sdk.cli.asking import ask
from client_sdk.cli.errors import CliError, Exit
from client_sdk.cli.opened import choose_engagement, connected, given_settings, name_device, within
from client_sdk.cli.options import add_command, add_vault_options
from client_sdk.cli.passphrase import known_passphrase, new_passphrase
from client_sdk.cli.printable import one_line
from client_sdk.cli.settings import load_settings, save_settings
from client_sdk.cli.tokens import token_source
from client_sdk.engine.recovering import Recovered
from client_sdk.errors import RecoveryWordsInvalid
from client_sdk.identity import RecoverySeed, recovery_word, split_words, words_like
from client_sdk.identity.recovery import WORDS

WAIT_SECONDS: Final = 10.0
"""For somebody who lets the new device in; they may be away, and then it happens later."""

TRIES: Final = 3
MOST_READ: Final = 4096

EXAMPLES = """\
  coach recover --vault new.vault --relay https://relay.example \\
        --token-url https://portal.example/token    asks for the twelve words on your page
  coach recover --vault new.vault --relay https://relay.example \\
        --token-url https://portal.example/token --words-from kit.txt
"""


def register(commands: Any) -> None:
    """Add the command."""
    parser = add_command(
        commands,
        "recover",
        about="come back on a new device with your recovery kit; lost devices are shut out",
        examples=EXAMPLES,
        run=run,
    )
    add_vault_options(parser)
    parser.add_argument("--name", default="", help="what the others see")
    parser.add_argument(
        "--words-from", type=Path, metavar="FILE", help="the twelve words in a file; - is the standard input"
    )
    parser.add_argument(
        "--anyway",
        action="store_true",
        help="go on although no earlier device of yours at the relay knows these words",
    )


async def run(args: argparse.Namespace) -> Exit:
    """Make the vault from the words, bring back what was archived, and wait to be let in."""
    settings = given_settings(args, load_settings(args.vault))
    words = _words(args)
    passphrase = None
    if not settings.keyring:
        passphrase = known_passphrase(args.vault) if args.vault.exists() else new_passphrase(args.vault)
    shown = _Restored()
    print("Looking for you at the relay ...", flush=True)
    try:
        recovered = await Client.recover(
            args.vault,
            words=words,
            relay=settings.relay,
            token=token_source(settings),
            passphrase=passphrase,
            keyring=passphrase is None,
            name=args.name,
            unchecked=args.anyway,
            on_restored=shown.tell,
        )
    finally:
        shown.end()
    print(f"Welcome back. {args.vault} is your vault now; your page stays valid.")
    _tell(recovered)
    async with connected(args.vault, settings, passphrase) as me:
        await within(me, me.wait_online(), args.patience)
        room = await choose_engagement(me, settings.engagement, args.patience)
        save_settings(args.vault, settings.overridden(engagement=room.id))
        await name_device(me)
        await _wait(args, room)
        print("Your safety number is a new one. Compare it with the others:")
        print(f"  coach verify --vault {args.vault}")
    return Exit.DONE


class _Restored:
    """How much of the archive is back, in a line that changes, where a person reads it."""

    def __init__(self) -> None:
        self._is_open = False

    def tell(self, items: int) -> None:
        """So many items are back."""
        if sys.stderr.isatty():
            self._is_open = True
            print(f"\r{items} items restored", end="", file=sys.stderr, flush=True)

    def end(self) -> None:
        """What is said next begins in a line of its own."""
        if self._is_open:
            print(file=sys.stderr)


def _tell(recovered: Recovered) -> None:
    count = recovered.conversations
    print(f"You take part in {count} conversation{'' if count == 1 else 's'}.")
    if recovered.until_ms:
        until = datetime.fromtimestamp(recovered.until_ms / 1000).astimezone()
        print(
            f"{recovered.items} items came back from your archive, which reaches to {until:%Y-%m-%d %H:%M}."
        )
    else:
        print("There is no archive of yours: what was said before is not on this device.")
    if recovered.broken:
        print(
            "A PART OF YOUR ARCHIVE IS MISSING: the relay lost, withheld or altered it. Ask whoever runs it."
        )


async def _wait(args: argparse.Namespace, room: Engagement) -> None:
    print("Waiting for somebody whose device lets you in ...", flush=True)
    try:
        async with asyncio.timeout(WAIT_SECONDS):
            await room.wait_joined()
    except TimeoutError:
        print("Nobody else is online. Once they are, their device lets you in, and shuts your lost ones out.")
        print(f"To wait for them: coach read --vault {args.vault} --follow")
    else:
        print(f"You are back, and your earlier devices are out. With you: {one_line(str(room.people))}")


def _words(args: argparse.Namespace) -> str:
    if args.words_from is not None:
        return _read(args.words_from)
    if not sys.stdin.isatty():
        raise CliError(
            "The recovery words are needed, and there is no terminal to ask on.",
            do="Give them in a file: --words-from FILE (- reads them from the standard input).",
            exit_code=Exit.USAGE,
        )
    print("Type the twelve words on your page in their order, one or several at a time.")
    print("Four letters of each are enough.")
    for _ in range(TRIES - 1):
        words = " ".join(_asked())
        try:
            RecoverySeed.from_words(words)
        except RecoveryWordsInvalid as error:
            print(f"{error} Once more from the first word.")
        else:
            return words
    return " ".join(_asked())


def _asked() -> list[str]:
    """Twelve words of the list, each asked for until it is one."""
    words: list[str] = []
    while len(words) < WORDS:
        for typed in split_words(ask(f"{len(words) + 1}. ")):
            try:
                words.append(recovery_word(len(words) + 1, typed))
            except RecoveryWordsInvalid as error:
                print(f"{error}{_meant(typed)}")
                break
    return words[:WORDS]


def _meant(typed: str) -> str:
    like = words_like(typed)
    return f" Is it {' or '.join(like)}?" if like else ""


def _read(path: Path) -> str:
    try:
        return sys.stdin.read(MOST_READ) if str(path) == "-" else path.read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError):
        raise CliError(f"{path} cannot be read.", exit_code=Exit.USAGE) from None
