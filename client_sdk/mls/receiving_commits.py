"""Receiving a commit: check everything, then derive the next epoch (RFC 9420 section 12.4.2)."""

from __future__ import annotations

from dataclasses import dataclass

from .credentials import AuthenticationService
from .epoch_change import EpochInputs, check_new_tree, enter_epoch, gather_psks, provisional_context
from .errors import StateError, ValidationError
from .framing import AuthenticatedContent, Sender, SenderType
from .group_state import GroupState
from .key_schedule import EXTERNAL_INIT_LABEL
from .leaf_node import LeafNode, LeafSource
from .proposal_list import (
    AppliedProposals,
    Rules,
    UpdatedLeaf,
    apply_proposals,
    path_required,
    resolve_proposals,
)
from .proposals import Commit
from .psk import PskStore
from .ratchet_tree import RatchetTree
from .results import CommitReceived, RemovedFromGroup
from .treekem import decrypt_path, merge_path, surviving_keys
from .update_path import UpdatePath
from .validation import check_leaf


@dataclass(frozen=True, slots=True)
class Judge:
    """What the caller gives a receiver to decide by."""

    auth: AuthenticationService
    now: int
    psks: PskStore | None
    max_lifetime: int

    def rules(self, state: GroupState) -> Rules:
        """What a proposal is checked against."""
        return Rules(state.epoch_state.tree, state.group_context, self.auth, self.max_lifetime)


def receive_commit(
    state: GroupState, message: AuthenticatedContent, commit: Commit, judge: Judge
) -> CommitReceived | RemovedFromGroup:
    """Follow a commit whose signature is verified; raises without effect if anything is wrong with it."""
    content, tag = message.content, message.auth.confirmation_tag
    external = content.sender.type is SenderType.NEW_MEMBER_COMMIT
    entries = resolve_proposals(state.pending, commit.proposals, content.sender)
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
    state: GroupState, leaf: LeafNode, old: LeafNode | None, committer: int, judge: Judge
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
        tree = tree.with_room()
    return merge_path(tree, committer, path, joined)


def _next_state(
    state: GroupState,
    message: AuthenticatedContent,
    commit: Commit,
    applied: AppliedProposals,
    tree: RatchetTree,
    committer: int,
    tag: bytes,
    judge: Judge,
) -> GroupState:
    epoch, suite = state.epoch_state, state.suite
    provisional = provisional_context(state.group_context, tree, applied.extensions)
    private_keys = surviving_keys(epoch.private_keys, epoch.tree, tree) | _own_update_key(state, applied)
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


def _own_update_key(state: GroupState, applied: AppliedProposals) -> dict[int, bytes]:
    """The private key of the own leaf if the commit takes up an Update this member proposed."""
    for update in applied.updated:
        if update.leaf_index == state.own_leaf_index:
            for known in state.own_updates:
                if known.encryption_key == update.new.encryption_key:
                    return {2 * state.own_leaf_index: known.private}
            raise StateError("UPDATE-NOT-OURS", "a commit takes up an Update this member has no key of")
    return {}
