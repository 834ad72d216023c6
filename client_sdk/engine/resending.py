"""After a rejoin: what was said in an epoch that not everybody shared is said again."""

from __future__ import annotations

from dataclasses import replace
from typing import Final

from client_sdk.content import File
from client_sdk.delivery import OutboxItem
from client_sdk.engine import keeping
from client_sdk.engine.context import Context
from client_sdk.engine.journal import Said
from client_sdk.engine.records import OutboxRecord
from client_sdk.engine.standing import Work
from client_sdk.vault import HistoryItem
from relay.wire import EntryKind
from relay.wire.ids import DeviceId

MOST_RESENT: Final = 200  # what a person says in an hour or two; nobody says more to a silent room


def resend_unattested(work: Work, context: Context) -> None:
    """Queue again what nobody else has attested, under the same ids: whoever has it already moves it."""
    attested = max((seq for _, user, seq in work.record.peers if user != context.account.user), default=0)
    _resend(work, attested)


def resend_to(work: Work, device: DeviceId) -> None:
    """After the relay lost entries a device came in anew: it had no keys for what was said meanwhile.

    So it hears again what we said behind the loss and it has not attested.
    """
    record = work.record
    if not record.histories or work.now - record.histories[-1][1] > keeping.retention_seconds(work):
        return
    attested = max((seq for known, _, seq in record.peers if known == bytes(device)), default=0)
    _resend(work, max(attested, record.lost_from))


def _resend(work: Work, after: int) -> None:
    waiting = {item.id for item in work.box.items}
    again = [
        item
        for item in reversed(work.tx.history(work.engagement, limit=MOST_RESENT))
        if item.mine and item.payload and item.seq is not None and item.seq > after
        if item.id not in waiting
    ]
    for item in again:
        _keep_waiting(work, item)
    queued = tuple(OutboxItem(item.id, EntryKind.MESSAGE) for item in again)
    box = work.box
    behind = (item for item in box.items if not item.in_flight)
    work.box = replace(box, items=(*box.in_flight, *queued, *behind))


def _keep_waiting(work: Work, item: HistoryItem) -> None:
    said = Said.parse(item.payload)
    content = said.content()
    blobs = (content.blob,) if isinstance(content, File) else ()
    work.put_waiting(OutboxRecord(item.id, said.envelope, blobs))
    work.tx.update_item(replace(item, seq=None))
