"""A commit entry that somebody else put into the stream: accepted, or void for every member (PROTOCOL 7)."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from typing import Final

from client_sdk.delivery import BundleMismatch, ClonedDevice, MessageCounters, SecurityAlarm
from client_sdk.engine import journal, keeping, resending, spaces
from client_sdk.engine.context import Context
from client_sdk.engine.entering import enter
from client_sdk.engine.outofstep import OUT_OF_STEP, begin_rejoin, doubt, lost_step
from client_sdk.engine.records import Phase
from client_sdk.engine.renewing import Renewal, check_renewal, follow, is_of_next_group, is_renewal
from client_sdk.engine.standing import Work
from client_sdk.errors import IdentityError, MembershipError, VaultCorrupt
from client_sdk.identity import (
    BundleNamesDiffer,
    ConversationView,
    check_commit,
    conversation_epoch,
    view_of,
)
from client_sdk.mls import (
    Add,
    CommitReceived,
    CryptoError,
    ExternalInit,
    GroupContextExtensions,
    GroupState,
    MLSError,
    Remove,
    RemovedFromGroup,
    SecretReuse,
    WrongEpoch,
    WrongGroup,
    process_message,
)
from relay.wire import Bundle, WireError
from relay.wire import frames as fr
from relay.wire.ids import DeviceId

_OURS_ALONE: Final = (CryptoError, SecretReuse)
"""What may be wrong with a commit for one member and not for another; all else every member finds alike."""

_A_MEMBER_MAY: Final = (Add, Remove, GroupContextExtensions)
_A_REJOINER_MAY: Final = (ExternalInit, Remove)
"""The proposals of PROTOCOL 7; of any other only a ReInit may be, and only as `renewing` allows."""

_PAGE: Final = 1000

REMOVED: Final = "This device was removed from the conversation."


@dataclass(frozen=True, slots=True)
class _Accepted:
    received: CommitReceived
    after: ConversationView
    epoch: int


def foreign_commit(work: Work, context: Context, entry: fr.Entry, body: bytes) -> None:
    """Stage the commit, judge it by the rules that all members apply alike, and go on accordingly."""
    try:
        bundle = Bundle.parse(body)
        verdict = _judge(work, context, bundle)
    except WrongEpoch as error:
        _void(work, entry, body)
        if error.seen > error.current:
            lost_step(work, context, entry.seq)
    except WrongGroup:
        went_on = is_of_next_group(work, bundle.commit)
        _void(work, entry, body)
        if went_on:
            lost_step(work, context, entry.seq)
    except _OURS_ALONE:
        _void(work, entry, body)
        doubt(work, bundle.group_info)
    except BundleNamesDiffer:
        _void(work, entry, body)
        work.raise_alarm(BundleMismatch(seq=entry.seq))
    except (MLSError, IdentityError, WireError):
        _void(work, entry, body)
    else:
        if isinstance(verdict, _Accepted):
            _accept(work, context, entry, body, verdict)
        elif isinstance(verdict, Renewal):
            _renew(work, context, entry, body, verdict)
        else:
            _removed(work, context, entry, verdict)


def _judge(work: Work, context: Context, bundle: Bundle) -> _Accepted | Renewal | RemovedFromGroup:
    if work.group is None or work.view is None:
        raise VaultCorrupt("A member's group state is missing from the vault.")
    received = process_message(work.group, bundle.commit, auth=context.policy, now=int(work.now))
    if not isinstance(received, CommitReceived | RemovedFromGroup):
        raise MembershipError("A commit entry holds something else than a commit.")
    if isinstance(received, CommitReceived) and is_renewal(received):
        return check_renewal(work, context, bundle, received)
    _check_proposals(received)
    if isinstance(received, RemovedFromGroup):
        if not received.external and context.account.device not in bundle.removes:
            raise BundleNamesDiffer("A change removes this device without naming it.")
        return received
    after = view_of(received.state)
    check_commit(work.view, after, adds=bundle.adds, removes=bundle.removes, external=received.external)
    return _Accepted(received, after, conversation_epoch(after.info.generation, received.state.epoch))


def _check_proposals(received: CommitReceived | RemovedFromGroup) -> None:
    allowed = _A_REJOINER_MAY if received.external else _A_MEMBER_MAY
    if not all(isinstance(proposal, allowed) for proposal in received.proposals):
        raise MembershipError(
            "A change of the conversation does what no member may do. Everybody ignores it."
        )


def _void(work: Work, entry: fr.Entry, body: bytes) -> None:
    """The group stays as it was; the entry counts as any other in the stream hash."""
    if extend(work, entry, hashlib.sha256(body).digest()):
        work.change(last_commit=entry.seq)


def extend(work: Work, entry: fr.Entry, body_hash: bytes) -> bool:
    """Go on to this entry's position; False if the stream does not continue there."""
    if work.log is None:
        raise VaultCorrupt("A member's stream hashes are missing from the vault.")
    try:
        work.log = work.log.after_entry(
            seq=entry.seq, kind=entry.kind, after_commit=entry.after_commit, body_hash=body_hash
        )
    except SecurityAlarm as alarm:
        work.halt(alarm)
        return False
    work.change(cursor=entry.seq)
    keeping.note(work, entry, body_hash)
    return True


def _accept(work: Work, context: Context, entry: fr.Entry, body: bytes, accepted: _Accepted) -> None:
    back: frozenset[DeviceId] = frozenset()
    if accepted.received.external:
        back = _came_back(work, accepted)
    _begin_epoch(work, context, entry, body, accepted.received.state, accepted.after, accepted.epoch)
    for device in back:
        resending.resend_to(work, device)


def _renew(work: Work, context: Context, entry: fr.Entry, body: bytes, renewal: Renewal) -> None:
    """Go over to the group that takes over; if it does not open here, come in as after any lost step."""
    try:
        group = follow(work, context, renewal)
    except (MLSError, IdentityError):
        _void(work, entry, body)
        if not work.halted:
            begin_rejoin(work, OUT_OF_STEP)
        return
    _begin_epoch(work, context, entry, body, group, view_of(group), renewal.offer.epoch)


def _begin_epoch(
    work: Work,
    context: Context,
    entry: fr.Entry,
    body: bytes,
    group: GroupState,
    view: ConversationView,
    epoch: int,
) -> None:
    if work.log is None:
        raise VaultCorrupt("A member's stream hashes are missing from the vault.")
    try:
        log = work.log.after_commit(
            seq=entry.seq,
            after_commit=entry.after_commit,
            body_hash=hashlib.sha256(body).digest(),
            epoch=epoch,
            epoch_authenticator=group.epoch_authenticator,
        )
    except SecurityAlarm as alarm:
        work.halt(alarm)
        return
    enter(work, context, entry.seq, group, view, log)
    keeping.note_commit(work, entry, body, epoch=epoch)
    forget_lost(work)


def forget_lost(work: Work) -> None:
    """In a new epoch nothing comes again that was encrypted for an earlier one."""
    if not work.record.has_lost:
        return
    while rows := work.tx.scan(spaces.LOST, work.key, limit=_PAGE):
        for key, _ in rows:
            work.tx.delete(spaces.LOST, key)
    work.change(has_lost=False)


def _came_back(work: Work, accepted: _Accepted) -> frozenset[DeviceId]:
    """A device that rejoined has a gap of its own: it may go on with any counter."""
    back = {leaf.device for leaf in accepted.after.leaves if leaf.index == accepted.received.sender}
    work.counters = MessageCounters({d: c for d, c in work.counters.last.items() if d not in back})
    return frozenset(back)


def _removed(work: Work, context: Context, entry: fr.Entry, removed: RemovedFromGroup) -> None:
    if removed.external:
        # Only the holder of this device's key can take its place, and this device did not.
        work.halt(ClonedDevice(seq=entry.seq))
        return
    work.group = work.view = work.log = None
    work.change(phase=Phase.OUTSIDE, cursor=entry.seq, last_commit=entry.seq)
    journal.keep_notice(work, journal.GAP, REMOVED, entry.seq, context.new_id())
