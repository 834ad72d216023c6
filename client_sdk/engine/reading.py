"""How far everybody has read: cumulative, for each user, told in receipts unless that is kept private."""

from __future__ import annotations

from typing import Final

from client_sdk.engine import spaces
from client_sdk.engine.records import ConversationRecord
from client_sdk.engine.standing import Work
from client_sdk.vault import Transaction

_KEY: Final = b"read-receipts"
_PRIVATE: Final = b"private"


def shares(tx: Transaction) -> bool:
    """Whether this device tells how far its person has read, and shows how far the others have."""
    return tx.get(spaces.SETTING, _KEY) is None


def set_shares(tx: Transaction, shared: bool) -> None:
    """Keep the person's wish."""
    if shared:
        tx.delete(spaces.SETTING, _KEY)
    else:
        tx.put(spaces.SETTING, _KEY, _PRIVATE)


def mark(work: Work, seq: int) -> None:
    """The person has read everything up to here; what is read while that is private is never told."""
    record = work.record
    upto = min(seq, record.cursor)
    if upto > record.read:
        work.change(read=upto, read_told=record.read_told if shares(work.tx) else upto)


def heard(work: Work, user: str, seq: int, *, own: bool) -> None:
    """A receipt says how far a user has read, on whichever of their devices."""
    if own:
        read, told = max(work.record.read, seq), max(work.record.read_told, seq)
        work.change(read=read, read_told=told)
        return
    known = dict(work.record.reads)
    if seq > known.get(user, 0):
        known[user] = seq
        work.change(reads=tuple(sorted(known.items())))


def delivered_to(record: ConversationRecord, own: str) -> dict[str, int]:
    """The other users, and the position up to which a device of theirs has everything."""
    found: dict[str, int] = {}
    for _, user, seq in record.peers:
        if user != own:
            found[user] = max(seq, found.get(user, 0))
    return found


def read_by(record: ConversationRecord, tx: Transaction) -> dict[str, int]:
    """The other users, and how far they have read; nothing while this person tells nothing either."""
    return dict(record.reads) if shares(tx) else {}
