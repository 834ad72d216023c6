"""The wire form of a commit's path (RFC 9420 section 7.6)."""

from __future__ import annotations

from dataclasses import dataclass

from .codec import Reader, opaque, vector
from .leaf_node import LeafNode, parse_leaf_node


@dataclass(frozen=True, slots=True)
class HpkeCiphertext:
    """An HPKE encapsulation and ciphertext."""

    kem_output: bytes
    ciphertext: bytes

    def serialize(self) -> bytes:
        """Encode the HPKECiphertext."""
        return opaque(self.kem_output) + opaque(self.ciphertext)


def parse_hpke_ciphertext(reader: Reader) -> HpkeCiphertext:
    """Decode an HPKECiphertext."""
    return HpkeCiphertext(reader.opaque(), reader.opaque())


@dataclass(frozen=True, slots=True)
class UpdatePathNode:
    """A parent's new key, and the path secret for each node its copath child resolves to."""

    encryption_key: bytes
    encrypted_path_secret: tuple[HpkeCiphertext, ...]

    def serialize(self) -> bytes:
        """Encode the UpdatePathNode."""
        return opaque(self.encryption_key) + vector(item.serialize() for item in self.encrypted_path_secret)


def _parse_path_node(reader: Reader) -> UpdatePathNode:
    return UpdatePathNode(reader.opaque(), reader.vector(parse_hpke_ciphertext))


@dataclass(frozen=True, slots=True)
class UpdatePath:
    """The committer's new leaf and the new nodes on its filtered direct path."""

    leaf_node: LeafNode
    nodes: tuple[UpdatePathNode, ...]

    def serialize(self) -> bytes:
        """Encode the UpdatePath."""
        return self.leaf_node.encoded + vector(node.serialize() for node in self.nodes)


def parse_update_path(reader: Reader) -> UpdatePath:
    """Decode an UpdatePath."""
    return UpdatePath(parse_leaf_node(reader), reader.vector(_parse_path_node))
