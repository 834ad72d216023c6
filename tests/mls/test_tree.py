"""The public tree: its shape, its changes, its hashes."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import replace

import pytest

from client_sdk import mls
from client_sdk.mls import ratchet_tree, tree_math
from client_sdk.mls.codec import opaque, optional, parse_all, u8, vector
from client_sdk.mls.ratchet_tree import Node, ParentNode, RatchetTree
from client_sdk.mls.tree_validation import check_tree

from .support import FOREVER, Auth, Client, Group


def leaf(name: str) -> mls.LeafNode:
    return Client(name).bundle().key_package.leaf_node


def encode(nodes: Iterable[Node]) -> bytes:
    def one(node: Node) -> bytes | None:
        if node is None:
            return None
        return u8(1 if isinstance(node, mls.LeafNode) else 2) + node.serialize()

    return vector(optional(one(node)) for node in nodes)


PARENT = ParentNode(b"k" * 32, b"", ())


@pytest.mark.parametrize("nodes", [(), (None,), (leaf("a"), None), (leaf("a"), None, None)])
def test_a_tree_ends_in_a_node(nodes: tuple[Node, ...]) -> None:
    with pytest.raises(mls.ValidationError) as caught:
        RatchetTree.parse(mls.SUITE_1, encode(nodes))
    assert caught.value.rule == "TREE-TRAILING-BLANK"


@pytest.mark.parametrize("nodes", [(PARENT,), (leaf("a"), leaf("b")), (leaf("a"), PARENT, PARENT)])
def test_leaves_and_parents_have_their_places(nodes: tuple[Node, ...]) -> None:
    with pytest.raises(mls.ValidationError) as caught:
        RatchetTree.parse(mls.SUITE_1, encode(nodes))
    assert caught.value.rule == "TREE-NODE-PLACE"


def test_other_kinds_of_node_are_refused() -> None:
    with pytest.raises(mls.DecodeError) as caught:
        RatchetTree.parse(mls.SUITE_1, opaque(b"\1\3"))
    assert caught.value.rule == "TREE-NODE-TYPE"


def test_a_tree_is_bounded(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(ratchet_tree, "MAX_LEAVES", 2)
    group = Group("anna", "ben")
    with pytest.raises(mls.ValidationError) as caught:
        group.add("anna", "cleo")
    assert caught.value.rule == "TREE-SIZE"
    blanks = b"\0" * 4
    with pytest.raises(mls.ValidationError) as caught:
        RatchetTree.parse(mls.SUITE_1, opaque(blanks + optional(u8(1) + leaf("a").serialize())))
    assert caught.value.rule == "TREE-SIZE"


def test_cached_hashes_equal_fresh_ones_through_every_change() -> None:
    tree = RatchetTree(mls.SUITE_1, (leaf("0"),))
    for number in range(1, 9):
        tree, index = tree.add_leaf(leaf(str(number)))
        assert index == number
        assert tree.tree_hash() == RatchetTree(mls.SUITE_1, tree.nodes).tree_hash()
    tree = tree.with_nodes({3: PARENT, 7: PARENT})
    tree.tree_hash()
    for changed in (
        tree.update_leaf(2, leaf("new")),
        tree.remove_leaf(8),
        tree.remove_leaf(8).add_leaf(leaf("again"))[0],
        tree.remove_leaf(0),
    ):
        assert changed.tree_hash() == RatchetTree(mls.SUITE_1, changed.nodes).tree_hash()


def test_an_added_leaf_is_unmerged_above() -> None:
    tree = RatchetTree(mls.SUITE_1, (leaf("0"),))
    for number in range(1, 4):
        tree, _ = tree.add_leaf(leaf(str(number)))
    tree = tree.with_nodes({4: None, 3: ParentNode(b"k" * 32, b"", (3,)), 5: PARENT})
    tree, index = tree.add_leaf(leaf("new"))
    assert index == 2
    root, above = tree.parent_node(3), tree.parent_node(5)
    assert root is not None
    assert above is not None
    assert root.unmerged_leaves == (2, 3)
    assert above.unmerged_leaves == (2,)
    assert tree.resolution(3) == (3, 4, 6)


def test_groups_make_trees_that_joiners_accept() -> None:
    group = Group("a", "b", "c", "d", "e", "f")
    steps = [("b", mls.Remove(2)), ("d", mls.Remove(4)), ("f", mls.Remove(0))]
    for committer, removal in steps:
        group.commit(committer, [removal])
        tree = group.states[committer].epoch_state.tree
        check_tree(tree, group_id=b"group", extensions=(), auth=Auth(), max_lifetime=FOREVER)
        assert parse_all(tree.serialize(), lambda reader: reader.opaque())
        assert RatchetTree.parse(mls.SUITE_1, tree.serialize()) == tree


def test_a_parent_key_of_the_wrong_length_is_refused() -> None:
    group = Group("a", "b")
    tree = group.states["a"].epoch_state.tree
    short = ParentNode(b"k" * 31, b"", ())
    parent_hash = mls.SUITE_1.hash(opaque(short.encryption_key) + opaque(b"") + opaque(tree.tree_hash(2)))
    state = group.states["a"]
    own = replace(state.own_leaf, parent_hash=parent_hash)
    own = own.signed_by(mls.SUITE_1, group.clients["a"].signer, b"group", 0)
    bad = tree.with_nodes({0: own, 1: short})
    with pytest.raises(mls.CryptoError) as caught:
        check_tree(bad, group_id=b"group", extensions=(), auth=Auth(), max_lifetime=FOREVER)
    assert caught.value.rule == "KEM-KEY"


@pytest.mark.parametrize("node", [-1, 7, 100])
def test_a_node_outside_the_tree_has_no_path(node: int) -> None:
    with pytest.raises(mls.UsageError):
        tree_math.direct_path(node, 4)
