"""Notes that a process beside the relay (the CLI) leaves in the Directory: what it changed."""

from __future__ import annotations

import contextlib
from collections.abc import Awaitable, Callable, Mapping
from typing import Final

from relay.errors import RecordConflict
from relay.hub import spaces
from relay.store.interface import Directory

PORTAL: Final = "portal"
ENGAGEMENT: Final = "engagement"
_PAGE: Final = 64


async def leave(directory: Directory, kind: str, name: str) -> None:
    """Leave a note, after the change that it tells of."""
    await directory.put(spaces.NOTES, f"{kind}:{name}", b"")


async def work_off(directory: Directory, work: Mapping[str, Callable[[str], Awaitable[None]]]) -> int:
    """Work on every note, then remove it; how many there were.

    A note that is left again meanwhile stays, and is worked on the next time.
    """
    found = await directory.scan(spaces.NOTES, "", limit=_PAGE)
    for key, _ in found:
        record = await directory.get(spaces.NOTES, key)
        if record is None:
            continue
        kind, _, name = key.partition(":")
        if kind in work:  # a note of a later version tells nothing to this one
            await work[kind](name)
        with contextlib.suppress(RecordConflict):
            await directory.delete(spaces.NOTES, key, expect=record.version)
    return len(found)
