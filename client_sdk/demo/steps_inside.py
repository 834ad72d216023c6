"""What the relay holds: listed in plain words, and searched for everything that was said."""

from __future__ import annotations

import asyncio
import secrets
from itertools import chain
from pathlib import Path
from typing import Final

from client_sdk.cli.progress import megabytes
from client_sdk.demo.errors import DemoError
from client_sdk.demo.holdings import list_holdings, newest_entry
from client_sdk.demo.search import Needle, search
from client_sdk.demo.stage import Stage

WAITING: Final = (
    "Before Thursday, write down the sentence you would say if nobody could be offended.",
    "And sleep. You earned it.",
)


async def look_inside(stage: Stage) -> None:
    """List what the relay keeps, and search all of it, at every moment of the story, for what was said."""
    await _leave_something(stage)
    await _show_holdings(stage)
    stage.said.secret("private keys", await _private_keys(stage))
    await _search(stage)
    await _show_that_it_would_find(stage)


async def _leave_something(stage: Stage) -> None:
    """Have messages wait at the relay: what everybody has received, it has erased already."""
    await stage.ben.close()
    for words in WAITING:
        await stage.anna.ask("send", text=words)
    await stage.anna.ask("wait_sent")
    stage.said.text("messages", *WAITING)
    stage.screen.note(
        "What everybody has received, the relay has erased already. So that there is something to see, Ben "
        f"went away again and Anna wrote {len(WAITING)} more messages, which now wait for him."
    )


async def _show_holdings(stage: Stage) -> None:
    copy = await stage.copy_relay_files("end")
    holdings = await asyncio.to_thread(list_holdings, copy / "data")
    columns = ("What it keeps", "Number", "Size", "What it can tell from that")
    stage.screen.table(columns, [holding.row() for holding in holdings])
    entry = await asyncio.to_thread(newest_entry, copy / "data")
    if entry is None:
        raise DemoError("no message waits at the relay, and one should")
    stage.screen.says("Anna", WAITING[-1])
    stage.screen.did("Relay", f"has this as {len(entry.body)} bytes: {entry.body[:24].hex(' ')} …")


async def _private_keys(stage: Stage) -> list[bytes]:
    await stage.ben.start()
    await stage.ben.ask("unlock")
    keys = await stage.both("keys")
    return [bytes.fromhex(key) for key in chain(*keys)]


async def _search(stage: Stage) -> None:
    needles = stage.said.needles
    result = await asyncio.to_thread(search, stage.copies, needles)
    stage.screen.did(
        "",
        f"Searched: all files of the relay (databases, sealed files, log) as they were at "
        f"{len(stage.copies)} moments of this story, {megabytes(result.size)} in all, for:",
    )
    found = result.found()
    rows = [
        (what, str(count), "FOUND" if what in found else "not found")
        for what, count in stage.said.counts().items()
    ]
    stage.screen.table(("What was said or kept", "Number", "At the relay"), rows)
    stage.check_equal(
        f"none of the {len(needles)} is there, as it is or as UTF-16, JSON, hex or base64",
        expected=[],
        found=[f"{hit.what} in {hit.file} at byte {hit.offset}" for hit in result.hits],
    )


async def _show_that_it_would_find(stage: Stage) -> None:
    """The control: a search that finds nothing proves something only if it finds what is there."""
    databases = stage.copies[-1] / "data"
    visible = {"the engagement's id": stage.engagement, "the user id anna": "anna", "the user id ben": "ben"}
    needles = [Needle(what, text.encode()) for what, text in visible.items()]
    result = await asyncio.to_thread(search, [databases], needles, pattern="*.db*", shortest=3)
    stage.check_equal(
        f"the same search does find what the relay must know: {', '.join(visible)}",
        expected=set(visible),
        found=result.found(),
    )
    planted = await asyncio.to_thread(plant, stage.folder / "planted", stage.said.needles)
    result = await asyncio.to_thread(search, [planted], stage.said.needles)
    stage.check_equal(
        "hidden in a file of random bytes for a trial, every one of them is found",
        expected=set(stage.said.counts()),
        found=result.found(),
    )


def plant(folder: Path, needles: list[Needle]) -> Path:
    """Hide everything in a file between random bytes; the folder it is in."""
    folder.mkdir()
    with (folder / "planted").open("wb") as file:
        for needle in needles:
            file.write(secrets.token_bytes(997) + needle.value)
    return folder
