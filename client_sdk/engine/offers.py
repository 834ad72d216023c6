"""A GroupInfo that the stream offers: read, and judged by the rules that every member applies."""

from __future__ import annotations

import hmac
from dataclasses import dataclass

from client_sdk.delivery import EpochRolledBack, SecurityAlarm, StreamForked
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
    MLSError,
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


def lets_in_anew(work: Work, context: Context, group_info: bytes) -> bool:
    """Whether a member describes a later epoch, in which another key package stands for this device.

    Then this device was removed and added again, whatever the relay has told it.
    """
    own = None if work.group is None else work.group.own_leaf
    try:
        offer = read_offer(work, context, group_info)
        check_signed(context, offer)
        check_offer(work, context, offer)
    except (SecurityAlarm, MLSError, IdentityError):
        return False
    tree = find_extension(offer.info.extensions, RATCHET_TREE) or b""
    suite = cipher_suite(offer.info.group_context.cipher_suite)
    leaves = [leaf for _, leaf in RatchetTree.parse(suite, tree).leaves()]
    return offer.epoch > work.record.highest_epoch and any(
        leaf.signature_key == own.signature_key
        and leaf.lifetime is not None  # it is that of a key package
        and leaf.encryption_key != own.encryption_key
        for leaf in leaves
        if own is not None
    )


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
    for participant in offer.view.info.participants:
        known = trusting.trust_of(work.tx, participant.user)
        if known is None or participant.user == context.account.user:
            continue
        governing = offer.view.governing(participant.user)
        if work.record.overtaken and trusting.is_earlier(known, governing):
            continue  # its devices that are not on the newer list leave before anything is said
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


def _check_newer(work: Work, offer: Offer) -> None:
    own, transcript = work.record.highest_epoch, offer.transcript
    if work.record.overtaken:
        # The relay lost the epoch that we were in. Others went on from an earlier one that we know too.
        if offer.epoch < work.record.branch:
            raise EpochRolledBack(own=work.record.branch, offered=offer.epoch)
        return
    weaker = suites.is_stronger(work.record.suite, offer.info.group_context.cipher_suite)
    if offer.epoch < own or weaker:
        raise EpochRolledBack(own=own, offered=offer.epoch)
    if offer.epoch == own and not hmac.compare_digest(transcript, work.record.transcript):
        raise StreamForked(own_epoch=own, own_transcript=work.record.transcript)
