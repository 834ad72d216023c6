"""Leaf nodes: what a member shows of itself in the tree (RFC 9420 section 7.2)."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, replace
from enum import IntEnum
from functools import cached_property

from .codec import Reader, opaque, u8, u16, u32, u64, vector
from .credentials import (
    CREDENTIAL_BASIC,
    Credential,
    SignatureKeyPair,
    parse_credential,
    serialize_credential,
)
from .errors import DecodeError, UsageError
from .extensions import DEFAULT_EXTENSIONS, LAST_RESORT, Extensions, parse_extensions, serialize_extensions
from .suites import CipherSuite, supported_suites

MLS_VERSION = 1

_LABEL = b"LeafNodeTBS"


class LeafSource(IntEnum):
    """How a leaf node came into the tree."""

    KEY_PACKAGE = 1
    UPDATE = 2
    COMMIT = 3


@dataclass(frozen=True, slots=True)
class Lifetime:
    """Validity of a leaf, in unix seconds, both ends included."""

    not_before: int
    not_after: int

    def __post_init__(self) -> None:
        if not 0 <= self.not_before < 1 << 64 or not 0 <= self.not_after < 1 << 64:
            raise UsageError(None, "a lifetime bound is outside uint64")

    @property
    def seconds(self) -> int:
        """Total length; negative if the bounds are the wrong way round."""
        return self.not_after - self.not_before

    def contains(self, now: int) -> bool:
        """Whether ``now`` lies within."""
        return self.not_before <= now <= self.not_after

    def serialize(self) -> bytes:
        """Encode the lifetime."""
        return u64(self.not_before) + u64(self.not_after)


@dataclass(frozen=True, slots=True)
class Capabilities:
    """What a client supports; unknown (also GREASE) values are carried and ignored."""

    versions: tuple[int, ...]
    cipher_suites: tuple[int, ...]
    extensions: tuple[int, ...]
    proposals: tuple[int, ...]
    credentials: tuple[int, ...]

    def serialize(self) -> bytes:
        """Encode the capabilities."""
        lists = (self.versions, self.cipher_suites, self.extensions, self.proposals, self.credentials)
        return b"".join(vector(map(u16, values)) for values in lists)


def default_capabilities(extensions: Iterable[int] = ()) -> Capabilities:
    """This package's capabilities, with further extension types the application understands (section 7.2).

    Types that every client supports are left out, for they must not be listed.
    """
    return Capabilities(
        versions=(MLS_VERSION,),
        cipher_suites=supported_suites(),
        extensions=tuple(sorted({LAST_RESORT, *extensions} - DEFAULT_EXTENSIONS)),
        proposals=(),
        credentials=(CREDENTIAL_BASIC,),
    )


def parse_capabilities(reader: Reader) -> Capabilities:
    """Decode capabilities."""
    return Capabilities(*(reader.u16s() for _ in range(5)))


@dataclass(frozen=True)  # not slotted: the encodings are cached, for tree hashes are computed over them
class LeafNode:
    """A leaf node. ``lifetime`` and ``parent_hash`` are present as the source demands."""

    encryption_key: bytes
    signature_key: bytes
    credential: Credential
    capabilities: Capabilities
    source: LeafSource
    lifetime: Lifetime | None
    parent_hash: bytes | None
    extensions: Extensions
    signature: bytes

    @cached_property
    def encoded(self) -> bytes:
        """The canonical encoding."""
        return self._unsigned + opaque(self.signature)

    @cached_property
    def _unsigned(self) -> bytes:
        return b"".join(
            (
                opaque(self.encryption_key),
                opaque(self.signature_key),
                serialize_credential(self.credential),
                self.capabilities.serialize(),
                u8(self.source),
                b"" if self.lifetime is None else self.lifetime.serialize(),
                b"" if self.parent_hash is None else opaque(self.parent_hash),
                serialize_extensions(self.extensions),
            )
        )

    def serialize(self) -> bytes:
        """Encode the leaf node."""
        return self.encoded

    def signed_by(
        self, suite: CipherSuite, signer: SignatureKeyPair, group_id: bytes, leaf_index: int
    ) -> LeafNode:
        """The same leaf with a fresh signature; group and index count unless it is for a key package."""
        content = self._tbs(group_id, leaf_index)
        return replace(self, signature=signer.sign(suite, _LABEL, content))

    def verify_signature(self, suite: CipherSuite, group_id: bytes, leaf_index: int) -> None:
        """Raise `CryptoError` unless the leaf signed itself for this place."""
        content = self._tbs(group_id, leaf_index)
        suite.verify_with_label(self.signature_key, _LABEL, content, self.signature, "LEAF-SIGNATURE")

    def _tbs(self, group_id: bytes, leaf_index: int) -> bytes:
        if self.source is LeafSource.KEY_PACKAGE:
            return self._unsigned
        return self._unsigned + opaque(group_id) + u32(leaf_index)


def parse_leaf_node(reader: Reader) -> LeafNode:
    """Decode a leaf node."""
    encryption_key, signature_key = reader.opaque(), reader.opaque()
    credential, capabilities = parse_credential(reader), parse_capabilities(reader)
    try:
        source = LeafSource(reader.u8())
    except ValueError:
        raise DecodeError("LEAF-SOURCE", "a leaf node has an unknown source") from None
    lifetime = Lifetime(reader.u64(), reader.u64()) if source is LeafSource.KEY_PACKAGE else None
    parent_hash = reader.opaque() if source is LeafSource.COMMIT else None
    extensions = parse_extensions(reader)
    return LeafNode(
        encryption_key=encryption_key,
        signature_key=signature_key,
        credential=credential,
        capabilities=capabilities,
        source=source,
        lifetime=lifetime,
        parent_hash=parent_hash,
        extensions=extensions,
        signature=reader.opaque(),
    )
