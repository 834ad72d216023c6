"""Bringing an archive back with the recovery words: in order, unaltered; and what is missing is said."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Final

from client_sdk.engine import journal, spaces, trusting
from client_sdk.engine.account import Account
from client_sdk.engine.archive_parts import (
    ArchiveRecord,
    Changed,
    Content,
    Place,
    Progress,
    Restored,
    Writer,
    head_of,
    open_part,
)
from client_sdk.engine.archiving import put_record, put_writer, want
from client_sdk.engine.context import ID_BYTES
from client_sdk.engine.records import ConversationRecord
from client_sdk.engine.recovering import Asking
from client_sdk.errors import ArchiveDamaged, RecordInvalid
from client_sdk.identity import RecoverySeed, TrustRecord
from client_sdk.vault import HistoryItem, Transaction, Vault
from relay.wire import frames as fr
from relay.wire.ids import EngagementId
from relay.wire.limits import ARCHIVE_SERIES_BYTES

OnRestored = Callable[[int], None]
"""Told the number of items that have come back so far."""

NOTHING: Final = "You came back with your recovery kit. What was said before is not on this device."
UP_TO: Final = (
    "You came back with your recovery kit. Your archive ends here: what was said from here until your return "
    "is not on this device."
)
BROKEN: Final = (
    "You came back with your recovery kit. The relay lost, withheld or altered a part of your archive: "
    "something may be missing above, and what was said from here until your return is not on this device. "
    "Ask whoever runs the relay."
)


@dataclass(slots=True)
class Found:
    """What came back of one engagement."""

    items: int = 0
    archived: bool = False
    broken: bool = False
    until_ms: int = 0
    before: list[Restored] = field(default_factory=list)


class Restoration:
    """Restores the archives of one user into a vault that nobody else uses."""

    def __init__(
        self, vault: Vault, relay: Asking, account: Account, seed: RecoverySeed, told: OnRestored | None
    ) -> None:
        self._vault = vault
        self._relay = relay
        self._account = account
        self._seed = seed
        self._told = told
        self._items = 0

    async def restore(
        self, engagements: Sequence[fr.Engagement], *, now_ms: int, rng: Callable[[int], bytes]
    ) -> list[Found]:
        """Bring back what there is; then this device may go on with the archives. Raises `RelayError`."""
        found = [await self._engagement(engagement.id) for engagement in engagements]
        rank = self._account.manifest.era
        before = [known for each in found for known in each.before]
        writer = Writer(self._account.device_key.public, rank, before)
        with self._vault.transaction() as tx:
            put_writer(tx, writer.signed(self._account.portal, self._account.user, self._seed.key))
            for engagement, each in zip(engagements, found, strict=True):
                _say_where_it_ends(tx, engagement.id, each, now_ms, rng(ID_BYTES))
                if each.archived:
                    want(tx, self._account, wanted=True)
                    begun = ArchiveRecord(rng(ARCHIVE_SERIES_BYTES), upto=tx.last_change(engagement.id))
                    put_record(tx, engagement.id, begun)
        return found

    async def _engagement(self, engagement: EngagementId) -> Found:
        listed = await self._relay.ask(lambda number: fr.ListArchive(number, engagement), fr.ArchiveListed)
        found = Found()
        writers = {}
        for series in listed.series:
            try:
                writers[series.series] = await self._writer(engagement, series.series)
            except ArchiveDamaged:
                found.broken = True
        newest = max(writers.values(), key=lambda writer: writer.rank, default=None)
        if newest is None:
            return found
        limits = {known.series: known for known in newest.before if known.engagement == engagement}
        found.broken = found.broken or not set(limits) <= set(writers)
        for name, writer in sorted(writers.items(), key=lambda known: known[1].rank):
            limit = None if writer.rank == newest.rank else limits.get(name)
            if writer.rank == newest.rank or limit is not None:
                await self._series(engagement, name, writer, limit, found)
        return found

    async def _writer(self, engagement: EngagementId, series: bytes) -> Writer:
        parts = await self._parts(engagement, series, 0)
        if not parts:
            raise ArchiveDamaged("A series of the archive is empty.")
        opened = open_part(self._place(engagement, series, Progress()), parts[0], self._seed)
        account = self._account
        writer = Writer.verify(
            opened.content.writer, account.portal, account.user, account.manifest.recovery_key
        )
        opened.check(writer.device_key)
        return writer

    async def _series(
        self, engagement: EngagementId, series: bytes, writer: Writer, limit: Restored | None, found: Found
    ) -> None:
        """Everything of a series that counts; what comes behind a damaged part does not."""
        found.archived = True
        progress, whole = self._progress(engagement, series), True
        while whole and (limit is None or progress.parts < limit.parts):
            parts = await self._parts(engagement, series, progress.parts)
            if limit is not None:
                parts = parts[: limit.parts - progress.parts]
            if not parts:
                break
            before = progress.parts
            progress = self._take(engagement, series, writer, progress, parts, found)
            whole = progress.parts == before + len(parts)
        if limit is not None and (progress.parts, progress.head) != (limit.parts, limit.head):
            found.broken = True
        found.before.append(Restored(engagement, series, progress.parts, progress.head))

    def _take(
        self,
        engagement: EngagementId,
        series: bytes,
        writer: Writer,
        progress: Progress,
        parts: Sequence[bytes],
        found: Found,
    ) -> Progress:
        """Store these parts at once; what of them is whole stays also if one behind it is not."""
        with self._vault.transaction() as tx:
            try:
                for part in parts:
                    opened = open_part(self._place(engagement, series, progress), part, self._seed)
                    opened.check(writer.device_key)
                    _apply(tx, engagement, opened.content)
                    progress = Progress(progress.parts + 1, head_of(part))
                    found.until_ms = max(found.until_ms, opened.content.at_ms)
                    found.items += len(opened.content.changed)
                    self._items += len(opened.content.changed)
            except ArchiveDamaged:
                found.broken = True
            tx.put(spaces.RESTORED, spaces.conversation_key(engagement) + series, progress.serialize())
        if self._told is not None:
            self._told(self._items)
        return progress

    def _place(self, engagement: EngagementId, series: bytes, progress: Progress) -> Place:
        account = self._account
        return Place(account.portal, account.user, engagement, series, progress.parts + 1, progress.head)

    async def _parts(self, engagement: EngagementId, series: bytes, after: int) -> Sequence[bytes]:
        answer = await self._relay.ask(
            lambda number: fr.ReadArchive(number, engagement, series, after), fr.ArchiveParts
        )
        return answer.parts

    def _progress(self, engagement: EngagementId, series: bytes) -> Progress:
        with self._vault.transaction() as tx:
            data = tx.get(spaces.RESTORED, spaces.conversation_key(engagement) + series)
        return Progress() if data is None else Progress.parse(data)


def _apply(tx: Transaction, engagement: EngagementId, content: Content) -> None:
    try:
        people = [(TrustRecord.parse(trust), name) for _, trust, name in content.people]
    except RecordInvalid as error:
        raise ArchiveDamaged("A part of the archive holds what no device wrote.") from error
    for changed in content.changed:
        _put(tx, engagement, changed)
    for record, name in people:
        trusting.put_trust(tx, record)
        if name != record.user:
            trusting.put_name(tx, record.user, name)
    met = tuple(sorted(str(record.user) for record, _ in people))
    standing = ConversationRecord(met=met).serialize()
    tx.put(spaces.CONVERSATION, spaces.conversation_key(engagement), standing)


def _put(tx: Transaction, engagement: EngagementId, changed: Changed) -> None:
    if changed.item is None:
        tx.remove_item(engagement, changed.id)
    elif not tx.add_item(changed.item):
        tx.update_item(changed.item)


def _say_where_it_ends(
    tx: Transaction, engagement: EngagementId, found: Found, now_ms: int, notice_id: bytes
) -> None:
    newest = tx.history(engagement, limit=1)
    if newest and newest[0].kind == journal.GAP and newest[0].text in (NOTHING, UP_TO, BROKEN):
        return  # said when it was tried before
    text = BROKEN if found.broken else UP_TO if found.archived else NOTHING
    seq = max((item.seq or 1 for item in newest), default=1)
    notice = HistoryItem(
        conversation=engagement,
        id=notice_id,
        seq=seq,
        sent_ms=now_ms,
        sender_user="",
        sender_device=b"",
        kind=journal.GAP,
        text=text,
        payload=b"",
        mine=False,
    )
    tx.add_item(notice)
