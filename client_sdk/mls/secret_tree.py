"""The secret tree and its ratchets (RFC 9420 section 9); every step forgets what it consumed."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import TypeVar

from . import tree_math
from .codec import Reader, opaque, u32, vector
from .errors import DecodeError, SecretReuse
from .framing import ContentType
from .suites import CipherSuite

T = TypeVar("T")

MAX_BACKWARD = 5
"""Keys of that many generations before the newest received stay for late messages; all clients agree."""

MAX_FORWARD = 1000
"""A message may skip at most that many generations: bounds the work one message can cause."""

_MAX_GENERATION = (1 << 32) - 1


@dataclass(frozen=True, slots=True)
class MessageKey:
    """Key and nonce of one generation."""

    key: bytes = field(repr=False)
    nonce: bytes = field(repr=False)


@dataclass(frozen=True, slots=True)
class Ratchet:
    """A hash ratchet: the secret of the next generation, and skipped keys still in the window."""

    generation: int
    secret: bytes = field(repr=False)
    skipped: tuple[tuple[int, MessageKey], ...] = field(default=(), repr=False)

    def key(self, suite: CipherSuite) -> MessageKey:
        """Key and nonce of the ratchet's next generation."""
        aead = suite.aead
        return MessageKey(
            suite.derive_tree_secret(self.secret, b"key", self.generation, aead.key_length),
            suite.derive_tree_secret(self.secret, b"nonce", self.generation, aead.nonce_length),
        )

    def step(self, suite: CipherSuite) -> Ratchet:
        """The ratchet one generation on, its old secret gone."""
        if self.generation >= _MAX_GENERATION:
            raise SecretReuse("RATCHET-EXHAUSTED", "the ratchet has no generation left in this epoch")
        secret = suite.derive_tree_secret(self.secret, b"secret", self.generation, suite.hash_length)
        return Ratchet(self.generation + 1, secret, self.skipped)

    def take(self, suite: CipherSuite, generation: int) -> tuple[MessageKey, Ratchet]:
        """The key of a received generation, and the ratchet without it."""
        if generation < self.generation:
            return self._take_skipped(generation)
        if generation - self.generation > MAX_FORWARD:
            raise SecretReuse("RATCHET-FORWARD", "the generation is too far ahead")
        oldest = generation - MAX_BACKWARD
        ratchet, skipped = self, [entry for entry in self.skipped if entry[0] >= oldest]
        while ratchet.generation < generation:
            if ratchet.generation >= oldest:
                skipped.append((ratchet.generation, ratchet.key(suite)))
            ratchet = ratchet.step(suite)
        key, after = ratchet.key(suite), ratchet.step(suite)
        return key, Ratchet(after.generation, after.secret, tuple(skipped))

    def _take_skipped(self, generation: int) -> tuple[MessageKey, Ratchet]:
        for entry in self.skipped:
            if entry[0] == generation:
                rest = tuple(other for other in self.skipped if other is not entry)
                return entry[1], Ratchet(self.generation, self.secret, rest)
        raise SecretReuse("RATCHET-GENERATION", "the generation was used already or is too old")

    def serialize(self) -> bytes:
        """Encode for the vault."""
        late = vector(u32(number) + opaque(item.key) + opaque(item.nonce) for number, item in self.skipped)
        return u32(self.generation) + opaque(self.secret) + late


def _parse_ratchet(reader: Reader) -> Ratchet:
    def skipped(inner: Reader) -> tuple[int, MessageKey]:
        return inner.u32(), MessageKey(inner.opaque(), inner.opaque())

    return Ratchet(reader.u32(), reader.opaque(), reader.vector(skipped))


@dataclass(frozen=True, slots=True)
class LeafRatchets:
    """The two ratchets of one member."""

    handshake: Ratchet
    application: Ratchet

    def of(self, content_type: ContentType) -> Ratchet:
        """The ratchet that protects such content."""
        return self.application if content_type is ContentType.APPLICATION else self.handshake

    def with_ratchet(self, content_type: ContentType, ratchet: Ratchet) -> LeafRatchets:
        """The pair with one ratchet replaced."""
        if content_type is ContentType.APPLICATION:
            return LeafRatchets(self.handshake, ratchet)
        return LeafRatchets(ratchet, self.application)


@dataclass(frozen=True, slots=True)
class SecretTree:
    """Secrets of not yet opened subtrees by node index, and ratchets of opened leaves by leaf index."""

    leaf_width: int
    secrets: Mapping[int, bytes] = field(repr=False)
    ratchets: Mapping[int, LeafRatchets] = field(repr=False)

    @staticmethod
    def create(leaf_width: int, encryption_secret: bytes) -> SecretTree:
        """The fresh tree of an epoch."""
        return SecretTree(leaf_width, {tree_math.root(leaf_width): encryption_secret}, {})

    def open_leaf(self, suite: CipherSuite, leaf_index: int) -> tuple[LeafRatchets, SecretTree]:
        """A member's ratchets, derived if this is their first use; the secrets above them are forgotten."""
        known = self.ratchets.get(leaf_index)
        if known is not None:
            return known, self
        secrets = dict(self.secrets)
        node = 2 * leaf_index
        path = (node, *tree_math.direct_path(node, self.leaf_width))
        start = next((place for place, step in enumerate(path) if step in secrets), None)
        if start is None:
            raise SecretReuse("SECRET-TREE", "the secret of that leaf is gone")
        for above in path[start:0:-1]:
            secret = secrets.pop(above)
            for child, label in ((tree_math.left(above), b"left"), (tree_math.right(above), b"right")):
                secrets[child] = suite.expand_with_label(secret, b"tree", label, suite.hash_length)
        leaf_secret = secrets.pop(node)
        ratchets = LeafRatchets(
            handshake=Ratchet(0, suite.expand_with_label(leaf_secret, b"handshake", b"", suite.hash_length)),
            application=Ratchet(
                0, suite.expand_with_label(leaf_secret, b"application", b"", suite.hash_length)
            ),
        )
        return ratchets, SecretTree(self.leaf_width, secrets, {**self.ratchets, leaf_index: ratchets})

    def with_ratchet(self, leaf_index: int, content_type: ContentType, ratchet: Ratchet) -> SecretTree:
        """The tree with one opened leaf's ratchet replaced."""
        pair = self.ratchets[leaf_index].with_ratchet(content_type, ratchet)
        return SecretTree(self.leaf_width, self.secrets, {**self.ratchets, leaf_index: pair})

    def serialize(self) -> bytes:
        """Encode for the vault."""
        secrets = vector(u32(node) + opaque(secret) for node, secret in self.secrets.items())
        ratchets = vector(
            u32(leaf) + pair.handshake.serialize() + pair.application.serialize()
            for leaf, pair in self.ratchets.items()
        )
        return u32(self.leaf_width) + secrets + ratchets


def parse_secret_tree(reader: Reader) -> SecretTree:
    """Decode what `SecretTree.serialize` wrote."""

    def secret(inner: Reader) -> tuple[int, bytes]:
        return inner.u32(), inner.opaque()

    def ratchets(inner: Reader) -> tuple[int, LeafRatchets]:
        return inner.u32(), LeafRatchets(_parse_ratchet(inner), _parse_ratchet(inner))

    width = reader.u32()
    return SecretTree(width, unique_index(reader.vector(secret)), unique_index(reader.vector(ratchets)))


def unique_index(entries: Sequence[tuple[int, T]]) -> dict[int, T]:
    """A stored list of (index, value) as a mapping; an index that occurs twice is refused."""
    found = dict(entries)
    if len(found) != len(entries):
        raise DecodeError("STATE-INDEX-TWICE", "a stored state names one index twice")
    return found
