"""`coach-relay restore`: puts a backup in the place of a relay's data, and lets the devices know."""

from __future__ import annotations

import argparse
import asyncio
import os
import shutil
import sys
import time
from datetime import UTC, datetime
from itertools import chain, count
from pathlib import Path
from typing import Any, Final

from relay.cli.backup import BLOBS, check_keeps_folder, copy_blobs, read_record
from relay.cli.options import add_command, add_settings, add_yes, confirm, settings_of
from relay.config import Settings
from relay.errors import InvalidRequest, StoreUnavailable
from relay.store.sqlite.copies import DATABASES, begin_history_in, check_copy, sync_file
from relay.store.sqlite.exchange import (
    BEFORE,
    LOCK_FILE,
    MOVED,
    RESTORING,
    WHOLE,
    begin_exchange,
    finish_exchange,
    kept_in,
    sync_folder,
)
from relay.store.sqlite.folder import held_lock

HISTORY_BYTES: Final = 16
_ASK: Final = (
    "What the relay took since then is not in this backup. Devices notice that it was restored, and bring "
    "back what they have: nothing that was said is lost as long as its sender's device comes back. "
    "Engagements, portals and keys made since then are gone."
)


def register(commands: Any) -> None:
    parser = add_command(
        commands,
        "restore",
        help="put a backup in the place of the relay's data",
        description="Check a backup, put it in the place of the relay's data, and have every device know "
        "that the relay was set back. The relay must not run.",
        example="coach-relay restore /var/backups/coach-relay/2026-11-22 --replace",
    )
    add_settings(parser)
    parser.add_argument("source", type=Path, metavar="SRC", help="what `coach-relay backup` made")
    parser.add_argument(
        "--replace", action="store_true", help="if there is data: keep it beside, and use the backup instead"
    )
    add_yes(parser)
    parser.set_defaults(run=run)


def run(args: argparse.Namespace) -> int:
    settings, source = settings_of(args), args.source
    check_keeps_folder(settings)
    record = read_record(source)
    _check(settings, record, source)
    target = settings.data_dir.resolve()  # a link stays, and what it leads to is replaced
    _check_told(target, replace=args.replace)
    made = datetime.fromtimestamp(record["made"], UTC).isoformat(sep=" ", timespec="minutes")
    confirm(f"{_ASK}\nRestore the backup of {made} UTC to {target}?", args)
    try:
        with held_lock(target):
            _finish_earlier(target)
            has_data = _check_told(target, replace=args.replace)  # a relay may have been here meanwhile
            _prepare(source, target / RESTORING, target)
            begin_exchange(target, _aside(target) if has_data else None)
            aside = finish_exchange(target)
    except OSError as error:
        raise StoreUnavailable(f"the backup cannot be put in place: {error.strerror}") from error
    _say(f"Restored: {target}. Start the relay.")
    if aside is not None:
        _say(f"What was there before is in {aside}: remove it when all is well.")
    return 0


def _check(settings: Settings, record: dict[str, Any], source: Path) -> None:
    """Raise `InvalidRequest` or `StoreCorrupt` unless the backup is whole and of a relay like this one."""
    for name, size in record["databases"].items():
        path = source / name
        if name not in DATABASES or not path.is_file() or path.stat().st_size != size:
            raise InvalidRequest(f"{source} is not whole: {name} is missing or of another size")
        check_copy(path)
    if bool(record["bucket"]) != bool(settings.s3_bucket):
        kept = "in a bucket" if record["bucket"] else "in its data folder"
        raise InvalidRequest(f"the relay of this backup kept files {kept}: set s3_bucket accordingly")


def _finish_earlier(target: Path) -> None:
    """A restore that was cut off: what it had to put aside goes to one place, whole."""
    coming = target / RESTORING
    if (coming / WHOLE).exists() or (coming / MOVED).exists():
        aside = finish_exchange(target)
        if aside is not None:
            _say(f"A restore was cut off before this one. What was there before it is in {aside}.")


def _check_told(target: Path, *, replace: bool) -> bool:
    """Whether there is data; raises `InvalidRequest` if it may not be replaced."""
    has_data = target.is_dir() and bool(kept_in(target))
    if has_data and not replace:
        raise InvalidRequest(f"{target} is not empty; with --replace it is kept beside, and the backup used")
    return has_data


def _aside(target: Path) -> Path:
    """Where what is there goes: beside the folder, or inside; to another place than a moment ago."""
    stem = f"{BEFORE}{_now()}"
    first = target / stem if _stays(target) else target.with_name(f"{target.name}.{stem}")
    others = (first.with_name(f"{first.name}-{number}") for number in count(2))
    return next(path for path in chain([first], others) if not path.exists())


def _stays(target: Path) -> bool:
    """Whether nothing may be put beside the folder: a volume, in somebody else's folder, or so before."""
    return target.is_mount() or not os.access(target.parent, os.W_OK) or any(target.glob(f"{BEFORE}*"))


def _prepare(source: Path, coming: Path, target: Path) -> None:
    """Make all that comes, of another history and for whoever the data folder belongs to."""
    shutil.rmtree(coming, ignore_errors=True)
    coming.mkdir(mode=0o700, parents=True)
    for name in DATABASES:
        shutil.copyfile(source / name, coming / name)
        (coming / name).chmod(0o600)
        sync_file(coming / name)
    if (source / BLOBS).is_dir():
        copy_blobs(source / BLOBS, coming / BLOBS)
    asyncio.run(begin_history_in(coming, os.urandom(HISTORY_BYTES)))
    if os.geteuid() == 0:
        owner = target.stat()
        for path in (target / LOCK_FILE, coming, *coming.rglob("*")):
            os.chown(path, owner.st_uid, owner.st_gid, follow_symlinks=False)
    sync_folder(coming)


def _now() -> str:
    return time.strftime("%Y%m%dT%H%M%S", time.gmtime())


def _say(line: str) -> None:
    print(line, file=sys.stderr, flush=True)
