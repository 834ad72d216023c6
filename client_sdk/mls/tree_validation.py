"""Checks of a whole tree as a joiner makes them (RFC 9420 section 7.9.2, 12.4.3.1)."""

from __future__ import annotations

from collections.abc import Mapping

from . import tree_math
from .credentials import AuthenticationService
from .errors import ValidationError
from .extensions import Extensions
from .leaf_node import LeafNode
from .ratchet_tree import ParentNode, RatchetTree
from .validation import check_leaf, check_lifetime_total, check_members, check_unique_encryption_keys


def check_tree(
    tree: RatchetTree,
    *,
    group_id: bytes,
    extensions: Extensions,
    auth: AuthenticationService,
    max_lifetime: int,
) -> None:
    """Refuse a tree with any invalid leaf, parent hash or unmerged leaf."""
    check_unmerged_leaves(tree)
    check_parent_hashes(tree)
    check_unique_encryption_keys(tree.encryption_keys())
    for node in tree.nodes:
        if isinstance(node, ParentNode):
            tree.suite.kem.check_public(node.encryption_key)
    for index, leaf in tree.leaves():
        check_lifetime_total(leaf, max_lifetime)
        check_leaf(leaf, suite=tree.suite, auth=auth, group_id=group_id, leaf_index=index)
    check_members([leaf for _, leaf in tree.leaves()], extensions)


def check_unmerged_leaves(tree: RatchetTree) -> None:
    """Each unmerged leaf exists below its node, and every non-blank node between lists it too."""
    unmerged = {
        index: frozenset(node.unmerged_leaves)
        for index, node in enumerate(tree.nodes)
        if isinstance(node, ParentNode)
    }
    for index, node in enumerate(tree.nodes):
        if isinstance(node, ParentNode):
            _check_unmerged_of(tree, index, node, unmerged)


def _check_unmerged_of(
    tree: RatchetTree, index: int, node: ParentNode, unmerged: Mapping[int, frozenset[int]]
) -> None:
    if list(node.unmerged_leaves) != sorted(set(node.unmerged_leaves)):
        raise ValidationError("TREE-UNMERGED-SORTED", "unmerged leaves are not in strictly increasing order")
    for leaf in node.unmerged_leaves:
        if not tree_math.is_ancestor(index, 2 * leaf) or tree.leaf(leaf) is None:
            raise ValidationError("TREE-UNMERGED-LEAF", "an unmerged leaf is not a member below its node")
        for between in tree.direct_path(leaf):
            if between == index:
                break
            if between in unmerged and leaf not in unmerged[between]:
                raise ValidationError(
                    "TREE-UNMERGED-BETWEEN", "a node in between does not list an unmerged leaf"
                )


def check_parent_hashes(tree: RatchetTree) -> None:
    """Every non-blank parent is linked to exactly one node below it by that node's parent hash (7.9.2)."""
    for index, node in enumerate(tree.nodes):
        if isinstance(node, ParentNode) and _count_links(tree, index, node) != 1:
            raise ValidationError(
                "TREE-PARENT-HASH", "a parent node has not exactly one parent hash below it"
            )


def _count_links(tree: RatchetTree, index: int, node: ParentNode) -> int:
    left, right = tree_math.left(index), tree_math.right(index)
    return _links_from(tree, index, node, left, right) + _links_from(tree, index, node, right, left)


def _links_from(tree: RatchetTree, index: int, node: ParentNode, child: int, copath: int) -> int:
    resolution = set(tree.resolution(child))
    unmerged = {2 * leaf for leaf in node.unmerged_leaves if tree_math.is_ancestor(child, 2 * leaf)}
    candidates = resolution - unmerged
    if len(candidates) != 1 or not unmerged <= resolution:
        return 0
    found = tree.nodes[candidates.pop()]
    carried = found.parent_hash if isinstance(found, LeafNode | ParentNode) else None
    return carried == tree.parent_hash(index, copath)
