"""Messages in: application data, proposals; commits go to `receiving_commits` (RFC 9420 section 6, 12)."""

from __future__ import annotations

from .credentials import AuthenticationService
from .errors import (
    DecodeError,
    OwnCommit,
    OwnMessage,
    ValidationError,
    WrongEpoch,
    WrongGroup,
)
from .extensions import ExternalSender
from .framing import (
    AuthenticatedContent,
    ContentType,
    FramedContent,
    MLSMessage,
    PrivateMessage,
    PublicMessage,
    SenderType,
)
from .group_state import GroupState
from .proposal_list import (
    ResolvedProposal,
    check_proposal,
)
from .proposals import Add, Commit, Proposal, ReceivedAdd
from .protection import (
    open_private,
    open_public,
    open_sender_data,
    proposal_ref,
    verify_content,
)
from .psk import PskStore
from .receiving_commits import Judge, receive_commit
from .results import (
    ApplicationReceived,
    ProposalReceived,
    Received,
)
from .sending import remember_proposal
from .validation import MAX_LEAF_LIFETIME


def process_message(
    state: GroupState,
    message: bytes,
    *,
    auth: AuthenticationService,
    now: int,
    psks: PskStore | None = None,
    max_lifetime: int = MAX_LEAF_LIFETIME,
) -> Received:
    """Open one PrivateMessage or PublicMessage of this epoch; on any error the given state stays good."""
    state.require_active()
    body = MLSMessage.parse(message).body
    judge = Judge(auth, now, psks, max_lifetime)
    if isinstance(body, PrivateMessage):
        return _receive_private(state, body, judge)
    if isinstance(body, PublicMessage):
        return _receive_public(state, body, judge)
    raise DecodeError("FRAME-WIRE-FORMAT", "the message is neither a PrivateMessage nor a PublicMessage")


def _check_address(state: GroupState, group_id: bytes, epoch: int) -> None:
    if group_id != state.group_id:
        raise WrongGroup
    if epoch != state.epoch:
        raise WrongEpoch(epoch, state.epoch)


def _refuse_own(state: GroupState, leaf_index: int, content_type: ContentType) -> None:
    if leaf_index != state.own_leaf_index:
        return
    if content_type is ContentType.COMMIT:
        raise OwnCommit("FRAME-OWN", "this member sent the commit itself")
    raise OwnMessage("FRAME-OWN", "this member sent the message itself")


def _receive_private(state: GroupState, message: PrivateMessage, judge: Judge) -> Received:
    epoch, suite = state.epoch_state, state.suite
    _check_address(state, message.group_id, message.epoch)
    sender = open_sender_data(suite, epoch.secrets.sender_data_secret, message)
    leaf = epoch.tree.require_leaf(sender.leaf_index, "FRAME-SENDER-LEAF")
    _refuse_own(state, sender.leaf_index, message.content_type)
    opened, secret_tree = open_private(suite, state.secret_tree, message, sender)
    signed = verify_content(suite, leaf.signature_key, opened, epoch.context.encoded)
    state = state.with_secret_tree(secret_tree)
    if isinstance(opened.content.body, bytes):
        return ApplicationReceived(
            state=state,
            sender=sender.leaf_index,
            plaintext=opened.content.body,
            authenticated_data=message.authenticated_data,
            generation=sender.generation,
            epoch=message.epoch,
            signed=signed,
            signature=opened.auth.signature,
        )
    return _receive_handshake(state, opened, judge)


def _receive_public(state: GroupState, message: PublicMessage, judge: Judge) -> Received:
    epoch, content = state.epoch_state, message.content
    _check_address(state, content.group_id, content.epoch)
    opened = open_public(state.suite, epoch.secrets.membership_key, message, epoch.context.encoded)
    key = _sender_key(state, content)
    verify_content(state.suite, key, opened, epoch.context.encoded)
    if content.sender.type is SenderType.MEMBER:
        _refuse_own(state, content.sender.index, content.content_type)
    return _receive_handshake(state, opened, judge)


def _sender_key(state: GroupState, content: FramedContent) -> bytes:
    """The signature key of a PublicMessage's sender (section 6.1)."""
    sender, body = content.sender, content.body
    is_commit = content.content_type is ContentType.COMMIT
    if is_commit != (sender.type is SenderType.NEW_MEMBER_COMMIT) and sender.type is not SenderType.MEMBER:
        raise ValidationError("FRAME-SENDER-CONTENT", "such a sender may not send this content")
    match sender.type:
        case SenderType.MEMBER:
            return state.epoch_state.tree.require_leaf(sender.index, "FRAME-SENDER-LEAF").signature_key
        case SenderType.EXTERNAL:
            known = ExternalSender.find_all(state.extensions)
            if sender.index >= len(known):
                raise ValidationError("FRAME-EXTERNAL-SENDER", "no such external sender is known")
            return known[sender.index].signature_key
        case SenderType.NEW_MEMBER_PROPOSAL:
            if not isinstance(body, Add | ReceivedAdd):
                raise ValidationError("PROP-NEW-MEMBER", "who is no member may only propose to be added")
            return body.key_package.leaf_node.signature_key
        case SenderType.NEW_MEMBER_COMMIT:
            if not isinstance(body, Commit) or body.path is None:
                raise ValidationError("EXTCOMMIT-PATH", "an external commit has no path")
            return body.path.leaf_node.signature_key


def _receive_handshake(state: GroupState, message: AuthenticatedContent, judge: Judge) -> Received:
    body = message.content.body
    if isinstance(body, Commit):
        return receive_commit(state, message, body, judge)
    if isinstance(body, bytes):
        raise ValidationError("FRAME-APPLICATION-PRIVATE", "application data came as a handshake message")
    return _receive_proposal(state, message, body, judge)


def _receive_proposal(
    state: GroupState, message: AuthenticatedContent, proposal: Proposal, judge: Judge
) -> ProposalReceived:
    sender = message.content.sender
    entry = ResolvedProposal(proposal, sender, by_reference=True)
    checked = check_proposal(judge.rules(state), entry)
    ref = proposal_ref(state.suite, message)
    state = remember_proposal(state, ref, sender, proposal)
    return ProposalReceived(state, sender, checked, ref, message.content.authenticated_data)
