"""Creating groups and commits (RFC 9420 section 11, 12.4.1, 12.4.3)."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field, replace

from . import tree_math
from .codec import opaque
from .credentials import AuthenticationService, Credential, SignatureKeyPair
from .epoch_change import (
    EpochInputs,
    NextEpoch,
    check_new_tree,
    enter_epoch,
    gather_psks,
    provisional_context,
    start_epoch,
)
from .errors import UsageError
from .extensions import EXTERNAL_PUB, RATCHET_TREE, Extension, check_unique
from .framing import (
    AuthData,
    AuthenticatedContent,
    ContentType,
    FramedContent,
    MLSMessage,
    Sender,
    SenderType,
    WireFormat,
)
from .group_state import GroupState
from .hpke import Rng, draw
from .key_package import check_key_package_now, own_leaf
from .key_schedule import GroupContext, welcome_secret
from .leaf_node import MLS_VERSION, Capabilities, LeafNode, LeafSource, Lifetime, default_capabilities
from .proposal_list import (
    AppliedProposals,
    ResolvedProposal,
    Rules,
    apply_proposals,
    path_required,
    resolve_proposals,
)
from .proposals import Add, Commit, Proposal, ProposalRef, ReceivedAdd
from .protection import Padding, protect_private, sign_content
from .psk import PskStore, ResumptionUsage
from .ratchet_tree import RatchetTree
from .suites import CipherSuite
from .treekem import NewPath, encrypt_path, generate_path, surviving_keys
from .update_path import HpkeCiphertext, UpdatePath
from .validation import MAX_LEAF_LIFETIME, check_leaf
from .welcome import WELCOME_LABEL, EncryptedGroupSecrets, GroupInfo, GroupSecrets, Welcome, seal_group_info


@dataclass(frozen=True, slots=True)
class CommitOutput:
    """A commit and what goes with it. Use ``state`` only once the commit is accepted.

    ``current`` is the old epoch with the message key of this commit used up: whoever sends the commit and
    then sees another one accepted goes on from it, so no key ever encrypts twice. It is None for a joiner.
    """

    state: GroupState
    commit: bytes = field(repr=False)
    welcome: bytes | None = field(repr=False)
    group_info: bytes = field(repr=False)
    current: GroupState | None = None


def create_group(
    suite: CipherSuite,
    group_id: bytes,
    signer: SignatureKeyPair,
    credential: Credential,
    *,
    lifetime: Lifetime,
    rng: Rng,
    extensions: Iterable[Extension] = (),
    capabilities: Capabilities | None = None,
    leaf_extensions: Iterable[Extension] = (),
) -> GroupState:
    """A new group with this member alone (section 11)."""
    group_extensions, own_extensions = tuple(extensions), tuple(leaf_extensions)
    check_unique(group_extensions)
    types = [extension.type for extension in (*group_extensions, *own_extensions)]
    pair = suite.kem.generate_key_pair(rng)
    leaf = own_leaf(
        suite,
        signer,
        credential,
        encryption_key=pair.public,
        lifetime=lifetime,
        capabilities=capabilities or default_capabilities(types),
        leaf_extensions=own_extensions,
    )
    tree = RatchetTree(suite, (leaf,))
    check_new_tree(tree, group_extensions)
    context = GroupContext(MLS_VERSION, suite.id, group_id, 0, tree.tree_hash(), b"", group_extensions)
    zero = bytes(suite.hash_length)
    epoch = start_epoch(suite, context, draw(rng, suite.hash_length), zero, zero)
    return epoch.state(tree=tree, own_leaf_index=0, signer=signer, private_keys={0: pair.private})


def create_commit(
    state: GroupState,
    proposals: Sequence[Proposal | ProposalRef] = (),
    *,
    auth: AuthenticationService,
    now: int,
    rng: Rng,
    force_path: bool = True,
    new_credential: Credential | None = None,
    authenticated_data: bytes = b"",
    padding: Padding | None = None,
    psks: PskStore | None = None,
    tree_in_welcome: bool = True,
    max_lifetime: int = MAX_LEAF_LIFETIME,
    founding: ResumptionUsage | None = None,
) -> CommitOutput:
    """Commit proposals, by value or (`ProposalRef`) received before, as a PrivateMessage.

    ``founding`` is for `reinit_group` and `branch_group`: what a first commit may use a resumption PSK for.

    Raises what the same commit would raise at a receiver, so nothing invalid is ever sent.
    """
    state.require_active()
    if founding is not None and state.epoch > 0:
        raise UsageError(None, "only a group's first commit founds it")
    sender = Sender(SenderType.MEMBER, state.own_leaf_index)
    entries = resolve_proposals(state.pending, proposals, sender)
    _check_adds_now(entries, now)
    rules = Rules(state.epoch_state.tree, state.group_context, auth, max_lifetime, founding)
    applied = apply_proposals(rules, entries, sender)
    with_path = force_path or new_credential is not None or path_required(entries)
    path = _own_path(state, applied, new_credential, auth, rng) if with_path else None
    change = _plan_change(state, applied, path, rng)
    psk = gather_psks(state.suite, applied.psks, psks, state)
    content = FramedContent(
        group_id=state.group_id,
        epoch=state.epoch,
        sender=sender,
        authenticated_data=authenticated_data,
        content_type=ContentType.COMMIT,
        body=Commit(tuple(proposals), change.update_path),
    )
    epoch, auth_data = _sign_and_enter(state, content, change, psk)
    message, used_up = protect_private(
        state.suite,
        state.epoch_state.secrets.sender_data_secret,
        state.secret_tree,
        content,
        auth_data,
        rng=rng,
        padding=padding,
    )
    new_state = epoch.state(
        tree=change.tree,
        own_leaf_index=state.own_leaf_index,
        signer=state.epoch_state.signer,
        private_keys=change.private_keys,
        reinit=applied.reinit,
    )
    return CommitOutput(
        state=new_state,
        commit=MLSMessage(message).serialize(),
        welcome=_make_welcome(epoch, new_state, applied, path, rng, tree_in_welcome=tree_in_welcome),
        group_info=export_group_info(new_state),
        current=state.with_secret_tree(used_up),
    )


@dataclass(frozen=True, slots=True)
class _Change:
    """The next epoch's public state, and the secrets the committer has of it."""

    tree: RatchetTree
    provisional: GroupContext
    update_path: UpdatePath | None
    commit_secret: bytes = field(repr=False)
    private_keys: dict[int, bytes] = field(repr=False)


def _plan_change(state: GroupState, applied: AppliedProposals, path: NewPath | None, rng: Rng) -> _Change:
    epoch = state.epoch_state
    tree = applied.tree if path is None else path.tree
    check_new_tree(tree, applied.extensions)
    provisional = provisional_context(state.group_context, tree, applied.extensions)
    private_keys = surviving_keys(epoch.private_keys, epoch.tree, tree)
    if path is None:
        return _Change(tree, provisional, None, bytes(state.suite.hash_length), private_keys)
    joined = [index for index, _ in applied.added]
    update_path = encrypt_path(path, epoch.own_leaf_index, provisional.encoded, joined, rng)
    return _Change(tree, provisional, update_path, path.commit_secret, private_keys | path.private_keys)


def _sign_and_enter(
    state: GroupState, content: FramedContent, change: _Change, psk: bytes
) -> tuple[NextEpoch, AuthData]:
    epoch, wire_format = state.epoch_state, WireFormat.PRIVATE_MESSAGE
    signature = sign_content(epoch.suite, epoch.signer, wire_format, content, epoch.context.encoded)
    unconfirmed = AuthenticatedContent(wire_format, content, AuthData(signature, None))
    inputs = EpochInputs(epoch.secrets.init_secret, change.commit_secret, psk)
    following = enter_epoch(
        epoch.suite, change.provisional, epoch.interim_transcript_hash, unconfirmed, inputs
    )
    return following, AuthData(signature, following.confirmation_tag)


def _check_adds_now(entries: Sequence[ResolvedProposal], now: int) -> None:
    for entry in entries:
        if isinstance(entry.proposal, Add | ReceivedAdd):
            check_key_package_now(entry.proposal.key_package, now)


def _own_path(
    state: GroupState,
    applied: AppliedProposals,
    new_credential: Credential | None,
    auth: AuthenticationService,
    rng: Rng,
) -> NewPath:
    old, signer, own = state.own_leaf, state.epoch_state.signer, state.own_leaf_index

    def make_leaf(encryption_key: bytes, parent_hash: bytes) -> LeafNode:
        leaf = replace(
            old,
            encryption_key=encryption_key,
            credential=old.credential if new_credential is None else new_credential,
            source=LeafSource.COMMIT,
            lifetime=None,
            parent_hash=parent_hash,
        )
        return leaf.signed_by(state.suite, signer, state.group_id, own)

    path = generate_path(applied.tree, own, make_leaf, rng)
    check_leaf(path.leaf, suite=state.suite, auth=auth, group_id=state.group_id, leaf_index=own)
    auth.verify_successor(old, path.leaf)
    return path


def export_group_info(state: GroupState) -> bytes:
    """The epoch's signed GroupInfo as an MLSMessage, with what an external commit needs."""
    external = state.epoch_state.secrets.external_key_pair(state.suite).public
    extensions = (
        Extension(RATCHET_TREE, state.serialize_tree()),
        Extension(EXTERNAL_PUB, opaque(external)),
    )
    return MLSMessage(_group_info(state, extensions)).serialize()


def _group_info(state: GroupState, extensions: tuple[Extension, ...]) -> GroupInfo:
    epoch_state = state.epoch_state
    unsigned = GroupInfo(
        epoch_state.context, extensions, epoch_state.confirmation_tag, epoch_state.own_leaf_index, b""
    )
    return unsigned.signed_by(epoch_state.suite, epoch_state.signer)


def _make_welcome(
    epoch: NextEpoch,
    state: GroupState,
    applied: AppliedProposals,
    path: NewPath | None,
    rng: Rng,
    *,
    tree_in_welcome: bool,
) -> bytes | None:
    if not applied.added:
        return None
    suite, own = epoch.suite, 2 * state.own_leaf_index
    extensions = (Extension(RATCHET_TREE, state.serialize_tree()),) if tree_in_welcome else ()
    secret = welcome_secret(suite, epoch.joiner_secret, epoch.psk_secret)
    sealed_info = seal_group_info(suite, secret, _group_info(state, extensions))
    entries = []
    for index, package in applied.added:
        shared = None
        if path is not None:
            shared = path.path_secrets[tree_math.common_ancestor(own, 2 * index)]
        plain = GroupSecrets(epoch.joiner_secret, shared, applied.psks).serialize()
        sealed = suite.encrypt_with_label(package.init_key, WELCOME_LABEL, sealed_info, plain, rng)
        entries.append(EncryptedGroupSecrets(package.ref(suite), HpkeCiphertext(*sealed)))
    return MLSMessage(Welcome(suite.id, tuple(entries), sealed_info)).serialize()
