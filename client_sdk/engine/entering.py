"""Beginning an epoch: by an accepted commit, by a Welcome, or by our own commit when the stream has it."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from typing import Final

from client_sdk.delivery import AttestLog, EpochRolledBack, MessageCounters, OutboxItem, SecurityAlarm
from client_sdk.engine import (
    amending,
    journal,
    keeping,
    key_packages,
    resending,
    sending,
    spaces,
    suites,
    trusting,
    witnessing,
)
from client_sdk.engine.answers import without
from client_sdk.engine.context import Context
from client_sdk.engine.offers import lets_in_anew
from client_sdk.engine.outofstep import begin_rejoin, settled
from client_sdk.engine.records import CommitReason, PendingCommit, Phase
from client_sdk.engine.standing import Work
from client_sdk.errors import IdentityError, OutboxFull
from client_sdk.identity import ConversationView, check_joined, conversation_epoch, view_of
from client_sdk.mls import GroupState, KeyPackageBundle, MLSError, UnknownKeyPackage, join_from_welcome
from relay.wire import Bundle, EntryKind, WireError
from relay.wire import frames as fr
from relay.wire.ids import DeviceId

MOST_REMOVED: Final = 64  # devices that left: as many as two full conversations
UNKNOWN_WELCOME: Final = "This device was added by keys that it does not have any more."
LET_IN_AGAIN: Final = (
    "This device was removed from the conversation, and let in again later. What was said meanwhile, and "
    "perhaps just before, is missing here."
)


def enter(
    work: Work, context: Context, seq: int, group: GroupState, view: ConversationView, log: AttestLog
) -> None:
    """The group is in a new epoch since the commit at this position."""
    before = work.view.devices if work.view is not None else frozenset()
    work.joined |= view.devices - before - {context.account.device}
    earlier = work.view
    work.group, work.view, work.log = group, view, log
    users = {leaf.user for leaf in view.leaves} - {context.account.user}
    overtaken = work.record.overtaken
    work.change(
        phase=Phase.MEMBER,
        removed=_stay_out(work, context, view, before)[-MOST_REMOVED:],
        overtaken=False,
        floor=work.record.floor if log.epoch < work.record.floor else -1,
        cursor=seq,
        last_commit=seq,
        suite=group.suite.id,
        highest_epoch=log.epoch,
        transcript=group.group_context.confirmed_transcript_hash,
        unread=0,
        met=tuple(sorted({*work.record.met, *users})),
        peers=tuple(peer for peer in work.record.peers if peer[0] in view.devices),
    )
    if work.joined:
        _introduce(work, context, view)
    # With it a released message can be proved: its signature covers the GroupContext of its epoch.
    epoch_key = spaces.numbered_key(work.engagement, log.epoch)
    work.tx.put(spaces.CONTEXT, epoch_key, group.group_context.encoded)
    settled(work)
    keeping.forget_own_commits(work)
    trusting.observe_people(work, context, view, earlier, may_be_older=overtaken)


def _stay_out(
    work: Work, context: Context, view: ConversationView, before: frozenset[DeviceId]
) -> tuple[bytes, ...]:
    """The devices that this one saw leave and nobody has let in again.

    Where the relay lost that they left they may be back without it: they leave again before anything is said,
    and with them those that a newer list does not name. Of our own devices our own list decides.
    """
    gone = [*work.record.removed, *sorted(map(bytes, before - view.devices))]
    overtaken = work.record.overtaken
    came = view.devices - before
    for leaf in view.leaves:
        device = bytes(leaf.device)
        left = device in gone
        if not (overtaken or (left and leaf.device in came)):
            continue
        if left:
            gone.remove(device)
        governing, known = view.governing(leaf.user), trusting.trust_of(work.tx, leaf.user)
        if leaf.user == context.account.user or governing is None or known is None:
            continue
        unlisted = trusting.is_earlier(known, governing) and not known.newest.lists(leaf.device_key)
        if unlisted or (left and overtaken and governing.version <= known.newest.version):
            gone.append(device)
    return tuple(gone)


def _introduce(work: Work, context: Context, view: ConversationView) -> None:
    """Who is new cannot read what was said before: everybody tells them their name, and of archives."""
    known = witnessing.known_of(work, view, frozenset(work.joined))
    if not (context.account.name or known):
        return
    try:
        sending.queue(
            work,
            context.account,
            witnessing.saying(context.account.name or context.account.user, known),
            message_id=context.new_id(),
            in_history=False,
        )
    except OutboxFull:
        return  # a thousand messages wait already; the next newcomer occasions it again


def _begin(seq: int, after_commit: int, body: bytes, group: GroupState, epoch: int) -> AttestLog:
    return AttestLog.begin(
        seq=seq,
        after_commit=after_commit,
        body_hash=hashlib.sha256(body).digest(),
        epoch=epoch,
        epoch_authenticator=group.epoch_authenticator,
    )


# Added by another device


def join(work: Work, context: Context, entry: fr.Entry, body: bytes, last_counter: int) -> None:
    """Enter the group by the Welcome of this bundle, if it is for this device.

    `last_counter` is the last counter of this device that the relay had stored when it opened the stream.
    """
    bundle = _letting_in(context, body)
    if bundle is None:
        return
    try:
        _join(work, context, entry, body, bundle.welcome or b"", last_counter)
    except UnknownKeyPackage:
        begin_rejoin(work, UNKNOWN_WELCOME)
    except SecurityAlarm as alarm:
        work.raise_alarm(alarm)
    except (MLSError, IdentityError):
        return  # an invitation into something that is not this conversation


def let_in_again(work: Work, context: Context, entry: fr.Entry, last_counter: int) -> bool:
    """Enter by this entry, although a part of the stream before it never came; whether that was possible.

    So it is for a device that was removed before it saw that, and added again: the relay hands it nothing in
    between. Only a member's word explains such a gap, never the relay's: a Welcome into a later epoch than
    any that was seen here, or where that does not open, the description of such an epoch. The gap is shown.
    """
    if entry.kind is not EntryKind.COMMIT or entry.body is None:
        return False
    bundle = _letting_in(context, entry.body)
    if bundle is None:
        return False
    try:
        _join(work, context, entry, entry.body, bundle.welcome or b"", last_counter)
    except UnknownKeyPackage:
        if not lets_in_anew(work, context, bundle.group_info):
            return False
        begin_rejoin(work, UNKNOWN_WELCOME)
        # What this device says next follows this commit, also where more came behind it at once.
        work.change(cursor=entry.seq, last_commit=entry.seq)
        return True
    except (SecurityAlarm, MLSError, IdentityError):
        return False
    journal.keep_notice(work, journal.GAP, LET_IN_AGAIN, entry.seq, context.new_id())
    return True


def _letting_in(context: Context, body: bytes) -> Bundle | None:
    try:
        bundle = Bundle.parse(body)
    except WireError:
        return None
    return bundle if bundle.welcome is not None and context.account.device in bundle.adds else None


def _join(
    work: Work, context: Context, entry: fr.Entry, body: bytes, welcome: bytes, last_counter: int
) -> None:
    used: list[KeyPackageBundle] = []

    def find(ref: bytes) -> KeyPackageBundle | None:
        bundle = key_packages.find(work.tx, ref)
        used.extend([bundle] if bundle is not None else [])
        return bundle

    group = join_from_welcome(welcome, find, context.account.signer, auth=context.policy, now=int(work.now))
    view = view_of(group)
    check_joined(view, portal=context.account.portal, engagement=work.engagement)
    epoch = conversation_epoch(view.info.generation, group.epoch)
    record = work.record
    weaker = not record.overtaken and suites.is_stronger(record.suite, group.suite.id)
    if weaker or epoch <= (record.branch if record.overtaken else record.highest_epoch):
        raise EpochRolledBack(own=work.record.highest_epoch, offered=epoch)
    for bundle in used:
        key_packages.spend(work.tx, bundle, int(work.now))
    work.key_packages_spent = True
    _settle_outbox(work, last_counter)
    log = _begin(entry.seq, entry.after_commit, body, group, epoch)
    work.change(spoken_epoch=epoch)
    work.counters = MessageCounters()
    enter(work, context, entry.seq, group, view, log)
    work.change(entered=entry.seq)
    keeping.note_commit(work, entry, body, epoch=epoch)


def _settle_outbox(work: Work, last_counter: int) -> None:
    """What the relay has stored of ours is done, although it never came back here.

    A commit of ours is dropped: the group has another one in its place, or is one that others made first.
    """
    work.box, done = work.box.passed_over(max(last_counter, work.box.last_counter))
    pending = None if work.pending is None else work.pending.id
    stored_unseen(work, [item for item in done if item.id != pending])
    if work.pending is not None:
        work.box = without(work.box, work.pending.id)
        work.set_pending(None)


def stored_unseen(work: Work, done: Sequence[OutboxItem]) -> None:
    """Messages of ours that the relay has, and that this device will not see come back."""
    for item in done:
        amending.place_own(work, item.id, max(1, work.record.cursor))
        work.drop_waiting(item.id)
        work.placed.append(item.id)


# By our own commit


def own_commit(work: Work, context: Context, entry: fr.Entry, pending: PendingCommit) -> None:
    """Our commit is in the stream: only now does its state count."""
    group = GroupState.assemble(pending.epoch_part, pending.ratchet_part)
    view = view_of(group)
    epoch = conversation_epoch(view.info.generation, group.epoch)
    work.set_pending(None)
    if pending.reason is CommitReason.MEMBERSHIP and work.log is not None:
        try:
            log = work.log.after_commit(
                seq=entry.seq,
                after_commit=entry.after_commit,
                body_hash=hashlib.sha256(pending.body).digest(),
                epoch=epoch,
                epoch_authenticator=group.epoch_authenticator,
            )
        except SecurityAlarm as alarm:
            work.halt(alarm)
            return
    else:
        log = _begin(entry.seq, entry.after_commit, pending.body, group, epoch)
        work.change(spoken_epoch=epoch)
        work.counters = MessageCounters()
    rejoined = pending.reason is CommitReason.REJOIN
    enter(work, context, entry.seq, group, view, log)
    creates = pending.reason is CommitReason.CREATE
    if rejoined or creates:
        work.change(entered=entry.seq)
    keeping.note_commit(work, entry, pending.body, epoch=epoch, creates=creates)
    if rejoined:
        reason = work.record.rejoin_reason
        work.change(rejoin_reason="", rejoined_at=int(work.now), starts_over=False)
        journal.keep_notice(work, journal.GAP, reason, entry.seq, context.new_id())
        resending.resend_unattested(work, context)
