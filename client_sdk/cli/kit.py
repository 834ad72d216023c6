"""`coach kit`: makes the recovery kit, the page with the twelve words that bring a person back."""

from __future__ import annotations

import argparse
import os
import secrets
import sys
from pathlib import Path
from typing import Any, Final

from client_sdk import Client
from client_sdk.cli.asking import ask
from client_sdk.cli.errors import CliError, Exit
from client_sdk.cli.opened import opened_vault
from client_sdk.cli.options import add_command, add_vault_options
from client_sdk.client import KIT_WORDS_ASKED
from client_sdk.errors import RecoveryWordsInvalid
from client_sdk.kit import RecoveryKit, kit_pdf, kit_text

TRIES: Final = 3
"""Wrong words before the person is sent back to the page."""

EXAMPLES = """\
  coach kit --vault anna.vault                      shows the page, to be copied by hand onto paper
  coach kit --vault anna.vault --pdf kit.pdf        writes it to be printed; delete the file afterwards
  coach kit --vault anna.vault --text kit.txt
"""


def register(commands: Any) -> None:
    """Add the command."""
    parser = add_command(
        commands,
        "kit",
        about="make your recovery kit: a page that brings you back when your device is lost",
        examples=EXAMPLES,
        run=run,
    )
    parser.add_argument("--pdf", type=Path, metavar="FILE", help="write the page as PDF")
    parser.add_argument("--text", type=Path, metavar="FILE", help="write the page as plain text")
    parser.add_argument(
        "--printed", action="store_true", help="it is on paper: do not ask, and forget the words here"
    )
    add_vault_options(parser)


async def run(args: argparse.Namespace) -> Exit:
    """Show or write the page, and once it is on paper, have the device forget its words."""
    async with opened_vault(args) as me:
        if not me.recovery_kit_due:
            print("Your recovery kit was made before. Its words are on that page and nowhere else.")
            return Exit.DONE
        kit = me.recovery_kit()
        written = _write(args, kit)
        if not written:
            print(kit_text(kit))
        if args.printed:
            await me.recovery_kit_made(dict(enumerate(kit.words, 1)))
        elif not await _confirmed(me):
            print("Your device keeps the words until you have confirmed the page: coach kit")
            return Exit.DONE
        print("Done. The words are on your page alone; this device has forgotten them.")
        for path in written:
            print(f"Delete {path} now that it is printed: whoever has it can take your place.")
    return Exit.DONE


def _write(args: argparse.Namespace, kit: RecoveryKit) -> list[Path]:
    written = []
    for path, make in ((args.pdf, kit_pdf), (args.text, lambda kit: kit_text(kit).encode())):
        if path is not None:
            _write_new(path, make(kit))
            print(f"Wrote {path}. Print it.")
            written.append(path)
    return written


def _write_new(path: Path, data: bytes) -> None:
    """A file that only this user reads; what stands there already is never overwritten."""
    try:
        with os.fdopen(os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "wb") as file:
            file.write(data)
    except FileExistsError:
        raise CliError(f"There is a file {path} already.", do="Name another one.") from None
    except OSError as error:
        raise CliError(f"{path} could not be written: {error.strerror}.", do="Name another one.") from None


async def _confirmed(me: Client) -> bool:
    """Ask for two words off the page; False where nobody can be asked, or the words stay wrong."""
    if not sys.stdin.isatty():
        return False
    print("When it is on paper, type two of its words, so that none is lost by a slip.")
    for _ in range(TRIES):
        numbers = sorted(secrets.SystemRandom().sample(range(1, 13), KIT_WORDS_ASKED))
        typed = {number: ask(f"Word {number}: ") for number in numbers}
        try:
            await me.recovery_kit_made(typed)
        except RecoveryWordsInvalid as error:
            print(error)
        else:
            return True
    return False
