"""What this device keeps of the stream in case the relay loses it.

Of what has passed the hashes; commits whole, for as long as messages may stay, also when every device has
them: whoever was away finds them in the stream alone. Own ciphertexts until every other device in the group
has attested their position.
"""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from dataclasses import replace
from typing import Final

from client_sdk.content import Attest, Envelope
from client_sdk.delivery import MOST_PASSED, OutboxItem, Passed
from client_sdk.delivery.repair import UNKNOWN
from client_sdk.engine import spaces
from client_sdk.engine.records import CommitRecord, OutboxRecord
from client_sdk.engine.standing import Work
from relay.wire import frames as fr
from relay.wire.limits import DEFAULT_RETENTION_HOURS

MOST_COMMITS: Final = 64  # of a conversation: more than change its devices in a month
COMMIT_BYTES: Final = 8 * 1024 * 1024  # one of 32 devices with post-quantum keys has some 100 KiB
KEPT_BYTES: Final = 16 * 1024 * 1024  # own ciphertexts for a device that never speaks: then the oldest go
PRUNE_EVERY: Final = 256  # entries; what is over is deleted then
_PAGE: Final = 1000


def note(work: Work, entry: fr.Entry, body_hash: bytes) -> None:
    """An entry has been processed: `work.log` stands behind it."""
    log = work.log
    work.passed[entry.seq] = Passed(
        seq=entry.seq,
        kind=int(entry.kind),
        after_commit=entry.after_commit,
        body_hash=body_hash,
        stream_hash=UNKNOWN if log is None else log.recent[-1],
        epoch=work.record.branch if log is None else log.epoch,
        counter=entry.counter if entry.body is None else 0,
        at=int(work.now),
    )
    if entry.seq % PRUNE_EVERY == 0:
        _prune(work, entry.seq)


def note_said(work: Work, seq: int, envelope: Envelope, device: bytes) -> None:
    """What the message that has just passed says about itself."""
    passed = work.passed.get(seq)
    if passed is not None:
        work.passed[seq] = replace(
            passed,
            id=envelope.id,
            device=device,
            message_counter=envelope.counter,
            attest_epoch=envelope.attest.epoch,
            attest_seq=envelope.attest.seq,
            attest_hash=envelope.attest.hash,
        )


def note_commit(
    work: Work,
    entry: fr.Entry,
    body: bytes,
    *,
    epoch: int,
    creates: bool = False,
) -> None:
    """An accepted commit has begun the present epoch; it is kept whole."""
    put_commit(work, entry, CommitRecord(body, epoch, int(work.now), creates))


def put_commit(work: Work, entry: fr.Entry, commit: CommitRecord) -> None:
    """An accepted commit stands at this position, and is kept whole."""
    note(work, entry, hashlib.sha256(commit.body).digest())
    key = spaces.numbered_key(work.engagement, entry.seq)
    work.tx.put(spaces.COMMIT, key, commit.serialize())
    _prune_commits(work)


def keep_own(work: Work, item: OutboxItem, waiting: OutboxRecord, seq: int) -> None:
    """Our message has its position: its ciphertext is kept, of its words only what the history lacks."""
    passed = work.passed.get(seq)
    if passed is None:
        work.drop_waiting(item.id)  # this device is out of step, and will say again what others lack
        return
    work.passed[seq] = replace(passed, id=item.id, message_counter=item.message_counter)
    work.put_waiting(replace(waiting, content=b"" if waiting.in_history else waiting.content))
    work.change(kept_bytes=work.record.kept_bytes + len(waiting.body))
    if work.record.kept_bytes > KEPT_BYTES:
        _forget_own(work, seq - 1, until_bytes=KEPT_BYTES)


def attested(work: Work, own: bytes) -> None:
    """Somebody has attested more: what every other device has need not be kept."""
    if work.view is None:
        return
    heard = {bytes(device): seq for device, _, seq in work.record.peers}
    lowest = min((heard.get(bytes(d), 0) for d in work.view.devices if bytes(d) != own), default=0)
    if lowest >= work.record.kept_from:
        _forget_own(work, lowest)


def passed_upto(work: Work, seq: int, most: int) -> list[Passed]:
    """The remembered entries that end with this position, without a gap, in order, at most so many."""
    found: list[Passed] = []
    after = spaces.numbered_key(work.engagement, seq + 1)
    while len(found) < most:
        page = work.tx.scan(
            spaces.PASSED, work.key, limit=min(_PAGE, most - len(found)), reverse=True, after=after
        )
        for key, data in page:
            passed = Passed.parse(data)
            if passed.seq != seq - len(found):
                return found[::-1]
            found.append(passed)
            after = key
        if len(page) < _PAGE:
            break
    return found[::-1]


def passed_after(work: Work, seq: int) -> list[Passed]:
    """What passed behind a position, in order."""
    found: list[Passed] = []
    after = spaces.numbered_key(work.engagement, seq)
    while page := work.tx.scan(spaces.PASSED, work.key, limit=_PAGE, after=after):
        found += [Passed.parse(data) for _, data in page]
        after = page[-1][0]
    return found


def is_recent_loss(work: Work) -> bool:
    """Whether the relay was set back so lately that somebody may not have come since then."""
    histories = work.record.histories
    return bool(histories) and work.now - histories[-1][1] <= retention_seconds(work)


def came_in_lately(work: Work) -> bool:
    """Whether the relay may have lost something, before this device came in, that somebody has still."""
    entered = newest_upto(work, work.record.entered)
    return entered is not None and work.now - entered.at <= retention_seconds(work)


def lost_from(work: Work, agreed: int) -> int:
    """From where on others may lack something, of all that the relay has lost of late."""
    return min(work.record.lost_from, agreed) if is_recent_loss(work) else agreed


def oldest(work: Work) -> Passed | None:
    """The oldest remembered entry."""
    rows = work.tx.scan(spaces.PASSED, work.key, limit=1)
    return Passed.parse(rows[0][1]) if rows else None


def newest_upto(work: Work, seq: int) -> Passed | None:
    """The newest remembered entry up to a position, with or without a gap behind it."""
    after = spaces.numbered_key(work.engagement, seq + 1)
    rows = work.tx.scan(spaces.PASSED, work.key, limit=1, reverse=True, after=after)
    return Passed.parse(rows[0][1]) if rows else None


def epoch_upto(work: Work, seq: int) -> int:
    """The epoch at the newest remembered position up to this one; -1 if none is remembered."""
    newest = newest_upto(work, seq)
    return -1 if newest is None else newest.epoch


def forget_passed(work: Work, gone: Sequence[Passed]) -> None:
    """These entries are not in the stream any more."""
    for passed in gone:
        work.tx.delete(spaces.PASSED, spaces.numbered_key(work.engagement, passed.seq))


def forget_stream(work: Work) -> None:
    """A person goes on with whatever stream there is: nothing of this one is offered again."""
    _remember_own_commit(work)
    forget_passed(work, passed_after(work, 0))
    for space in (spaces.COMMIT, spaces.LOST, spaces.LOST_COMMIT):
        while rows := work.tx.scan(space, work.key, limit=_PAGE):
            for key, _ in rows:
                work.tx.delete(space, key)
    work.change(has_lost=False, reoffers=(), unheard=False)


def forget_own_commits(work: Work) -> None:
    """This device is in: it does not need them any more to come in by."""
    while rows := work.tx.scan(spaces.OWN_COMMIT, work.key, limit=_PAGE):
        for key, _ in rows:
            work.tx.delete(spaces.OWN_COMMIT, key)


def commits_after(work: Work, seq: int) -> dict[int, CommitRecord]:
    """The commits behind a position by where they stood, in order."""
    after = spaces.numbered_key(work.engagement, seq)
    rows = work.tx.scan(spaces.COMMIT, work.key, limit=_PAGE, after=after)
    return {number_of(key): CommitRecord.parse(data) for key, data in rows}


def own_commit_at(work: Work, entry: fr.Entry) -> bytes | None:
    """The body of a commit entry of ours, which comes without it, if it has passed here before."""
    key = spaces.numbered_key(work.engagement, entry.seq)
    passed, commit = work.tx.get(spaces.PASSED, key), work.tx.get(spaces.COMMIT, key)
    if passed is None or commit is None or Passed.parse(passed).counter != entry.counter:
        return work.tx.get(spaces.OWN_COMMIT, spaces.numbered_key(work.engagement, entry.counter))
    return CommitRecord.parse(commit).body


def _remember_own_commit(work: Work) -> None:
    """The bodies of our commits, by counter: if one is the newest of the stream, it is what we come in by."""
    for seq, commit in commits_after(work, 0).items():
        data = work.tx.get(spaces.PASSED, spaces.numbered_key(work.engagement, seq))
        if data is not None and Passed.parse(data).own:
            key = spaces.numbered_key(work.engagement, Passed.parse(data).counter)
            work.tx.put(spaces.OWN_COMMIT, key, commit.body)


def number_of(key: bytes) -> int:
    """The number in a key of `spaces.numbered_key`."""
    return int.from_bytes(key[-8:], "big")


def attests_of(envelope: Envelope) -> tuple[tuple[int, int, bytes], ...]:
    """What a message attests, as `OutboxRecord` has it."""
    return tuple((a.epoch, a.seq, a.hash) for a in (envelope.attest, *envelope.closings))


def still_holds(work: Work, waiting: OutboxRecord) -> bool:
    """Whether everything that a ciphertext of ours attests is so in the stream as it is now."""
    log = work.log
    if log is None or not waiting.body or not waiting.attests:
        return False
    attest, *closings = (Attest(*values) for values in waiting.attests)
    current = attest.epoch == log.epoch and log.last_commit <= attest.seq
    return current and log.hash_at(attest.seq) == attest.hash and all(c in log.closings for c in closings)


def _forget_own(work: Work, upto: int, *, until_bytes: int | None = None) -> None:
    """Delete our ciphertexts up to a position, the oldest first, or until few enough bytes are left."""
    start = work.record.kept_from
    after = spaces.numbered_key(work.engagement, start - 1)
    kept = work.record.kept_bytes
    while rows := work.tx.scan(spaces.PASSED, work.key, limit=PRUNE_EVERY, after=after):
        for key, data in rows:
            seq = number_of(key)
            if seq > upto or (until_bytes is not None and kept <= until_bytes):
                work.change(kept_from=seq, kept_bytes=max(0, kept))
                return
            kept -= _forget(work, Passed.parse(data))
            after = key
    # What has passed in this very change is looked at the next time.
    work.change(kept_from=min([upto + 1, *work.passed]), kept_bytes=max(0, kept))


def _forget(work: Work, passed: Passed) -> int:
    """Delete the ciphertext of an entry of ours; how many bytes it had."""
    if not passed.own or not passed.id:
        return 0
    data = work.tx.get(spaces.OUTBOX, work.key + passed.id)
    if data is None or any(item.id == passed.id for item in work.box.items):
        return 0
    work.drop_waiting(passed.id)
    return len(OutboxRecord.parse(data).body)


def _prune(work: Work, seq: int) -> None:
    """Delete what is too much, or older than messages may be."""
    oldest = work.now - retention_seconds(work)
    for key, data in work.tx.scan(spaces.PASSED, work.key, limit=_PAGE):
        passed = Passed.parse(data)
        if passed.seq > seq - MOST_PASSED and passed.at >= oldest:
            break
        _forget(work, passed)
        work.tx.delete(spaces.PASSED, key)


def _prune_commits(work: Work) -> None:
    oldest = work.now - retention_seconds(work)
    count = size = 0
    for key, data in work.tx.scan(spaces.COMMIT, work.key, limit=_PAGE, reverse=True):
        count, size = count + 1, size + len(data)
        over = count > MOST_COMMITS or size > COMMIT_BYTES or CommitRecord.parse(data).at < oldest
        if over and count > 1:
            work.tx.delete(spaces.COMMIT, key)


def retention_seconds(work: Work) -> int:
    """The policy's age."""
    hours = None if work.view is None else work.view.info.policy.get("retention_hours")
    return (hours if isinstance(hours, int) and hours > 0 else DEFAULT_RETENTION_HOURS) * 3600
