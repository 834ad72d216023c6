"""A large file whose sender crashes in the middle of the upload."""

from __future__ import annotations

import asyncio
import hashlib
import secrets
from collections.abc import Callable
from pathlib import Path
from typing import Final

from client_sdk.cli.progress import Move, megabytes
from client_sdk.demo.actors import Event, ignore
from client_sdk.demo.errors import DemoError
from client_sdk.demo.stage import Stage
from client_sdk.demo.steps_talking import come_back

FILE_NAME: Final = "journal of Ben Okafor.txt"
CUT_AT: Final = 0.5
TRANSFER_PATIENCE: Final = 60.0
SETTLING: Final = 0.3
"""Seconds in which nothing is added any more when nothing comes any more."""
MOST_TWICE: Final = 4_500_000
"""Bytes that may go twice: the piece under way when the line was cut, and what surrounds the file."""


async def send_file(stage: Stage) -> None:
    """Anna sends, crashes, comes back; Ben saves and compares."""
    source = await asyncio.to_thread(
        write_journal, stage.folder / "anna" / FILE_NAME, stage.options.file_bytes
    )
    stage.said.file(source)
    size = source.stat().st_size
    stage.screen.did("Anna", f"sends “{source.name}”, {megabytes(size)}")
    before_crash = await _send_until_cut(stage, source)
    kept = await _settled(stage)
    await stage.copy_relay_files("upload-cut")
    stage.screen.did("Relay", f"has {megabytes(kept)} of the sealed file so far")
    first, sealed, after_crash = await _continue(stage)
    stage.check(
        f"the upload went on where the relay had stopped receiving, at {megabytes(first)}",
        0 < kept <= first <= before_crash,
        expected=f"at least the {kept:,} bytes that the relay had kept, and more than 0",
        found=f"{first:,} bytes",
    )
    twice = before_crash + after_crash - sealed
    stage.check(
        f"{megabytes(before_crash + after_crash)} went over Anna's line for a sealed file of "
        f"{megabytes(sealed)}: only {megabytes(max(0, twice))} were sent again, or went with it",
        twice <= MOST_TWICE,
        expected=f"at most {MOST_TWICE:,} bytes more than the sealed file",
        found=f"{twice:,} bytes more",
    )
    await _receive(stage, source)


async def _send_until_cut(stage: Stage, source: Path) -> int:
    """Send until half is gone and kill the sender; how many bytes went over her line."""
    line, size = stage.line, source.stat().st_size
    before = line.sent
    with stage.screen.progress("Anna", "uploads") as move:
        line.watch(lambda sent: move(sent - before, size))
        line.stop_after(int(size * CUT_AT))
        await stage.anna.ask("send_file", path=str(source), patience=TRANSFER_PATIENCE)
        await _stopped(stage)
        await stage.anna.kill()
        line.watch(None)
    line.resume()
    stage.screen.did("Anna", f"{stage.screen.marks.cut} her program was killed in the middle of the upload")
    return line.sent - before


async def _stopped(stage: Stage) -> None:
    try:
        await asyncio.wait_for(stage.line.stopped.wait(), TRANSFER_PATIENCE)
    except TimeoutError:
        raise DemoError(
            "half of the file did not leave Anna's computer in time", log=stage.anna.log
        ) from None


async def _settled(stage: Stage) -> int:
    """How many bytes of files the relay has, once it has dealt with all that had reached it."""
    before, now = -1, stage.relay.blob_bytes()
    while now != before:
        await asyncio.sleep(SETTLING)
        before, now = now, stage.relay.blob_bytes()
    return now


async def _continue(stage: Stage) -> tuple[int, int, int]:
    """Start Anna's program again: where the upload went on, the sealed size, what went over her line."""
    seen, before = len(stage.anna.events), stage.line.sent
    with stage.screen.progress("Anna", "goes on") as move:
        stage.anna.watch = _moving(move, "upload")
        await come_back(stage, stage.anna)
        await stage.anna.ask("wait_sent", patience=TRANSFER_PATIENCE)
    stage.anna.watch = ignore
    moves = [event for event in stage.anna.events[seen:] if _is_progress(event, "upload")]
    if not moves:
        raise DemoError("Anna's program did not go on with the upload", log=stage.anna.log)
    return moves[0]["done"], moves[0]["total"], stage.line.sent - before


async def _receive(stage: Stage, source: Path) -> None:
    item = await stage.ben.wait_item(
        "the file", kind="file", name_of_file=source.name, patience=TRANSFER_PATIENCE
    )
    stage.said.secret("the file's key", [bytes.fromhex(item["key"])])
    with stage.screen.progress("Ben", "downloads") as move:
        stage.ben.watch = _moving(move, "download")
        saved = Path(
            await stage.ben.ask(
                "save", item=item["id"], folder=str(stage.folder / "ben"), patience=TRANSFER_PATIENCE
            )
        )
    stage.ben.watch = ignore
    before, after = await asyncio.gather(*(asyncio.to_thread(_sha256, path) for path in (source, saved)))
    stage.screen.did("Ben", f"saved “{saved.name}”, SHA-256 {after[:16]}…")
    stage.check_equal(
        f"all {megabytes(source.stat().st_size)} are the same, byte for byte (SHA-256 compared)",
        expected=(source.stat().st_size, before),
        found=(saved.stat().st_size, after),
    )


def write_journal(path: Path, size: int) -> Path:
    """Write a readable text of `size` bytes in which no line is like another."""
    path.parent.mkdir(parents=True, exist_ok=True)
    with path.open("wb") as file:
        written = number = 0
        while written < size:
            number += 1
            line = f"Day {number:06}: what I told nobody but my coach, {secrets.token_hex(16)}\n".encode()
            written += file.write(line[: size - written])
    return path


def _sha256(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def _is_progress(event: Event, phase: str) -> bool:
    return bool(event["event"] == "progress" and event["phase"] == phase)


def _moving(move: Move, phase: str) -> Callable[[Event], None]:
    def watch(event: Event) -> None:
        if _is_progress(event, phase):
            move(event["done"], event["total"])

    return watch
