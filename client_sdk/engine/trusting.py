"""What this device has seen of people: their keys, their device lists, the names that they chose."""

from __future__ import annotations

from typing import Final

from client_sdk.delivery import SecurityAlarm
from client_sdk.engine import spaces
from client_sdk.engine.context import Context
from client_sdk.engine.standing import Work
from client_sdk.errors import ManifestInvalid
from client_sdk.identity import (
    ConversationView,
    TrustRecord,
    VerifiedManifest,
    check_not_older,
    check_successor,
    observe,
    same_line,
    verify_manifest,
)
from client_sdk.vault import Transaction

MOST_FOREIGN: Final = 64
"""Device lists of one user that a person had to decide about: more than a sane account ever has."""


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
    return known.newest if same_line(known.newest, manifest) else manifest


def is_earlier(known: TrustRecord, governing: VerifiedManifest | None) -> bool:
    """Whether this device has seen a device list that came after this one."""
    if governing is None or known.newest.version <= governing.version:
        return False
    try:
        check_successor(governing, known.newest)
    except ManifestInvalid:
        return False
    return True


def claimed_identity(tx: Transaction, user: str) -> VerifiedManifest | None:
    """The newest device list of somebody who appears as this person with another key, until it is decided."""
    found = [
        verify_manifest(raw) for _, raw in tx.scan(spaces.FOREIGN, user.encode(), limit=MOST_FOREIGN) if raw
    ]
    mine = [manifest for manifest in found if manifest.user == user]
    return max(mine, key=lambda manifest: manifest.version, default=None)


def decide_identity(tx: Transaction, user: str, *, accept: bool, now_ms: int, compared: bool = False) -> None:
    """A person let in who appears under this name with another key, or leaves them outside for good."""
    claimed, known = claimed_identity(tx, user), trust_of(tx, user)
    for key, _ in tx.scan(spaces.FOREIGN, user.encode(), limit=MOST_FOREIGN):
        tx.put(spaces.FOREIGN, key, b"")
    if not accept or claimed is None:
        return
    if known is not None:  # should a device of theirs come back that they had lost, it is no news
        tx.put(spaces.FOREIGN, foreign_key(known.newest), b"")
    seen = observe(known, claimed, now_ms=now_ms)
    if compared:
        put_trust(tx, seen.verified(claimed.identity_key, now_ms=now_ms))
    else:
        put_trust(tx, seen if known is None else seen.change_accepted(now_ms=now_ms))


def foreign_key(manifest: VerifiedManifest) -> bytes:
    """Where a device list is noted that somebody had to decide about."""
    return manifest.user.encode() + manifest.hash


def name_of(tx: Transaction, user: str) -> str:
    """What somebody calls themselves; their user id as long as they did not say."""
    data = tx.get(spaces.NAME, user.encode())
    return user if data is None else data.decode()


def put_name(tx: Transaction, user: str, name: str) -> None:
    """Somebody said what they want to be called."""
    tx.put(spaces.NAME, user.encode(), name.encode())


def told(tx: Transaction, alarm: SecurityAlarm) -> str:
    """The alarm's sentences, with the name of the person that it is about."""
    return alarm.sentence_about(name_of(tx, alarm.user)) if alarm.user else alarm.sentence


def observe_people(
    work: Work,
    context: Context,
    view: ConversationView,
    before: ConversationView | None,
    *,
    may_be_older: bool = False,
) -> None:
    """Look at everybody's governing device list in an accepted state of the group; alarms stop sending.

    One that governed `before` already is no news, although a newer one may be known from elsewhere; nor is
    one that `may_be_older`, because the relay lost the newer.
    """
    for user in sorted({leaf.user for leaf in view.leaves} - {context.account.user}):
        governing, earlier = view.governing(user), before.governing(user) if before is not None else None
        if governing is None or (earlier is not None and earlier.raw == governing.raw):
            continue
        try:
            _observe(work, governing, may_be_older=may_be_older)
        except SecurityAlarm as alarm:
            work.raise_alarm(alarm)


def _observe(work: Work, governing: VerifiedManifest, *, may_be_older: bool) -> None:
    user = governing.user
    before = trust_of(work.tx, user)
    if before is not None and may_be_older and is_earlier(before, governing):
        return
    check_not_older(before, governing)
    after = observe(before, governing, now_ms=work.now_ms)
    if after is not before:
        put_trust(work.tx, after)
    after.check_may_send()
