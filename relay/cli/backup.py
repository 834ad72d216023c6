"""`coach-relay backup`: a consistent copy of everything that a relay on this machine keeps, while it runs."""

from __future__ import annotations

import argparse
import json
import shutil
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any, Final

from relay.blobs import OWNER
from relay.cli.options import add_command, add_settings, settings_of
from relay.config import Settings
from relay.errors import InvalidRequest, StoreFull, StoreUnavailable
from relay.store.sqlite.copies import DATABASES, check_copy, copy_database, sync_file
from relay.store.sqlite.exchange import sync_folder

RECORD_FILE: Final = "backup.json"
BLOBS: Final = "blobs"
_UNFINISHED: Final = ".unfinished"
_FORMAT: Final = 1
_MIB: Final = 1024 * 1024
_TELL_FILES: Final = 1_000  # parts of files between two tellings


def register(commands: Any) -> None:
    parser = add_command(
        commands,
        "backup",
        help="copy everything that the relay keeps, also while it runs",
        description="Copy the relay's databases and sealed files to a new folder, consistently, while the "
        "relay runs or not. Each copy is checked. Files in a bucket stay there: copy the bucket after this.",
        example="coach-relay backup /var/backups/coach-relay/2026-11-22",
    )
    add_settings(parser)
    parser.add_argument("destination", type=Path, metavar="DEST", help="a folder that does not exist yet")
    parser.set_defaults(run=run)


def run(args: argparse.Namespace) -> int:
    settings = settings_of(args)
    destination: Path = args.destination
    check_keeps_folder(settings)
    check_source(settings)
    if destination.exists():
        raise InvalidRequest(f"{destination} is there already: name a folder that is not")
    unfinished = destination.with_name(destination.name + _UNFINISHED)
    try:
        unfinished.mkdir(mode=0o700, parents=True)
        record = _copy_all(settings, unfinished)
        _write_record(unfinished / RECORD_FILE, record)
        unfinished.rename(destination)
        sync_folder(destination.parent)
    except FileExistsError:
        raise InvalidRequest(f"{unfinished} is what an earlier backup left: remove it") from None
    except OSError as error:
        raise _refused(error) from error
    _say(f"The backup is complete: {destination}")
    if settings.s3_bucket:
        _say(f"Files are in the bucket {settings.s3_bucket}: copy it now, after the databases.")
    return 0


def check_keeps_folder(settings: Settings) -> None:
    """Raise `InvalidRequest` if this relay's data is not in a folder."""
    if settings.redis_url:
        raise InvalidRequest(
            "this relay keeps its data in Redis: back that up, and the bucket or blobs/ after it"
        )


def check_source(settings: Settings) -> None:
    """Raise `InvalidRequest` unless there is a relay's data folder."""
    missing = [name for name in DATABASES if not (settings.data_dir / name).exists()]
    if missing:
        raise InvalidRequest(f"there is no {missing[0]} in {settings.data_dir}: nothing was copied")


def _copy_all(settings: Settings, folder: Path) -> dict[str, Any]:
    """Copy, in the order in which nothing is missed; what is to be known of the copy."""
    sizes = {}
    for name in DATABASES:
        sizes[name] = copy_database(settings.data_dir / name, folder / name, _Progress(name))
        check_copy(folder / name)
    parts = 0 if settings.s3_bucket else copy_blobs(settings.blob_dir, folder / BLOBS)
    return {
        "format": _FORMAT,
        "made": int(time.time()),
        "databases": sizes,
        "parts": parts,
        "bucket": settings.s3_bucket,
    }


def copy_blobs(source: Path, target: Path) -> int:
    """Copy the sealed files, whose parts are never changed once they are full; how many parts there were."""
    target.mkdir(mode=0o700, exist_ok=True)
    copied = 0
    for part in _parts(source):
        copy = target / part.relative_to(source)
        copy.parent.mkdir(mode=0o700, exist_ok=True)
        try:
            shutil.copyfile(part, copy)
        except FileNotFoundError:
            continue  # it was erased meanwhile
        sync_file(copy)
        copied += 1
        if copied % _TELL_FILES == 0:
            _say(f"{BLOBS}: {copied} parts")
    if copied:
        _say(f"{BLOBS}: {copied} parts")
    if (source / OWNER).is_file():  # whose they are, or nobody would know that of a copy
        shutil.copyfile(source / OWNER, target / OWNER)
        sync_file(target / OWNER)
    for folder in {target, *(path for path in target.iterdir() if path.is_dir())}:
        sync_folder(folder)
    return copied


def _parts(source: Path) -> Iterator[Path]:
    """The parts of all files; what is hidden is on its way, and no part yet."""
    if source.is_dir():
        for blob in sorted(source.iterdir()):
            if blob.is_dir() and not blob.name.startswith("."):
                yield from (part for part in sorted(blob.iterdir()) if not part.name.startswith("."))


def read_record(folder: Path) -> dict[str, Any]:
    """What a finished backup says of itself; raises `InvalidRequest` if it is none."""
    try:
        record = json.loads((folder / RECORD_FILE).read_text("utf-8"))
    except FileNotFoundError:
        raise InvalidRequest(f"{folder} is no backup that was finished: it has no {RECORD_FILE}") from None
    except (OSError, ValueError):
        raise InvalidRequest(f"{folder / RECORD_FILE} cannot be read") from None
    if not isinstance(record, dict) or record.get("format") != _FORMAT:
        raise InvalidRequest(f"{folder} was made by a newer version: restore it with that one")
    return record


def _write_record(path: Path, record: dict[str, Any]) -> None:
    path.write_text(json.dumps(record, indent=1) + "\n", "utf-8")
    sync_file(path)
    sync_folder(path.parent)


class _Progress:
    """Tells how far a database is, at every quarter, if that takes long."""

    def __init__(self, name: str) -> None:
        self._name = name
        self._told = 0

    def __call__(self, done: int, total: int) -> None:
        quarter = 4 * done // max(1, total)
        if quarter > self._told:
            self._told = quarter
            _say(f"{self._name}: {done // _MIB} of {total // _MIB} MiB")


def _say(line: str) -> None:
    print(line, file=sys.stderr, flush=True)


def _refused(error: OSError) -> StoreFull | StoreUnavailable:
    sentence = f"the copy cannot be written: {error.strerror}"
    return StoreFull(sentence) if error.errno in (28, 122) else StoreUnavailable(sentence)
