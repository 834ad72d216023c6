"""Messages out: application data and proposals (RFC 9420 section 6, 12.1); commits are in `committing`."""

from __future__ import annotations

from dataclasses import replace

from .credentials import AuthenticationService, Credential
from .errors import StateError, UsageError
from .framing import (
    AuthData,
    AuthenticatedContent,
    ContentType,
    FramedContent,
    MLSMessage,
    Sender,
    SenderType,
    WireFormat,
)
from .group_state import GroupState, OwnUpdate, PendingProposal
from .hpke import Rng
from .key_package import check_key_package_now
from .leaf_node import LeafSource
from .proposal_list import ResolvedProposal, Rules, check_proposal
from .proposals import Add, Proposal, ReceivedAdd, Update
from .protection import Padding, proposal_ref, protect_private, sign_content
from .results import Encrypted
from .validation import MAX_LEAF_LIFETIME

MAX_PENDING_PROPOSALS = 256
"""Proposals remembered in one epoch: more than an honest group sends, and a bound on what peers can store."""


def encrypt(
    state: GroupState,
    plaintext: bytes,
    *,
    authenticated_data: bytes = b"",
    rng: Rng,
    padding: Padding | None = None,
) -> Encrypted:
    """Encrypt application data as a PrivateMessage; keep the returned state before sending.

    Raises `StateError` while valid proposals wait for a commit (section 12.4).
    """
    if state.pending:
        raise StateError("PENDING-PROPOSALS", "proposals wait for a commit; no application data before it")
    return _send_private(state, ContentType.APPLICATION, plaintext, authenticated_data, rng, padding)[0]


def create_proposal(
    state: GroupState,
    proposal: Proposal,
    *,
    auth: AuthenticationService,
    rng: Rng,
    authenticated_data: bytes = b"",
    max_lifetime: int = MAX_LEAF_LIFETIME,
    now: int | None = None,
) -> Encrypted:
    """Send a proposal by itself; the returned state remembers it, so that a commit may refer to it.

    `verify_key_package` has compared an Add's lifetime with the clock (section 7.3); give ``now`` if that was
    long ago. `create_update` makes an Update.
    """
    if isinstance(proposal, Update):
        raise UsageError(None, "create_update makes an Update and keeps its private key")
    if isinstance(proposal, Add | ReceivedAdd) and now is not None:
        check_key_package_now(proposal.key_package, now)
    return _propose(state, proposal, auth, rng, authenticated_data, max_lifetime)


def create_update(
    state: GroupState,
    *,
    auth: AuthenticationService,
    rng: Rng,
    new_credential: Credential | None = None,
    authenticated_data: bytes = b"",
) -> Encrypted:
    """Propose this member's own leaf with a fresh key, for another member to commit (section 12.1.2).

    The returned state keeps the leaf's private key until the epoch ends.
    """
    pair, old = state.suite.kem.generate_key_pair(rng), state.own_leaf
    unsigned = replace(
        old,
        encryption_key=pair.public,
        credential=old.credential if new_credential is None else new_credential,
        source=LeafSource.UPDATE,
        lifetime=None,
        parent_hash=None,
    )
    signer, own = state.epoch_state.signer, state.own_leaf_index
    leaf = unsigned.signed_by(state.suite, signer, state.group_id, own)
    sent = _propose(state, Update(leaf), auth, rng, authenticated_data, MAX_LEAF_LIFETIME)
    kept = (*sent.state.own_updates, OwnUpdate(pair.public, pair.private))
    return Encrypted(replace(sent.state, own_updates=kept), sent.message)


def _propose(
    state: GroupState,
    proposal: Proposal,
    auth: AuthenticationService,
    rng: Rng,
    authenticated_data: bytes,
    max_lifetime: int,
) -> Encrypted:
    sender = Sender(SenderType.MEMBER, state.own_leaf_index)
    entry = ResolvedProposal(proposal, sender, by_reference=True)
    check_proposal(Rules(state.epoch_state.tree, state.group_context, auth, max_lifetime), entry)
    sent, content = _send_private(state, ContentType.PROPOSAL, proposal, authenticated_data, rng, None)
    ref = proposal_ref(state.suite, content)
    return Encrypted(remember_proposal(sent.state, ref, sender, proposal), sent.message)


def _send_private(
    state: GroupState,
    content_type: ContentType,
    body: bytes | Proposal,
    authenticated_data: bytes,
    rng: Rng,
    padding: Padding | None,
) -> tuple[Encrypted, AuthenticatedContent]:
    state.require_active()
    epoch, wire_format = state.epoch_state, WireFormat.PRIVATE_MESSAGE
    sender = Sender(SenderType.MEMBER, epoch.own_leaf_index)
    content = FramedContent(
        epoch.context.group_id, epoch.context.epoch, sender, authenticated_data, content_type, body
    )
    signature = sign_content(epoch.suite, epoch.signer, wire_format, content, epoch.context.encoded)
    auth_data = AuthData(signature, None)
    message, secret_tree = protect_private(
        epoch.suite,
        epoch.secrets.sender_data_secret,
        state.secret_tree,
        content,
        auth_data,
        rng=rng,
        padding=padding,
    )
    sent = Encrypted(state.with_secret_tree(secret_tree), MLSMessage(message).serialize())
    return sent, AuthenticatedContent(wire_format, content, auth_data)


def remember_proposal(state: GroupState, ref: bytes, sender: Sender, proposal: Proposal) -> GroupState:
    """The state with one more waiting proposal (once only, however often it comes)."""
    if any(known.ref == ref for known in state.pending):
        return state
    if len(state.pending) >= MAX_PENDING_PROPOSALS:
        raise StateError("PENDING-LIMIT", "too many proposals wait in this epoch")
    return replace(state, pending=(*state.pending, PendingProposal(ref, sender, proposal)))
