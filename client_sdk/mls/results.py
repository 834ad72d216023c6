"""What opening and sealing messages returns (RFC 9420 section 6, 12.4)."""

from __future__ import annotations

from dataclasses import dataclass, field

from .framing import Sender
from .group_state import GroupState
from .leaf_node import LeafNode
from .proposal_list import UpdatedLeaf
from .proposals import Proposal


@dataclass(frozen=True, slots=True)
class Encrypted:
    """An application message and the state that can never encrypt under its key again."""

    state: GroupState
    message: bytes = field(repr=False)


@dataclass(frozen=True, slots=True)
class ApplicationReceived:
    """Application data from a member; ``signed`` and ``signature`` are evidence for a later disclosure."""

    state: GroupState
    sender: int
    plaintext: bytes = field(repr=False)
    authenticated_data: bytes
    generation: int
    epoch: int
    signed: bytes = field(repr=False)
    signature: bytes = field(repr=False)


@dataclass(frozen=True, slots=True)
class ProposalReceived:
    """A valid proposal; ``state`` remembers it. Drop that state to ignore it."""

    state: GroupState
    sender: Sender
    proposal: Proposal
    ref: bytes
    authenticated_data: bytes


@dataclass(frozen=True, slots=True)
class CommitReceived:
    """A valid commit; ``state`` is the new epoch. Drop that state to refuse it under one's own rules.

    ``sender`` is the committer's leaf in the new epoch. ``expired`` lists added leaves whose lifetime does
    not include now: a finding, not a refusal, for clocks must not decide what members accept.
    """

    state: GroupState
    sender: int
    external: bool
    added: tuple[int, ...]
    removed: tuple[tuple[int, LeafNode], ...]
    updated: tuple[UpdatedLeaf, ...]
    proposals: tuple[Proposal, ...]
    expired: tuple[int, ...]
    authenticated_data: bytes


@dataclass(frozen=True, slots=True)
class RemovedFromGroup:
    """A commit that removes this member: there is no further state."""

    sender: int
    external: bool
    removed: tuple[tuple[int, LeafNode], ...]
    proposals: tuple[Proposal, ...]
    authenticated_data: bytes


Received = ApplicationReceived | ProposalReceived | CommitReceived | RemovedFromGroup
