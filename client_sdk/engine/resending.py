"""After a rejoin: what was said in an epoch that not everybody shared is said again."""

from __future__ import annotations

from dataclasses import replace
from typing import Final

from client_sdk.content import File
from client_sdk.delivery import OutboxItem
from client_sdk.engine import journal, keeping
from client_sdk.engine.context import Context
from client_sdk.engine.journal import Said
from client_sdk.engine.records import OutboxRecord
from client_sdk.engine.standing import Work
from client_sdk.vault import HistoryItem
from relay.wire import EntryKind
from relay.wire.ids import DeviceId

MOST_RESENT: Final = 1000  # as many as ever wait to be sent; nobody says more to a silent room
_PAGE: Final = 200


def resend_unattested(work: Work, context: Context) -> None:
    """Queue again what nobody else has attested, under the same ids: whoever has it already moves it."""
    attested = max((seq for _, user, seq in work.record.peers if user != context.account.user), default=0)
    _resend(work, attested)


def resend_to(work: Work, device: DeviceId) -> None:
    """A device came in anew, and had no keys for what was said meanwhile: what the relay lost was in its way.

    So it hears again what we said behind the loss and it has not attested. Who came in after the loss cannot
    know of one: to a device that has attested nothing since, it says again all that it said.
    """
    attested = max((seq for known, _, seq in work.record.peers if known == bytes(device)), default=0)
    begins: list[int] = []
    if keeping.is_recent_loss(work):
        begins.append(work.record.lost_from)
    if attested < work.record.entered and keeping.came_in_lately(work):
        begins.append(work.record.entered)
    if begins:
        _resend(work, max(attested, min(begins)))


def _resend(work: Work, after: int) -> None:
    waiting = {item.id for item in work.box.items}
    items = [item for item in _said_behind(work, after) if item.id not in waiting]
    for item in items:
        work.put_waiting(again(item))
        work.tx.update_item(replace(item, seq=None))
    queued = tuple(OutboxItem(item.id, EntryKind.MESSAGE) for item in items)
    if keeping.is_recent_loss(work):
        work.change(reoffers=(*work.record.reoffers, *(item.id for item in items)))
    box = work.box
    behind = (item for item in box.items if not item.in_flight)
    work.box = replace(box, items=(*box.in_flight, *queued, *behind))


def _said_behind(work: Work, after: int) -> list[HistoryItem]:
    """What this user said behind a position, the oldest first: at most the newest `MOST_RESENT`."""
    found: list[HistoryItem] = []
    before: bytes | None = None
    while page := work.tx.history(work.engagement, limit=_PAGE, before=before):
        behind = [item for item in page if item.seq is None or item.seq > after]
        found += [
            item
            for item in behind
            if item.mine and item.seq is not None and (item.payload or item.kind == journal.RETRACTED)
        ]
        if len(behind) < len(page) or len(found) >= MOST_RESENT:
            break
        before = page[-1].id
    return found[:MOST_RESENT][::-1]


def again(item: HistoryItem) -> OutboxRecord:
    """What says an item of ours again; of one that was taken back, that there was one."""
    if item.kind == journal.RETRACTED:
        return OutboxRecord(item.id, journal.taken_back(item.id, item.sent_ms).serialize())
    said = Said.parse(item.payload)
    content = said.content()
    blobs = (content.blob,) if isinstance(content, File) else ()
    return OutboxRecord(item.id, said.envelope, blobs)
