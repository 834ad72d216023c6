"""Joining a group: from a Welcome, or by external commit (RFC 9420 section 12.4.3.1, 12.4.3.2)."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass

from . import tree_math
from .codec import Reader, parse_all
from .committing import CommitOutput, export_group_info
from .credentials import AuthenticationService, Credential, SignatureKeyPair
from .epoch_change import (
    EpochInputs,
    begin_epoch,
    check_new_tree,
    enter_epoch,
    gather_psks,
    provisional_context,
)
from .errors import CryptoError, DecodeError, UnknownKeyPackage, UsageError, ValidationError
from .extensions import EXTERNAL_PUB, RATCHET_TREE, Extension, find_extension
from .framing import (
    AuthData,
    AuthenticatedContent,
    ContentType,
    FramedContent,
    MLSMessage,
    PublicMessage,
    Sender,
    SenderType,
    WireFormat,
)
from .group_state import GroupState
from .hpke import Rng
from .key_package import KeyPackageBundle
from .key_schedule import EXTERNAL_INIT_LABEL, next_interim_hash, welcome_secret
from .leaf_node import MLS_VERSION, Capabilities, LeafNode, LeafSource, Lifetime, default_capabilities
from .processing import place_joiner
from .proposal_list import ResolvedProposal, Rules, apply_proposals
from .proposals import Commit, ExternalInit, Proposal, Remove
from .protection import protect_public, sign_content
from .psk import PreSharedKeyID, PskStore, ResumptionPsk, ResumptionUsage, check_psk_ids
from .ratchet_tree import RatchetTree
from .suites import CipherSuite, cipher_suite
from .tree_validation import check_tree
from .treekem import encrypt_path, generate_path, open_path_secret
from .validation import MAX_LEAF_LIFETIME, check_external_senders, check_leaf
from .welcome import WELCOME_LABEL, EncryptedGroupSecrets, GroupInfo, GroupSecrets, Welcome, open_group_info

BundleLookup = (
    KeyPackageBundle | Mapping[bytes, KeyPackageBundle] | Callable[[bytes], KeyPackageBundle | None]
)
"""One bundle, or how to find one by KeyPackageRef."""


def join_from_welcome(
    welcome: bytes,
    bundle: BundleLookup,
    signer: SignatureKeyPair,
    *,
    auth: AuthenticationService,
    now: int,  # noqa: ARG001  reserved: the one who sends the Add answers for lifetimes, a joiner's clock does not
    ratchet_tree: bytes | None = None,
    psks: PskStore | None = None,
    max_lifetime: int = MAX_LEAF_LIFETIME,
) -> GroupState:
    """Join from a Welcome; the caller then deletes the bundle, and refuses a group id it knows already.

    Raises `UnknownKeyPackage` if no bundle matches.
    """
    message = MLSMessage.parse(welcome).body
    if not isinstance(message, Welcome):
        raise DecodeError("FRAME-WIRE-FORMAT", "the message is not a Welcome")
    suite = cipher_suite(message.cipher_suite)
    entry, mine = _find_bundle(message, bundle)
    _check_bundle(mine, suite, signer)
    secrets = _open_secrets(suite, message, entry, mine)
    _check_welcome_psks(suite, secrets.psks)
    psk = gather_psks(suite, secrets.psks, psks, None)
    secret = welcome_secret(suite, secrets.joiner_secret, psk)
    info = open_group_info(suite, secret, message.encrypted_group_info)
    _check_psk_epoch(secrets.psks, info)
    tree = verify_group_info(
        info, suite=suite, auth=auth, ratchet_tree=ratchet_tree, max_lifetime=max_lifetime
    )
    own = _find_own_leaf(tree, mine.key_package.leaf_node)
    private_keys = {2 * own: mine.encryption_private}
    if secrets.path_secret is not None:
        private_keys |= _shared_keys(tree, own, info.signer, secrets.path_secret)
    epoch = begin_epoch(suite, info.group_context, secrets.joiner_secret, psk)
    epoch.verify_confirmation_tag(info.confirmation_tag)
    return epoch.state(tree=tree, own_leaf_index=own, signer=signer, private_keys=private_keys)


def _find_bundle(welcome: Welcome, lookup: BundleLookup) -> tuple[EncryptedGroupSecrets, KeyPackageBundle]:
    for entry in welcome.secrets:
        if isinstance(lookup, KeyPackageBundle):
            found = lookup if lookup.ref == entry.new_member else None
        elif isinstance(lookup, Mapping):
            found = lookup.get(entry.new_member)
        else:
            found = lookup(entry.new_member)
        if found is not None:
            return entry, found
    raise UnknownKeyPackage("WELCOME-KEY-PACKAGE", "the Welcome is for none of the key packages at hand")


def _check_bundle(bundle: KeyPackageBundle, suite: CipherSuite, signer: SignatureKeyPair) -> None:
    if bundle.key_package.cipher_suite != suite.id:
        raise ValidationError("WELCOME-SUITE", "the Welcome's cipher suite is not the key package's")
    if bundle.key_package.leaf_node.signature_key != signer.public:
        raise UsageError(None, "the signer is not the one of the key package")


def _open_secrets(
    suite: CipherSuite, welcome: Welcome, entry: EncryptedGroupSecrets, bundle: KeyPackageBundle
) -> GroupSecrets:
    sealed = entry.encrypted
    try:
        plain = suite.decrypt_with_label(
            bundle.init_private,
            WELCOME_LABEL,
            welcome.encrypted_group_info,
            sealed.kem_output,
            sealed.ciphertext,
        )
    except CryptoError:
        raise CryptoError("WELCOME-SECRETS", "a Welcome's group secrets do not decrypt") from None
    secrets = GroupSecrets.parse(plain)
    if len(secrets.joiner_secret) != suite.hash_length:
        raise CryptoError("WELCOME-SECRETS", "a Welcome's joiner secret has the wrong length")
    return secrets


def _reinit_or_branch(psks: Sequence[PreSharedKeyID]) -> int:
    usages = [entry.psk.usage for entry in psks if isinstance(entry.psk, ResumptionPsk)]
    return sum(usage is not ResumptionUsage.APPLICATION for usage in usages)


def _check_welcome_psks(suite: CipherSuite, psks: Sequence[PreSharedKeyID]) -> None:
    check_psk_ids(suite, psks)
    if _reinit_or_branch(psks) > 1:
        raise ValidationError("WELCOME-PSK-USAGE", "a Welcome names two re-initialised or branched groups")


def _check_psk_epoch(psks: Sequence[PreSharedKeyID], info: GroupInfo) -> None:
    if _reinit_or_branch(psks) and info.group_context.epoch != 1:
        raise ValidationError("WELCOME-PSK-EPOCH", "a re-initialised or branched group is not at epoch 1")


def verify_group_info(
    info: GroupInfo,
    *,
    suite: CipherSuite,
    auth: AuthenticationService,
    ratchet_tree: bytes | None,
    max_lifetime: int,
) -> RatchetTree:
    """Check a GroupInfo and its whole tree (section 12.4.3.1); returns the tree."""
    context = info.group_context
    if context.version != MLS_VERSION:
        raise ValidationError("GROUPINFO-VERSION", "the GroupInfo is of another protocol version")
    if context.cipher_suite != suite.id:
        raise ValidationError("GROUPINFO-SUITE", "the GroupInfo is of another cipher suite")
    tree_bytes = find_extension(info.extensions, RATCHET_TREE)
    tree_bytes = ratchet_tree if tree_bytes is None else tree_bytes
    if tree_bytes is None:
        raise ValidationError("GROUPINFO-TREE", "there is no ratchet tree")
    tree = RatchetTree.parse(suite, tree_bytes)
    signer = tree.require_leaf(info.signer, "GROUPINFO-SIGNER")
    info.verify_signature(suite, signer.signature_key)
    if tree.tree_hash() != context.tree_hash:
        raise ValidationError("GROUPINFO-TREE-HASH", "the tree is not the one of the GroupContext")
    check_external_senders(context.extensions, auth)
    check_tree(
        tree, group_id=context.group_id, extensions=context.extensions, auth=auth, max_lifetime=max_lifetime
    )
    return tree


def _find_own_leaf(tree: RatchetTree, leaf: LeafNode) -> int:
    for index, found in tree.leaves():
        if found.encoded == leaf.encoded:
            return index
    raise ValidationError("WELCOME-OWN-LEAF", "the tree does not hold the key package's leaf")


def _shared_keys(tree: RatchetTree, own: int, signer: int, path_secret: bytes) -> dict[int, bytes]:
    if own == signer:
        raise ValidationError("WELCOME-SIGNER", "the Welcome claims to come from the joiner itself")
    shared = tree_math.common_ancestor(2 * own, 2 * signer)
    above = (shared, *tree_math.direct_path(shared, tree.leaf_width))
    nodes = [node for node in above if tree.parent_node(node) is not None]
    if not nodes or nodes[0] != shared:
        raise ValidationError("WELCOME-PATH-SECRET", "the node of the Welcome's path secret is blank")
    return open_path_secret(tree, path_secret, nodes).private_keys


# ---- external commit ---------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class _Joiner:
    """The new member's own part of an external commit."""

    suite: CipherSuite
    signer: SignatureKeyPair
    credential: Credential
    capabilities: Capabilities
    extensions: tuple[Extension, ...]

    def leaf(self, group_id: bytes, index: int, encryption_key: bytes, parent_hash: bytes) -> LeafNode:
        unsigned = LeafNode(
            encryption_key=encryption_key,
            signature_key=self.signer.public,
            credential=self.credential,
            capabilities=self.capabilities,
            source=LeafSource.COMMIT,
            lifetime=None,
            parent_hash=parent_hash,
            extensions=self.extensions,
            signature=b"",
        )
        return unsigned.signed_by(self.suite, self.signer, group_id, index)


def parse_group_info_message(group_info: bytes | GroupInfo) -> GroupInfo:
    """A GroupInfo from its MLSMessage; nothing is verified yet."""
    if isinstance(group_info, GroupInfo):
        return group_info
    body = MLSMessage.parse(group_info).body
    if not isinstance(body, GroupInfo):
        raise DecodeError("FRAME-WIRE-FORMAT", "the message is not a GroupInfo")
    return body


def create_external_commit(
    group_info: bytes | GroupInfo,
    signer: SignatureKeyPair,
    credential: Credential,
    *,
    remove: int | None,
    auth: AuthenticationService,
    now: int,  # noqa: ARG001  reserved, like ``lifetime``: a commit's leaf carries no lifetime
    rng: Rng,
    lifetime: Lifetime | None = None,  # noqa: ARG001
    capabilities: Capabilities | None = None,
    leaf_extensions: Iterable[Extension] = (),
    authenticated_data: bytes = b"",
    ratchet_tree: bytes | None = None,
    max_lifetime: int = MAX_LEAF_LIFETIME,
) -> CommitOutput:
    """Join by external commit, replacing the old own leaf ``remove``; the commit is a PublicMessage."""
    info = parse_group_info_message(group_info)
    suite, context = cipher_suite(info.group_context.cipher_suite), info.group_context
    tree = verify_group_info(
        info, suite=suite, auth=auth, ratchet_tree=ratchet_tree, max_lifetime=max_lifetime
    )
    external_pub = find_extension(info.extensions, EXTERNAL_PUB)
    if external_pub is None:
        raise ValidationError("GROUPINFO-EXTERNAL-PUB", "the GroupInfo does not allow an external commit")
    kem_output, init_secret = suite.hpke.send_export(
        parse_all(external_pub, Reader.opaque), EXTERNAL_INIT_LABEL, suite.hash_length, rng
    )
    proposals: list[Proposal] = [ExternalInit(kem_output)]
    if remove is not None:
        proposals.append(Remove(remove))
    sender = Sender(SenderType.NEW_MEMBER_COMMIT)
    entries = [ResolvedProposal(proposal, sender, by_reference=False) for proposal in proposals]
    applied = apply_proposals(Rules(tree, context, auth, max_lifetime), entries, sender)

    own_extensions = tuple(leaf_extensions)
    types = [extension.type for extension in (*context.extensions, *own_extensions)]
    joiner = _Joiner(suite, signer, credential, capabilities or default_capabilities(types), own_extensions)
    own = applied.tree.next_leaf_index()

    def make_leaf(encryption_key: bytes, parent_hash: bytes) -> LeafNode:
        return joiner.leaf(context.group_id, own, encryption_key, parent_hash)

    room = place_joiner(applied.tree, make_leaf(b"", b""))
    path = generate_path(room, own, make_leaf, rng)
    check_leaf(path.leaf, suite=suite, auth=auth, group_id=context.group_id, leaf_index=own)
    for _, old in applied.removed:
        auth.verify_successor(old, path.leaf)
    check_new_tree(path.tree, applied.extensions)
    provisional = provisional_context(context, path.tree, applied.extensions)
    update_path = encrypt_path(path, own, provisional.encoded, (), rng)
    content = FramedContent(
        group_id=context.group_id,
        epoch=context.epoch,
        sender=sender,
        authenticated_data=authenticated_data,
        content_type=ContentType.COMMIT,
        body=Commit(tuple(proposals), update_path),
    )
    wire_format = WireFormat.PUBLIC_MESSAGE
    signature = sign_content(suite, signer, wire_format, content, context.encoded)
    interim = next_interim_hash(suite, context.confirmed_transcript_hash, info.confirmation_tag)
    inputs = EpochInputs(init_secret, path.commit_secret, bytes(suite.hash_length))
    unconfirmed = AuthenticatedContent(wire_format, content, AuthData(signature, None))
    epoch = enter_epoch(suite, provisional, interim, unconfirmed, inputs)
    auth_data = AuthData(signature, epoch.confirmation_tag)
    public: PublicMessage = protect_public(suite, b"", content, auth_data, context.encoded)
    state = epoch.state(tree=path.tree, own_leaf_index=own, signer=signer, private_keys=path.private_keys)
    return CommitOutput(
        state=state, commit=MLSMessage(public).serialize(), welcome=None, group_info=export_group_info(state)
    )
