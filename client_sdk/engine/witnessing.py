"""What others know of a person's archive: who comes back learns from them whether the relay kept all of it.

The device that keeps an archive says now and then, inside the conversation, how far it is. The others keep
that, and tell it to a device of that person that joins (docs/PROTOCOL.md section 16).
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final

from client_sdk.content import Profile
from client_sdk.content.packing import PackingError, Value, pack, unpack
from client_sdk.delivery import ArchiveWithheld
from client_sdk.engine import spaces
from client_sdk.engine.archive_parts import ArchiveRecord, Progress
from client_sdk.engine.context import Context
from client_sdk.engine.standing import Work
from client_sdk.identity import ConversationView
from relay.wire.ids import EngagementId
from relay.wire.limits import ARCHIVE_SERIES_BYTES, MAX_ARCHIVE_PARTS

KEY: Final = "archives"
MOST: Final = 32
"""People of whom one message tells: as many as take part."""

Known = tuple[str, bytes, int]
"""A user, a series of their archive, and how many parts it has at least."""


def saying(name: str, known: list[Known]) -> Profile:
    """A name, and what is known of archives."""
    listed: list[Value] = [[user, series, parts] for user, series, parts in known]
    return Profile(name, extra={KEY: listed} if listed else {})


def known_of(work: Work, view: ConversationView, devices: frozenset[bytes]) -> list[Known]:
    """What is known of the archives of those whose devices have just come."""
    users = sorted({leaf.user for leaf in view.leaves if leaf.device in devices})
    found = []
    for user in users[:MOST]:
        data = work.tx.get(spaces.WITNESS, _key(work.engagement, user))
        if data is not None:
            found.append(_read([user, *_pair(data)]))
    return [known for known in found if known is not None]


def heard(work: Work, context: Context, sender: str, extra: Mapping[str, Value]) -> None:
    """Somebody told of archives: of their own, to be kept, or of this user's, to be compared."""
    listed = extra.get(KEY)
    for value in listed[:MOST] if isinstance(listed, list) else []:
        known = _read(value)
        if known is None:
            continue
        user, series, parts = known
        if user == sender:
            work.tx.put(spaces.WITNESS, _key(work.engagement, user), pack([series, parts]))
        elif user == context.account.user and context.account.manifest.era:
            _compare(work, series, parts)


def _compare(work: Work, series: bytes, parts: int) -> None:
    """Raise the alarm, once, if more was archived than the relay gave when this device came back."""
    own, restored = work.tx.get(spaces.ARCHIVE, work.key), work.tx.get(spaces.RESTORED, work.key + series)
    if own is not None and ArchiveRecord.parse(own).series == series:
        return  # what this very device keeps
    count = 0 if restored is None else Progress.parse(restored).parts
    if count < parts and work.tx.get(spaces.WITNESS, work.key + series) is None:
        work.tx.put(spaces.WITNESS, work.key + series, b"")
        work.raise_alarm(ArchiveWithheld(restored=count, known=parts))


def _key(engagement: EngagementId, user: str) -> bytes:
    return spaces.conversation_key(engagement) + b"/" + user.encode()


def _pair(data: bytes) -> list[Value]:
    try:
        found = unpack(data)
    except PackingError:
        found = None
    return found if isinstance(found, list) else []


def _read(value: Value) -> Known | None:
    """What somebody said of an archive; None if it is nothing that can be."""
    match value:
        case [str(user), bytes(series), int(parts)]:
            sane = len(series) == ARCHIVE_SERIES_BYTES and 1 <= parts <= MAX_ARCHIVE_PARTS
            return (user, series, parts) if sane and len(user) <= 64 else None
    return None
