"""What this device has seen of people: their keys, their device lists, the names that they chose."""

from __future__ import annotations

import hmac

from client_sdk.delivery import IdentityChanged, SecurityAlarm
from client_sdk.engine import spaces
from client_sdk.engine.context import Context
from client_sdk.engine.standing import Work
from client_sdk.identity import (
    ConversationView,
    TrustRecord,
    TrustState,
    VerifiedManifest,
    check_not_older,
    observe,
)
from client_sdk.vault import Transaction
from relay.wire.ids import UserId


def trust_of(tx: Transaction, user: str) -> TrustRecord | None:
    """What is known about a person."""
    data = tx.get(spaces.TRUST, user.encode())
    return None if data is None else TrustRecord.parse(data)


def put_trust(tx: Transaction, record: TrustRecord) -> None:
    """Store what is known about a person."""
    tx.put(spaces.TRUST, record.user.encode(), record.serialize())


def newest_list(tx: Transaction, manifest: VerifiedManifest) -> VerifiedManifest:
    """The newest device list that this device has seen of the same user: this one, if there is none newer."""
    known = trust_of(tx, manifest.user)
    if known is None or known.newest.version <= manifest.version:
        return manifest
    same = hmac.compare_digest(known.newest.identity_key, manifest.identity_key)
    return known.newest if same else manifest


def name_of(tx: Transaction, user: str) -> str:
    """What somebody calls themselves; their user id as long as they did not say."""
    data = tx.get(spaces.NAME, user.encode())
    return user if data is None else data.decode()


def put_name(tx: Transaction, user: str, name: str) -> None:
    """Somebody said what they want to be called."""
    tx.put(spaces.NAME, user.encode(), name.encode())


def observe_people(work: Work, context: Context, view: ConversationView) -> None:
    """Look at everybody's governing device list in an accepted state of the group; alarms stop sending."""
    for user in sorted({leaf.user for leaf in view.leaves} - {context.account.user}):
        try:
            _observe(work, view, user)
        except SecurityAlarm as alarm:
            work.raise_alarm(alarm)


def _observe(work: Work, view: ConversationView, user: UserId) -> None:
    governing = view.governing(user)
    if governing is None:
        return
    before = trust_of(work.tx, user)
    check_not_older(before, governing)
    after = observe(before, governing, now_ms=work.now_ms)
    if after is not before:
        put_trust(work.tx, after)
    if after.state is TrustState.CHANGED:
        raise IdentityChanged(user=user)
