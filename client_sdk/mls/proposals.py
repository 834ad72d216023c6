"""Proposals and the Commit that carries them (RFC 9420 section 12.1, 12.4)."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from .codec import Reader, opaque, optional, u8, u16, u32, vector
from .errors import DecodeError
from .extensions import Extensions, parse_extensions, serialize_extensions
from .key_package import KeyPackage, VerifiedKeyPackage, parse_key_package
from .leaf_node import LeafNode, parse_leaf_node
from .psk import PreSharedKeyID, parse_psk_id
from .update_path import UpdatePath, parse_update_path

_ADD, _UPDATE, _REMOVE, _PSK, _REINIT, _EXTERNAL_INIT, _EXTENSIONS = range(1, 8)

_BY_VALUE = 1
_BY_REFERENCE = 2


@dataclass(frozen=True, slots=True)
class Add:
    """Add the client of a key package. Ours take verified packages; a peer's is checked with its commit."""

    verified: VerifiedKeyPackage

    @property
    def key_package(self) -> KeyPackage:
        """The package itself."""
        return self.verified.key_package

    def serialize(self) -> bytes:
        """Encode the proposal."""
        return u16(_ADD) + self.key_package.encoded


@dataclass(frozen=True, slots=True)
class ReceivedAdd:
    """An Add as it came from a peer: its key package is not verified yet."""

    key_package: KeyPackage

    def serialize(self) -> bytes:
        """Encode the proposal."""
        return u16(_ADD) + self.key_package.encoded


@dataclass(frozen=True, slots=True)
class Update:
    """The sender's own leaf, renewed; `create_update` makes it."""

    leaf_node: LeafNode

    def serialize(self) -> bytes:
        """Encode the proposal."""
        return u16(_UPDATE) + self.leaf_node.encoded


@dataclass(frozen=True, slots=True)
class Remove:
    """Remove the member at a leaf index."""

    leaf_index: int

    def serialize(self) -> bytes:
        """Encode the proposal."""
        return u16(_REMOVE) + u32(self.leaf_index)


@dataclass(frozen=True, slots=True)
class PreSharedKey:
    """Mix a pre-shared key into the next epoch."""

    psk: PreSharedKeyID

    def serialize(self) -> bytes:
        """Encode the proposal."""
        return u16(_PSK) + self.psk.serialize()


@dataclass(frozen=True, slots=True)
class ReInit:
    """End the group in favour of a new one with these parameters."""

    group_id: bytes
    version: int
    cipher_suite: int
    extensions: Extensions

    def serialize(self) -> bytes:
        """Encode the proposal."""
        return b"".join(
            (
                u16(_REINIT),
                opaque(self.group_id),
                u16(self.version),
                u16(self.cipher_suite),
                serialize_extensions(self.extensions),
            )
        )


@dataclass(frozen=True, slots=True)
class ExternalInit:
    """The encapsulated init secret of an external commit."""

    kem_output: bytes

    def serialize(self) -> bytes:
        """Encode the proposal."""
        return u16(_EXTERNAL_INIT) + opaque(self.kem_output)


@dataclass(frozen=True, slots=True)
class GroupContextExtensions:
    """Replace the group's extensions."""

    extensions: Extensions

    def serialize(self) -> bytes:
        """Encode the proposal."""
        return u16(_EXTENSIONS) + serialize_extensions(self.extensions)


Proposal = Add | ReceivedAdd | Update | Remove | PreSharedKey | ReInit | ExternalInit | GroupContextExtensions


@dataclass(frozen=True, slots=True)
class ProposalRef:
    """Refers, in a commit, to a proposal sent before."""

    ref: bytes


def _parse_reinit(reader: Reader) -> ReInit:
    return ReInit(reader.opaque(), reader.u16(), reader.u16(), parse_extensions(reader))


_PARSERS: dict[int, Callable[[Reader], Proposal]] = {
    _ADD: lambda reader: ReceivedAdd(parse_key_package(reader)),
    _UPDATE: lambda reader: Update(parse_leaf_node(reader)),
    _REMOVE: lambda reader: Remove(reader.u32()),
    _PSK: lambda reader: PreSharedKey(parse_psk_id(reader)),
    _REINIT: _parse_reinit,
    _EXTERNAL_INIT: lambda reader: ExternalInit(reader.opaque()),
    _EXTENSIONS: lambda reader: GroupContextExtensions(parse_extensions(reader)),
}


def parse_proposal(reader: Reader) -> Proposal:
    """Decode a Proposal; types outside RFC 9420 are refused, for we advertise none."""
    parse = _PARSERS.get(reader.u16())
    if parse is None:
        raise DecodeError("PROPOSAL-TYPE", "a proposal is of an unsupported type")
    return parse(reader)


@dataclass(frozen=True, slots=True)
class Commit:
    """Proposals, by value or reference, and the path if there is one."""

    proposals: tuple[Proposal | ProposalRef, ...]
    path: UpdatePath | None

    def serialize(self) -> bytes:
        """Encode the Commit."""
        listed = vector(_serialize_proposal_or_ref(entry) for entry in self.proposals)
        return listed + optional(None if self.path is None else self.path.serialize())


def _serialize_proposal_or_ref(entry: Proposal | ProposalRef) -> bytes:
    if isinstance(entry, ProposalRef):
        return u8(_BY_REFERENCE) + opaque(entry.ref)
    return u8(_BY_VALUE) + entry.serialize()


def _parse_proposal_or_ref(reader: Reader) -> Proposal | ProposalRef:
    kind = reader.u8()
    if kind == _BY_VALUE:
        return parse_proposal(reader)
    if kind == _BY_REFERENCE:
        return ProposalRef(reader.opaque())
    raise DecodeError("COMMIT-PROPOSAL-OR-REF", "an entry is neither a proposal nor a reference")


def parse_commit(reader: Reader) -> Commit:
    """Decode a Commit."""
    return Commit(reader.vector(_parse_proposal_or_ref), reader.optional(parse_update_path))
