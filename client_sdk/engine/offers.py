"""A GroupInfo that the stream offers: read, and judged by the rules that every member applies."""

from __future__ import annotations

import hmac
from dataclasses import dataclass

from client_sdk.delivery import EpochRolledBack, StreamForked
from client_sdk.engine import suites, trusting
from client_sdk.engine.context import Context
from client_sdk.engine.standing import Work
from client_sdk.errors import IdentityError, ManifestInvalid
from client_sdk.identity import (
    ConversationView,
    Participant,
    TrustRecord,
    VerifiedManifest,
    check_joined,
    check_not_older,
    check_successor,
    conversation_epoch,
    view_of,
)
from client_sdk.identity.alarms import IdentityChanged
from client_sdk.mls import (
    MAX_LEAF_LIFETIME,
    Extension,
    GroupInfo,
    Member,
    MLSMessage,
    cipher_suite,
    find_extension,
)
from client_sdk.mls.extensions import RATCHET_TREE
from client_sdk.mls.group_info_check import verify_group_info
from client_sdk.mls.ratchet_tree import RatchetTree


@dataclass(frozen=True, slots=True)
class Offer:
    """A GroupInfo and the conversation as it describes it. Its signature is verified when it is used."""

    info: GroupInfo
    view: ConversationView
    epoch: int
    """The epoch's number within the conversation."""

    @property
    def transcript(self) -> bytes:
        """The confirmed transcript hash of the epoch."""
        return self.info.group_context.confirmed_transcript_hash


@dataclass(frozen=True, slots=True)
class _Described:
    group_id: bytes
    extensions: tuple[Extension, ...]
    members: tuple[Member, ...]


def read_offer(work: Work, context: Context, group_info: bytes) -> Offer:
    """The offer in these bytes, if it is of this conversation; raises `MLSError` or `IdentityError`."""
    info = MLSMessage.parse(group_info).body
    tree = find_extension(info.extensions, RATCHET_TREE) if isinstance(info, GroupInfo) else None
    if not isinstance(info, GroupInfo) or tree is None:
        raise IdentityError("A commit entry carries no description of its epoch.")
    suite = cipher_suite(info.group_context.cipher_suite)
    members = tuple(Member(index, leaf) for index, leaf in RatchetTree.parse(suite, tree).leaves())
    described = _Described(info.group_context.group_id, info.group_context.extensions, members)
    view = view_of(described)
    check_joined(view, portal=context.account.portal, engagement=work.engagement)
    epoch = conversation_epoch(view.info.generation, info.group_context.epoch)
    return Offer(info, view, epoch)


def check_signed(context: Context, offer: Offer) -> None:
    """Whether one of the members that it names has signed it, and its tree is whole; raises `MLSError`."""
    verify_group_info(
        offer.info,
        suite=cipher_suite(offer.info.group_context.cipher_suite),
        auth=context.policy,
        ratchet_tree=None,
        max_lifetime=MAX_LEAF_LIFETIME,
    )


def check_offer(work: Work, context: Context, offer: Offer) -> None:
    """Whether it is of the present, and of the people that this device knows; raises `SecurityAlarm`."""
    _check_newer(work, offer)
    _check_removed(work, context, offer)
    for participant in offer.view.info.participants:
        known = trusting.trust_of(work.tx, participant.user)
        if known is None or participant.user == context.account.user:
            continue
        governing = offer.view.governing(participant.user)
        if governing is not None:
            check_not_older(known, governing)
        _check_identity(participant, known, governing)


def _check_identity(participant: Participant, known: TrustRecord, governing: VerifiedManifest | None) -> None:
    """The key that is known, or one that the recovery key vouches for."""
    key = participant.identity_key
    if hmac.compare_digest(key, known.newest.identity_key):
        return
    changed = IdentityChanged(user=participant.user, identity=key)
    if governing is None:
        raise changed
    try:
        check_successor(known.newest, governing)
    except ManifestInvalid:
        raise changed from None


def _check_removed(work: Work, context: Context, offer: Offer) -> None:
    """After the relay lost commits nobody is back whom this device saw leave, but by a newer list."""
    if not work.record.overtaken:
        return
    for leaf in offer.view.leaves:
        if bytes(leaf.device) not in work.record.removed or leaf.user == context.account.user:
            continue  # of our own devices our own list decides, before anything is said
        governing, known = offer.view.governing(leaf.user), trusting.trust_of(work.tx, leaf.user)
        if governing is None or known is None or governing.version <= known.newest.version:
            raise EpochRolledBack(own=work.record.highest_epoch, offered=offer.epoch)


def _check_newer(work: Work, offer: Offer) -> None:
    own, transcript = work.record.highest_epoch, offer.transcript
    weaker = suites.is_stronger(work.record.suite, offer.info.group_context.cipher_suite)
    if offer.epoch < own or weaker:
        raise EpochRolledBack(own=own, offered=offer.epoch)
    if work.record.overtaken:
        return  # the relay lost the epoch that we were in, and others have begun another one instead
    if offer.epoch == own and not hmac.compare_digest(transcript, work.record.transcript):
        raise StreamForked(own_epoch=own, own_transcript=work.record.transcript)
