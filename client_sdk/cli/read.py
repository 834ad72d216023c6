"""`coach read`: shows what was said, and what comes, live."""

from __future__ import annotations

import argparse
import asyncio
import contextlib
import os
import sys
from collections import deque
from collections.abc import AsyncIterator
from typing import Any, Final

from client_sdk import Changed, Engagement, Item, Ring, SecurityAlarm, Text
from client_sdk.cli.errors import AlarmShown, Exit, complain
from client_sdk.cli.opened import Opened, opened
from client_sdk.cli.options import add_command, add_vault_options
from client_sdk.cli.printable import one_line
from client_sdk.cli.showing import Shown, changed
from client_sdk.engine import AnyItem
from client_sdk.errors import CoachRelayError

MOST: Final = 500
"""Items that one command shows of the history."""

MOST_RINGS: Final = 16
"""Calls that ring at a time and are followed to their end."""

MOMENT: Final = 2.0
"""Seconds that a command waits until the others are told what was read."""

LINE_BYTES: Final = 64 * 1024
"""More than a terminal hands over at once."""

EXAMPLES = """\
  coach read --vault ben.vault                       the newest 20 items
  coach read --vault ben.vault --limit 100 --search Thursday
  coach read --vault ben.vault --ids                 with what `coach edit` and others call each item
  coach read --vault ben.vault --follow              and what comes; type a line to answer; Ctrl-C ends
"""


def register(commands: Any) -> None:
    """Add the command."""
    parser = add_command(
        commands, "read", about="show what was said, and what comes", examples=EXAMPLES, run=run
    )
    parser.add_argument(
        "--follow", action="store_true", help="go on showing what comes; lines typed are sent"
    )
    parser.add_argument("--limit", type=_limit, default=20, metavar="NUMBER", help="items to show (20)")
    parser.add_argument("--ids", action="store_true", help="show the id by which commands name each item")
    parser.add_argument("--unseen", action="store_true", help="do not tell the others that you read it")
    parser.add_argument("--search", metavar="WORDS", help="only items that contain this")
    add_vault_options(parser)


async def run(args: argparse.Namespace) -> Exit:
    """Catch up, show the history, and follow if told so."""
    async with opened(args) as here:
        await here.catch_up()
        shown = Shown(ids=args.ids)
        found = await here.room.history(limit=args.limit, search=args.search)
        if not found:  # beside the output, which is the history alone
            said = f"Nothing here contains “{args.search}”." if args.search else "Nothing has been said yet."
            print(said, file=sys.stderr)
        for item in reversed(found):
            print(shown.text_of(item, await _answered(here.room, item)))
        if not (args.search or args.unseen):
            await _mark_read(here.room)
        if args.follow:
            await _follow(here, shown, unseen=args.unseen)
    return Exit.DONE


async def _mark_read(room: Engagement) -> None:
    """Let the others know, if that is wished and can be done in a moment; else the next command tells it."""
    for item in await room.history(limit=1):
        await room.mark_read(item)
    with contextlib.suppress(TimeoutError, CoachRelayError):
        async with asyncio.timeout(MOMENT):
            await room.wait_sent()


async def _answered(room: Engagement, item: Item) -> AnyItem | None:
    """Return what an item replies to, if that is here."""
    if isinstance(item, Text) and item.reply_to is not None:
        return await room.item(item.reply_to)
    return None


async def _follow(here: Opened, shown: Shown, *, unseen: bool) -> None:
    print("-- live from here; Ctrl-C ends", flush=True)
    tasks = [asyncio.create_task(_show_new(here.room, shown, unseen=unseen))]
    if sys.stdin.isatty():
        tasks.append(asyncio.create_task(_send_typed(here.room)))
    try:
        ended, _others = await asyncio.wait(tasks, return_when=asyncio.FIRST_COMPLETED)
        for task in ended:
            task.result()  # nothing more is typed (Ctrl-D), or what came is an alarm
        print()
    except asyncio.CancelledError:  # Ctrl-C is how this ends: nothing is wrong
        print()
    finally:
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)


async def _show_new(room: Engagement, shown: Shown, *, unseen: bool) -> None:
    rings: deque[asyncio.Task[None]] = deque(maxlen=MOST_RINGS)  # kept, else they could vanish
    async for item in room.items():
        if isinstance(item, Ring):
            print(
                f"** {one_line(item.sender.name)} is calling. Press Ctrl-C and type: coach call answer",
                flush=True,
            )
            rings.append(asyncio.create_task(_say_when_over(item)))
        elif isinstance(item, Changed):
            print(changed(item), flush=True)
        elif not shown.has(item):
            print(shown.text_of(item, await _answered(room, item)), flush=True)
            if not unseen:
                await room.mark_read(item)


async def _say_when_over(ring: Ring) -> None:
    print(f"** {one_line(await ring.over())}", flush=True)


async def _send_typed(room: Engagement) -> None:
    async for line in _typed_lines():
        try:
            await room.send(line)
        except SecurityAlarm as alarm:
            complain(AlarmShown(room.said(alarm), alarm))
        except CoachRelayError as error:
            complain(error)


async def _typed_lines() -> AsyncIterator[str]:
    """Yield the lines that are typed into the terminal, which hands each over when it is whole."""
    terminal, loop = sys.stdin.fileno(), asyncio.get_running_loop()
    typed: asyncio.Queue[bytes] = asyncio.Queue()
    # Not connect_read_pipe: it would make the terminal, which our output shares, non-blocking.
    loop.add_reader(terminal, lambda: typed.put_nowait(os.read(terminal, LINE_BYTES)))
    try:
        while line := await typed.get():
            words = line.decode("utf-8", "replace").rstrip("\n")
            if words.strip():
                yield words
    finally:
        loop.remove_reader(terminal)


def _limit(text: str) -> int:
    value = int(text) if text.isdecimal() else 0
    if not 1 <= value <= MOST:
        raise argparse.ArgumentTypeError(f"a number from 1 to {MOST}, not {text}")
    return value
