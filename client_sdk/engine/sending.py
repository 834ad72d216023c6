"""From the outbox to entries: what is said is encrypted just before it goes, under the epoch of that time."""

from __future__ import annotations

import hashlib
from collections.abc import Callable
from dataclasses import replace
from typing import Final

from client_sdk.content import Attest, Content, Envelope, padded_length
from client_sdk.content.envelope import MOST_CLOSINGS
from client_sdk.content.packing import MAX_COUNT
from client_sdk.delivery import OutboxItem
from client_sdk.engine import journal
from client_sdk.engine.account import Account
from client_sdk.engine.keeping import attests_of, still_holds
from client_sdk.engine.membership import Made
from client_sdk.engine.records import CommitReason, OutboxRecord, PendingCommit
from client_sdk.engine.standing import Work
from client_sdk.errors import UsageError
from client_sdk.mls import encrypt
from relay.wire import EntryKind
from relay.wire import frames as fr
from relay.wire.ids import BlobId

_UNSAID: Final = Attest(0, 0, bytes(32))
_LARGEST: Final = Attest(MAX_COUNT, MAX_COUNT, bytes(32))

Rng = Callable[[int], bytes]


def queue(
    work: Work,
    account: Account,
    content: Content,
    *,
    message_id: bytes,
    blobs: tuple[str, ...] = (),
    in_history: bool = True,
    sent_ms: int | None = None,
) -> None:
    """Put something into the outbox and the history; raises `ContentError` or `OutboxFull`, doing neither."""
    at = work.now_ms if sent_ms is None else sent_ms
    # What does not fit with all that is added when it is encrypted would wait for ever.
    Envelope(message_id, MAX_COUNT, _LARGEST, (_LARGEST,) * MOST_CLOSINGS, at, content).serialize()
    envelope = Envelope(message_id, 1, _UNSAID, (), at, content)
    data = envelope.serialize()
    work.box = work.box.enqueue(message_id)
    work.put_waiting(OutboxRecord(message_id, data, blobs, in_history))
    if in_history:
        journal.keep_own(work, account.user, account.device, data, envelope)


def encrypt_next(work: Work, rng: Rng) -> OutboxItem | None:
    """Encrypt the message whose turn it is; None if it is nobody's.

    Ciphertext and the group state that it used up are stored together.
    """
    item = work.box.next_to_encrypt
    if item is None or item.kind is not EntryKind.MESSAGE:
        return None
    if work.group is None or work.log is None:
        raise UsageError("There is no group to encrypt for.")
    waiting = work.waiting(item.id)
    if _may_hold_soon(work, waiting):
        return None
    if not _goes_again(work, waiting):
        _forget_ciphertexts(work, item)
        said = replace(
            Envelope.parse(waiting.content),
            counter=work.box.next_message_counter,
            attest=work.log.attest,
            closings=work.log.closings_since(work.record.spoken_epoch),
        )
        encrypted = encrypt(work.group, said.serialize(), rng=rng, padding=padded_length)
        work.group = encrypted.state
        if work.record.owes_receipt:
            work.change(owes_receipt=False)  # this message attests everything
        waiting = replace(
            waiting, body=encrypted.message, message_counter=said.counter, attests=attests_of(said)
        )
        work.put_waiting(waiting)
    work.box = work.box.encrypted(
        item.id,
        after_commit=work.record.last_commit,
        body_hash=hashlib.sha256(waiting.body).digest(),
    )
    return item


def _goes_again(work: Work, waiting: OutboxRecord) -> bool:
    """Whether the relay gets once more the bytes that it lost; all that they attest has to hold still."""
    lost = waiting.id in work.record.reoffers
    return lost and waiting.message_counter == work.box.next_message_counter and still_holds(work, waiting)


def _may_hold_soon(work: Work, waiting: OutboxRecord) -> bool:
    """Whether what a lost message attests may be so as soon as those before it stand in the stream again."""
    if waiting.id not in work.record.reoffers or not waiting.attests or work.log is None:
        return False
    epoch, seq, _ = waiting.attests[0]
    return bool(work.box.in_flight) and epoch == work.log.epoch and seq > work.log.seq


def _forget_ciphertexts(work: Work, item: OutboxItem) -> None:
    """One that the relay lost is encrypted afresh, under a later key: so are those behind it."""
    if item.id not in work.record.reoffers:
        return
    for other in work.box.items:
        if other.id in work.record.reoffers and other.id != item.id and not other.in_flight:
            waiting = work.waiting(other.id)
            if waiting.body:
                work.put_waiting(replace(waiting, body=b"", attests=()))


def put_commit(work: Work, made: Made, reason: CommitReason, *, commit_id: bytes) -> None:
    """Store a commit of ours that is to be sent; its state counts once its entry is seen."""
    work.box = work.box.enqueue_commit(commit_id).encrypted(
        commit_id, after_commit=work.record.last_commit, body_hash=hashlib.sha256(made.body).digest()
    )
    parts = made.state.epoch_part(), made.state.ratchet_part()
    work.set_pending(PendingCommit(commit_id, reason, made.body, *parts))
    if made.current is not None:
        work.group = made.current


def append_frame(work: Work, item: OutboxItem) -> fr.Append:
    """The append that carries an encrypted item: the same bytes at every retry."""
    blobs: tuple[BlobId, ...] = ()
    if item.kind is EntryKind.MESSAGE:
        blobs = tuple(BlobId(blob) for blob in work.waiting(item.id).blobs)
    body = work.body_of(item)
    return fr.Append(work.engagement, item.counter, item.kind, item.after_commit, body, blobs)
