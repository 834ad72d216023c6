"""`coach export`: writes a conversation into a folder, to be read without this program."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Final

from rich.console import Console
from rich.progress import TextColumn

from client_sdk.attachments import AttachmentError, Phase, Progress
from client_sdk.cli.asking import ask
from client_sdk.cli.errors import CliError, Exit
from client_sdk.cli.exporting import FILES, PAGE, Exported, existing, write
from client_sdk.cli.opened import Opened, opened
from client_sdk.cli.options import add_command, add_vault_options
from client_sdk.cli.progress import Move, Moving, live_bar, plain_bar
from client_sdk.cli.reading import whole_history
from client_sdk.cli.showing import short_id
from client_sdk.engine import AnyItem, FileItem
from client_sdk.errors import RelayError, RelayUnreachable

EXAMPLES = """\
  coach export --vault anna.vault ben-2026          a page, plain text and JSON, with the files
  coach export --vault anna.vault ben-2026 --no-files
"""


def register(commands: Any) -> None:
    """Add the command."""
    parser = add_command(
        commands,
        "export",
        about="write the conversation into a folder: a page to read, plain text, JSON, and the files",
        examples=EXAMPLES,
        run=run,
    )
    parser.add_argument("folder", type=Path, help="where to; it is made if it is not there")
    parser.add_argument("--no-files", action="store_true", help="leave the files out")
    parser.add_argument("--overwrite", action="store_true", help="replace an earlier export without asking")
    add_vault_options(parser)


async def run(args: argparse.Namespace) -> Exit:
    """Write everything that this device has of the conversation."""
    if not _may_write(args):
        print("Nothing was written.")
        return Exit.DONE
    async with opened(args) as here:
        await here.catch_up()
        items = [item async for item in whole_history(here.room)][::-1]
        try:
            args.folder.mkdir(mode=0o700, parents=True, exist_ok=True)
            files, missing = ({}, {}) if args.no_files else await _save_files(here, args, items)
            write(args.folder, _exported(here, items, files, missing))
        except OSError as error:
            raise CliError(f"{args.folder} could not be written: {error.strerror}.") from None
    print(f"Wrote {len(items)} items and {len(files)} files. Read {args.folder / PAGE}")
    if missing:
        print(f"{len(missing)} files could not be fetched; the page says which, and why.")
    print("Everybody who opens this folder can read it: it is not encrypted any more.")
    return Exit.DONE


def _may_write(args: argparse.Namespace) -> bool:
    there = existing(args.folder)
    if not there or args.overwrite:
        return True
    names = ", ".join(path.name for path in there)
    if not sys.stdin.isatty():
        raise CliError(
            f"There is {names} in {args.folder} already.", do="Replace it: --overwrite", exit_code=Exit.USAGE
        )
    return ask(f"There is {names} in {args.folder} already. Replace it? [y/N] ").strip().lower() in (
        "y",
        "yes",
    )


_MISSING: Final = "This file could not be fetched: "


async def _save_files(
    here: Opened, args: argparse.Namespace, items: list[AnyItem]
) -> tuple[dict[bytes, str], dict[bytes, str]]:
    """Where each file was saved, and why some were not; each has a folder of its own: names may repeat."""
    saved: dict[bytes, str] = {}
    missing: dict[bytes, str] = {}
    files = [item for item in items if isinstance(item, FileItem)]
    if not files:
        return saved, missing
    is_away = False
    with _bar_of(files) as begin:
        for item in files:
            if is_away and not here.me.online:  # one wait is enough for all of them
                missing[item.id] = f"{_MISSING}There is no connection to the relay."
                continue
            folder = args.folder / FILES / short_id(item)
            folder.mkdir(mode=0o700, parents=True, exist_ok=True)
            try:
                path = await _fetch(here, item, folder, begin(item))
                saved[item.id] = path.relative_to(args.folder).as_posix()
            except (AttachmentError, RelayError) as error:
                missing[item.id] = f"{_MISSING}{error}"
                is_away = isinstance(error, RelayUnreachable)
    return saved, missing


async def _fetch(here: Opened, item: FileItem, folder: Path, tell: Callable[[Progress], None]) -> Path:
    """Save a file, however long it takes, as long as something of it moves."""
    moving = Moving(here.patience)

    def progress(progress: Progress) -> None:
        moving(progress)
        tell(progress)

    try:
        return await moving.wait(item.save(folder, overwrite=True, progress=progress))
    except TimeoutError:
        raise RelayUnreachable(f"Nothing of it came for {here.patience:.0f} s.") from None


@contextmanager
def _bar_of(files: Sequence[FileItem]) -> Iterator[Callable[[FileItem], Callable[[Progress], None]]]:
    """Show how much of all the files is here; the block gets what makes a file's progress move that."""
    console = Console(highlight=False)
    if console.is_terminal:
        with live_bar(console, TextColumn(""), "fetching files") as move:
            yield _Sum(files, move)
    else:
        yield _Sum(files, plain_bar(lambda line: print(line, flush=True), "fetching files"))


class _Sum:
    """One bar for several files, fetched one after the other."""

    def __init__(self, files: Sequence[FileItem], move: Move) -> None:
        self._total = sum(item.sealed_size for item in files)
        self._before = 0
        self._move = move

    def __call__(self, item: FileItem) -> Callable[[Progress], None]:
        """What takes the progress of the next file."""
        before, self._before = self._before, self._before + item.sealed_size

        def tell(progress: Progress) -> None:
            if progress.phase is Phase.DOWNLOAD:
                self._move(before + progress.done, self._total)

        return tell


def _exported(
    here: Opened, items: list[AnyItem], files: dict[bytes, str], missing: dict[bytes, str]
) -> Exported:
    return Exported(
        engagement=here.room.id,
        me=here.room.me.name,
        people=[person.name for person in here.room.people],
        at=datetime.now(UTC),
        items=items,
        files=files,
        missing=missing,
    )
