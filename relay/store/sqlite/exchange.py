"""Exchanging what a data folder holds for a restored copy: whoever comes after a crash can finish it.

The copy is made in the folder `RESTORING` inside. Once it is whole, the file `WHOLE` in it says where to put
what was there; when that is done, the file is called `MOVED`, and what came goes into the data folder itself.
Each step can be taken again by whoever holds the folder's lock; until the last one no relay opens the folder.
"""

from __future__ import annotations

import os
from pathlib import Path
from typing import Final

from relay.errors import StoreUnavailable

RESTORING: Final = ".restoring"
"""The folder in a data folder that is there while `coach-relay restore` exchanges what it holds."""
BEFORE: Final = "before-"
"""What was put aside inside a data folder begins with this."""
LOCK_FILE: Final = "relay.lock"
WHOLE: Final = ".whole"
MOVED: Final = ".moved"


def kept_in(folder: Path) -> list[Path]:
    """What a data folder holds, but for what was put aside in it before."""
    return [
        path
        for path in folder.iterdir()
        if path.name not in (LOCK_FILE, RESTORING) and not path.name.startswith(BEFORE)
    ]


def begin_exchange(folder: Path, aside: Path | None) -> None:
    """All that comes is whole and durable in `RESTORING`: from here on the exchange is only ever finished.

    `aside` is where what the folder holds goes, None if it holds nothing. The folder's lock is held.
    """
    coming = folder / RESTORING
    if aside is not None:
        aside.mkdir(mode=0o700)
        if os.geteuid() == 0:
            owner = folder.stat()
            os.chown(aside, owner.st_uid, owner.st_gid)
        sync_folder(aside.parent)
    with (coming / WHOLE).open("x", encoding="utf-8") as file:
        os.fchmod(file.fileno(), 0o644)  # the relay's own user may be the one who finishes
        file.write("" if aside is None else os.path.relpath(aside, folder))
        file.flush()
        os.fsync(file.fileno())
    sync_folder(coming)
    sync_folder(folder)


def finish_exchange(folder: Path) -> Path | None:
    """Finish an exchange that has begun; where what was there is now. The folder's lock is held.

    Raises `StoreUnavailable` if it cannot be finished, or had not begun: then nothing was changed.
    """
    coming = folder / RESTORING
    try:
        if not any(coming.iterdir()):
            coming.rmdir()  # it had not begun to copy, or was done but for this
            return None
        if not ((coming / WHOLE).exists() or (coming / MOVED).exists()):
            raise StoreUnavailable(
                "a restore into this folder was cut off before it changed anything: run `coach-relay "
                f"restore` again with --replace, or remove {coming} to go on with the data from before"
            )
        return _exchange(folder, coming)
    except OSError as error:
        raise StoreUnavailable(
            f"a restore into this folder was cut off, and cannot be finished ({error.strerror}): "
            "run `coach-relay restore` again with --replace"
        ) from error


def _exchange(folder: Path, coming: Path) -> Path | None:
    if (coming / WHOLE).exists():
        aside = _aside(folder, coming / WHOLE)
        if aside is not None:
            _move(kept_in(folder), aside)
            sync_folder(folder)
        (coming / WHOLE).rename(coming / MOVED)
        sync_folder(coming)
    aside = _aside(folder, coming / MOVED)
    _move([path for path in coming.iterdir() if path.name != MOVED], folder)
    sync_folder(coming)
    (coming / MOVED).unlink()
    coming.rmdir()
    sync_folder(folder)
    return aside


def _aside(folder: Path, record: Path) -> Path | None:
    text = record.read_text("utf-8")
    if not text:
        return None
    aside = Path(os.path.normpath(folder / text))
    if aside.parent == folder or not folder.is_mount():
        return aside
    return folder / aside.name[aside.name.index(BEFORE) :]  # what is beside is elsewhere for this container


def _move(paths: list[Path], target: Path) -> None:
    target.mkdir(mode=0o700, exist_ok=True)
    for path in paths:
        path.rename(target / path.name)
    sync_folder(target)


def sync_folder(folder: Path) -> None:
    """Have the disk hold the names in a folder."""
    descriptor = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
