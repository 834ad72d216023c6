"""The outbox of one conversation: what waits, under which counter, and what each answer of the relay means.

An automaton for each item, in one table. The ciphertext stays in the vault under the item's id; this room
decides only what happens to it. Items keep their order; those in flight have consecutive counters.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from enum import StrEnum
from types import MappingProxyType
from typing import Final, Self, cast

from relay.wire.errors import ErrorCode
from relay.wire.frames import EntryKind

from ..content.packing import pack, unpack
from ..errors import OutboxFull, RecordInvalid, UsageError
from .alarms import ClonedDevice, RelayContradiction, StreamRolledBack

MOST_WAITING = 1000
"""Items in one outbox: far more than a person writes while offline; bounds memory and the stored record."""

MOST_IN_FLIGHT = 32
"""Half of the answers that the relay remembers for a device, so that a retry always gets its first answer."""

_FORMAT = 1


class ItemState(StrEnum):
    """How far an item has come."""

    QUEUED = "queued"
    """Content only."""
    ENCRYPTED = "encrypted"
    """Ciphertext and counter are stored; it may have been sent on an earlier connection."""
    SENT = "sent"
    """Handed to the present connection, not answered."""
    ACKNOWLEDGED = "acknowledged"
    """Durable at the relay; it goes when it comes back in the stream."""


class Event(StrEnum):
    """What can happen to an item."""

    ENCRYPT = "encrypt"
    SEND = "send"
    DISCONNECT = "disconnect"
    APPENDED = "appended"
    SEEN = "seen"
    """It came back as our own entry in the stream."""
    STALE = "stale"
    RACE_LOST = "race_lost"
    """A commit entry that was refused as stale: somebody else's came first."""
    NOT_TAKEN = "not_taken"
    """A commit entry that adds somebody who may not be added now."""
    OUT_OF_ORDER = "out_of_order"
    STORED_LONG_AGO = "stored_long_ago"
    RETRY_LATER = "retry_later"
    AHEAD = "ahead"
    CONFLICT = "conflict"
    STOPPED = "stopped"
    FAULT = "fault"


class Action(StrEnum):
    """What the engine does then."""

    NONE = "none"
    ENCRYPT_AFRESH = "encrypt_afresh"
    """Process the stream up to the newest commit, then encrypt what is queued again."""
    SEND_AGAIN = "send_again"
    """Send ``to_send()`` again (behind a wait, if one is running)."""
    WAIT = "wait"
    """Send ``to_send()`` again, the identical bytes, after a back-off."""
    READ_ON = "read_on"
    """It is stored; where, the stream will show."""
    STOP = "stop"
    """This device cannot send here: tell the person."""
    GIVE_UP = "give_up"
    """The item was removed: it can never be sent. Tell the person; what came after it is queued again."""
    DISCARD = "discard"
    """The commit was removed: drop the group state it would have made."""
    DISCARD_AND_WAIT = "discard_and_wait"
    """The same, and whatever follows is sent after a back-off."""
    DONE = "done"
    """The item was removed: it stands in the stream."""
    ALARM_ROLLED_BACK = "alarm_rolled_back"
    ALARM_CLONED = "alarm_cloned"


_Q, _E, _S, _A = ItemState.QUEUED, ItemState.ENCRYPTED, ItemState.SENT, ItemState.ACKNOWLEDGED

_IN_FLIGHT: Final[dict[Event, tuple[ItemState | None, Action]]] = {
    Event.APPENDED: (_A, Action.NONE),
    Event.SEEN: (None, Action.DONE),
    Event.STALE: (_Q, Action.ENCRYPT_AFRESH),
    Event.RACE_LOST: (None, Action.DISCARD),
    Event.NOT_TAKEN: (None, Action.DISCARD_AND_WAIT),
    Event.OUT_OF_ORDER: (_E, Action.SEND_AGAIN),
    Event.STORED_LONG_AGO: (_A, Action.READ_ON),
    Event.RETRY_LATER: (_E, Action.WAIT),
    Event.AHEAD: (_E, Action.ALARM_ROLLED_BACK),
    Event.CONFLICT: (_E, Action.ALARM_CLONED),
    Event.STOPPED: (_Q, Action.STOP),
    Event.FAULT: (None, Action.GIVE_UP),
    Event.DISCONNECT: (_E, Action.NONE),
}

TRANSITIONS: Final[Mapping[tuple[ItemState, Event], tuple[ItemState | None, Action]]] = MappingProxyType(
    {
        (_Q, Event.ENCRYPT): (_E, Action.NONE),
        (_Q, Event.DISCONNECT): (_Q, Action.NONE),
        (_E, Event.SEND): (_S, Action.NONE),
        **{(_E, event): then for event, then in _IN_FLIGHT.items()},
        **{(_S, event): then for event, then in _IN_FLIGHT.items()},
        (_A, Event.APPENDED): (_A, Action.NONE),
        (_A, Event.SEEN): (None, Action.DONE),
        (_A, Event.DISCONNECT): (_A, Action.NONE),
        (_A, Event.STORED_LONG_AGO): (_A, Action.NONE),
        (_A, Event.RETRY_LATER): (_A, Action.NONE),
        (_A, Event.STOPPED): (_A, Action.STOP),
        (_A, Event.AHEAD): (_A, Action.ALARM_ROLLED_BACK),
        (_A, Event.CONFLICT): (_A, Action.ALARM_CLONED),
    }
)
"""(state, event) -> (next state, None: removed; what to do). What is not here is a contradiction."""

REFUSALS: Final[Mapping[ErrorCode, Event]] = MappingProxyType(
    {
        ErrorCode.STALE: Event.STALE,
        ErrorCode.AHEAD: Event.AHEAD,
        ErrorCode.COUNTER_GAP: Event.OUT_OF_ORDER,
        ErrorCode.DUPLICATE: Event.STORED_LONG_AGO,
        ErrorCode.CONFLICT: Event.CONFLICT,
        ErrorCode.NOT_MEMBER: Event.STOPPED,
        ErrorCode.NOT_ON_ROSTER: Event.NOT_TAKEN,
        ErrorCode.TOO_MANY_DEVICES: Event.NOT_TAKEN,
        ErrorCode.ENDED: Event.STOPPED,
        ErrorCode.NOT_FOUND: Event.STOPPED,
        ErrorCode.ENTRY_TOO_BIG: Event.FAULT,
        ErrorCode.BUNDLE_INVALID: Event.FAULT,
        ErrorCode.BLOB_NOT_FOUND: Event.FAULT,
        ErrorCode.RATE_LIMITED: Event.RETRY_LATER,
        ErrorCode.STORE_FULL: Event.RETRY_LATER,
        ErrorCode.STORE_UNAVAILABLE: Event.RETRY_LATER,
        ErrorCode.INTERNAL: Event.RETRY_LATER,
    }
)
"""What each refusal of an append means (docs/PROTOCOL.md section 2.3)."""


@dataclass(frozen=True, slots=True)
class OutboxItem:
    """One entry to be sent; what is 0 or empty is known once it is encrypted, ``seq`` once acknowledged."""

    id: bytes
    kind: EntryKind
    state: ItemState = ItemState.QUEUED
    counter: int = 0
    message_counter: int = 0
    after_commit: int = 0
    body_hash: bytes = b""
    seq: int = 0

    @property
    def in_flight(self) -> bool:
        """Whether it has a counter."""
        return self.state is not ItemState.QUEUED


@dataclass(frozen=True, slots=True)
class Outbox:
    """The items in order, those in flight first. Frozen: each step gives the next outbox.

    ``last_counter`` is the highest counter known to be stored at the relay, ``highest_counter`` the
    highest ever used, ``last_message_counter`` that of the last stored message (the counter *inside*
    messages). ``late`` are counters sent on this connection whose answer is still to come although it is
    clear by now: nothing is encrypted before it has come, so that no counter stands for two entries at
    once.
    """

    items: tuple[OutboxItem, ...] = ()
    last_counter: int = 0
    highest_counter: int = 0
    last_message_counter: int = 0
    late: frozenset[int] = frozenset()

    # Taking in

    def enqueue(self, item_id: bytes) -> Self:
        """Queue a message; raises OutboxFull."""
        return self._with_room((*self.items, OutboxItem(item_id, EntryKind.MESSAGE)))

    def enqueue_commit(self, item_id: bytes) -> Self:
        """Queue a commit before all messages not encrypted yet; raises UsageError if one waits already."""
        if any(item.kind is EntryKind.COMMIT for item in self.items):
            raise UsageError("A commit waits already. One at a time: the next needs the epoch of this one.")
        at = len(self.in_flight)
        commit = OutboxItem(item_id, EntryKind.COMMIT)
        return self._with_room((*self.items[:at], commit, *self.items[at:]))

    def _with_room(self, items: tuple[OutboxItem, ...]) -> Self:
        if len(items) > MOST_WAITING:
            raise OutboxFull(
                f"{MOST_WAITING} messages wait to be sent already. This one was not taken: connect first."
            )
        return replace(self, items=items)

    # Sending

    @property
    def in_flight(self) -> tuple[OutboxItem, ...]:
        """The items that have a counter."""
        return tuple(item for item in self.items if item.in_flight)

    @property
    def next_to_encrypt(self) -> OutboxItem | None:
        """The item to be encrypted now, or None.

        While a commit is in flight nothing is: the epoch that follows is not settled yet.
        """
        in_flight = self.in_flight
        if self.late:
            return None
        if len(in_flight) >= MOST_IN_FLIGHT or any(item.kind is EntryKind.COMMIT for item in in_flight):
            return None
        return next((item for item in self.items if not item.in_flight), None)

    @property
    def next_counter(self) -> int:
        """The counter of the next append."""
        return max([self.last_counter, *(item.counter for item in self.items)]) + 1

    @property
    def next_message_counter(self) -> int:
        """The counter inside the next message."""
        return max([self.last_message_counter, *(item.message_counter for item in self.items)]) + 1

    def encrypted(self, item_id: bytes, *, after_commit: int, body_hash: bytes) -> Self:
        """``next_to_encrypt`` was encrypted, with ``next_counter`` (and ``next_message_counter`` inside)."""
        item = self.next_to_encrypt
        if item is None or item.id != item_id:
            raise UsageError("Only the next item in order can be encrypted.")
        state, _ = _step(item, Event.ENCRYPT)
        counter = self.next_counter
        numbered = replace(
            item,
            state=cast(ItemState, state),
            counter=counter,
            message_counter=self.next_message_counter if item.kind is EntryKind.MESSAGE else 0,
            after_commit=after_commit,
            body_hash=body_hash,
        )
        return replace(self._put(numbered), highest_counter=max(self.highest_counter, counter))

    @property
    def to_send(self) -> tuple[OutboxItem, ...]:
        """The items to be handed to the connection now, in order."""
        return tuple(item for item in self.items if item.state is ItemState.ENCRYPTED)

    def sent(self) -> Self:
        """All of ``to_send`` was handed to the connection."""
        return self._all(Event.SEND, self.to_send)

    def disconnected(self) -> Self:
        """The connection ended: what was not answered is sent again, the identical bytes."""
        return replace(self._all(Event.DISCONNECT, self.items), late=frozenset())

    # Answers

    def appended(self, counter: int, seq: int) -> Self:
        """The relay stored this counter's entry at ``seq``; raises ClonedDevice or RelayContradiction."""
        item = self._by_counter(counter)
        if item is None:
            if counter <= self.last_counter:
                return self  # it came back in the stream before this answer
            raise self._unknown(counter, seq)
        if item.seq not in (0, seq):
            raise RelayContradiction(counter=counter, seq=item.seq, now=seq)
        state, _ = _step(item, Event.APPENDED)
        return self._stored(item)._put(replace(item, state=cast(ItemState, state), seq=seq))

    def refused(self, counter: int, code: ErrorCode) -> tuple[Self, Action]:
        """The relay refused the entry with this counter; the outbox then, and what to do.

        Raises StreamRolledBack (``ahead``), ClonedDevice (``conflict``) or RelayContradiction; the outbox
        is kept.
        """
        item = self._by_counter(counter)
        if counter in self.late:
            return replace(self, late=self.late - {counter}), Action.NONE
        if item is None:
            return self, Action.NONE  # it came back in the stream before this answer to a second sending
        event = REFUSALS.get(code, Event.RETRY_LATER)
        if event is Event.STALE and item.kind is EntryKind.COMMIT:
            event = Event.RACE_LOST
        elif event is Event.NOT_TAKEN and item.kind is EntryKind.MESSAGE:
            event = Event.STOPPED  # a message adds nobody: this relay takes none
        state, action = _step(item, event)
        if action is Action.ALARM_ROLLED_BACK:
            raise StreamRolledBack(counter=counter, after_commit=item.after_commit)
        if action is Action.ALARM_CLONED:
            raise ClonedDevice(counter=counter, own_hash=item.body_hash)
        if state is None:
            return self._requeued_from(counter)._without(item), action
        if state is ItemState.QUEUED:
            return self._requeued_from(counter), action
        box = self._stored(item) if state is ItemState.ACKNOWLEDGED else self
        return box._put(replace(item, state=state)), action

    def own_entry(
        self, *, seq: int, kind: EntryKind, after_commit: int, counter: int
    ) -> tuple[Self, OutboxItem]:
        """An entry of this device's came back at ``seq``: the outbox without it, and the item.

        Raises ClonedDevice for a counter this outbox never used (another copy of this device sent it);
        RelayContradiction for one that the relay had refused, or stored elsewhere, differently or out of
        order.
        """
        item = self._by_counter(counter)
        if item is None:
            raise self._unknown(counter, seq)
        fits = (kind, after_commit) == (item.kind, item.after_commit) and item.seq in (0, seq)
        if not fits or item is not self.items[0]:
            raise RelayContradiction(
                counter=counter,
                seq=seq,
                acknowledged_seq=item.seq,
                after_commit=after_commit,
                own_after_commit=item.after_commit,
            )
        _step(item, Event.SEEN)
        return self._stored(item)._without(item), replace(item, seq=seq)

    def check_opened(self, last_counter: int) -> None:
        """Whether the relay's last counter for us is possible; raises ClonedDevice or StreamRolledBack."""
        if last_counter > self.highest_counter:
            raise ClonedDevice(relay_counter=last_counter, own_counter=self.highest_counter)
        if last_counter < self.last_counter:
            raise StreamRolledBack(relay_counter=last_counter, own_counter=self.last_counter)

    def rejoining(self, last_counter: int) -> tuple[Self, tuple[OutboxItem, ...]]:
        """This device joins anew, past entries it will not read: the outbox then, and what is done.

        Done is what the relay has stored, up to ``last_counter``; the rest is queued again, a commit dropped.
        """
        self.check_opened(last_counter)
        settled, done = self.passed_over(last_counter)
        kept = (item for item in settled.items if item.kind is EntryKind.MESSAGE)
        return replace(settled, items=tuple(_queued(item) for item in kept)), done

    def passed_over(self, last_counter: int) -> tuple[Self, tuple[OutboxItem, ...]]:
        """What the relay has stored, up to ``last_counter``, will not be read: the outbox without it."""
        done = tuple(item for item in self.in_flight if item.counter <= last_counter)
        settled = replace(
            self,
            items=tuple(item for item in self.items if item not in done),
            last_counter=max(self.last_counter, last_counter),
            last_message_counter=max([self.last_message_counter, *(i.message_counter for i in done)]),
        )
        return settled, done

    # Repair

    @property
    def last_seen_counter(self) -> int:
        """The counter of our last entry that has come back in the stream."""
        return self.last_counter - sum(1 for item in self.in_flight if item.counter <= self.last_counter)

    def set_back(self, last_counter: int) -> Self:
        """The relay lost entries that it had acknowledged and not delivered yet: they are sent once more.

        Raises ClonedDevice or StreamRolledBack if that cannot be all.
        """
        if last_counter > self.highest_counter:
            raise ClonedDevice(relay_counter=last_counter, own_counter=self.highest_counter)
        if last_counter < self.last_seen_counter:
            raise StreamRolledBack(relay_counter=last_counter, own_counter=self.last_seen_counter)
        again = (
            replace(item, state=ItemState.ENCRYPTED, seq=0)
            if item.state is ItemState.ACKNOWLEDGED and item.counter > last_counter
            else item
            for item in self.items
        )
        # Encrypted afresh, should it be refused, it has the number again that it has inside now.
        lost = (i.message_counter for i in self.in_flight if i.counter > last_counter and i.message_counter)
        return replace(
            self,
            items=tuple(again),
            last_counter=min(self.last_counter, last_counter),
            last_message_counter=min([self.last_message_counter, *(number - 1 for number in lost)]),
        )

    def repairing(self, lost: Sequence[bytes], last_counter: int, last_message_counter: int) -> Self:
        """The relay lost entries: our messages among them, in their order, are to be sent once more.

        They stand before what was not stored yet, and keep their numbers (``last_message_counter`` is that
        before the first); appends are numbered on from what the relay has stored. Commits are dropped.
        """
        again = tuple(OutboxItem(item_id, EntryKind.MESSAGE) for item_id in lost)
        waiting = (item for item in self.items if item.kind is EntryKind.MESSAGE and item.id not in set(lost))
        return replace(
            self,
            items=(*again, *(_queued(item) for item in waiting)),
            last_counter=last_counter,
            last_message_counter=last_message_counter,
            late=frozenset(),
        )

    def offer_commit(self, item_id: bytes, *, after_commit: int, body_hash: bytes) -> Self:
        """A commit that the stream had before is offered again, before all that waits."""
        return self.enqueue_commit(item_id).encrypted(item_id, after_commit=after_commit, body_hash=body_hash)

    # Inside

    def _by_counter(self, counter: int) -> OutboxItem | None:
        return next((item for item in self.items if item.in_flight and item.counter == counter), None)

    def _unknown(self, counter: int, seq: int) -> ClonedDevice | RelayContradiction:
        if counter > self.highest_counter:
            return ClonedDevice(counter=counter, seq=seq, own_counter=self.highest_counter)
        return RelayContradiction(counter=counter, seq=seq)

    def _stored(self, item: OutboxItem) -> Self:
        return replace(
            self,
            last_counter=max(self.last_counter, item.counter),
            last_message_counter=max(self.last_message_counter, item.message_counter),
        )

    def _requeued_from(self, counter: int) -> Self:
        """An entry was refused for good, so what is in flight behind it is, too.

        Messages are queued again. A commit is dropped, as everywhere: whoever made it makes another if it is
        still due, while one that only waited would keep messages from being encrypted for an epoch to come.
        """
        gone = [i for i in self.items if i.in_flight and i.counter >= counter]
        items = (
            _queued(i) if i in gone else i for i in self.items if i not in gone or i.kind is EntryKind.MESSAGE
        )
        late = {i.counter for i in self.items if i.state is ItemState.SENT and i.counter > counter}
        return replace(self, items=tuple(items), late=self.late | late)

    def _all(self, event: Event, items: tuple[OutboxItem, ...]) -> Self:
        box = self
        for item in items:
            state, _ = _step(item, event)
            box = box._put(replace(item, state=cast(ItemState, state)))
        return box

    def _put(self, item: OutboxItem) -> Self:
        return replace(self, items=tuple(item if i.id == item.id else i for i in self.items))

    def _without(self, item: OutboxItem) -> Self:
        return replace(self, items=tuple(i for i in self.items if i.id != item.id))

    # Storing

    def serialize(self) -> bytes:
        """Encode for the vault."""
        items = [
            [
                i.id,
                int(i.kind),
                str(i.state),
                i.counter,
                i.message_counter,
                i.after_commit,
                i.body_hash,
                i.seq,
            ]
            for i in self.items
        ]
        return pack([_FORMAT, self.last_counter, self.highest_counter, self.last_message_counter, items])

    @classmethod
    def parse(cls, data: bytes) -> Self:
        """Decode from the vault; raises RecordInvalid."""
        try:
            version, last, highest, last_message, items = cast(list[object], unpack(data))
            if version != _FORMAT or not all(type(n) is int for n in (last, highest, last_message)):
                raise ValueError("a field of another form")
            parsed = tuple(_parse_item(item) for item in cast(list[object], items))
            return cls(parsed, cast(int, last), cast(int, highest), cast(int, last_message))
        except (ValueError, TypeError) as error:
            raise RecordInvalid("A stored outbox is damaged. Restore the vault from a backup.") from error


def _step(item: OutboxItem, event: Event) -> tuple[ItemState | None, Action]:
    try:
        return TRANSITIONS[item.state, event]
    except KeyError:
        raise RelayContradiction(counter=item.counter, state=str(item.state), event=str(event)) from None


def _queued(item: OutboxItem) -> OutboxItem:
    return OutboxItem(item.id, item.kind)


def _parse_item(value: object) -> OutboxItem:
    item_id, kind, state, *numbers = cast(list[object], value)
    counter, message_counter, after_commit, body_hash, seq = numbers
    if not all(type(n) is int for n in (counter, message_counter, after_commit, seq)):
        raise ValueError("a number of another form")
    if not isinstance(item_id, bytes) or not isinstance(body_hash, bytes):
        raise ValueError("an id or a hash of another form")
    return OutboxItem(
        item_id,
        EntryKind(cast(int, kind)),
        ItemState(cast(str, state)),
        cast(int, counter),
        cast(int, message_counter),
        cast(int, after_commit),
        body_hash,
        cast(int, seq),
    )
