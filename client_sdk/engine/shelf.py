"""From the history's rows to the application's items."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import replace

from client_sdk.content import Amended, Content, Edit, Reaction, Text
from client_sdk.engine import amending, journal, reading, roster
from client_sdk.engine.conversation import Conversation
from client_sdk.engine.items import (
    Alarm,
    AnyItem,
    CallEndedItem,
    Change,
    Changed,
    Delivery,
    Gap,
    Keeper,
    Origin,
    Reacted,
    Retracted,
    item_of,
)
from client_sdk.engine.people import Person
from client_sdk.vault import HistoryItem, Transaction


class Shelf:
    """Makes items within one transaction."""

    def __init__(self, conversation: Conversation, tx: Transaction, keeper: Keeper) -> None:
        self._conversation = conversation
        self._tx = tx
        self._keeper = keeper
        self._senders: dict[str, Person] = {}
        own = self._own = conversation.context.account.user
        self._delivered = reading.delivered_to(conversation.standing.record, own)
        self._read = reading.read_by(conversation.standing.record, tx)

    def items(self, found: Sequence[HistoryItem]) -> list[AnyItem]:
        """The items of a page of the history, each as its amendments have made it."""
        amendments: dict[bytes, list[HistoryItem]] = defaultdict(list)
        for row in self._tx.amendments(self._conversation.id, [row.id for row in found]):
            amendments[row.about or b""].append(row)
        return [self._item(row, amendments[row.id]) for row in found]

    def item(self, found: HistoryItem) -> AnyItem:
        """The item of a row of the history that is no amendment."""
        return self.items([found])[0]

    def changed(self, amendment: HistoryItem) -> Changed | None:
        """What an amendment has done; None if what it is about is not here."""
        rows = self._tx.history(self._conversation.id, only=amendment.about, limit=1)
        act = amending.act_of(amendment, 0)
        if not rows or act is None:
            return None
        change, emoji = Change.RETRACTED, ""
        if isinstance(act.what, Reaction):
            change = Change.REACTED if act.what.on else Change.REACTION_TAKEN_BACK
            emoji = act.what.emoji
        elif isinstance(act.what, Edit):
            change = Change.EDITED
        return Changed(
            origin=self._origin(amendment, Amended()), change=change, item=self.item(rows[0]), emoji=emoji
        )

    def _item(self, found: HistoryItem, amendments: Sequence[HistoryItem]) -> AnyItem:
        became = amending.view(found, amendments)
        origin = self._origin(found, became)
        if found.kind == journal.GAP:
            return Gap(origin=origin, reason=found.text)
        if found.kind == journal.ALARM:
            return Alarm(origin=origin, code=found.payload.decode(), sentence=found.text)
        if became.retracted:
            return Retracted(origin=origin)
        item = item_of(_reworded(journal.Said.parse(found.payload).content(), became), origin)
        if isinstance(item, CallEndedItem):
            elsewhere = roster.own_device(self._conversation, self._tx, item.device)
            return replace(item, elsewhere=elsewhere)
        return item

    def _origin(self, found: HistoryItem, became: Amended) -> Origin:
        return Origin(
            id=found.id,
            sender=self._sender(found.sender_user or self._conversation.context.account.user),
            sent_ms=found.sent_ms,
            seq=found.seq,
            mine=found.sender_user == self._own,
            delivery=self._delivery(found),
            keeper=self._keeper,
            edited=became.text is not None,
            delivered_to=self._who_is_at(found, self._delivered),
            read_by=self._who_is_at(found, self._read),
            reactions=tuple(self._reacted(emoji, users) for emoji, users in became.reactions),
        )

    def _reacted(self, emoji: str, users: Sequence[str]) -> Reacted:
        others = tuple(self._sender(user) for user in users if user != self._own)
        return Reacted(emoji, self._own in users, others)

    def _sender(self, user: str) -> Person:
        if user not in self._senders:
            self._senders[user] = roster.person(self._conversation, self._tx, user)
        return self._senders[user]

    def _who_is_at(self, found: HistoryItem, positions: Mapping[str, int]) -> tuple[Person, ...]:
        if found.seq is None or found.sender_user != self._own:
            return ()
        return tuple(self._sender(user) for user, seq in sorted(positions.items()) if seq >= found.seq)

    def _delivery(self, found: HistoryItem) -> Delivery:
        if found.seq is None:
            return Delivery.WAITING
        if found.sender_user != self._own:
            return Delivery.DELIVERED
        if found.seq <= max(self._read.values(), default=0):
            return Delivery.READ
        arrived = found.seq <= max(self._delivered.values(), default=0)
        return Delivery.DELIVERED if arrived or not found.sender_user else Delivery.SENT


def _reworded(content: Content, became: Amended) -> Content:
    if became.text is None or not isinstance(content, Text) or content.text == became.text:
        return content
    return replace(content, text=became.text)  # an edit that still waits here
