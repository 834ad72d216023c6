"""Proposal lists: what one commit may hold, and what it does to the tree (RFC 9420 section 12.1, 12.2)."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from .credentials import AuthenticationService
from .errors import UnknownProposal, ValidationError
from .extensions import Extensions, check_unique
from .framing import Sender, SenderType
from .group_state import PendingProposal
from .key_package import KeyPackage, VerifiedKeyPackage, check_key_package
from .key_schedule import GroupContext
from .leaf_node import LeafNode, LeafSource
from .proposals import (
    Add,
    ExternalInit,
    GroupContextExtensions,
    PreSharedKey,
    Proposal,
    ProposalRef,
    ReceivedAdd,
    ReInit,
    Remove,
    Update,
)
from .psk import PreSharedKeyID, ResumptionPsk, ResumptionUsage, check_psk_ids
from .ratchet_tree import MAX_LEAVES, RatchetTree
from .validation import check_external_senders, check_leaf

MAX_PROPOSALS = 4 * MAX_LEAVES
"""Proposals in one commit: room for every member to leave and as many to come; bounds what one can cost."""

_EXTERNAL_MAY_SEND = (Add, ReceivedAdd, Remove, PreSharedKey, ReInit, GroupContextExtensions)
_EXTERNAL_COMMIT_MAY_HOLD = (ExternalInit, Remove, PreSharedKey)
_PATH_NOT_NEEDED = (Add, ReceivedAdd, PreSharedKey, ReInit)


@dataclass(frozen=True, slots=True)
class ResolvedProposal:
    """A proposal with who sent it and whether the commit refers to it."""

    proposal: Proposal
    sender: Sender
    by_reference: bool


@dataclass(frozen=True, slots=True)
class UpdatedLeaf:
    """A member whose leaf was replaced."""

    leaf_index: int
    old: LeafNode
    new: LeafNode


@dataclass(frozen=True, slots=True)
class Rules:
    """What checking a proposal needs besides the proposal."""

    tree: RatchetTree
    context: GroupContext
    auth: AuthenticationService
    max_lifetime: int
    founding: ResumptionUsage | None = None


@dataclass(frozen=True, slots=True)
class AppliedProposals:
    """The outcome of a list: the next tree (before the path) and what else changes."""

    tree: RatchetTree
    extensions: Extensions
    proposals: tuple[Proposal, ...]
    added: tuple[tuple[int, KeyPackage], ...]
    removed: tuple[tuple[int, LeafNode], ...]
    updated: tuple[UpdatedLeaf, ...]
    psks: tuple[PreSharedKeyID, ...]
    reinit: ReInit | None
    external_init: ExternalInit | None


def resolve_proposals(
    pending: Sequence[PendingProposal], listed: Sequence[Proposal | ProposalRef], committer: Sender
) -> tuple[ResolvedProposal, ...]:
    """Replace a commit's references by the proposals of this epoch they mean."""
    if len(listed) > MAX_PROPOSALS:
        raise ValidationError("LIST-LIMIT", "a commit holds more proposals than any group has use for")
    refs = [item.ref for item in listed if isinstance(item, ProposalRef)]
    if len(set(refs)) != len(refs):
        raise ValidationError("COMMIT-REFERENCE-TWICE", "a commit refers to the same proposal twice")
    known = {entry.ref: entry for entry in pending}
    resolved = []
    for item in listed:
        if not isinstance(item, ProposalRef):
            resolved.append(ResolvedProposal(item, committer, by_reference=False))
        elif item.ref in known:
            found = known[item.ref]
            resolved.append(ResolvedProposal(found.proposal, found.sender, by_reference=True))
        else:
            raise UnknownProposal("COMMIT-REFERENCE", "a commit refers to a proposal that was not seen")
    return tuple(resolved)


def check_proposal(rules: Rules, entry: ResolvedProposal) -> Proposal:
    """Check one proposal by itself; a received Add comes back as a verified one (section 12.1)."""
    proposal, sender = entry.proposal, entry.sender
    _check_sender(sender, proposal)
    match proposal:
        case Add() | ReceivedAdd():
            package = proposal.key_package
            check_key_package(
                package, suite=rules.tree.suite, auth=rules.auth, max_lifetime=rules.max_lifetime
            )
            return Add(VerifiedKeyPackage(package))
        case Update():
            _check_update(rules, sender.index, proposal.leaf_node)
        case Remove():
            rules.tree.require_leaf(proposal.leaf_index, "PROP-REMOVE-MEMBER")
        case PreSharedKey():
            _check_psk(rules, proposal.psk)
        case ReInit():
            if proposal.version < rules.context.version:
                raise ValidationError("PROP-REINIT-VERSION", "a ReInit would go back to an older version")
        case GroupContextExtensions():
            check_unique(proposal.extensions)
            check_external_senders(proposal.extensions, rules.auth)
        case ExternalInit():
            pass
    return proposal


def _check_sender(sender: Sender, proposal: Proposal) -> None:
    if isinstance(proposal, ExternalInit) and sender.type is not SenderType.NEW_MEMBER_COMMIT:
        raise ValidationError("PROP-EXTERNAL-INIT", "only an external commit may hold an ExternalInit")
    if sender.type is SenderType.EXTERNAL and not isinstance(proposal, _EXTERNAL_MAY_SEND):
        raise ValidationError("PROP-EXTERNAL-SENDER", "an external sender may not propose this")
    if sender.type is SenderType.NEW_MEMBER_PROPOSAL and not isinstance(proposal, Add | ReceivedAdd):
        raise ValidationError("PROP-NEW-MEMBER", "who is no member may only propose to be added")
    if sender.type is SenderType.NEW_MEMBER_COMMIT and not isinstance(proposal, _EXTERNAL_COMMIT_MAY_HOLD):
        raise ValidationError("EXTCOMMIT-PROPOSALS", "an external commit may not hold this proposal")


def _check_update(rules: Rules, leaf_index: int, leaf: LeafNode) -> None:
    old = rules.tree.require_leaf(leaf_index, "PROP-UPDATE-MEMBER")
    if leaf.source is not LeafSource.UPDATE:
        raise ValidationError("PROP-UPDATE-SOURCE", "an Update's leaf was not made for an update")
    if leaf.encryption_key == old.encryption_key:
        raise ValidationError("PROP-UPDATE-KEY", "an Update keeps the old encryption key")
    group_id = rules.context.group_id
    check_leaf(leaf, suite=rules.tree.suite, auth=rules.auth, group_id=group_id, leaf_index=leaf_index)
    rules.auth.verify_successor(old, leaf)


def _check_psk(rules: Rules, entry: PreSharedKeyID) -> None:
    check_psk_ids(rules.tree.suite, [entry])
    allowed = (ResumptionUsage.APPLICATION, rules.founding)
    if isinstance(entry.psk, ResumptionPsk) and entry.psk.usage not in allowed:
        raise ValidationError("PROP-PSK-USAGE", "a commit may use resumption PSKs for the application only")


def check_list(entries: Sequence[ResolvedProposal], committer: Sender) -> None:
    """Check the list as a whole (section 12.2)."""
    proposals = [entry.proposal for entry in entries]
    if committer.type is SenderType.NEW_MEMBER_COMMIT:
        _check_external_list(entries)
    else:
        _check_member_list(entries, committer.index)
    touched = _touched(entries)
    if len(set(touched)) != len(touched):
        raise ValidationError("LIST-ONE-PER-LEAF", "a leaf is updated or removed twice")
    clients = [entry.key_package.leaf_node.signature_key for entry in proposals if isinstance(entry, Add)]
    if len(set(clients)) != len(clients):
        raise ValidationError("LIST-ADD-TWICE", "a client is added twice")
    if sum(isinstance(entry, GroupContextExtensions) for entry in proposals) > 1:
        raise ValidationError("LIST-ONE-EXTENSIONS", "two proposals replace the group's extensions")
    if len(proposals) > 1 and any(isinstance(entry, ReInit) for entry in proposals):
        raise ValidationError("LIST-REINIT-ALONE", "a ReInit is not the only proposal")


def _touched(entries: Sequence[ResolvedProposal]) -> list[int]:
    touched = []
    for entry in entries:
        if isinstance(entry.proposal, Remove):
            touched.append(entry.proposal.leaf_index)
        elif isinstance(entry.proposal, Update):
            touched.append(entry.sender.index)
    return touched


def _check_member_list(entries: Sequence[ResolvedProposal], committer: int) -> None:
    for entry in entries:
        own = entry.sender == Sender(SenderType.MEMBER, committer)
        if isinstance(entry.proposal, Update) and own:
            raise ValidationError("LIST-OWN-UPDATE", "a committer updates itself by proposal")
        if isinstance(entry.proposal, Remove) and entry.proposal.leaf_index == committer:
            raise ValidationError("LIST-SELF-REMOVE", "a committer removes itself")


def _check_external_list(entries: Sequence[ResolvedProposal]) -> None:
    if any(entry.by_reference for entry in entries):
        raise ValidationError("EXTCOMMIT-BY-VALUE", "an external commit refers to a proposal")
    if sum(isinstance(entry.proposal, ExternalInit) for entry in entries) != 1:
        raise ValidationError("EXTCOMMIT-ONE-INIT", "an external commit has not exactly one ExternalInit")
    if sum(isinstance(entry.proposal, Remove) for entry in entries) > 1:
        raise ValidationError("EXTCOMMIT-ONE-REMOVE", "an external commit removes more than one leaf")


def path_required(entries: Sequence[ResolvedProposal]) -> bool:
    """Whether a commit of these proposals must have a path (section 12.4)."""
    return not entries or any(not isinstance(entry.proposal, _PATH_NOT_NEEDED) for entry in entries)


def apply_proposals(rules: Rules, entries: Sequence[ResolvedProposal], committer: Sender) -> AppliedProposals:
    """Check everything, then apply in the order of section 12.3."""
    checked = [
        ResolvedProposal(check_proposal(rules, entry), entry.sender, entry.by_reference) for entry in entries
    ]
    check_list(checked, committer)
    tree, extensions, updated, removed, added = rules.tree, rules.context.extensions, [], [], []
    for entry in checked:
        if isinstance(entry.proposal, GroupContextExtensions):
            extensions = entry.proposal.extensions
        elif isinstance(entry.proposal, Update):
            index, leaf = entry.sender.index, entry.proposal.leaf_node
            updated.append(UpdatedLeaf(index, rules.tree.require_leaf(index, "PROP-UPDATE-MEMBER"), leaf))
            tree = tree.update_leaf(index, leaf)
    for entry in checked:
        if isinstance(entry.proposal, Remove):
            index = entry.proposal.leaf_index
            removed.append((index, rules.tree.require_leaf(index, "PROP-REMOVE-MEMBER")))
            tree = tree.remove_leaf(index)
    for entry in checked:
        if isinstance(entry.proposal, Add):
            tree, index = tree.add_leaf(entry.proposal.key_package.leaf_node)
            added.append((index, entry.proposal.key_package))
    proposals = tuple(entry.proposal for entry in checked)
    psks = tuple(entry.psk for entry in proposals if isinstance(entry, PreSharedKey))
    check_psk_ids(tree.suite, psks)
    return AppliedProposals(
        tree=tree,
        extensions=extensions,
        proposals=proposals,
        added=tuple(added),
        removed=tuple(removed),
        updated=tuple(updated),
        psks=psks,
        reinit=next((entry for entry in proposals if isinstance(entry, ReInit)), None),
        external_init=next((entry for entry in proposals if isinstance(entry, ExternalInit)), None),
    )
