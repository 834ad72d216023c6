"""Index arithmetic of the array-based ratchet tree (RFC 9420 appendix C); trees are full: 2^d leaves."""

from __future__ import annotations

from .errors import UsageError


def node_width(leaves: int) -> int:
    """Number of nodes of a tree with that many leaves."""
    return 2 * leaves - 1


def leaf_count(nodes: int) -> int:
    """Number of leaves of a tree with that many nodes."""
    return (nodes + 1) // 2


def level(node: int) -> int:
    """Height of a node: leaves are 0."""
    return (~node & (node + 1)).bit_length() - 1


def root(leaves: int) -> int:
    """Index of the root."""
    return leaves - 1


def left(node: int) -> int:
    """Left child of a parent node."""
    return node ^ (1 << (level(node) - 1))


def right(node: int) -> int:
    """Right child of a parent node."""
    return node ^ (3 << (level(node) - 1))


def parent(node: int) -> int:
    """Parent of a node (which is not the root)."""
    height = level(node)
    return (node | (1 << height)) & ~(1 << (height + 1))


def sibling(node: int) -> int:
    """The other child of the node's parent."""
    above = parent(node)
    return right(above) if node < above else left(above)


def direct_path(node: int, leaves: int) -> tuple[int, ...]:
    """The node's ancestors from its parent up to the root; a node outside the tree has none."""
    if not 0 <= node < node_width(leaves):
        raise UsageError(None, "a node lies outside the tree")
    top = root(leaves)
    path = []
    while node != top:
        node = parent(node)
        path.append(node)
    return tuple(path)


def is_ancestor(ancestor: int, node: int) -> bool:
    """Whether ``node`` lies in the subtree below ``ancestor``, itself included."""
    reach = (1 << level(ancestor)) - 1
    return ancestor - reach <= node <= ancestor + reach


def common_ancestor(one: int, other: int) -> int:
    """The lowest node above (or equal to) both nodes."""
    while not is_ancestor(one, other):
        one = parent(one)
    return one


def subtree_leaves(node: int) -> range:
    """Leaf indices (not node indices) of the subtree below a node."""
    reach = (1 << level(node)) - 1
    return range((node - reach) // 2, (node + reach) // 2 + 1)
