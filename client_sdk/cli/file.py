"""`coach file`: sends a sealed file, and saves one that came."""

from __future__ import annotations

import argparse
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager, suppress
from pathlib import Path
from typing import Any, Final

from rich.console import Console
from rich.progress import TextColumn

from client_sdk.attachments import Phase, Progress
from client_sdk.cli.errors import CliError, Exit
from client_sdk.cli.opened import Opened, opened
from client_sdk.cli.options import add_command, add_vault_options
from client_sdk.cli.printable import one_line
from client_sdk.cli.progress import Move, Moving, live_bar, megabytes, plain_bar
from client_sdk.cli.reading import find_item, newest
from client_sdk.cli.sending import report_sent
from client_sdk.engine import FileItem

EXAMPLES = """\
  coach file send --vault anna.vault plan.pdf
  coach file save --vault ben.vault --into inbox
"""
SEND_EXAMPLES = """\
  coach file send --vault anna.vault plan.pdf       cut off, it goes on with the next coach command
"""
SAVE_EXAMPLES = """\
  coach file save --vault ben.vault                 the newest file, into this folder
  coach file save --vault ben.vault 3fa92c01 --into inbox
"""

_DOING: Final = {
    Phase.SEAL: "sealing",
    Phase.UPLOAD: "sending",
    Phase.DOWNLOAD: "receiving",
    Phase.OPEN: "opening",
}


def register(commands: Any) -> None:
    """Add the command and its two actions."""
    parser = add_command(
        commands, "file", about="send a file, or save one that came", examples=EXAMPLES, run=None
    )
    actions = parser.add_subparsers(title="actions", metavar="ACTION", required=True)
    sending = add_command(actions, "send", about="send a file", examples=SEND_EXAMPLES, run=send)
    sending.add_argument("path", type=Path, help="the file")
    add_vault_options(sending)
    saving = add_command(actions, "save", about="save a file that came", examples=SAVE_EXAMPLES, run=save)
    saving.add_argument(
        "id", nargs="?", default="", help="which one, as `coach read` shows it; else the newest"
    )
    saving.add_argument("--into", type=Path, default=Path(), metavar="FOLDER", help="where to (this folder)")
    saving.add_argument("--overwrite", action="store_true", help="replace a file of the same name")
    add_vault_options(saving)


async def send(args: argparse.Namespace) -> Exit:
    """Seal a file, upload it, and wait until the relay has it all."""
    if not args.path.is_file():
        raise CliError(f"There is no file {args.path}.", exit_code=Exit.USAGE)
    async with opened(args) as here:
        moving = Moving(here.patience)
        with _transfer() as transfer:

            def tell(progress: Progress) -> None:
                moving(progress)
                transfer(progress)

            await here.room.send_file(args.path, progress=tell)
            with suppress(TimeoutError):  # what stalls is for `report_sent` to tell
                await moving.wait(here.room.wait_sent())
        return await report_sent(here, f"The file {args.path.name}")


async def save(args: argparse.Namespace) -> Exit:
    """Download a file, check it, and give it its name."""
    async with opened(args) as here:
        await here.catch_up()
        item = await _wanted(here, args.id)
        args.into.mkdir(parents=True, exist_ok=True)
        with _transfer() as transfer:
            path = await item.save(args.into, overwrite=args.overwrite, progress=transfer)
    print(f"Saved {path} ({megabytes(item.size)}), sent by {one_line(item.sender.name)}.")
    return Exit.DONE


async def _wanted(here: Opened, prefix: str) -> FileItem:
    if prefix:
        return await find_item(here.room, prefix, FileItem, "file")
    return await newest(here.room, FileItem, "file")


class _Transfer:
    """Shows each phase of a transfer by a bar of its own."""

    def __init__(self, stack: ExitStack) -> None:
        self._stack = stack
        self._console = Console(highlight=False)
        self._phase: Phase | None = None
        self._move: Move | None = None

    def __call__(self, progress: Progress) -> None:
        """Take what the SDK tells."""
        if progress.phase is not self._phase or self._move is None:
            self._phase = progress.phase
            self._move = self._bar(_DOING[progress.phase])
        self._move(progress.done, progress.total)

    def _bar(self, what: str) -> Move:
        if not self._console.is_terminal:
            return plain_bar(lambda line: print(line, flush=True), what)
        self._stack.close()
        return self._stack.enter_context(live_bar(self._console, TextColumn(""), what))


@contextmanager
def _transfer() -> Iterator[_Transfer]:
    with ExitStack() as stack:
        yield _Transfer(stack)
