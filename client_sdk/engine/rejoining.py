"""Coming back into step by external commit (PROTOCOL 7): only forward, and never without a visible gap."""

from __future__ import annotations

import logging
from dataclasses import replace

from client_sdk.delivery import SecurityAlarm
from client_sdk.engine import journal
from client_sdk.engine.commits import REMOVED
from client_sdk.engine.context import Context
from client_sdk.engine.entering import stored_unseen
from client_sdk.engine.key_packages import capabilities
from client_sdk.engine.membership import Made
from client_sdk.engine.offers import check_offer, read_offer
from client_sdk.engine.records import CommitReason, Phase
from client_sdk.engine.sending import put_commit
from client_sdk.engine.standing import Work
from client_sdk.errors import IdentityError
from client_sdk.identity import check_commit, view_of
from client_sdk.mls import MLSError, create_external_commit
from relay.wire import Bundle

_log = logging.getLogger(__name__)


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
    try:
        _settle_outbox(work, last_counter)
    except SecurityAlarm as alarm:
        work.raise_alarm(alarm)  # the relay holds entries of ours that this device knows nothing of
        return True
    put_commit(work, made, CommitReason.REJOIN, commit_id=context.new_id())
    return True


def _make(work: Work, context: Context, group_info: bytes) -> Made | None:
    offer = read_offer(work, context, group_info)
    check_offer(work, context, offer)
    own = [leaf.index for leaf in offer.view.leaves if leaf.device == context.account.device]
    if not own:
        return None
    output = create_external_commit(
        offer.info,
        context.account.signer,
        context.account.credential,
        remove=own[0],
        auth=context.policy,
        now=int(work.now),
        rng=context.rng,
        capabilities=capabilities(),
    )
    check_commit(offer.view, view_of(output.state), adds=(), removes=(), external=True)
    body = Bundle(commit=output.commit, group_info=output.group_info).serialize()
    return Made(body, output.state, None)


def _settle_outbox(work: Work, last_counter: int) -> None:
    """What the relay has stored is done, even where this device did not see it pass; the rest waits again."""
    if work.record.starts_over:
        highest = max(work.box.highest_counter, last_counter)
        work.box = replace(work.box, last_counter=last_counter, highest_counter=highest)
    work.box, done = work.box.rejoining(max(last_counter, work.box.last_counter))
    pending = work.pending.id if work.pending is not None else None
    stored_unseen(work, [item for item in done if item.id != pending])
    work.set_pending(None)
