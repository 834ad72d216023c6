"""The rules of a stream (PROTOCOL 4): who may append what, what an acknowledgement frees, what is kept.

A decision reads the state of one stream and nothing else; `apply_*` then moves that state on. Every store
runs exactly these, or is shown by the conformance suite to agree with them.
"""

from __future__ import annotations

import hashlib
from dataclasses import dataclass, field
from typing import Final

from relay.core.counters import Sender
from relay.core.operations import AppendEntry, Outcome, StreamView
from relay.wire.bundle import Bundle
from relay.wire.errors import ErrorCode, WireError
from relay.wire.frames import EntryKind
from relay.wire.ids import DeviceId
from relay.wire.limits import MAX_COMMIT_BODY_BYTES, MAX_MEMBER_DEVICES, MAX_MESSAGE_BODY_BYTES

# Tells a repeated entry from another one of the same device: nobody gains by a collision.
DIGEST_BYTES: Final = 16
# One conversation must not fill the disk while a member is away: this is years of anybody's talk.
MAX_HELD_ENTRIES: Final = 1_000_000

_COMMIT: Final = EntryKind.COMMIT
_DIGEST_PREFIX: Final = {kind: bytes((kind,)) for kind in EntryKind}
_sha256: Final = hashlib.sha256
_new: Final = tuple.__new__


@dataclass(slots=True)
class Member:
    """A device that a bundle added at `joined` and that has stored everything up to `cursor`."""

    cursor: int
    joined: int


@dataclass(slots=True)
class StreamState:
    """Everything that a decision about one stream needs. `floor`: entries up to it are erased."""

    incarnation: bytes
    head: int = 0
    last_commit: int = 0
    floor: int = 0
    last_time_ms: int = 0
    members: dict[DeviceId, Member] = field(default_factory=dict)
    senders: dict[DeviceId, Sender] = field(default_factory=dict)

    def view(self) -> StreamView:
        """A copy for readers."""
        return StreamView(
            incarnation=self.incarnation,
            head=self.head,
            last_commit=self.last_commit,
            floor=self.floor,
            members={device: member.cursor for device, member in self.members.items()},
            joined={device: member.joined for device, member in self.members.items()},
            last_counters={device: sender.last_counter for device, sender in self.senders.items()},
        )


def entry_digest(kind: EntryKind, after_commit: int, body: bytes) -> bytes:
    """What the relay remembers of an entry's content to tell a retry from a conflict."""
    return _sha256(_DIGEST_PREFIX[kind] + after_commit.to_bytes(8, "big") + body).digest()[:DIGEST_BYTES]


def check_body(kind: EntryKind, after_commit: int, body: bytes) -> Bundle | None:
    """Rule 2: the bundle in a commit's body, None for a message; raises `WireError` with the refusal."""
    if kind is not _COMMIT:
        if len(body) > MAX_MESSAGE_BODY_BYTES:
            raise WireError(ErrorCode.ENTRY_TOO_BIG, "a message beyond its bound")
        return None
    if len(body) > MAX_COMMIT_BODY_BYTES:
        raise WireError(ErrorCode.ENTRY_TOO_BIG, "a bundle beyond its bound")
    bundle = Bundle.parse(body)
    if not bundle.commit and (after_commit or bundle.adds or bundle.removes):
        raise WireError(ErrorCode.BUNDLE_INVALID, "only a creator alone in its group has no commit")
    return bundle


def decide_append(state: StreamState, append: AppendEntry) -> Outcome:
    """Rules 3 to 7 in their order. The outcome is the answer; a fresh one has still to be applied."""
    # Taken apart at once: a named tuple's attributes are slow, and this is run for every message.
    _, device, counter, kind, after_commit, _, _, now_ms, _, _, refusal = append
    last_commit = state.last_commit
    if device not in state.members and (kind is not _COMMIT or after_commit):
        return refused(ErrorCode.NOT_MEMBER, last_commit)
    sender = state.senders.get(device)
    if counter != (sender.last_counter + 1 if sender is not None else 1):
        return _decide_counter(sender, append, last_commit)
    if after_commit != last_commit:
        return refused(ErrorCode.STALE if after_commit < last_commit else ErrorCode.AHEAD, last_commit)
    if kind is _COMMIT or refusal is not None:
        code = _decide_outside(state, append)
        if code is not None:
            return refused(code, last_commit)
    if state.head - state.floor >= MAX_HELD_ENTRIES:
        return refused(ErrorCode.RATE_LIMITED, last_commit)
    seq = state.head + 1
    time_ms = now_ms if now_ms > state.last_time_ms else state.last_time_ms
    return _new(Outcome, (seq, time_ms, True, None, seq if kind is _COMMIT else last_commit))


def _decide_counter(sender: Sender | None, append: AppendEntry, last_commit: int) -> Outcome:
    """Rule 4 for a counter that is not the next one."""
    if sender is None or append.counter > sender.last_counter:
        return refused(ErrorCode.COUNTER_GAP, last_commit)
    known = sender.recall(append.counter, append.now_ms)
    if known is None:
        return refused(ErrorCode.DUPLICATE, last_commit)
    if known.digest != append.digest:
        return refused(ErrorCode.CONFLICT, last_commit)
    return Outcome(known.seq, known.time_ms, False, None, last_commit)


def _decide_outside(state: StreamState, append: AppendEntry) -> ErrorCode | None:
    """Rules 6 and 7: the members that a bundle leaves, and what other records say."""
    if append.refusal is ErrorCode.NOT_ON_ROSTER:
        return append.refusal
    if append.kind is _COMMIT and len(_members_after(state, append)) > MAX_MEMBER_DEVICES:
        return ErrorCode.TOO_MANY_DEVICES
    return append.refusal


def _members_after(state: StreamState, append: AppendEntry) -> set[DeviceId]:
    creator = () if state.last_commit else (append.device,)
    return (set(state.members) - set(append.removes)) | set(append.adds) | set(creator)


def apply_append(state: StreamState, append: AppendEntry, outcome: Outcome) -> None:
    """Move the state on by a fresh outcome of `decide_append`."""
    _, device, counter, kind, _, _, digest, _, _, _, _ = append
    seq, time_ms, _, _, _ = outcome
    sender = state.senders.get(device)
    if sender is None:
        sender = state.senders[device] = Sender()
    sender.remember(counter, seq, time_ms, digest)
    state.head = seq
    state.last_time_ms = time_ms
    if kind is _COMMIT:
        _apply_bundle(state, append, seq)


def _apply_bundle(state: StreamState, append: AppendEntry, seq: int) -> None:
    """Membership follows the bundle: who is added reads from here on, who is removed holds nothing back."""
    for device in append.removes:
        if device not in append.adds:
            state.members.pop(device, None)
    creator = () if state.last_commit else (append.device,)
    for device in (*creator, *append.adds):
        earlier = state.members.get(device)
        cursor = max(seq - 1, earlier.cursor) if earlier else seq - 1
        state.members[device] = Member(cursor=cursor, joined=seq)
    state.last_commit = seq


def apply_acknowledgement(state: StreamState, device: DeviceId, seq: int) -> bool:
    """Move a member's cursor up to `seq`; False if it is no member, is there, or `seq` does not exist."""
    member = state.members.get(device)
    if member is None or seq <= member.cursor or seq > state.head:
        return False
    member.cursor = seq
    return True


def acknowledged_floor(state: StreamState) -> int:
    """The seq up to which every member has stored everything."""
    if not state.members:
        return state.floor
    return max(state.floor, min(member.cursor for member in state.members.values()))


def refused(code: ErrorCode, last_commit: int) -> Outcome:
    """The outcome of what was not done."""
    return Outcome(0, 0, False, code, last_commit)
