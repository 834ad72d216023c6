"""A large file whose sender crashes in the middle of the upload."""

from __future__ import annotations

import asyncio
import hashlib
import secrets
from collections.abc import Callable
from pathlib import Path
from typing import Final

from client_sdk.cli.progress import Move, megabytes
from client_sdk.demo.actors import Event
from client_sdk.demo.stage import Stage
from client_sdk.demo.steps_talking import come_back

FILE_NAME: Final = "journal of Ben Okafor.txt"
CUT_AT: Final = 0.5
TRANSFER_PATIENCE: Final = 60.0


async def send_file(stage: Stage) -> None:
    """Anna sends, crashes, comes back; Ben saves and compares."""
    source = await asyncio.to_thread(
        write_journal, stage.folder / "anna" / FILE_NAME, stage.options.file_bytes
    )
    stage.said.file(source)
    sent = await _send_until_cut(stage, source)
    kept = stage.relay.blob_bytes()
    await stage.copy_relay_files("upload-cut")
    first = await _continue(stage)
    stage.check(
        f"the upload went on at {megabytes(first)}, not at the beginning",
        0 < first <= kept,
        expected=f"more than 0 and at most the {kept:,} bytes that the relay had kept",
        found=first,
    )
    again = max(0, sent - first)
    stage.screen.did(
        "Anna", f"had to send {megabytes(again)} again" if again else "had to send nothing twice"
    )
    await _receive(stage, source)


async def _send_until_cut(stage: Stage, source: Path) -> int:
    """Send until half is gone and kill the sender; how many bytes had been sent."""
    size = source.stat().st_size
    stage.screen.did("Anna", f"sends “{source.name}”, {megabytes(size)}")
    seen = len(stage.anna.events)
    with stage.screen.progress("Anna", "uploads") as move:
        stage.anna.watch = _moving(move)
        asking = asyncio.create_task(
            stage.anna.ask("send_file", path=str(source), stop_at=CUT_AT, patience=TRANSFER_PATIENCE)
        )
        halfway = await stage.anna.wait_for(
            "half of the upload", lambda e: e["event"] == "stopped", since=seen, patience=TRANSFER_PATIENCE
        )
        await stage.anna.kill()
        asking.cancel()
    stage.anna.watch = lambda _event: None
    done = int(halfway["done"])
    part = f"{done / halfway['total']:.0%}"
    stage.screen.did("Anna", f"{stage.screen.marks.cut} her program was killed at {part} of the upload")
    return done


async def _continue(stage: Stage) -> int:
    """Start Anna's program again; at how many bytes the upload went on."""
    seen = len(stage.anna.events)
    with stage.screen.progress("Anna", "goes on") as move:
        stage.anna.watch = _moving(move)
        await come_back(stage, stage.anna)
        await stage.anna.ask("wait_sent", patience=TRANSFER_PATIENCE)
    stage.anna.watch = lambda _event: None
    moves = [event for event in stage.anna.events[seen:] if _is_upload(event)]
    return int(moves[0]["done"]) if moves else 0


async def _receive(stage: Stage, source: Path) -> None:
    item = await stage.ben.wait_item(
        "the file", kind="file", name_of_file=source.name, patience=TRANSFER_PATIENCE
    )
    with stage.screen.progress("Ben", "downloads") as move:
        stage.ben.watch = _moving(move, phase="download")
        saved = Path(
            await stage.ben.ask(
                "save", item=item["id"], folder=str(stage.folder / "ben"), patience=TRANSFER_PATIENCE
            )
        )
    stage.ben.watch = lambda _event: None
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


def _is_upload(event: Event, phase: str = "upload") -> bool:
    return bool(event["event"] == "progress" and event["phase"] == phase)


def _moving(move: Move, phase: str = "upload") -> Callable[[Event], None]:
    def watch(event: Event) -> None:
        if _is_upload(event, phase):
            move(event["done"], event["total"])

    return watch
