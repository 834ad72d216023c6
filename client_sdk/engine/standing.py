"""What is durable of one conversation, and the unit of work by which it changes: one vault transaction."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass, field, replace
from typing import Any, Final

from client_sdk.content.packing import pack, unpack
from client_sdk.delivery import (
    AttestLog,
    MessageCounters,
    Outbox,
    OutboxItem,
    Passed,
    SecurityAlarm,
    alarm_from,
)
from client_sdk.engine import spaces
from client_sdk.engine.records import (
    CommitRecord,
    ConversationRecord,
    OutboxRecord,
    PendingCommit,
    Phase,
)
from client_sdk.errors import CoachRelayError, VaultCorrupt
from client_sdk.identity import ConversationView, conversation_epoch, view_of
from client_sdk.mls import GroupState, MLSError
from client_sdk.vault import Transaction
from relay.wire import EntryKind
from relay.wire.ids import EngagementId

IN_THE_GROUP: Final = (Phase.MEMBER, Phase.REPAIRING)
STATE_LOST: Final = "This device could not read its own keys for this conversation."


@dataclass(frozen=True, slots=True)
class Standing:
    """What the vault holds of a conversation, as the engine keeps it in memory."""

    record: ConversationRecord = field(default_factory=ConversationRecord)
    box: Outbox = field(default_factory=Outbox)
    counters: MessageCounters = field(default_factory=MessageCounters)
    group: GroupState | None = None
    view: ConversationView | None = None
    log: AttestLog | None = None
    pending: PendingCommit | None = None

    @property
    def epoch(self) -> int:
        """The number of the present epoch within the conversation; -1 outside the group."""
        if self.group is None or self.view is None:
            return -1
        return conversation_epoch(self.view.info.generation, self.group.epoch)

    @property
    def alarm(self) -> SecurityAlarm | None:
        """The alarm that waits for a person's decision."""
        return _read_alarm(self.record.alarm) if self.record.alarm else None


def _read_alarm(data: bytes) -> SecurityAlarm:
    match unpack(data):
        case [str(code), dict(evidence)]:
            return alarm_from(code, {k: v for k, v in evidence.items() if isinstance(v, int | str)})
        case _:
            raise VaultCorrupt("A record of the vault is damaged.")


def load(tx: Transaction, engagement: EngagementId) -> Standing:
    """What the vault holds; a group state that cannot be read makes the device rejoin."""
    key = spaces.conversation_key(engagement)
    data = tx.get(spaces.CONVERSATION, key)
    if data is None:
        return Standing()
    box, counters, pending = (tx.get(s, key) for s in (spaces.BOX, spaces.COUNTERS, spaces.PENDING))
    standing = Standing(
        record=ConversationRecord.parse(data),
        box=Outbox() if box is None else Outbox.parse(box).disconnected(),
        counters=MessageCounters() if counters is None else MessageCounters.parse(counters),
        pending=None if pending is None else PendingCommit.parse(pending),
    )
    return _with_group(tx, key, standing) if standing.record.phase in IN_THE_GROUP else standing


def _with_group(tx: Transaction, key: bytes, standing: Standing) -> Standing:
    epoch, ratchet, log = (tx.get(space, key) for space in (spaces.EPOCH, spaces.RATCHET, spaces.ATTEST))
    try:
        without_log = log is None and standing.record.phase is Phase.REPAIRING
        if epoch is None or ratchet is None or (log is None and not without_log):
            raise VaultCorrupt("A part of the group's state is missing.")
        group = GroupState.assemble(epoch, ratchet)
        known = None if log is None else AttestLog.parse(log)
        return replace(standing, group=group, view=view_of(group), log=known)
    except (MLSError, CoachRelayError):
        lost = replace(standing.record, phase=Phase.REJOINING, rejoin_reason=STATE_LOST)
        return replace(standing, record=lost)


class Work:
    """One change of a conversation: it is made on this copy, stored by `store`, and then adopted."""

    def __init__(self, tx: Transaction, engagement: EngagementId, standing: Standing, now: float) -> None:
        self.tx = tx
        self.engagement = engagement
        self.now = now
        self._before = standing
        self.record = standing.record
        self.box = standing.box
        self.counters = standing.counters
        self.group = standing.group
        self.view = standing.view
        self.log = standing.log
        self.pending = standing.pending
        self.halted = False
        """Nothing after this entry can be processed."""
        self.passed: dict[int, Passed] = {}
        """Entries that this change has processed."""
        self.placed: list[bytes] = []
        """Messages of ours that got their position."""
        self.said: list[bytes] = []
        """Items that came."""
        self.released: list[str] = []
        """Files at the relay that a retraction has made useless."""
        self.joined: frozenset[bytes] = frozenset()
        """Devices that an accepted commit brought."""
        self.key_packages_spent = False
        """A key package of ours has brought us in."""
        self.heard: bool | None = None
        """Whether somebody else's message came: False if nothing but receipts did."""

    @property
    def key(self) -> bytes:
        return spaces.conversation_key(self.engagement)

    @property
    def now_ms(self) -> int:
        return int(self.now * 1000)

    def change(self, **changes: Any) -> None:
        """Change fields of the conversation's record."""
        self.record = replace(self.record, **changes)

    # What waits to be sent

    def waiting(self, item_id: bytes) -> OutboxRecord:
        """What belongs to an item of the outbox; raises `VaultCorrupt` if it is not there."""
        data = self.tx.get(spaces.OUTBOX, self.key + item_id)
        if data is None:
            raise VaultCorrupt("A message that waits to be sent is missing from the vault.")
        return OutboxRecord.parse(data)

    def put_waiting(self, record: OutboxRecord) -> None:
        """Store what belongs to an item of the outbox."""
        self.tx.put(spaces.OUTBOX, self.key + record.id, record.serialize())

    def drop_waiting(self, item_id: bytes) -> None:
        """The item has left the outbox."""
        self.tx.delete(spaces.OUTBOX, self.key + item_id)

    def set_pending(self, pending: PendingCommit | None) -> None:
        """Store our commit that is on its way; None: there is none any more."""
        self.pending = pending
        if pending is None:
            self.tx.delete(spaces.PENDING, self.key)
        else:
            self.tx.put(spaces.PENDING, self.key, pending.serialize())

    def body_of(self, item: OutboxItem) -> bytes:
        """The bytes of an entry of ours; raises `VaultCorrupt` if they are not those that were sent."""
        if self.pending is not None and item.id == self.pending.id:
            body = self.pending.body
        elif item.kind is EntryKind.COMMIT:
            body = self.lost_commit().body
        else:
            body = self.waiting(item.id).body
        if hashlib.sha256(body).digest() != item.body_hash:
            raise VaultCorrupt("A message that waits to be sent was altered in the vault.")
        return body

    def lost_commit(self) -> CommitRecord:
        """The next commit to be offered again; raises `VaultCorrupt` if there is none."""
        found = self.tx.scan(spaces.LOST_COMMIT, self.key, limit=1)
        if not found:
            raise VaultCorrupt("A commit that is to be offered again is missing from the vault.")
        return CommitRecord.parse(found[0][1])

    # Alarms

    def raise_alarm(self, alarm: SecurityAlarm) -> None:
        """Stop sending until a person has looked; the first alarm stays the one that is shown."""
        if not self.record.alarm:
            self.change(alarm=pack([alarm.code, dict(alarm.evidence)]))

    def halt(self, alarm: SecurityAlarm) -> None:
        """Raise an alarm behind which the stream cannot be read on."""
        self.raise_alarm(alarm)
        self.halted = True

    # The end

    def store(self) -> Standing:
        """Write what changed; the result counts once the transaction is committed."""
        before = self._before
        if self.record is not before.record:
            self.tx.put(spaces.CONVERSATION, self.key, self.record.serialize())
        if self.box is not before.box:
            self.tx.put(spaces.BOX, self.key, self.box.serialize())
        if self.counters is not before.counters:
            self.tx.put(spaces.COUNTERS, self.key, self.counters.serialize())
        if self.group is not before.group:
            self._store_group()
        if self.log is not before.log and self.log is not None:
            self.tx.put(spaces.ATTEST, self.key, self.log.serialize())
        elif self.log is None and before.log is not None:
            self.tx.delete(spaces.ATTEST, self.key)
        for passed in self.passed.values():
            self.tx.put(spaces.PASSED, spaces.numbered_key(self.engagement, passed.seq), passed.serialize())
        return Standing(self.record, self.box, self.counters, self.group, self.view, self.log, self.pending)

    def _store_group(self) -> None:
        if self.group is None:
            self.tx.delete(spaces.EPOCH, self.key)
            self.tx.delete(spaces.RATCHET, self.key)
            return
        before = self._before.group
        if before is None or before.epoch_state is not self.group.epoch_state:
            self.tx.put(spaces.EPOCH, self.key, self.group.epoch_part())
        self.tx.put(spaces.RATCHET, self.key, self.group.ratchet_part())
