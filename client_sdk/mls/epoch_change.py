"""The step from one epoch to the next, shared by committer, receiver and joiner (RFC 9420 section 8)."""

from __future__ import annotations

import hmac
from collections.abc import Sequence
from dataclasses import dataclass, field, replace

from .credentials import SignatureKeyPair
from .errors import CryptoError, StateError
from .extensions import Extensions
from .framing import AuthenticatedContent
from .group_state import EpochState, GroupState
from .key_schedule import (
    EpochSecrets,
    GroupContext,
    derive_epoch,
    epoch_secret,
    joiner_secret,
    next_confirmed_hash,
    next_interim_hash,
)
from .proposals import ReInit
from .psk import PreSharedKeyID, PskStore, ResumptionPsk, look_up, psk_secret
from .ratchet_tree import RatchetTree
from .secret_tree import SecretTree
from .suites import CipherSuite
from .validation import check_members, check_unique_encryption_keys

_MAX_EPOCH = (1 << 64) - 1


@dataclass(frozen=True, slots=True)
class NextEpoch:
    """A derived epoch; ``joiner_secret`` and ``psk_secret`` serve the Welcome and are then forgotten."""

    suite: CipherSuite
    context: GroupContext
    secrets: EpochSecrets
    encryption_secret: bytes = field(repr=False)
    joiner_secret: bytes = field(repr=False)
    psk_secret: bytes = field(repr=False)
    confirmation_tag: bytes

    def verify_confirmation_tag(self, tag: bytes) -> None:
        """Raise `CryptoError` unless the tag confirms this very epoch (constant time)."""
        if not hmac.compare_digest(self.confirmation_tag, tag):
            raise CryptoError("COMMIT-CONFIRMATION-TAG", "the confirmation tag does not confirm the epoch")

    def state(
        self,
        *,
        tree: RatchetTree,
        own_leaf_index: int,
        signer: SignatureKeyPair,
        private_keys: dict[int, bytes],
        reinit: ReInit | None = None,
    ) -> GroupState:
        """The member's state at the start of the epoch."""
        confirmed = self.context.confirmed_transcript_hash
        epoch_state = EpochState(
            suite=self.suite,
            context=self.context,
            tree=tree,
            own_leaf_index=own_leaf_index,
            signer=signer,
            private_keys=private_keys,
            secrets=self.secrets,
            interim_transcript_hash=next_interim_hash(self.suite, confirmed, self.confirmation_tag),
            confirmation_tag=self.confirmation_tag,
            reinit=reinit,
        )
        return GroupState(epoch_state, SecretTree.create(tree.leaf_width, self.encryption_secret))


@dataclass(frozen=True, slots=True)
class EpochInputs:
    """What enters a key schedule besides the context."""

    init_secret: bytes = field(repr=False)
    commit_secret: bytes = field(repr=False)
    psk_secret: bytes = field(repr=False)


def check_new_tree(tree: RatchetTree, extensions: Extensions) -> None:
    """What must hold among the members of an epoch before anyone enters it."""
    check_members([leaf for _, leaf in tree.leaves()], extensions)
    check_unique_encryption_keys(tree.encryption_keys())


def provisional_context(old: GroupContext, tree: RatchetTree, extensions: Extensions) -> GroupContext:
    """The context path secrets are encrypted under: new but for the transcript (section 12.4.1)."""
    if old.epoch >= _MAX_EPOCH:
        raise StateError("EPOCH-LIMIT", "the group has no epoch left")
    return replace(old, epoch=old.epoch + 1, tree_hash=tree.tree_hash(), extensions=extensions)


def enter_epoch(
    suite: CipherSuite,
    provisional: GroupContext,
    interim: bytes,
    message: AuthenticatedContent,
    inputs: EpochInputs,
) -> NextEpoch:
    """Derive the epoch a commit begins, from its transcript and secrets."""
    confirmed = next_confirmed_hash(suite, interim, message.transcript_input())
    context = replace(provisional, confirmed_transcript_hash=confirmed)
    joiner = joiner_secret(suite, inputs.init_secret, inputs.commit_secret, context)
    return begin_epoch(suite, context, joiner, inputs.psk_secret)


def begin_epoch(suite: CipherSuite, context: GroupContext, joiner: bytes, psk: bytes) -> NextEpoch:
    """Derive an epoch from its joiner secret."""
    return start_epoch(suite, context, epoch_secret(suite, joiner, psk, context), joiner, psk)


def start_epoch(
    suite: CipherSuite, context: GroupContext, secret: bytes, joiner: bytes, psk: bytes
) -> NextEpoch:
    """Derive an epoch from its epoch secret."""
    secrets, fresh = derive_epoch(suite, secret)
    return NextEpoch(
        suite=suite,
        context=context,
        secrets=secrets,
        encryption_secret=fresh.encryption_secret,
        joiner_secret=joiner,
        psk_secret=psk,
        confirmation_tag=suite.mac(fresh.confirmation_key, context.confirmed_transcript_hash),
    )


def gather_psks(
    suite: CipherSuite, ids: Sequence[PreSharedKeyID], store: PskStore | None, state: GroupState | None
) -> bytes:
    """The psk_secret of these PSKs; the current epoch's own resumption secret is always at hand."""
    found = []
    for entry in ids:
        psk = entry.psk
        own = (
            state is not None
            and isinstance(psk, ResumptionPsk)
            and (psk.group_id, psk.epoch) == (state.group_id, state.epoch)
        )
        found.append((entry, state.resumption_psk if own and state is not None else look_up(store, psk)))
    return psk_secret(suite, found)
