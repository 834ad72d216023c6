"""What the relay holds: listed in plain words, and searched for everything that was said."""

from __future__ import annotations

import asyncio
import secrets
from pathlib import Path
from typing import Final

from client_sdk.cli.progress import megabytes
from client_sdk.demo.errors import DemoError
from client_sdk.demo.holdings import list_holdings, newest_entry
from client_sdk.demo.keys import read_secrets
from client_sdk.demo.search import Needle, search
from client_sdk.demo.stage import Stage
from client_sdk.demo.steps_files import write_journal

WAITING: Final = (
    "Before Thursday, write down the sentence you would say if nobody could be offended.",
    "And sleep. You earned it.",
)
WORKSHEET: Final = "worksheet for Thursday.txt"
WORKSHEET_BYTES: Final = 300_000


async def look_inside(stage: Stage) -> None:
    """List what the relay keeps, and search all of it, at every moment of the story, for what was said."""
    await _leave_something(stage)
    await _show_holdings(stage)
    await _collect_keys(stage)
    await _search(stage)
    await _show_that_it_would_find(stage)


async def _leave_something(stage: Stage) -> None:
    """Have something wait at the relay: messages that everybody has, it has erased already."""
    await stage.ben.close()
    worksheet = await asyncio.to_thread(write_journal, stage.folder / "anna" / WORKSHEET, WORKSHEET_BYTES)
    stage.said.file(worksheet)
    await stage.anna.ask("send_file", path=str(worksheet))
    await stage.anna.ask("wait_sent")
    for words in WAITING:
        await stage.anna.ask("send", text=words)
    await stage.anna.ask("wait_sent")
    stage.said.text("messages", *WAITING)
    stage.screen.note(
        "Messages that both have received, the relay has erased already; a sealed file stays for its agreed "
        "time, so that it can still be saved. So that there is something to see, Ben went away again, and "
        f"Anna sent {len(WAITING)} more messages and a file, which wait for him."
    )


async def _show_holdings(stage: Stage) -> None:
    copy = await stage.copy_relay_files("end")
    holdings = await asyncio.to_thread(list_holdings, copy / "data")
    columns = ("What it keeps", "Number", "Size", "What it can tell from that")
    stage.screen.table(columns, [holding.row() for holding in holdings if holding.count])
    entry = await asyncio.to_thread(newest_entry, copy / "data")
    if entry is None:
        raise DemoError("no message waits at the relay, and one should", log=stage.relay.log)
    stage.screen.note("One message, as Anna wrote it and as the relay has it:")
    stage.screen.says("Anna", WAITING[-1])
    stage.screen.did("Relay", f"{entry.body[:20].hex(' ')} … ({len(entry.body)} bytes, padded)")


async def _collect_keys(stage: Stage) -> None:
    await stage.anna.close()
    for actor in (stage.anna, stage.ben):
        keys, secrets = await asyncio.to_thread(read_secrets, actor.vault, actor.passphrase, stage.engagement)
        stage.said.secret("private keys", keys)
        stage.said.secret("secrets of the conversation", secrets)
        stage.said.text("passphrases", actor.passphrase)


async def _search(stage: Stage) -> None:
    needles = stage.said.needles
    result = await asyncio.to_thread(search, stage.copies, needles)
    stage.screen.note(
        f"Now the search: all files of the relay, its databases, the sealed files and its log, as they "
        f"were at {len(stage.copies)} moments of this story ({megabytes(result.size)}), are searched for:"
    )
    found = result.found()
    rows = [
        (what, str(count), "FOUND" if what in found else "not found")
        for what, count in stage.said.counts().items()
    ]
    stage.screen.table(("What nobody else may have", "Number", "At the relay"), rows)
    stage.check_equal(
        f"none of these {len(needles)} is there, neither as it is nor as UTF-16, JSON, hex or base64",
        expected=[],
        found=[f"{hit.what} in {hit.file} at byte {hit.offset}" for hit in result.hits],
    )


async def _show_that_it_would_find(stage: Stage) -> None:
    """The control: a search that finds nothing proves something only if it finds what is there."""
    visible = {"the engagement's id": stage.engagement, "the user id anna": "anna", "the user id ben": "ben"}
    needles = [Needle(what, text.encode()) for what, text in visible.items()]
    databases = stage.copies[-1] / "data"
    result = await asyncio.to_thread(search, [databases], needles, pattern="*.db*", shortest=3)
    stage.check_equal(
        f"the same search does find what the relay has to know: {', '.join(visible)}",
        expected=set(visible),
        found=result.found(),
    )
    planted = await asyncio.to_thread(plant, stage.folder / "planted", stage.said.needles)
    result = await asyncio.to_thread(search, [planted], stage.said.needles)
    stage.check_equal(
        f"hidden among random bytes for a trial, all {len(stage.said.needles)} are found",
        expected=len(stage.said.needles),
        found=len({(hit.what, hit.offset) for hit in result.hits}),
    )


def plant(folder: Path, needles: list[Needle]) -> Path:
    """Hide everything in a file, between random bytes; the folder it is in."""
    folder.mkdir()
    with (folder / "planted").open("wb") as file:
        for needle in needles:
            file.write(secrets.token_bytes(997) + needle.value)
    return folder
