"""Coming back into step by external commit (PROTOCOL 7): only forward, and never without a visible gap."""

from __future__ import annotations

import hmac
import logging
from dataclasses import dataclass, replace

from client_sdk.delivery import EpochRolledBack, IdentityChanged, SecurityAlarm, StreamForked
from client_sdk.engine import journal, trusting
from client_sdk.engine.account import SUITE
from client_sdk.engine.commits import REMOVED
from client_sdk.engine.context import Context
from client_sdk.engine.key_packages import capabilities
from client_sdk.engine.membership import Made
from client_sdk.engine.records import CommitReason, Phase
from client_sdk.engine.sending import put_commit
from client_sdk.engine.standing import Work
from client_sdk.errors import IdentityError
from client_sdk.identity import ConversationView, check_commit, check_joined, check_not_older, view_of
from client_sdk.mls import (
    Extension,
    GroupInfo,
    Member,
    MLSError,
    MLSMessage,
    create_external_commit,
    find_extension,
)
from client_sdk.mls.extensions import RATCHET_TREE
from client_sdk.mls.ratchet_tree import RatchetTree
from relay.wire import Bundle

_log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class _Offered:
    """A GroupInfo as the rules of membership read a group; `create_external_commit` verifies it."""

    group_id: bytes
    extensions: tuple[Extension, ...]
    members: tuple[Member, ...]


def rejoin(work: Work, context: Context, group_info: bytes, last_counter: int) -> bool:
    """Put the external commit into the outbox by which this device takes its own place again.

    `last_counter` is the last counter of this device that the relay has stored. False if the GroupInfo is not
    one of this conversation; one of its past raises an alarm instead.
    """
    try:
        made = _make(work, context, group_info)
    except SecurityAlarm as alarm:
        work.raise_alarm(alarm)
        return True
    except (MLSError, IdentityError) as error:
        _log.info("a commit entry is of no use for rejoining: %s", error.code)
        return False
    if made is None:
        work.change(phase=Phase.OUTSIDE, rejoin_reason="")
        journal.keep_notice(work, journal.GAP, REMOVED, work.record.cursor, context.new_id())
        return True
    _settle_outbox(work, last_counter)
    put_commit(work, made, CommitReason.REJOIN, commit_id=context.new_id())
    return True


def _make(work: Work, context: Context, group_info: bytes) -> Made | None:
    info, offered = _read(group_info)
    before = view_of(offered)
    check_joined(before, portal=context.account.portal, engagement=work.engagement)
    _check_newer(work, info)
    _check_people(work, context, before)
    own = [leaf.index for leaf in before.leaves if leaf.device == context.account.device]
    if not own:
        return None
    output = create_external_commit(
        info,
        context.account.signer,
        context.account.credential,
        remove=own[0],
        auth=context.policy,
        now=int(work.now),
        rng=context.rng,
        capabilities=capabilities(),
    )
    check_commit(before, view_of(output.state), adds=(), removes=(), external=True)
    body = Bundle(commit=output.commit, group_info=output.group_info).serialize()
    return Made(body, output.state, None)


def _read(group_info: bytes) -> tuple[GroupInfo, _Offered]:
    info = MLSMessage.parse(group_info).body
    tree = find_extension(info.extensions, RATCHET_TREE) if isinstance(info, GroupInfo) else None
    if not isinstance(info, GroupInfo) or tree is None:
        raise IdentityError("A commit entry carries no description of its epoch.")
    leaves = RatchetTree.parse(SUITE, tree).leaves()
    members = tuple(Member(index, leaf) for index, leaf in leaves)
    context = info.group_context
    return info, _Offered(context.group_id, context.extensions, members)


def _check_newer(work: Work, info: GroupInfo) -> None:
    own, offered = work.record.highest_epoch, info.group_context.epoch
    if offered < own:
        raise EpochRolledBack(own=own, offered=offered)
    same = hmac.compare_digest(info.group_context.confirmed_transcript_hash, work.record.transcript)
    if offered == own and not same:
        raise StreamForked(own_epoch=own, own_transcript=work.record.transcript)


def _check_people(work: Work, context: Context, view: ConversationView) -> None:
    for participant in view.info.participants:
        known = trusting.trust_of(work.tx, participant.user)
        if known is None or participant.user == context.account.user:
            continue
        governing = view.governing(participant.user)
        if governing is not None:
            check_not_older(known, governing)
        if not hmac.compare_digest(participant.identity_key, known.newest.identity_key):
            raise IdentityChanged(user=participant.user)


def _settle_outbox(work: Work, last_counter: int) -> None:
    """What the relay has stored is done, even where this device did not see it pass; the rest waits again."""
    if work.record.starts_over:
        highest = max(work.box.highest_counter, last_counter)
        work.box = replace(work.box, last_counter=last_counter, highest_counter=highest)
    work.box, done = work.box.rejoining(max(last_counter, work.box.last_counter))
    pending = work.pending.id if work.pending is not None else None
    for item in done:
        if item.id != pending:
            journal.place_own(work, item.id, max(1, work.record.cursor))
            work.drop_waiting(item.id)
            work.placed.append(item.id)
    work.set_pending(None)
