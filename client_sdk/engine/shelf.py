"""From the history's rows to the application's items."""

from __future__ import annotations

from client_sdk.engine import journal, roster
from client_sdk.engine.conversation import Conversation
from client_sdk.engine.items import Alarm, AnyItem, Delivery, Gap, Keeper, Origin, item_of
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
        attested = [seq for _, user, seq in conversation.standing.record.peers if user != own]
        self._attested = max(attested, default=0)

    def item(self, found: HistoryItem) -> AnyItem:
        """The item of a row of the history."""
        origin = Origin(
            id=found.id,
            sender=self._sender(found.sender_user or self._conversation.context.account.user),
            sent_ms=found.sent_ms,
            seq=found.seq,
            mine=found.sender_user == self._own,
            delivery=self._delivery(found),
            keeper=self._keeper,
        )
        if found.kind == journal.GAP:
            return Gap(origin=origin, reason=found.text)
        if found.kind == journal.ALARM:
            return Alarm(origin=origin, code=found.payload.decode(), sentence=found.text)
        return item_of(journal.Said.parse(found.payload).content(), origin)

    def _sender(self, user: str) -> Person:
        if user not in self._senders:
            self._senders[user] = roster.person(self._conversation, self._tx, user)
        return self._senders[user]

    def _delivery(self, found: HistoryItem) -> Delivery:
        if found.seq is None:
            return Delivery.WAITING
        if found.mine and found.seq > self._attested:
            return Delivery.SENT
        return Delivery.DELIVERED
