"""What each entry of the stream does to this device: one step of a unit of work for every position."""

from __future__ import annotations

import hashlib
from collections import deque
from dataclasses import dataclass, field
from functools import partial
from typing import Final

from client_sdk.content import CallInvite, Envelope, Profile, Receipt
from client_sdk.delivery import (
    AttestLog,
    ClonedDevice,
    OutboxItem,
    RelayContradiction,
    SecurityAlarm,
    StreamForked,
)
from client_sdk.engine import (
    amending,
    journal,
    keeping,
    reading,
    repairing,
    trusting,
    witnessing,
)
from client_sdk.engine.answers import without
from client_sdk.engine.commits import extend, foreign_commit
from client_sdk.engine.context import Context
from client_sdk.engine.entering import join, let_in_again, own_commit
from client_sdk.engine.outofstep import lost_step, missed
from client_sdk.engine.records import CommitReason, PendingCommit, Phase
from client_sdk.engine.renewing import is_of_next_group
from client_sdk.engine.standing import IN_THE_GROUP, Work
from client_sdk.errors import ContentError, VaultCorrupt
from client_sdk.identity import Leaf
from client_sdk.mls import ApplicationReceived, MLSError, WrongEpoch, WrongGroup, process_message
from client_sdk.vault import HistoryItem
from relay.wire import Bundle, EntryKind, WireError
from relay.wire import frames as fr

UNREADABLE: Final = "Something came that no device of this conversation could have sent properly."
MOST_BUNDLES: Final = 4  # so many void ones in a row are not an accident
MOST_UNREAD: Final = 3  # in a row: then somebody is in another epoch, or makes noise


@dataclass(slots=True)
class NewestBundles:
    """The newest commit entries seen while this device was out of step: by one's GroupInfo it rejoins.

    More than one, because the newest may be void, and then the group is as the one before it left it.
    """

    seq: int = 0
    group_infos: deque[bytes] = field(default_factory=lambda: deque(maxlen=MOST_BUNDLES), repr=False)
    """The newest first."""

    def note(self, seq: int, body: bytes) -> None:
        """A commit entry came."""
        if seq <= self.seq:
            return
        self.seq = seq
        try:
            self.group_infos.appendleft(Bundle.parse(body).group_info)
        except WireError:
            return  # void for everybody, and no help to us


def take(work: Work, context: Context, entry: fr.Entry, newest: NewestBundles, opened: fr.Opened) -> None:
    """Process one entry; what lies behind our position already changes nothing."""
    if work.halted:
        return
    if work.record.phase in IN_THE_GROUP and 0 < work.record.cursor < entry.seq <= opened.cursor:
        work.halt(ClonedDevice(seq=work.record.cursor, cursor=opened.cursor))
    elif work.record.phase is Phase.REPAIRING:
        repairing.follow(work, context, entry)
    elif work.record.phase is not Phase.MEMBER:
        _as_outsider(work, context, entry, newest, opened)
    elif entry.seq > work.record.cursor + 1:
        _behind_a_gap(work, context, entry, newest, opened)
    elif entry.seq > work.record.cursor:
        _as_member(work, context, entry)


def _behind_a_gap(
    work: Work, context: Context, entry: fr.Entry, newest: NewestBundles, opened: fr.Opened
) -> None:
    if let_in_again(work, context, entry, opened.last_counter):
        return
    if opened.cursor > work.record.cursor:
        work.halt(ClonedDevice(seq=work.record.cursor, cursor=opened.cursor))
        return
    missed(work, entry.seq)
    if not work.halted:
        _as_outsider(work, context, entry, newest, opened)


# Without a group state: a commit may bring us in, all else is not for us


def _as_outsider(
    work: Work, context: Context, entry: fr.Entry, newest: NewestBundles, opened: fr.Opened
) -> None:
    if entry.kind is EntryKind.COMMIT:
        body = keeping.own_commit_at(work, entry) if entry.body is None else entry.body
        if body is not None:
            newest.note(entry.seq, body)
    if entry.seq <= work.record.cursor:
        return
    work.change(cursor=entry.seq)
    if entry.kind is EntryKind.COMMIT:
        work.change(last_commit=entry.seq)
    if entry.body is None:
        _own_as_outsider(work, context, entry)
    elif entry.kind is EntryKind.COMMIT:
        join(work, context, entry, entry.body, opened.last_counter)


def _own_as_outsider(work: Work, context: Context, entry: fr.Entry) -> None:
    if not any(item.in_flight and item.counter == entry.counter for item in work.box.items):
        return  # of a time that this device has no record of, which is why it is not a member
    item = _own_item(work, entry)
    if item is None:
        return
    pending = work.pending
    if pending is None or item.id != pending.id:
        _placed(work, item, entry.seq)
    elif pending.reason is CommitReason.MEMBERSHIP:
        work.set_pending(None)  # made in a state that we have given up
    else:
        own_commit(work, context, entry, pending)


# As a member


def _as_member(work: Work, context: Context, entry: fr.Entry) -> None:
    if entry.body is None:
        _own(work, context, entry)
    elif any(item.seq == entry.seq for item in work.box.items):
        work.halt(RelayContradiction(seq=entry.seq))  # it said that our entry stands here
    elif work.pending is not None and entry.body == work.pending.body:
        _offered_by_another(work, context, entry, work.pending)
    elif entry.kind is EntryKind.COMMIT:
        foreign_commit(work, context, entry, entry.body)
    elif not repairing.recognized(work, entry, entry.body):
        _message(work, context, entry, entry.body)


def _offered_by_another(work: Work, context: Context, entry: fr.Entry, pending: PendingCommit) -> None:
    """Our own commit, which the relay had lost before it came back to us, and another device had seen."""
    work.box = without(work.box, pending.id)
    own_commit(work, context, entry, pending)


def _own_item(work: Work, entry: fr.Entry) -> OutboxItem | None:
    try:
        work.box, item = work.box.own_entry(
            seq=entry.seq, kind=entry.kind, after_commit=entry.after_commit, counter=entry.counter
        )
    except SecurityAlarm as alarm:
        work.halt(alarm)
        return None
    return item


def _own(work: Work, context: Context, entry: fr.Entry) -> None:
    item = _own_item(work, entry)
    if item is None:
        return
    if work.pending is not None and item.id == work.pending.id:
        own_commit(work, context, entry, work.pending)
    elif extend(work, entry, item.body_hash):
        _placed(work, item, entry.seq)
        work.change(spoken_epoch=work.record.highest_epoch)


def _placed(work: Work, item: OutboxItem, seq: int) -> None:
    waiting = work.waiting(item.id)
    keeping.keep_own(work, item, waiting, seq)
    if item.id in work.record.reoffers:
        work.change(reoffers=tuple(other for other in work.record.reoffers if other != item.id))
    if waiting.in_history:
        amending.place_own(work, item.id, seq)
    work.placed.append(item.id)


def _message(work: Work, context: Context, entry: fr.Entry, body: bytes) -> None:
    before = work.log
    if not extend(work, entry, hashlib.sha256(body).digest()):
        return
    if work.group is None or before is None:
        raise VaultCorrupt("A member's group state is missing from the vault.")
    try:
        received = process_message(work.group, body, auth=context.policy, now=int(work.now))
    except WrongEpoch as error:
        _unreadable(work, context, entry.seq, others_went_on=error.seen > error.current)
        return
    except WrongGroup:
        _unreadable(work, context, entry.seq, others_went_on=is_of_next_group(work, body))
        return
    except MLSError:
        _unreadable(work, context, entry.seq)
        return
    if isinstance(received, ApplicationReceived):
        work.group = received.state
        work.change(unread=0)
        _said(work, context, entry, received, before)
    else:
        _unreadable(work, context, entry.seq)  # proposals and commits do not come as messages


def _unreadable(work: Work, context: Context, seq: int, *, others_went_on: bool = False) -> None:
    journal.keep_notice(work, journal.GAP, UNREADABLE, seq, context.new_id())
    work.change(unread=work.record.unread + 1)
    if others_went_on:
        lost_step(work, context, seq)
    if work.record.unread >= MOST_UNREAD and work.record.phase is Phase.MEMBER:
        work.raise_alarm(StreamForked(seq=seq, own_epoch=work.record.highest_epoch))


def _said(
    work: Work, context: Context, entry: fr.Entry, received: ApplicationReceived, before: AttestLog
) -> None:
    leaf = _leaf(work, received.sender)
    try:
        envelope = journal.read(received.plaintext)
    except ContentError:
        journal.keep_notice(work, journal.GAP, UNREADABLE, entry.seq, context.new_id())
        return
    keeping.note_said(work, entry.seq, envelope, leaf.device)
    _check(work, entry.seq, leaf, envelope, before)
    keeping.attested(work, context.account.device)
    if isinstance(envelope.content, Receipt):
        _read(work, context, leaf, envelope.content, envelope.attest.seq)
        work.heard = work.heard or False
        return
    work.heard = True
    work.change(owes_receipt=True)
    if isinstance(envelope.content, Profile):
        trusting.put_name(work.tx, leaf.user, envelope.content.name)
        witnessing.heard(work, context, leaf.user, envelope.content.extra)
    else:
        _keep(work, entry.seq, leaf, envelope, received)


def _read(work: Work, context: Context, leaf: Leaf, receipt: Receipt, attested: int) -> None:
    """Nobody has read what they do not have."""
    if receipt.read is not None:
        own = leaf.user == context.account.user
        reading.heard(work, leaf.user, min(receipt.read, attested, work.record.cursor), own=own)


def _leaf(work: Work, index: int) -> Leaf:
    found = [leaf for leaf in work.view.leaves if leaf.index == index] if work.view is not None else []
    if not found:
        raise VaultCorrupt("A member's view of the group does not fit its state.")
    return found[0]


def _check(work: Work, seq: int, leaf: Leaf, envelope: Envelope, before: AttestLog) -> None:
    """Does the sender see what we see, and is this its next message? What it says is kept in any case."""
    try:
        before.check(envelope.attest, envelope.closings, entry_seq=seq)
    except SecurityAlarm as alarm:
        work.raise_alarm(alarm)
    else:
        others = [peer for peer in work.record.peers if peer[0] != leaf.device]
        work.change(peers=(*others, (bytes(leaf.device), str(leaf.user), envelope.attest.seq)))
    try:
        work.counters.check(leaf.device, envelope.counter)
    except SecurityAlarm as alarm:
        work.raise_alarm(alarm)
    work.counters = work.counters.after(leaf.device, envelope.counter)


def _keep(work: Work, seq: int, leaf: Leaf, envelope: Envelope, received: ApplicationReceived) -> None:
    epoch = work.record.highest_epoch  # the one that it came in, counted through the generations
    said = journal.Said(received.plaintext, epoch, received.sender, received.signed, received.signature)
    if journal.is_taken_back(envelope):
        repairing.stands_taken_back(work, _taken_back(work, seq, leaf, envelope))
        return
    item = HistoryItem(
        conversation=work.engagement,
        id=envelope.id,
        seq=seq,
        sent_ms=envelope.sent_ms,
        sender_user=leaf.user,
        sender_device=leaf.device,
        kind=envelope.kind,
        text=journal.searchable(envelope.content),
        payload=said.serialize(),
        mine=False,
        about=journal.about(envelope.content),
    )
    if item.about is not None:
        if amending.take(work, item):
            journal.announce(work, item.id)
            work.said.append(item.id)
        return
    # An invitation to a call is shown while it rings, and in the history; nobody deals with it later.
    keep = work.tx.add_item if isinstance(envelope.content, CallInvite) else partial(journal.keep, work)
    if keep(item):
        amending.arrived(work, envelope.id)
        work.said.append(envelope.id)
    else:
        repairing.said_again(work, item)


def _taken_back(work: Work, seq: int, leaf: Leaf, envelope: Envelope) -> HistoryItem:
    return HistoryItem(
        conversation=work.engagement,
        id=envelope.id,
        seq=seq,
        sent_ms=envelope.sent_ms,
        sender_user=leaf.user,
        sender_device=leaf.device,
        kind=journal.RETRACTED,
        text="",
        payload=b"",
        mine=False,
    )
