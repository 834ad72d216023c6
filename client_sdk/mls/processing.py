"""Messages in and out: application data, proposals, commits (RFC 9420 section 6, 12, 15)."""

from __future__ import annotations

from dataclasses import dataclass, field, replace

from .committing import resolve_proposals
from .credentials import AuthenticationService
from .epoch_change import EpochInputs, check_new_tree, enter_epoch, gather_psks, provisional_context
from .errors import DecodeError, OwnCommit, OwnMessage, StateError, ValidationError, WrongEpoch, WrongGroup
from .extensions import ExternalSender
from .framing import (
    AuthData,
    AuthenticatedContent,
    ContentType,
    FramedContent,
    MLSMessage,
    PrivateMessage,
    PublicMessage,
    Sender,
    SenderType,
    WireFormat,
)
from .group_state import GroupState, PendingProposal
from .hpke import Rng
from .key_schedule import EXTERNAL_INIT_LABEL
from .leaf_node import LeafNode, LeafSource
from .proposal_list import (
    AppliedProposals,
    ResolvedProposal,
    Rules,
    UpdatedLeaf,
    apply_proposals,
    check_proposal,
    path_required,
)
from .proposals import Add, Commit, Proposal, ReceivedAdd
from .protection import (
    Padding,
    open_private,
    open_public,
    open_sender_data,
    proposal_ref,
    protect_private,
    sign_content,
    verify_content,
)
from .psk import PskStore
from .ratchet_tree import RatchetTree
from .treekem import decrypt_path, merge_path, surviving_keys
from .update_path import UpdatePath
from .validation import MAX_LEAF_LIFETIME, check_leaf

MAX_PENDING_PROPOSALS = 256
"""Proposals remembered in one epoch: more than an honest group sends, and a bound on what peers can store."""


@dataclass(frozen=True, slots=True)
class Encrypted:
    """An application message and the state that can never encrypt under its key again."""

    state: GroupState
    message: bytes = field(repr=False)


@dataclass(frozen=True, slots=True)
class ApplicationReceived:
    """Application data from a member; ``signed`` and ``signature`` are evidence for a later disclosure."""

    state: GroupState
    sender: int
    plaintext: bytes = field(repr=False)
    authenticated_data: bytes
    generation: int
    epoch: int
    signed: bytes = field(repr=False)
    signature: bytes = field(repr=False)


@dataclass(frozen=True, slots=True)
class ProposalReceived:
    """A valid proposal; ``state`` remembers it. Drop that state to ignore it."""

    state: GroupState
    sender: Sender
    proposal: Proposal
    ref: bytes
    authenticated_data: bytes


@dataclass(frozen=True, slots=True)
class CommitReceived:
    """A valid commit; ``state`` is the new epoch. Drop that state to refuse it under one's own rules.

    ``sender`` is the committer's leaf in the new epoch. ``expired`` lists added leaves whose lifetime does
    not include now: a finding, not a refusal, for clocks must not decide what members accept.
    """

    state: GroupState
    sender: int
    external: bool
    added: tuple[int, ...]
    removed: tuple[tuple[int, LeafNode], ...]
    updated: tuple[UpdatedLeaf, ...]
    proposals: tuple[Proposal, ...]
    expired: tuple[int, ...]
    authenticated_data: bytes


@dataclass(frozen=True, slots=True)
class RemovedFromGroup:
    """A commit that removes this member: there is no further state."""

    sender: int
    external: bool
    removed: tuple[tuple[int, LeafNode], ...]
    proposals: tuple[Proposal, ...]
    authenticated_data: bytes


Received = ApplicationReceived | ProposalReceived | CommitReceived | RemovedFromGroup


@dataclass(frozen=True, slots=True)
class _Judge:
    auth: AuthenticationService
    now: int
    psks: PskStore | None
    max_lifetime: int

    def rules(self, state: GroupState) -> Rules:
        return Rules(state.epoch_state.tree, state.group_context, self.auth, self.max_lifetime)


def encrypt(
    state: GroupState,
    plaintext: bytes,
    *,
    authenticated_data: bytes = b"",
    rng: Rng,
    padding: Padding | None = None,
) -> Encrypted:
    """Encrypt application data as a PrivateMessage; keep the returned state before sending.

    Raises `StateError` while valid proposals wait for a commit (section 12.4).
    """
    if state.pending:
        raise StateError("PENDING-PROPOSALS", "proposals wait for a commit; no application data before it")
    return _send_private(state, ContentType.APPLICATION, plaintext, authenticated_data, rng, padding)


def create_proposal(
    state: GroupState, proposal: Proposal, *, authenticated_data: bytes = b"", rng: Rng
) -> Encrypted:
    """Send a proposal by itself. The returned state only has the key used up: it does not remember it."""
    return _send_private(state, ContentType.PROPOSAL, proposal, authenticated_data, rng, None)


def _send_private(
    state: GroupState,
    content_type: ContentType,
    body: bytes | Proposal,
    authenticated_data: bytes,
    rng: Rng,
    padding: Padding | None,
) -> Encrypted:
    state.require_active()
    epoch = state.epoch_state
    sender = Sender(SenderType.MEMBER, epoch.own_leaf_index)
    content = FramedContent(
        epoch.context.group_id, epoch.context.epoch, sender, authenticated_data, content_type, body
    )
    signature = sign_content(
        epoch.suite, epoch.signer, WireFormat.PRIVATE_MESSAGE, content, epoch.context.encoded
    )
    message, secret_tree = protect_private(
        epoch.suite,
        epoch.secrets.sender_data_secret,
        state.secret_tree,
        content,
        AuthData(signature, None),
        rng=rng,
        padding=padding,
    )
    return Encrypted(state.with_secret_tree(secret_tree), MLSMessage(message).serialize())


def process_message(
    state: GroupState,
    message: bytes,
    *,
    auth: AuthenticationService,
    now: int,
    psks: PskStore | None = None,
    max_lifetime: int = MAX_LEAF_LIFETIME,
) -> Received:
    """Open one PrivateMessage or PublicMessage of this epoch; on any error the given state stays good."""
    state.require_active()
    body = MLSMessage.parse(message).body
    judge = _Judge(auth, now, psks, max_lifetime)
    if isinstance(body, PrivateMessage):
        return _receive_private(state, body, judge)
    if isinstance(body, PublicMessage):
        return _receive_public(state, body, judge)
    raise DecodeError("FRAME-WIRE-FORMAT", "the message is neither a PrivateMessage nor a PublicMessage")


def _check_address(state: GroupState, group_id: bytes, epoch: int) -> None:
    if group_id != state.group_id:
        raise WrongGroup
    if epoch != state.epoch:
        raise WrongEpoch(epoch, state.epoch)


def _refuse_own(state: GroupState, leaf_index: int, content_type: ContentType) -> None:
    if leaf_index != state.own_leaf_index:
        return
    if content_type is ContentType.COMMIT:
        raise OwnCommit("FRAME-OWN", "this member sent the commit itself")
    raise OwnMessage("FRAME-OWN", "this member sent the message itself")


def _receive_private(state: GroupState, message: PrivateMessage, judge: _Judge) -> Received:
    epoch, suite = state.epoch_state, state.suite
    _check_address(state, message.group_id, message.epoch)
    sender = open_sender_data(suite, epoch.secrets.sender_data_secret, message)
    leaf = epoch.tree.require_leaf(sender.leaf_index, "FRAME-SENDER-LEAF")
    _refuse_own(state, sender.leaf_index, message.content_type)
    opened, secret_tree = open_private(suite, state.secret_tree, message, sender)
    signed = verify_content(suite, leaf.signature_key, opened, epoch.context.encoded)
    state = state.with_secret_tree(secret_tree)
    if isinstance(opened.content.body, bytes):
        return ApplicationReceived(
            state=state,
            sender=sender.leaf_index,
            plaintext=opened.content.body,
            authenticated_data=message.authenticated_data,
            generation=sender.generation,
            epoch=message.epoch,
            signed=signed,
            signature=opened.auth.signature,
        )
    return _receive_handshake(state, opened, judge)


def _receive_public(state: GroupState, message: PublicMessage, judge: _Judge) -> Received:
    epoch, content = state.epoch_state, message.content
    _check_address(state, content.group_id, content.epoch)
    opened = open_public(state.suite, epoch.secrets.membership_key, message, epoch.context.encoded)
    key = _sender_key(state, content)
    verify_content(state.suite, key, opened, epoch.context.encoded)
    if content.sender.type is SenderType.MEMBER:
        _refuse_own(state, content.sender.index, content.content_type)
    return _receive_handshake(state, opened, judge)


def _sender_key(state: GroupState, content: FramedContent) -> bytes:
    """The signature key of a PublicMessage's sender (section 6.1)."""
    sender, body = content.sender, content.body
    is_commit = content.content_type is ContentType.COMMIT
    if is_commit != (sender.type is SenderType.NEW_MEMBER_COMMIT) and sender.type is not SenderType.MEMBER:
        raise ValidationError("FRAME-SENDER-CONTENT", "such a sender may not send this content")
    match sender.type:
        case SenderType.MEMBER:
            return state.epoch_state.tree.require_leaf(sender.index, "FRAME-SENDER-LEAF").signature_key
        case SenderType.EXTERNAL:
            known = ExternalSender.find_all(state.extensions)
            if sender.index >= len(known):
                raise ValidationError("FRAME-EXTERNAL-SENDER", "no such external sender is known")
            return known[sender.index].signature_key
        case SenderType.NEW_MEMBER_PROPOSAL:
            if not isinstance(body, Add | ReceivedAdd):
                raise ValidationError("PROP-NEW-MEMBER", "who is no member may only propose to be added")
            return body.key_package.leaf_node.signature_key
        case SenderType.NEW_MEMBER_COMMIT:
            if not isinstance(body, Commit) or body.path is None:
                raise ValidationError("EXTCOMMIT-PATH", "an external commit has no path")
            return body.path.leaf_node.signature_key


def _receive_handshake(state: GroupState, message: AuthenticatedContent, judge: _Judge) -> Received:
    body = message.content.body
    if isinstance(body, Commit):
        return _receive_commit(state, message, body, judge)
    if isinstance(body, bytes):
        raise ValidationError("FRAME-APPLICATION-PRIVATE", "application data came as a handshake message")
    return _receive_proposal(state, message, body, judge)


def _receive_proposal(
    state: GroupState, message: AuthenticatedContent, proposal: Proposal, judge: _Judge
) -> ProposalReceived:
    sender = message.content.sender
    entry = ResolvedProposal(proposal, sender, by_reference=True)
    checked = check_proposal(judge.rules(state), entry)
    ref = proposal_ref(state.suite, message)
    if all(known.ref != ref for known in state.pending):
        if len(state.pending) >= MAX_PENDING_PROPOSALS:
            raise StateError("PENDING-LIMIT", "too many proposals wait in this epoch")
        state = replace(state, pending=(*state.pending, PendingProposal(ref, sender, proposal)))
    return ProposalReceived(state, sender, checked, ref, message.content.authenticated_data)


# ---- commits -----------------------------------------------------------------------------------------


def _receive_commit(
    state: GroupState, message: AuthenticatedContent, commit: Commit, judge: _Judge
) -> CommitReceived | RemovedFromGroup:
    content, tag = message.content, message.auth.confirmation_tag
    external = content.sender.type is SenderType.NEW_MEMBER_COMMIT
    entries = resolve_proposals(state, commit.proposals, content.sender)
    if commit.path is None and path_required(entries):
        raise ValidationError("COMMIT-PATH", "a commit lacks the path its proposals demand")
    applied = apply_proposals(judge.rules(state), entries, content.sender)
    committer, old_leaf = _place_committer(state, applied, commit.path, content.sender)
    tree, updated = applied.tree, applied.updated
    if commit.path is not None:
        _check_path_leaf(state, commit.path.leaf_node, old_leaf, committer, judge)
        tree = _merge(applied, committer, commit.path, external=external)
        if old_leaf is not None and not external:
            updated = (*updated, UpdatedLeaf(committer, old_leaf, commit.path.leaf_node))
    check_new_tree(tree, applied.extensions)
    if any(index == state.own_leaf_index for index, _ in applied.removed):
        return RemovedFromGroup(
            committer, external, applied.removed, applied.proposals, content.authenticated_data
        )
    new_state = _next_state(state, message, commit, applied, tree, committer, tag or b"", judge)
    return CommitReceived(
        state=new_state,
        sender=committer,
        external=external,
        added=tuple(index for index, _ in applied.added),
        removed=applied.removed,
        updated=updated,
        proposals=applied.proposals,
        expired=_expired(applied, judge.now),
        authenticated_data=content.authenticated_data,
    )


def _expired(applied: AppliedProposals, now: int) -> tuple[int, ...]:
    lifetimes = ((index, package.leaf_node.lifetime) for index, package in applied.added)
    return tuple(
        index for index, lifetime in lifetimes if lifetime is not None and not lifetime.contains(now)
    )


def _place_committer(
    state: GroupState, applied: AppliedProposals, path: UpdatePath | None, sender: Sender
) -> tuple[int, LeafNode | None]:
    """The committer's leaf index in the new tree, and the leaf its path replaces, if any."""
    if sender.type is SenderType.MEMBER:
        return sender.index, state.epoch_state.tree.require_leaf(sender.index, "FRAME-SENDER-LEAF")
    if path is None:
        raise ValidationError("EXTCOMMIT-PATH", "an external commit has no path")
    return applied.tree.next_leaf_index(), applied.removed[0][1] if applied.removed else None


def _check_path_leaf(
    state: GroupState, leaf: LeafNode, old: LeafNode | None, committer: int, judge: _Judge
) -> None:
    if leaf.source is not LeafSource.COMMIT:
        raise ValidationError("PATH-LEAF-SOURCE", "a path's leaf was not made for a commit")
    check_leaf(leaf, suite=state.suite, auth=judge.auth, group_id=state.group_id, leaf_index=committer)
    if old is not None:
        if leaf.encryption_key == old.encryption_key:
            raise ValidationError("PATH-LEAF-KEY", "a path's leaf keeps the old encryption key")
        judge.auth.verify_successor(old, leaf)


def _merge(applied: AppliedProposals, committer: int, path: UpdatePath, *, external: bool) -> RatchetTree:
    joined = [index for index, _ in applied.added]
    tree = applied.tree
    if external:
        tree = place_joiner(tree, path.leaf_node)
    return merge_path(tree, committer, path, joined)


def place_joiner(tree: RatchetTree, leaf: LeafNode) -> RatchetTree:
    """Make room for an external joiner; the path then fills its place."""
    widened, index = tree.add_leaf(leaf)
    return widened.with_nodes({2 * index: None})


def _next_state(
    state: GroupState,
    message: AuthenticatedContent,
    commit: Commit,
    applied: AppliedProposals,
    tree: RatchetTree,
    committer: int,
    tag: bytes,
    judge: _Judge,
) -> GroupState:
    epoch, suite = state.epoch_state, state.suite
    provisional = provisional_context(state.group_context, tree, applied.extensions)
    private_keys = surviving_keys(epoch.private_keys, epoch.tree, tree)
    commit_secret = bytes(suite.hash_length)
    if commit.path is not None:
        opened = decrypt_path(
            tree,
            committer,
            commit.path,
            own_leaf=state.own_leaf_index,
            private_keys=private_keys,
            context=provisional.encoded,
            joined=[index for index, _ in applied.added],
        )
        commit_secret = opened.commit_secret
        private_keys |= opened.private_keys
    init_secret = epoch.secrets.init_secret
    if applied.external_init is not None:
        init_secret = suite.hpke.receive_export(
            epoch.secrets.external_key_pair(suite).private,
            applied.external_init.kem_output,
            EXTERNAL_INIT_LABEL,
            suite.hash_length,
        )
    inputs = EpochInputs(init_secret, commit_secret, gather_psks(suite, applied.psks, judge.psks, state))
    following = enter_epoch(suite, provisional, epoch.interim_transcript_hash, message, inputs)
    following.verify_confirmation_tag(tag)
    return following.state(
        tree=tree,
        own_leaf_index=state.own_leaf_index,
        signer=epoch.signer,
        private_keys=private_keys,
        reinit=applied.reinit,
    )
