"""Checking a GroupInfo and its tree before anyone joins by it (RFC 9420 section 12.4.3.1)."""

from __future__ import annotations

from .credentials import AuthenticationService
from .errors import DecodeError, ValidationError
from .extensions import RATCHET_TREE, find_extension
from .framing import MLSMessage
from .leaf_node import MLS_VERSION
from .ratchet_tree import RatchetTree
from .suites import CipherSuite
from .tree_validation import check_tree
from .validation import check_external_senders
from .welcome import GroupInfo


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


def parse_group_info_message(group_info: bytes | GroupInfo) -> GroupInfo:
    """A GroupInfo from its MLSMessage; nothing is verified yet."""
    if isinstance(group_info, GroupInfo):
        return group_info
    body = MLSMessage.parse(group_info).body
    if not isinstance(body, GroupInfo):
        raise DecodeError("FRAME-WIRE-FORMAT", "the message is not a GroupInfo")
    return body
