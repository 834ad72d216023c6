"""The ratchet tree's public part: nodes, hashes, and the changes proposals make (RFC 9420 section 7)."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field

from . import tree_math
from .codec import Reader, opaque, optional, parse_all, u8, u32, vector
from .errors import DecodeError, ValidationError
from .leaf_node import LeafNode, parse_leaf_node
from .suites import CipherSuite

_LEAF = 1
_PARENT = 2

MAX_LEAVES = 1 << 10
"""Far more members than a conversation has; bounds the work a hostile tree can cause before it is refused."""


@dataclass(frozen=True, slots=True)
class ParentNode:
    """A node above the leaves."""

    encryption_key: bytes
    parent_hash: bytes
    unmerged_leaves: tuple[int, ...]

    def serialize(self) -> bytes:
        """Encode the parent node."""
        return opaque(self.encryption_key) + opaque(self.parent_hash) + vector(map(u32, self.unmerged_leaves))


Node = LeafNode | ParentNode | None


@dataclass(frozen=True, slots=True)
class RatchetTree:
    """A full tree as an array of nodes (even indices are leaves); every change gives a new tree.

    Subtree hashes are remembered, and survive into changed trees for the subtrees a change left alone.
    """

    suite: CipherSuite
    nodes: tuple[Node, ...]
    _hashes: dict[int, bytes] = field(default_factory=dict, compare=False, repr=False)

    @property
    def leaf_width(self) -> int:
        """Number of leaves, blank ones included: a power of two."""
        return tree_math.leaf_count(len(self.nodes))

    @property
    def root(self) -> int:
        """Node index of the root."""
        return tree_math.root(self.leaf_width)

    def leaf(self, leaf_index: int) -> LeafNode | None:
        """The leaf at that leaf index, None if blank or outside the tree."""
        if leaf_index >= self.leaf_width:
            return None
        node = self.nodes[2 * leaf_index]
        return node if isinstance(node, LeafNode) else None

    def require_leaf(self, leaf_index: int, rule: str) -> LeafNode:
        """The leaf at that index, or `ValidationError`."""
        leaf = self.leaf(leaf_index)
        if leaf is None:
            raise ValidationError(rule, "a leaf index names no member")
        return leaf

    def parent_node(self, node: int) -> ParentNode | None:
        """The parent node at that node index, None if blank."""
        found = self.nodes[node]
        return found if isinstance(found, ParentNode) else None

    def leaves(self) -> Iterator[tuple[int, LeafNode]]:
        """All non-blank leaves with their leaf indices, in order."""
        for index, node in enumerate(self.nodes[::2]):
            if isinstance(node, LeafNode):
                yield index, node

    def encryption_keys(self) -> list[bytes]:
        """The encryption keys of all non-blank nodes."""
        return [node.encryption_key for node in self.nodes if node is not None]

    def direct_path(self, leaf_index: int) -> tuple[int, ...]:
        """Node indices above a leaf, up to the root."""
        return tree_math.direct_path(2 * leaf_index, self.leaf_width)

    def resolution(self, node: int) -> tuple[int, ...]:
        """Node indices that cover all members below ``node`` (section 4.1.1)."""
        found = self.nodes[node]
        if isinstance(found, ParentNode):
            return (node, *(2 * leaf for leaf in found.unmerged_leaves))
        if found is not None:
            return (node,)
        if tree_math.level(node) == 0:
            return ()
        return self.resolution(tree_math.left(node)) + self.resolution(tree_math.right(node))

    def filtered_direct_path(self, leaf_index: int) -> tuple[tuple[int, int], ...]:
        """The direct path without nodes whose copath child resolves to nothing, as (node, copath child)."""
        path, below = [], 2 * leaf_index
        for node in self.direct_path(leaf_index):
            copath = tree_math.sibling(below)
            if self.resolution(copath):
                path.append((node, copath))
            below = node
        return tuple(path)

    # ---- changes -------------------------------------------------------------------------------------

    def with_nodes(self, changes: Mapping[int, Node]) -> RatchetTree:
        """The tree with some nodes replaced."""
        nodes = list(self.nodes)
        hashes = dict(self._hashes)
        for index, node in changes.items():
            nodes[index] = node
            hashes.pop(index, None)
            for above in tree_math.direct_path(index, self.leaf_width):
                hashes.pop(above, None)
        return RatchetTree(self.suite, tuple(nodes), hashes)

    def add_leaf(self, leaf: LeafNode) -> tuple[RatchetTree, int]:
        """Put a leaf into the leftmost blank place, widening the tree if there is none (section 7.7)."""
        tree, index = self.with_room(), self.next_leaf_index()
        changes: dict[int, Node] = {2 * index: leaf}
        for node in tree.direct_path(index):
            parent = tree.parent_node(node)
            if parent is not None:
                unmerged = tuple(sorted((*parent.unmerged_leaves, index)))
                changes[node] = ParentNode(parent.encryption_key, parent.parent_hash, unmerged)
        return tree.with_nodes(changes), index

    def with_room(self) -> RatchetTree:
        """The tree, widened if it has no blank leaf."""
        if self.next_leaf_index() < self.leaf_width:
            return self
        if 2 * self.leaf_width > MAX_LEAVES:
            raise ValidationError("TREE-SIZE", "the tree has no room for another member")
        blanks: tuple[Node, ...] = (None,) * (len(self.nodes) + 1)
        return RatchetTree(self.suite, self.nodes + blanks, dict(self._hashes))

    def next_leaf_index(self) -> int:
        """Where the next added leaf goes."""
        for index, node in enumerate(self.nodes[::2]):
            if node is None:
                return index
        return self.leaf_width

    def update_leaf(self, leaf_index: int, leaf: LeafNode) -> RatchetTree:
        """Replace a leaf and blank the nodes above it (section 12.1.2)."""
        changes: dict[int, Node] = dict.fromkeys(self.direct_path(leaf_index))
        return self.with_nodes({**changes, 2 * leaf_index: leaf})

    def remove_leaf(self, leaf_index: int) -> RatchetTree:
        """Blank a leaf and the nodes above it, then truncate (section 7.8, 12.1.3)."""
        changes: dict[int, Node] = dict.fromkeys((2 * leaf_index, *self.direct_path(leaf_index)))
        return self.with_nodes(changes)._truncated()

    def _truncated(self) -> RatchetTree:
        nodes = self.nodes
        while len(nodes) > 1 and not any(nodes[len(nodes) // 2 + 1 :: 2]):
            nodes = nodes[: len(nodes) // 2]
        if len(nodes) == len(self.nodes):
            return self
        hashes = {index: value for index, value in self._hashes.items() if index < len(nodes)}
        return RatchetTree(self.suite, nodes, hashes)

    # ---- hashes --------------------------------------------------------------------------------------

    def tree_hash(self, node: int | None = None) -> bytes:
        """The tree hash of a subtree, by default of the whole tree (section 7.8)."""
        index = self.root if node is None else node
        known = self._hashes.get(index)
        if known is None:
            known = self._hashes[index] = self._hash_node(index, frozenset())
        return known

    def _hash_node(self, index: int, excluded: frozenset[int]) -> bytes:
        found = self.nodes[index]
        if tree_math.level(index) == 0:
            blank = index // 2 in excluded or not isinstance(found, LeafNode)
            body = None if blank or not isinstance(found, LeafNode) else found.encoded
            return self.suite.hash(u8(_LEAF) + u32(index // 2) + optional(body))
        parent = self.parent_node(index)
        if parent is not None and excluded:
            kept = tuple(leaf for leaf in parent.unmerged_leaves if leaf not in excluded)
            parent = ParentNode(parent.encryption_key, parent.parent_hash, kept)
        sides = b"".join(
            opaque(self._subtree_hash(child, excluded))
            for child in (tree_math.left(index), tree_math.right(index))
        )
        return self.suite.hash(u8(_PARENT) + optional(parent.serialize() if parent else None) + sides)

    def _subtree_hash(self, index: int, excluded: frozenset[int]) -> bytes:
        below = excluded.intersection(tree_math.subtree_leaves(index)) if excluded else excluded
        return self._hash_node(index, frozenset(below)) if below else self.tree_hash(index)

    def parent_hash(self, node: int, copath_child: int) -> bytes:
        """The parent hash of a non-blank parent as its child opposite ``copath_child`` carries it (7.9)."""
        parent = self.parent_node(node)
        if parent is None:
            raise ValidationError("TREE-PARENT-HASH", "a blank node has no parent hash")
        sibling_hash = self._subtree_hash(copath_child, frozenset(parent.unmerged_leaves))
        return self._parent_hash(parent.encryption_key, parent.parent_hash, sibling_hash)

    def path_parent_hash(self, encryption_key: bytes, parent_hash: bytes, copath_child: int) -> bytes:
        """The same for a parent a path is about to set, which has no unmerged leaves."""
        return self._parent_hash(encryption_key, parent_hash, self.tree_hash(copath_child))

    def _parent_hash(self, encryption_key: bytes, parent_hash: bytes, sibling_hash: bytes) -> bytes:
        return self.suite.hash(opaque(encryption_key) + opaque(parent_hash) + opaque(sibling_hash))

    # ---- codec ---------------------------------------------------------------------------------------

    def serialize(self) -> bytes:
        """Encode as the ratchet_tree extension does, without trailing blanks (section 12.4.3.3)."""
        nodes = list(self.nodes)
        while nodes and nodes[-1] is None:
            nodes.pop()
        return vector(optional(_serialize_node(node)) for node in nodes)

    @staticmethod
    def parse(suite: CipherSuite, data: bytes) -> RatchetTree:
        """Decode a tree that fills ``data``; only its shape is checked here."""
        return parse_all(data, lambda reader: parse_tree(suite, reader))


def _serialize_node(node: Node) -> bytes | None:
    if node is None:
        return None
    return u8(_LEAF if isinstance(node, LeafNode) else _PARENT) + node.serialize()


def _parse_node(reader: Reader) -> LeafNode | ParentNode:
    kind = reader.u8()
    if kind == _LEAF:
        return parse_leaf_node(reader)
    if kind == _PARENT:
        return ParentNode(reader.opaque(), reader.opaque(), reader.u32s())
    raise DecodeError("TREE-NODE-TYPE", "a tree node is neither leaf nor parent")


def parse_tree(suite: CipherSuite, reader: Reader) -> RatchetTree:
    """Decode ``optional<Node> ratchet_tree<V>`` and fill it up to a full tree."""
    nodes = reader.vector(lambda inner: inner.optional(_parse_node))
    if not nodes or nodes[-1] is None:
        raise ValidationError("TREE-TRAILING-BLANK", "a tree is empty or ends in a blank node")
    if len(nodes) > tree_math.node_width(MAX_LEAVES):
        raise ValidationError("TREE-SIZE", "a tree is larger than any supported group")
    for index, node in enumerate(nodes):
        if node is not None and isinstance(node, LeafNode) != (index % 2 == 0):
            raise ValidationError("TREE-NODE-PLACE", "a tree node is in the wrong place for its type")
    width = 1
    while tree_math.node_width(width) < len(nodes):
        width *= 2
    blanks: tuple[Node, ...] = (None,) * (tree_math.node_width(width) - len(nodes))
    return RatchetTree(suite, nodes + blanks)
