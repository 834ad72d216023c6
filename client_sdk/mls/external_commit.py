"""Joining, or joining again, by external commit (RFC 9420 section 12.4.3.2)."""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterable, Sequence
from dataclasses import dataclass

from .codec import Reader, parse_all
from .committing import CommitOutput, export_group_info
from .credentials import AuthenticationService, Credential, SignatureKeyPair
from .epoch_change import (
    EpochInputs,
    NextEpoch,
    check_new_tree,
    enter_epoch,
    gather_psks,
    provisional_context,
)
from .errors import ValidationError
from .extensions import EXTERNAL_PUB, Extension, find_extension
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
from .group_info_check import parse_group_info_message, verify_group_info
from .hpke import Rng
from .key_schedule import EXTERNAL_INIT_LABEL, GroupContext, next_interim_hash
from .leaf_node import Capabilities, LeafNode, LeafSource, Lifetime, default_capabilities
from .proposal_list import ResolvedProposal, Rules, apply_proposals
from .proposals import Commit, ExternalInit, PreSharedKey, Proposal, Remove
from .protection import sign_content
from .psk import PreSharedKeyID, PskStore
from .suites import CipherSuite, cipher_suite
from .treekem import encrypt_path, generate_path
from .validation import MAX_LEAF_LIFETIME, check_leaf
from .welcome import GroupInfo


@dataclass(frozen=True, slots=True)
class _Joiner:
    """The new member's own part of an external commit."""

    suite: CipherSuite
    signer: SignatureKeyPair
    credential: Credential
    capabilities: Capabilities
    extensions: tuple[Extension, ...]

    def leaf_maker(self, group_id: bytes, index: int) -> Callable[[bytes, bytes], LeafNode]:
        """Makes the signed leaf from its encryption key and parent hash."""

        def make_leaf(encryption_key: bytes, parent_hash: bytes) -> LeafNode:
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

        return make_leaf


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
    psk_ids: Sequence[PreSharedKeyID] = (),
    psks: PskStore | None = None,
    known_groups: Collection[bytes] = (),
) -> CommitOutput:
    """Join by external commit, replacing the old own leaf ``remove``; the commit is a PublicMessage.

    ``psk_ids`` are mixed in, their keys taken from ``psks``. ``known_groups`` are ids of groups one is in:
    who comes new (without ``remove``) may come to none of these (section 12.4.3).
    """
    info = parse_group_info_message(group_info)
    if remove is None and info.group_context.group_id in known_groups:
        raise ValidationError("GROUPINFO-GROUP-KNOWN", "the GroupInfo is of a group one is in already")
    suite, context = cipher_suite(info.group_context.cipher_suite), info.group_context
    tree = verify_group_info(
        info, suite=suite, auth=auth, ratchet_tree=ratchet_tree, max_lifetime=max_lifetime
    )
    kem_output, init_secret = _external_init(suite, info, rng)
    removal = () if remove is None else (Remove(remove),)
    proposals: tuple[Proposal, ...] = (ExternalInit(kem_output), *removal, *map(PreSharedKey, psk_ids))
    sender = Sender(SenderType.NEW_MEMBER_COMMIT)
    entries = [ResolvedProposal(proposal, sender, by_reference=False) for proposal in proposals]
    applied = apply_proposals(Rules(tree, context, auth, max_lifetime), entries, sender)

    own_extensions = tuple(leaf_extensions)
    types = [extension.type for extension in own_extensions]
    joiner = _Joiner(suite, signer, credential, capabilities or default_capabilities(types), own_extensions)
    own = applied.tree.next_leaf_index()
    path = generate_path(applied.tree.with_room(), own, joiner.leaf_maker(context.group_id, own), rng)
    check_leaf(path.leaf, suite=suite, auth=auth, group_id=context.group_id, leaf_index=own)
    for _, old in applied.removed:
        auth.verify_successor(old, path.leaf)
    check_new_tree(path.tree, applied.extensions)
    provisional = provisional_context(context, path.tree, applied.extensions)
    content = FramedContent(
        group_id=context.group_id,
        epoch=context.epoch,
        sender=sender,
        authenticated_data=authenticated_data,
        content_type=ContentType.COMMIT,
        body=Commit(proposals, encrypt_path(path, own, provisional.encoded, (), rng)),
    )
    inputs = EpochInputs(init_secret, path.commit_secret, gather_psks(suite, applied.psks, psks, None))
    epoch, message = _sign_and_enter(info, signer, content, provisional, inputs)
    state = epoch.state(tree=path.tree, own_leaf_index=own, signer=signer, private_keys=path.private_keys)
    commit, group_info_out = MLSMessage(message).serialize(), export_group_info(state)
    return CommitOutput(state=state, commit=commit, welcome=None, group_info=group_info_out)


def _external_init(suite: CipherSuite, info: GroupInfo, rng: Rng) -> tuple[bytes, bytes]:
    """(kem_output, init_secret) for the holder of the epoch's external secret (section 8.3)."""
    external_pub = find_extension(info.extensions, EXTERNAL_PUB)
    if external_pub is None:
        raise ValidationError("GROUPINFO-EXTERNAL-PUB", "the GroupInfo does not allow an external commit")
    public = parse_all(external_pub, Reader.opaque)
    return suite.hpke.send_export(public, EXTERNAL_INIT_LABEL, suite.hash_length, rng)


def _sign_and_enter(
    info: GroupInfo,
    signer: SignatureKeyPair,
    content: FramedContent,
    provisional: GroupContext,
    inputs: EpochInputs,
) -> tuple[NextEpoch, PublicMessage]:
    context, wire_format = info.group_context, WireFormat.PUBLIC_MESSAGE
    suite = cipher_suite(context.cipher_suite)
    signature = sign_content(suite, signer, wire_format, content, context.encoded)
    interim = next_interim_hash(suite, context.confirmed_transcript_hash, info.confirmation_tag)
    unconfirmed = AuthenticatedContent(wire_format, content, AuthData(signature, None))
    epoch = enter_epoch(suite, provisional, interim, unconfirmed, inputs)
    auth_data = AuthData(signature, epoch.confirmation_tag)
    return epoch, PublicMessage(content, auth_data, None)
