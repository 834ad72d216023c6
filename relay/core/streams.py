"""The rules of a stream (PROTOCOL 4): who may append what, what an acknowledgement frees, what is kept.

An append is decided by the state of one stream and nothing else. Every store runs exactly these rules, or is
shown by the conformance suite to agree with them.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import Final

from relay.core.counters import Sender
from relay.core.operations import AppendEntries, Outcome, StreamView
from relay.wire.bundle import Bundle
from relay.wire.errors import ErrorCode, WireError
from relay.wire.frames import EntryKind
from relay.wire.ids import DeviceId, label
from relay.wire.limits import (
    COUNTER_WINDOW,
    INCARNATION_BYTES,
    MAX_COMMIT_BODY_BYTES,
    MAX_MEMBER_DEVICES,
    MAX_MESSAGE_BODY_BYTES,
)

# Tells a repeated entry from another one of the same device: nobody gains by a collision.
DIGEST_BYTES: Final = 16
# One conversation must not fill the disk while a member is away: this is years of anybody's talk.
MAX_HELD_ENTRIES: Final = 1_000_000

_COMMIT: Final = EntryKind.COMMIT
_sha256: Final = hashlib.sha256


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

    def view(self, history: bytes = b"") -> StreamView:
        """A copy for readers; `history` is the store's (`incarnation_in`)."""
        return StreamView(
            incarnation=incarnation_in(history, self.incarnation),
            head=self.head,
            last_commit=self.last_commit,
            floor=self.floor,
            members={device: member.cursor for device, member in self.members.items()},
            joined={device: member.joined for device, member in self.members.items()},
            last_counters={device: sender.last_counter for device, sender in self.senders.items()},
            set_back=bool(history),
        )


def incarnation_in(history: bytes, incarnation: bytes) -> bytes:
    """A stream's incarnation as devices see it: another one as soon as the store's history is another.

    `history` names what the store went through: empty until it was restored or lost what it had acknowledged.
    """
    if not history:
        return incarnation
    return _sha256(label("incarnation") + incarnation + history).digest()[:INCARNATION_BYTES]


def entry_digest(kind: EntryKind, after_commit: int, body: bytes) -> bytes:
    """What the relay remembers of an entry's content to tell a retry from a conflict."""
    return entry_digests(kind, after_commit, (body,))[0]


def entry_digests(kind: EntryKind, after_commit: int, bodies: Iterable[bytes]) -> list[bytes]:
    """`entry_digest` of entries that have all but their bodies in common."""
    prefix = bytes((kind,)) + after_commit.to_bytes(8, "big")
    return [_sha256(prefix + body).digest()[:DIGEST_BYTES] for body in bodies]


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


def append(state: StreamState, append: AppendEntries) -> list[Outcome]:
    """Take the entries in turn under rules 3 to 7, and move the state on by those that are fresh.

    The outcomes say in the order of the entries what became of them. Raises ValueError for a commit in
    company.
    """
    bodies = append.bodies
    if append.kind is _COMMIT and len(bodies) != 1:
        raise ValueError("a commit comes alone")
    last_commit = state.last_commit
    if append.device not in state.members and (append.kind is not _COMMIT or append.after_commit):
        return [refused(ErrorCode.NOT_MEMBER, last_commit, len(bodies))]
    sender = state.senders.get(append.device)
    following = sender.last_counter + 1 if sender is not None else 1
    if append.counter > following:
        return [refused(ErrorCode.COUNTER_GAP, last_commit, len(bodies))]
    if sender is None or append.counter == following:
        return _append_new(state, append, 0)
    repeated = min(following - append.counter, len(bodies))
    outcomes = [_answer_again(sender, append, number, last_commit) for number in range(repeated)]
    return outcomes + (_append_new(state, append, repeated) if repeated < len(bodies) else [])


def _answer_again(sender: Sender, append: AppendEntries, number: int, last_commit: int) -> Outcome:
    """Rule 4 for a counter that has been used."""
    known = sender.recall(append.counter + number, append.now_ms)
    if known is None:
        return refused(ErrorCode.DUPLICATE, last_commit)
    if known.digest != entry_digest(append.kind, append.after_commit, append.bodies[number]):
        return refused(ErrorCode.CONFLICT, last_commit)
    return Outcome(known.seq, known.time_ms, False, None, last_commit)


def _append_new(state: StreamState, append: AppendEntries, done: int) -> list[Outcome]:
    """Rules 5 to 7 for the entries after the first `done`, whose counters are the next ones.

    Whatever refuses one of them leaves its counter unused, so that those behind it have a gap before them.
    """
    count = len(append.bodies) - done
    last_commit = state.last_commit
    held = MAX_HELD_ENTRIES - (state.head - state.floor)
    code = _refusal(state, append)
    fresh = 0 if code is not None else max(0, min(count, held))
    outcomes = [_append_fresh(state, append, done, fresh)] if fresh else []
    if fresh < count:
        outcomes.append(refused(code or ErrorCode.RATE_LIMITED, last_commit))
    if fresh + 1 < count:
        outcomes.append(refused(ErrorCode.COUNTER_GAP, last_commit, count - fresh - 1))
    return outcomes


def _refusal(state: StreamState, append: AppendEntries) -> ErrorCode | None:
    """Rules 5 to 7: the compare, the members that a bundle leaves, and what other records say."""
    if append.after_commit != state.last_commit:
        return ErrorCode.STALE if append.after_commit < state.last_commit else ErrorCode.AHEAD
    if append.refusal is ErrorCode.NOT_ON_ROSTER:
        return append.refusal
    if append.kind is _COMMIT and len(_members_after(state, append)) > MAX_MEMBER_DEVICES:
        return ErrorCode.TOO_MANY_DEVICES
    return append.refusal


def _members_after(state: StreamState, append: AppendEntries) -> set[DeviceId]:
    creator = () if state.last_commit else (append.device,)
    return (set(state.members) - set(append.removes)) | set(append.adds) | set(creator)


def _append_fresh(state: StreamState, append: AppendEntries, done: int, count: int) -> Outcome:
    """Move the state on by `count` entries after the first `done`."""
    sender = state.senders.get(append.device)
    if sender is None:
        sender = state.senders[append.device] = Sender()
    seq = state.head + 1
    time_ms = max(append.now_ms, state.last_time_ms)
    # What is not among the last of a window is forgotten at once: it needs no digest.
    first = done + max(0, count - COUNTER_WINDOW)
    kind = append.kind
    digests = entry_digests(kind, append.after_commit, append.bodies[first : done + count])
    sender.remember(append.counter + first, seq + first - done, time_ms, digests)
    state.head += count
    state.last_time_ms = time_ms
    if kind is _COMMIT:
        _apply_bundle(state, append, seq)
    return Outcome(seq, time_ms, True, None, state.last_commit, count)


def _apply_bundle(state: StreamState, append: AppendEntries, seq: int) -> None:
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


def refused(code: ErrorCode, last_commit: int, count: int = 1) -> Outcome:
    """The outcome of what was not done."""
    return Outcome(0, 0, False, code, last_commit, count)
