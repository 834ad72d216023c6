"""After the relay lost its newest entries: it gets them back from the devices (docs/PROTOCOL.md section 4.1).

The stream as the relay has it now is the order. This device goes back to where both agree, reads on from
there, offers the commits that the relay lost, byte for byte, and then what it said itself. Its keys never go
back: what cannot be sent again as it was is encrypted afresh.
"""

from __future__ import annotations

import hashlib
from dataclasses import replace
from typing import Final

from client_sdk.content import Attest, Envelope, Receipt
from client_sdk.delivery import (
    MOST_PASSED,
    AttestLog,
    ClonedDevice,
    MessageCounters,
    Passed,
    SecurityAlarm,
    StreamRolledBack,
    StreamSkipped,
    log_at,
)
from client_sdk.delivery.attest import RECENT
from client_sdk.engine import amending, journal, keeping, resending, spaces
from client_sdk.engine.commits import extend, forget_lost
from client_sdk.engine.context import Context
from client_sdk.engine.offers import Offer, check_signed, read_offer
from client_sdk.engine.outofstep import begin_rejoin
from client_sdk.engine.records import CommitReason, CommitRecord, OutboxRecord, Phase
from client_sdk.engine.standing import Work
from client_sdk.errors import IdentityError
from client_sdk.identity.conversation import GENERATION_EPOCHS
from client_sdk.mls import GroupState, MLSError
from client_sdk.vault import HistoryItem
from relay.wire import Bundle, EntryKind, WireError
from relay.wire import frames as fr
from relay.wire.ids import DeviceId

OVERTAKEN: Final = (
    "The relay lost the newest messages, and others went on before this device could bring them back. "
    "What they said meanwhile may be missing here."
)
_ID_BYTES: Final = 16


# Going back to where both agree


def begin(work: Work, opened: fr.Opened, agreed: int) -> None:
    """The relay's stream is ours up to `agreed`, and behind that another one, or nothing yet.

    Raises `SecurityAlarm`, and has changed nothing then.
    """
    lost = keeping.passed_after(work, agreed)
    _check_remembered(work, agreed, lost)
    own = [passed for passed in lost if passed.own]
    expected = work.box.last_seen_counter - len(own)
    _check_counters(work, expected, opened.last_counter, is_exact=work.record.entered <= agreed)
    _check_commits(work, agreed, lost)
    lose(work, agreed, opened.last_counter)
    _go_back(work, agreed)
    foreign = opened.last_counter > expected or opened.cursor > agreed
    came_in_anew = not keeping.passed_upto(work, agreed, 1) and keeping.newest_upto(work, agreed) is not None
    if foreign or came_in_anew:
        # A copy of another time: it has entries of ours of which it is not known any more what they said.
        # Or it ends where this device was out of step, and nobody knows here how far the stream is there.
        begin_rejoin_after(work)


def lose(work: Work, agreed: int, last_counter: int) -> None:
    """Nothing behind `agreed` stands where it stood: what we said there is to be sent once more."""
    lost = keeping.passed_after(work, agreed)
    keeping.forget_passed(work, lost)
    _lose_commits(work, agreed)
    _lose_messages(work, [passed for passed in lost if not passed.own], agreed)
    own = [passed for passed in lost if passed.own and passed.kind == EntryKind.MESSAGE and passed.id]
    _queue_again(work, own, last_counter)
    work.change(
        lost_from=keeping.lost_from(work, agreed),
        peers=tuple((device, user, min(seq, agreed)) for device, user, seq in work.record.peers),
        reads=tuple((user, min(seq, agreed)) for user, seq in work.record.reads),
        read=min(work.record.read, agreed),
        read_told=min(work.record.read_told, agreed),
    )


def _check_remembered(work: Work, agreed: int, lost: list[Passed]) -> None:
    """Whether all is known here that stood behind `agreed` since this device came in; else it is an alarm."""
    record = work.record
    behind = max(agreed, record.entered - 1)
    if sum(passed.seq > behind for passed in lost) < record.cursor - behind:
        raise StreamRolledBack(seq=record.cursor, head=agreed)


def _check_counters(work: Work, expected: int, last_counter: int, *, is_exact: bool) -> None:
    """Whether the relay has those entries of ours that stand before the loss; raises `SecurityAlarm`.

    Who came in anew behind it has not seen all of its own entries come back, and so cannot count them.
    """
    highest = work.box.highest_counter
    if last_counter > highest:
        raise ClonedDevice(relay_counter=last_counter, own_counter=highest)
    if is_exact and last_counter < expected:
        raise StreamRolledBack(relay_counter=last_counter, own_counter=expected)


def _check_commits(work: Work, agreed: int, lost: list[Passed]) -> None:
    """Whether every commit that this device accepted behind the loss is here; raises StreamRolledBack."""
    before = keeping.passed_upto(work, agreed, 1)
    kept = keeping.commits_after(work, agreed)
    waiting = bool(work.tx.scan(spaces.LOST_COMMIT, work.key, limit=1))
    epoch = before[-1].epoch if before else -1
    for passed in lost:
        accepted = passed.kind == EntryKind.COMMIT and passed.epoch > epoch
        if accepted and passed.seq not in kept:
            raise StreamRolledBack(seq=passed.seq, head=agreed)
        epoch = max(epoch, passed.epoch)
    if not (kept or waiting) and log_at(before, ()) is None:
        raise StreamRolledBack(seq=work.record.cursor, head=agreed)


def _lose_commits(work: Work, agreed: int) -> None:
    for seq, commit in keeping.commits_after(work, agreed).items():
        work.tx.delete(spaces.COMMIT, spaces.numbered_key(work.engagement, seq))
        key = spaces.numbered_key(work.engagement, commit.epoch)
        work.tx.put(spaces.LOST_COMMIT, key, commit.serialize())


def _lose_messages(work: Work, lost: list[Passed], agreed: int) -> None:
    for passed in lost[-MOST_PASSED:]:
        if passed.kind == EntryKind.MESSAGE:
            work.tx.put(spaces.LOST, work.key + passed.body_hash, passed.serialize())
            work.change(has_lost=True)
            _lose_amendment(work, passed.id, agreed)


def _lose_amendment(work: Work, message_id: bytes, agreed: int) -> None:
    """What an amendment did stays done; but whatever the stream has from here on counts for more."""
    row = _known(work, message_id)
    if row is not None and row.about is not None and row.seq is not None:
        work.tx.update_item(replace(row, seq=max(1, min(row.seq, agreed))))


def _queue_again(work: Work, own: list[Passed], last_counter: int) -> None:
    """What we said behind the loss is to be sent once more, first, and under the numbers that it had."""
    ids = list(dict.fromkeys([passed.id for passed in own]))
    again = [item.id for item in work.box.items if item.id in work.record.reoffers and item.id not in ids]
    # What the relay had acknowledged, and never brought back, keeps its number too.
    flying = [item.message_counter for item in work.box.in_flight if item.kind is EntryKind.MESSAGE]
    first = min([*flying, *(passed.message_counter for passed in own)], default=0)
    last_message = first - 1 if first else work.box.last_message_counter
    work.box = work.box.repairing([*ids, *again], last_counter, last_message)
    for message_id in ids:
        _keep_waiting(work, message_id)
    work.change(reoffers=(*ids, *again), kept_from=1)


def _keep_waiting(work: Work, message_id: bytes) -> None:
    """What belongs to a message in the outbox, from what is left of it."""
    data = work.tx.get(spaces.OUTBOX, work.key + message_id)
    kept = None if data is None else OutboxRecord.parse(data)
    row = _known(work, message_id)
    if kept is not None:
        work.change(kept_bytes=max(0, work.record.kept_bytes - len(kept.body)))
    if row is not None and (row.payload or row.kind == journal.RETRACTED):
        fresh = resending.again(row)
        work.tx.update_item(replace(row, seq=None))
    elif kept is not None and kept.content:
        fresh = OutboxRecord(message_id, kept.content, kept.blobs, kept.in_history)
    else:
        # An amendment that counts no more, or something that everybody has: only its number is needed.
        silence = Envelope(message_id, 1, Attest(0, 0, bytes(32)), (), work.now_ms, Receipt())
        work.put_waiting(OutboxRecord(message_id, silence.serialize(), in_history=False))
        return
    if kept is not None and kept.body and _goes_as_it_was(work, row):
        fresh = replace(fresh, body=kept.body, message_counter=kept.message_counter, attests=kept.attests)
    work.put_waiting(fresh)


def _goes_as_it_was(work: Work, row: HistoryItem | None) -> bool:
    """Whether the ciphertext may go again: not if it has words that were taken back.

    Nor if it is an amendment and another device of ours may have amended the same: who had both has only the
    newer one now, and could make nothing of the older one's bytes if it comes to stand behind it.
    """
    if row is None:
        return True
    if row.about is None:
        return row.kind != journal.RETRACTED
    ours = [] if work.view is None else [leaf for leaf in work.view.leaves if leaf.user == row.sender_user]
    return len(ours) < 2


def _go_back(work: Work, agreed: int) -> None:
    closings = work.log.closings if work.log is not None else ()
    before = keeping.passed_upto(work, agreed, RECENT)
    work.change(branch=_branch(work, agreed))
    work.log = log_at(before, closings)
    has_commits = bool(work.tx.scan(spaces.LOST_COMMIT, work.key, limit=1))
    work.counters = MessageCounters()
    work.change(
        phase=Phase.REPAIRING if has_commits else Phase.MEMBER,
        # Who came in behind the loss knows nothing of what is before: it begins where it is let in again.
        cursor=agreed if before else 0,
        last_commit=before[-1].last_commit if before else 0,
        unheard=False,
        unread=0,
    )
    _settle_pending(work)


def _branch(work: Work, agreed: int) -> int:
    """The epoch of the last position that both agree on; -1 if this device came in behind it."""
    epoch = keeping.epoch_upto(work, agreed)
    if epoch >= 0 or keeping.newest_upto(work, agreed) is None:
        return epoch
    lost = work.tx.scan(spaces.LOST_COMMIT, work.key, limit=1)
    return CommitRecord.parse(lost[0][1]).epoch - 1 if lost else work.record.highest_epoch


def _settle_pending(work: Work) -> None:
    """A commit of ours that was on its way goes again, if it still fits; else it did not happen.

    While the commits before it are not back, it waits: others may have seen it, and offer it again.
    """
    pending = work.pending
    if pending is None:
        return
    if pending.reason is not CommitReason.MEMBERSHIP:
        work.set_pending(None)
        return
    if work.record.phase is Phase.REPAIRING:
        return
    body_hash = hashlib.sha256(pending.body).digest()
    work.box = work.box.offer_commit(pending.id, after_commit=work.record.last_commit, body_hash=body_hash)


# Reading on, while commits are missing


def follow(work: Work, context: Context, entry: fr.Entry) -> None:
    """One entry of the stream as it is now, while this device is in an epoch that it does not have yet."""
    if entry.seq <= work.record.cursor:
        return
    if entry.kind is EntryKind.COMMIT:
        _commit(work, context, entry)
    elif entry.body is None:
        work.halt(ClonedDevice(seq=entry.seq, counter=entry.counter))
    elif not recognized(work, entry, entry.body):
        work.change(unheard=True)
        _pass(work, entry, hashlib.sha256(entry.body).digest())


def _commit(work: Work, context: Context, entry: fr.Entry) -> None:
    lost = work.lost_commit()
    body_hash = hashlib.sha256(lost.body).digest()
    if entry.body is None:
        try:
            work.box, item = work.box.own_entry(
                seq=entry.seq, kind=entry.kind, after_commit=entry.after_commit, counter=entry.counter
            )
        except SecurityAlarm as alarm:
            work.halt(alarm)
            return
        if item.body_hash == body_hash:
            _came_back(work, entry, lost)
        return
    if _is_same_change(entry.body, lost):
        _came_back(work, entry, replace(lost, body=entry.body))
    elif _leads_elsewhere(work, context, entry.body):
        # Another commit took its place: our epoch is not in the stream any more.
        if _continues(work, entry):
            work.change(cursor=entry.seq, last_commit=entry.seq)
            begin_rejoin_after(work)
    else:
        _pass(work, entry, hashlib.sha256(entry.body).digest())


def _is_same_change(body: bytes, lost: CommitRecord) -> bool:
    """Whether a commit entry leads to the same epoch for whoever has not seen the lost one.

    To them only the commit and the names count; whoever put it there may have altered what is beside them.
    Where a new group takes over, that is the group itself.
    """
    if body == lost.body:
        return True
    try:
        theirs, ours = Bundle.parse(body), Bundle.parse(lost.body)
    except WireError:
        return False
    takes_over = lost.epoch > GENERATION_EPOCHS and lost.epoch % GENERATION_EPOCHS == 1
    if takes_over or not ours.commit or theirs.commit != ours.commit:
        return False
    return (set(theirs.adds), set(theirs.removes)) == (set(ours.adds), set(ours.removes))


def _leads_elsewhere(work: Work, context: Context, body: bytes) -> bool:
    """Whether a commit entry describes another epoch after the one in which the stream is.

    One that describes an earlier epoch, one of ours, or nothing that a member has signed, is void for all:
    anybody whom the relay takes for a member may put it there.
    """
    offer = _described(work, context, body)
    if offer is None or offer.transcript == work.record.transcript:
        return False
    if work.record.branch < 0:
        # It came in behind the loss: what stood there is not known here, unless it lets this device in anew.
        if offer.epoch < work.lost_commit().epoch and context.account.device not in Bundle.parse(body).adds:
            return False
    elif offer.epoch <= work.record.branch:
        return False
    try:
        check_signed(context, offer)
    except MLSError:
        return False
    lost = work.tx.scan(spaces.LOST_COMMIT, work.key, limit=keeping.MOST_COMMITS)
    ours = (_described(work, context, CommitRecord.parse(data).body) for _, data in lost)
    return all(one is None or one.transcript != offer.transcript for one in ours)


def _described(work: Work, context: Context, body: bytes) -> Offer | None:
    """The epoch of this conversation that a commit entry describes, if it does."""
    try:
        return read_offer(work, context, Bundle.parse(body).group_info)
    except (WireError, MLSError, IdentityError):
        return None


def _pass(work: Work, entry: fr.Entry, body_hash: bytes) -> bool:
    """Go on to this position; False if the stream does not continue there."""
    if work.log is not None:
        passed = extend(work, entry, body_hash)
    else:
        passed = _continues(work, entry)
        if passed:
            work.change(cursor=entry.seq)
            keeping.note(work, entry, body_hash)
    if passed and entry.kind is EntryKind.COMMIT:
        work.change(last_commit=entry.seq)
    return passed


def _continues(work: Work, entry: fr.Entry) -> bool:
    cursor = work.record.cursor
    if cursor and entry.seq != cursor + 1:
        work.halt(StreamSkipped(expected=cursor + 1, got=entry.seq))
        return False
    return True


def _came_back(work: Work, entry: fr.Entry, lost: CommitRecord) -> None:
    """The stream has the commit again: from here on it is in the epoch that this one began."""
    if not _continues(work, entry) or work.group is None:
        return
    if work.record.cursor == 0:
        work.change(entered=entry.seq)
    work.change(cursor=entry.seq, last_commit=entry.seq, branch=lost.epoch)
    work.tx.delete(spaces.LOST_COMMIT, spaces.numbered_key(work.engagement, lost.epoch))
    work.box = replace(work.box, items=tuple(i for i in work.box.items if i.kind is EntryKind.MESSAGE))
    is_last = not work.tx.scan(spaces.LOST_COMMIT, work.key, limit=1)
    # Of epochs in between the keys are gone, and with them what their stream hashes begin with.
    work.log = _log_from(work, work.group, entry, lost) if is_last else None
    keeping.put_commit(work, entry, lost)
    if is_last:
        _done(work)


def _log_from(work: Work, group: GroupState, entry: fr.Entry, lost: CommitRecord) -> AttestLog:
    begun = AttestLog.begin(
        seq=entry.seq,
        after_commit=entry.after_commit,
        body_hash=hashlib.sha256(lost.body).digest(),
        epoch=lost.epoch,
        epoch_authenticator=group.epoch_authenticator,
    )
    kept = () if work.log is None else (*work.log.closings, work.log.attest)
    return replace(begun, closings=kept)


def _done(work: Work) -> None:
    work.change(phase=Phase.MEMBER)
    if work.record.unheard:
        begin_rejoin_after(work)
    else:
        _settle_pending(work)


def begin_rejoin_after(work: Work) -> None:
    """This device cannot go on from its own epoch: it comes in anew, never below what it has seen."""
    give_up_lost(work)
    overtaken(work, work.record.branch)
    work.change(starts_over=True, unheard=False)
    work.set_pending(None)
    begin_rejoin(work, OVERTAKEN)


def overtaken(work: Work, branch: int) -> None:
    """Others may go on from `branch`, or have: what they begin may have a lower number than our epoch has."""
    floor = max(work.record.floor, work.record.highest_epoch)
    work.change(overtaken=True, branch=branch, floor=floor)


def give_up_lost(work: Work) -> None:
    """This device is in none of these epochs any more: nothing of them is of use to it."""
    forget_lost(work)
    while rows := work.tx.scan(spaces.LOST_COMMIT, work.key, limit=keeping.MOST_COMMITS):
        for key, _ in rows:
            work.tx.delete(spaces.LOST_COMMIT, key)


def offer_next(work: Work) -> None:
    """Put the next commit that the relay lost into the outbox; the bytes are those that it had."""
    lost = work.lost_commit()
    if lost.creates is False and work.record.last_commit == 0:
        return  # only who made the group can make it again: the relay takes whoever begins for its member
    body_hash = hashlib.sha256(lost.body).digest()
    items = tuple(item for item in work.box.items if item.kind is EntryKind.MESSAGE)
    work.box = replace(work.box, items=items).offer_commit(
        body_hash[:_ID_BYTES], after_commit=work.record.last_commit, body_hash=body_hash
    )


# What comes once more


def recognized(work: Work, entry: fr.Entry, body: bytes) -> bool:
    """Whether this is a message that was here before the relay lost it; then it has its position anew.

    Its keys are used up and deleted, so the bytes tell what it is; what it attests must hold still.
    """
    if not work.record.has_lost:
        return False
    body_hash = hashlib.sha256(body).digest()
    data = work.tx.get(spaces.LOST, work.key + body_hash)
    if data is None:
        return False
    before, passed = work.log, Passed.parse(data)
    work.tx.delete(spaces.LOST, work.key + body_hash)
    if not _pass(work, entry, body_hash):
        return True
    if before is not None:
        _check(work, entry.seq, passed, before)
    work.passed[entry.seq] = replace(
        work.passed[entry.seq],
        id=passed.id,
        device=passed.device,
        message_counter=passed.message_counter,
        attest_epoch=passed.attest_epoch,
        attest_seq=passed.attest_seq,
        attest_hash=passed.attest_hash,
    )
    if passed.id:
        amending.place_own(work, passed.id, entry.seq)
    return True


def _check(work: Work, seq: int, passed: Passed, before: AttestLog) -> None:
    attest = passed.attest
    if attest is None:
        return
    try:
        before.check(attest, (), entry_seq=seq)
    except SecurityAlarm as alarm:
        work.raise_alarm(alarm)
    work.counters = work.counters.after(DeviceId(passed.device), passed.message_counter)


def said_again(work: Work, item: HistoryItem) -> None:
    """A message that comes once more, encrypted afresh, counts where it stands now."""
    known = _known(work, item.id)
    if known is not None and _is_of_same(known, item):
        work.tx.update_item(replace(known, seq=item.seq))


def stands_taken_back(work: Work, item: HistoryItem) -> None:
    """A message that was taken back before it came again has its place, and a placeholder there.

    Whoever had it has its place anew; whoever did not learns that there was one, as everybody shows it.
    """
    known = _known(work, item.id)
    if known is None:
        work.tx.add_item(item)
        amending.arrived(work, item.id)
        work.said.append(item.id)
    elif _is_of_same(known, item):
        if amending.may_be_taken_back(known):
            amending.erase(work, known)
            known = replace(known, kind=journal.RETRACTED, text="", payload=b"")
            amending.settle(work, known)
        work.tx.update_item(replace(known, seq=item.seq))


def _known(work: Work, item_id: bytes) -> HistoryItem | None:
    return next(iter(work.tx.history(work.engagement, only=item_id, limit=1)), None)


def _is_of_same(known: HistoryItem, item: HistoryItem) -> bool:
    same = (known.sender_user, known.sender_device) == (item.sender_user, item.sender_device)
    return same and known.about is None
