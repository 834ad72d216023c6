"""The state of one member in one epoch, and how it is stored (two records: see `GroupState.epoch_part`)."""

from __future__ import annotations

import hmac
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from functools import cached_property

from .codec import Reader, opaque, optional, parse_all, u8, u16, u32, u64, vector
from .credentials import SignatureKeyPair
from .errors import DecodeError, StateError, ValidationError
from .extensions import Extensions
from .framing import Sender, parse_sender
from .key_schedule import EpochSecrets, GroupContext, mls_exporter, parse_group_context
from .leaf_node import LeafNode
from .proposals import Proposal, ReInit, parse_proposal
from .ratchet_tree import RatchetTree, parse_tree
from .secret_tree import SecretTree, parse_secret_tree, unique_index
from .suites import CipherSuite, cipher_suite

_STATE_VERSION = 1
_RATCHET_VERSIONS = (1, 2)  # 2 added own_updates; what is written is the last
_SECRET_FIELDS = (
    "sender_data_secret",
    "exporter_secret",
    "external_secret",
    "membership_key",
    "resumption_psk",
    "epoch_authenticator",
    "init_secret",
)


@dataclass(frozen=True, slots=True)
class Member:
    """A member: its leaf index and leaf node."""

    leaf_index: int
    leaf_node: LeafNode


@dataclass(frozen=True, slots=True)
class PendingProposal:
    """A valid proposal of this epoch that no commit has taken up yet."""

    ref: bytes
    sender: Sender
    proposal: Proposal

    def serialize(self) -> bytes:
        """Encode for the vault."""
        return opaque(self.ref) + self.sender.serialize() + self.proposal.serialize()


def _parse_pending(reader: Reader) -> PendingProposal:
    return PendingProposal(reader.opaque(), parse_sender(reader), parse_proposal(reader))


@dataclass(frozen=True, slots=True)
class OwnUpdate:
    """The key pair of an Update this member has proposed and nobody has committed yet."""

    encryption_key: bytes
    private: bytes = field(repr=False)

    def serialize(self) -> bytes:
        """Encode for the vault."""
        return opaque(self.encryption_key) + opaque(self.private)


def _parse_own_update(reader: Reader) -> OwnUpdate:
    return OwnUpdate(reader.opaque(), reader.opaque())


@dataclass(frozen=True)  # not slotted: the stored form and the member list are cached
class EpochState:
    """What does not change within an epoch."""

    suite: CipherSuite
    context: GroupContext
    tree: RatchetTree
    own_leaf_index: int
    signer: SignatureKeyPair
    private_keys: Mapping[int, bytes] = field(repr=False)
    secrets: EpochSecrets
    interim_transcript_hash: bytes
    confirmation_tag: bytes
    reinit: ReInit | None = None

    @cached_property
    def members(self) -> tuple[Member, ...]:
        """All members in the order of their leaves."""
        return tuple(Member(index, leaf) for index, leaf in self.tree.leaves())

    @cached_property
    def encoded(self) -> bytes:
        """The stored form."""
        keys = vector(u32(node) + opaque(private) for node, private in sorted(self.private_keys.items()))
        secrets = b"".join(opaque(getattr(self.secrets, name)) for name in _SECRET_FIELDS)
        return b"".join(
            (
                u8(_STATE_VERSION),
                u16(self.suite.id),
                self.context.encoded,
                self.tree.serialize(),
                u32(self.own_leaf_index),
                opaque(self.signer.public),
                opaque(self.signer.private),
                keys,
                secrets,
                opaque(self.interim_transcript_hash),
                opaque(self.confirmation_tag),
                optional(None if self.reinit is None else self.reinit.serialize()),
            )
        )


def _read_version(reader: Reader, *known: int) -> int:
    version = reader.u8()
    if version not in known:
        raise DecodeError("STATE-VERSION", "a stored state is of an unknown version")
    return version


def _parse_reinit(reader: Reader) -> ReInit:
    proposal = parse_proposal(reader)
    if not isinstance(proposal, ReInit):
        raise DecodeError("STATE-REINIT", "a stored state holds another proposal than a ReInit")
    return proposal


def _parse_epoch(reader: Reader) -> EpochState:
    _read_version(reader, _STATE_VERSION)
    suite = cipher_suite(reader.u16())
    return EpochState(
        suite=suite,
        context=parse_group_context(reader),
        tree=parse_tree(suite, reader),
        own_leaf_index=reader.u32(),
        signer=SignatureKeyPair(reader.opaque(), reader.opaque()),
        private_keys=unique_index(reader.vector(lambda inner: (inner.u32(), inner.opaque()))),
        secrets=EpochSecrets(**{name: reader.opaque() for name in _SECRET_FIELDS}),
        interim_transcript_hash=reader.opaque(),
        confirmation_tag=reader.opaque(),
        reinit=reader.optional(_parse_reinit),
    )


@dataclass(frozen=True, slots=True)
class GroupState:
    """One member's view of a group in one epoch; every operation returns a new one."""

    epoch_state: EpochState
    secret_tree: SecretTree = field(repr=False)
    pending: tuple[PendingProposal, ...] = ()
    own_updates: tuple[OwnUpdate, ...] = field(default=(), repr=False)

    @property
    def group_id(self) -> bytes:
        """The group's id."""
        return self.epoch_state.context.group_id

    @property
    def epoch(self) -> int:
        """The epoch's number."""
        return self.epoch_state.context.epoch

    @property
    def suite(self) -> CipherSuite:
        """The group's cipher suite."""
        return self.epoch_state.suite

    @property
    def own_leaf_index(self) -> int:
        """This member's leaf index."""
        return self.epoch_state.own_leaf_index

    @property
    def own_leaf(self) -> LeafNode:
        """This member's leaf node."""
        return self.epoch_state.tree.require_leaf(self.own_leaf_index, "STATE-OWN-LEAF")

    @property
    def group_context(self) -> GroupContext:
        """The epoch's GroupContext."""
        return self.epoch_state.context

    @property
    def extensions(self) -> Extensions:
        """The group's extensions."""
        return self.epoch_state.context.extensions

    @property
    def epoch_authenticator(self) -> bytes:
        """Equal for all members of the epoch (section 8.7)."""
        return self.epoch_state.secrets.epoch_authenticator

    @property
    def resumption_psk(self) -> bytes:
        """The epoch's resumption secret (section 8.6); keep it only if a later commit shall name it."""
        return self.epoch_state.secrets.resumption_psk

    @property
    def members(self) -> tuple[Member, ...]:
        """All members in the order of their leaves."""
        return self.epoch_state.members

    @property
    def reinit(self) -> ReInit | None:
        """The ReInit that ended the group, if one did: `reinit_group` and its Welcome go on from it."""
        return self.epoch_state.reinit

    def member(self, leaf_index: int) -> LeafNode | None:
        """The leaf at an index, None if there is no member."""
        return self.epoch_state.tree.leaf(leaf_index)

    def export_secret(self, label: str, context: bytes, length: int) -> bytes:
        """MLS-Exporter (section 8.5)."""
        secret = self.epoch_state.secrets.exporter_secret
        return mls_exporter(self.suite, secret, label.encode(), context, length)

    def serialize_tree(self) -> bytes:
        """The public ratchet tree, for joiners who get it out of band."""
        return self.epoch_state.tree.serialize()

    def with_secret_tree(self, secret_tree: SecretTree) -> GroupState:
        """The same epoch with other message keys left."""
        return replace(self, secret_tree=secret_tree)

    def require_active(self) -> None:
        """Refuse any use after a ReInit (section 11.2)."""
        if self.epoch_state.reinit is not None:
            raise StateError("REINIT-DONE", "the group was re-initialised and may not be used further")

    # ---- storage -------------------------------------------------------------------------------------

    def epoch_part(self) -> bytes:
        """The part that is constant within an epoch (large, secret): write it once an epoch."""
        return self.epoch_state.encoded

    def ratchet_part(self) -> bytes:
        """The part that each message changes (small, secret): write it with every message."""
        return b"".join(
            (
                u8(_RATCHET_VERSIONS[-1]),
                u64(self.epoch),
                opaque(self.epoch_authenticator),
                self.secret_tree.serialize(),
                vector(entry.serialize() for entry in self.pending),
                vector(entry.serialize() for entry in self.own_updates),
            )
        )

    @staticmethod
    def assemble(epoch_part: bytes, ratchet_part: bytes) -> GroupState:
        """Put the two stored parts together again; parts of different epochs are refused."""
        epoch_state, reader = parse_all(epoch_part, _parse_epoch), Reader(ratchet_part)
        version = _read_version(reader, *_RATCHET_VERSIONS)
        same_epoch = reader.u64() == epoch_state.context.epoch
        if (
            not hmac.compare_digest(reader.opaque(), epoch_state.secrets.epoch_authenticator)
            or not same_epoch
        ):
            raise ValidationError("STATE-PARTS", "the two stored parts belong to different epochs")
        secret_tree, pending = parse_secret_tree(reader), reader.vector(_parse_pending)
        own_updates = reader.vector(_parse_own_update) if version > 1 else ()
        reader.finish()
        if secret_tree.leaf_width != epoch_state.tree.leaf_width:
            raise ValidationError("STATE-PARTS", "the two stored parts are of different width")
        return GroupState(epoch_state, secret_tree, pending, own_updates)

    def serialize(self) -> bytes:
        """The whole state (secret: signature key included)."""
        return u8(_STATE_VERSION) + opaque(self.epoch_part()) + opaque(self.ratchet_part())

    @staticmethod
    def parse(data: bytes) -> GroupState:
        """Decode what `serialize` wrote."""
        reader = Reader(data)
        _read_version(reader, _STATE_VERSION)
        state = GroupState.assemble(reader.opaque(), reader.opaque())
        reader.finish()
        return state
