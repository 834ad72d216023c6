"""TreeKEM: building, encrypting, checking and decrypting a commit's path (RFC 9420 section 7.4-7.6)."""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass, field

from . import tree_math
from .errors import CryptoError, ValidationError
from .hpke import KemKeyPair, Rng, draw
from .leaf_node import LeafNode
from .ratchet_tree import Node, ParentNode, RatchetTree
from .suites import CipherSuite
from .update_path import HpkeCiphertext, UpdatePath, UpdatePathNode

PATH_LABEL = b"UpdatePathNode"

PrivateKeys = Mapping[int, bytes]
"""KEM private keys by node index: the own leaf and the known nodes above it."""


@dataclass(frozen=True, slots=True)
class NewPath:
    """A path the sender has generated, before its secrets are encrypted to the others."""

    tree: RatchetTree
    leaf: LeafNode
    private_keys: dict[int, bytes] = field(repr=False)
    path_secrets: dict[int, bytes] = field(repr=False)
    commit_secret: bytes = field(repr=False)


def node_key_pair(suite: CipherSuite, path_secret: bytes) -> KemKeyPair:
    """The key pair of the node a path secret belongs to."""
    return suite.derive_key_pair(suite.derive_secret(path_secret, b"node"))


def next_path_secret(suite: CipherSuite, path_secret: bytes) -> bytes:
    """The path secret one node up; above the last it is the commit secret."""
    return suite.derive_secret(path_secret, b"path")


def merge_public(tree: RatchetTree, leaf_index: int, keys: Sequence[bytes]) -> tuple[RatchetTree, bytes]:
    """Put new keys on a leaf's filtered direct path; returns the tree and the leaf's parent hash (7.9)."""
    filtered = tree.filtered_direct_path(leaf_index)
    if len(keys) != len(filtered):
        raise ValidationError("PATH-LENGTH", "a path has not one node for each of its filtered direct path")
    changes: dict[int, Node] = dict.fromkeys(tree.direct_path(leaf_index))
    parent_hash = b""
    for (node, copath), key in zip(reversed(filtered), reversed(keys), strict=True):
        changes[node] = ParentNode(key, parent_hash, ())
        parent_hash = tree.path_parent_hash(key, parent_hash, copath)
    return tree.with_nodes(changes), parent_hash


def generate_path(
    tree: RatchetTree, leaf_index: int, make_leaf: Callable[[bytes, bytes], LeafNode], rng: Rng
) -> NewPath:
    """A fresh path for a member; ``make_leaf(encryption_key, parent_hash)`` signs its new leaf."""
    suite = tree.suite
    secret = draw(rng, suite.hash_length)
    own = node_key_pair(suite, secret)
    private_keys, path_secrets, public = {2 * leaf_index: own.private}, {}, []
    for node, _ in tree.filtered_direct_path(leaf_index):
        secret = next_path_secret(suite, secret)
        pair = node_key_pair(suite, secret)
        path_secrets[node], private_keys[node] = secret, pair.private
        public.append(pair.public)
    merged, parent_hash = merge_public(tree, leaf_index, public)
    leaf = make_leaf(own.public, parent_hash)
    merged = merged.with_nodes({2 * leaf_index: leaf})
    return NewPath(merged, leaf, private_keys, path_secrets, next_path_secret(suite, secret))


def encrypt_path(
    new: NewPath, leaf_index: int, context: bytes, joined: Collection[int], rng: Rng
) -> UpdatePath:
    """Encrypt a generated path; leaves that just ``joined`` are left out, a Welcome serves them."""
    tree, suite, nodes = new.tree, new.tree.suite, []
    for node, copath in tree.filtered_direct_path(leaf_index):
        parent = tree.parent_node(node)
        if parent is None:
            raise ValidationError("PATH-LENGTH", "a generated path misses a node")
        sealed = []
        for key in _recipient_keys(tree, copath, joined).values():
            secret = new.path_secrets[node]
            sealed.append(HpkeCiphertext(*suite.encrypt_with_label(key, PATH_LABEL, context, secret, rng)))
        nodes.append(UpdatePathNode(parent.encryption_key, tuple(sealed)))
    return UpdatePath(new.leaf, tuple(nodes))


def _recipient_keys(tree: RatchetTree, copath: int, joined: Collection[int]) -> dict[int, bytes]:
    left_out = {2 * leaf for leaf in joined}
    found = ((index, tree.nodes[index]) for index in tree.resolution(copath) if index not in left_out)
    return {index: node.encryption_key for index, node in found if node is not None}


def merge_path(tree: RatchetTree, leaf_index: int, path: UpdatePath, joined: Collection[int]) -> RatchetTree:
    """Check a received path's form against the tree and put its public keys in (section 7.5, 12.4.2)."""
    keys = [node.encryption_key for node in path.nodes]
    _check_fresh_keys(tree, [path.leaf_node.encryption_key, *keys])
    merged, parent_hash = merge_public(tree, leaf_index, keys)
    if path.leaf_node.parent_hash != parent_hash:
        raise ValidationError("PATH-PARENT-HASH", "the path's leaf carries a wrong parent hash")
    for (_, copath), node in zip(tree.filtered_direct_path(leaf_index), path.nodes, strict=True):
        tree.suite.kem.check_public(node.encryption_key)
        if len(node.encrypted_path_secret) != len(_recipient_keys(tree, copath, joined)):
            raise ValidationError("PATH-CIPHERTEXTS", "a path node has not one ciphertext for each recipient")
    return merged.with_nodes({2 * leaf_index: path.leaf_node})


def _check_fresh_keys(tree: RatchetTree, keys: list[bytes]) -> None:
    if len(set(keys)) != len(keys) or not set(keys).isdisjoint(tree.encryption_keys()):
        raise ValidationError("PATH-FRESH-KEYS", "a path's public key is in the tree already, or there twice")


@dataclass(frozen=True, slots=True)
class OpenedPath:
    """What a receiver learns from a path: keys of shared nodes, and the commit secret."""

    private_keys: dict[int, bytes] = field(repr=False)
    commit_secret: bytes = field(repr=False)


def decrypt_path(
    tree: RatchetTree,
    sender: int,
    path: UpdatePath,
    *,
    own_leaf: int,
    private_keys: PrivateKeys,
    context: bytes,
    joined: Collection[int],
) -> OpenedPath:
    """Decrypt the path secret meant for this member; ``tree`` is the one the path was merged into."""
    filtered = tree.filtered_direct_path(sender)
    below = (
        place for place, (_, copath) in enumerate(filtered) if tree_math.is_ancestor(copath, 2 * own_leaf)
    )
    place = next(below, None)
    if place is None:
        raise ValidationError("PATH-RECIPIENT", "a path has nothing for this member")
    recipients = list(_recipient_keys(tree, filtered[place][1], joined))
    mine = next((spot for spot, target in enumerate(recipients) if target in private_keys), None)
    if mine is None:
        raise ValidationError("PATH-RECIPIENT", "a path has nothing for this member")
    sealed = path.nodes[place].encrypted_path_secret[mine]
    secret = tree.suite.decrypt_with_label(
        private_keys[recipients[mine]], PATH_LABEL, context, sealed.kem_output, sealed.ciphertext
    )
    return open_path_secret(tree, secret, [node for node, _ in filtered[place:]])


def open_path_secret(tree: RatchetTree, secret: bytes, nodes: Sequence[int]) -> OpenedPath:
    """Follow a path secret up the given nodes, each of whose public keys must match."""
    suite, private_keys = tree.suite, {}
    if len(secret) != suite.hash_length:
        raise CryptoError("PATH-SECRET", "a path secret has the wrong length")
    for node in nodes:
        pair, parent = node_key_pair(suite, secret), tree.parent_node(node)
        if parent is None or parent.encryption_key != pair.public:
            raise CryptoError("PATH-PUBLIC-KEY", "a path secret does not match the node's public key")
        private_keys[node] = pair.private
        secret = next_path_secret(suite, secret)
    return OpenedPath(private_keys, secret)


def surviving_keys(private_keys: PrivateKeys, before: RatchetTree, after: RatchetTree) -> dict[int, bytes]:
    """The private keys whose nodes a change left as they were; the rest are forgotten."""
    kept = {}
    for index, private in private_keys.items():
        old, new = before.nodes[index], after.nodes[index] if index < len(after.nodes) else None
        if old is not None and new is not None and old.encryption_key == new.encryption_key:
            kept[index] = private
    return kept
