"""Where to go on reading, and whether the relay's stream is still the one we read before (PROTOCOL 4)."""

from __future__ import annotations

from enum import Enum, auto

from relay.wire.frames import Opened

from .alarms import ClonedDevice, StreamRolledBack, StreamSkipped


class Resume(Enum):
    """What to do after a stream was opened."""

    READ = auto()
    """Entries follow from the next position on."""
    ANEW = auto()
    """The relay has this device's place further on: there the first entry has to let it in anew."""
    WAIT = auto()
    """This device is not a member: some member's device has to add it (or has removed it)."""
    REJOIN = auto()
    """Entries this device has not read are erased by now: join anew and show the gap."""


class Place(Enum):
    """How an entry stands to what is stored."""

    NEXT = auto()
    KNOWN = auto()
    """Stored before: acknowledge it again and drop it."""


def check_opened(opened: Opened, *, seq: int, last_commit: int) -> Resume:
    """Whether the opened stream continues what this device has stored up to ``seq`` (0: nothing).

    It is of the incarnation that is known: of another one ``repair`` says how far it is the same. A device
    that was just added has nothing stored: it reads on behind ``opened.cursor``. Raises StreamRolledBack
    when the stream ends before our position or newest commit; ClonedDevice when this device had
    acknowledged more than it has: then its vault is an old copy. A device that was removed and added again
    meanwhile has its place before the bundle that added it, and gets nothing from before that one.
    """
    if opened.head < seq or opened.last_commit < last_commit:
        raise StreamRolledBack(
            seq=seq, head=opened.head, last_commit=last_commit, relay_last_commit=opened.last_commit
        )
    if not opened.member:
        return Resume.WAIT
    if seq and opened.cursor > seq:
        if not _is_there(opened, opened.cursor + 1):
            raise ClonedDevice(seq=seq, cursor=opened.cursor)
        return Resume.ANEW
    if seq and opened.first > seq + 1:
        return Resume.REJOIN
    return Resume.READ


def _is_there(opened: Opened, seq: int) -> bool:
    return opened.first <= seq <= opened.head or seq == opened.last_commit


def place(entry_seq: int, *, seq: int) -> Place:
    """How an entry at ``entry_seq`` stands to what is stored up to ``seq``; raises StreamSkipped."""
    if entry_seq <= seq:
        return Place.KNOWN
    if entry_seq > seq + 1:
        raise StreamSkipped(expected=seq + 1, got=entry_seq)
    return Place.NEXT
