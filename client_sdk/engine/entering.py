"""Beginning an epoch: by an accepted commit, by a Welcome, or by our own commit when the stream has it."""

from __future__ import annotations

import hashlib
from typing import Final

from client_sdk.delivery import AttestLog, EpochRolledBack, MessageCounters, SecurityAlarm
from client_sdk.engine import (
    journal,
    keeping,
    key_packages,
    resending,
    sending,
    spaces,
    trusting,
    witnessing,
)
from client_sdk.engine.answers import without
from client_sdk.engine.context import Context
from client_sdk.engine.outofstep import begin_rejoin, settled
from client_sdk.engine.records import CommitReason, PendingCommit, Phase
from client_sdk.engine.standing import Work
from client_sdk.errors import IdentityError, OutboxFull
from client_sdk.identity import ConversationView, check_joined, conversation_epoch, view_of
from client_sdk.mls import GroupState, KeyPackageBundle, MLSError, UnknownKeyPackage, join_from_welcome
from relay.wire import Bundle, WireError
from relay.wire import frames as fr

MOST_REMOVED: Final = 64  # devices that left: as many as two full conversations
UNKNOWN_WELCOME: Final = "This device was added by keys that it does not have any more."


def enter(
    work: Work, context: Context, seq: int, group: GroupState, view: ConversationView, log: AttestLog
) -> None:
    """The group is in a new epoch since the commit at this position."""
    before = work.view.devices if work.view is not None else frozenset()
    work.joined |= view.devices - before - {context.account.device}
    earlier = work.view
    work.group, work.view, work.log = group, view, log
    users = {leaf.user for leaf in view.leaves} - {context.account.user}
    gone = (*work.record.removed, *sorted(map(bytes, before - view.devices)))
    work.change(
        phase=Phase.MEMBER,
        removed=tuple(device for device in gone if device not in view.devices)[-MOST_REMOVED:],
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
    trusting.observe_people(work, context, view, earlier)


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


def join(work: Work, context: Context, entry: fr.Entry, body: bytes) -> None:
    """Enter the group by the Welcome of this bundle, if it is for this device."""
    try:
        bundle = Bundle.parse(body)
    except WireError:
        return
    if context.account.device not in bundle.adds or bundle.welcome is None:
        return
    try:
        _join(work, context, entry, body, bundle.welcome)
    except UnknownKeyPackage:
        begin_rejoin(work, UNKNOWN_WELCOME)
    except SecurityAlarm as alarm:
        work.raise_alarm(alarm)
    except (MLSError, IdentityError):
        return  # an invitation into something that is not this conversation


def _join(work: Work, context: Context, entry: fr.Entry, body: bytes, welcome: bytes) -> None:
    used: list[KeyPackageBundle] = []

    def find(ref: bytes) -> KeyPackageBundle | None:
        bundle = key_packages.find(work.tx, ref)
        used.extend([bundle] if bundle is not None else [])
        return bundle

    group = join_from_welcome(welcome, find, context.account.signer, auth=context.policy, now=int(work.now))
    view = view_of(group)
    check_joined(view, portal=context.account.portal, engagement=work.engagement)
    epoch = conversation_epoch(view.info.generation, group.epoch)
    if epoch <= work.record.highest_epoch:
        raise EpochRolledBack(own=work.record.highest_epoch, offered=epoch)
    for bundle in used:
        key_packages.spend(work.tx, bundle, int(work.now))
    work.key_packages_spent = True
    _drop_creation(work)
    log = _begin(entry.seq, entry.after_commit, body, group, epoch)
    work.change(spoken_epoch=epoch)
    work.counters = MessageCounters()
    enter(work, context, entry.seq, group, view, log)
    work.change(entered=entry.seq)
    keeping.note_commit(work, entry, body, epoch=epoch)


def _drop_creation(work: Work) -> None:
    """Another device made the group first: ours is dropped (the relay refuses its bundle)."""
    if work.pending is not None:
        work.box = without(work.box, work.pending.id)
        work.set_pending(None)


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
        work.change(rejoin_reason="", rejoined_at=int(work.now), starts_over=False, overtaken=False)
        journal.keep_notice(work, journal.GAP, reason, entry.seq, context.new_id())
        resending.resend_unattested(work, context)
