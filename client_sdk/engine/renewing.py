"""A conversation moves to a stronger suite: one entry ends its group and founds the next (PROTOCOL 7).

The entry's commit holds a ReInit (RFC 9420 section 11.2); its Welcome and GroupInfo are the new group's. So
nothing can come between the end of the one and the beginning of the other, and no member is needed twice.
"""

from __future__ import annotations

import hmac
from collections.abc import Collection, Sequence
from dataclasses import dataclass, replace
from typing import Final

from client_sdk.engine import key_packages, suites
from client_sdk.engine.account import Account
from client_sdk.engine.context import Context
from client_sdk.engine.key_packages import capabilities, lifetime
from client_sdk.engine.membership import Candidate, Made, Plan, Rng, replaced
from client_sdk.engine.offers import Offer, check_signed, read_offer
from client_sdk.engine.standing import Work
from client_sdk.errors import MembershipError
from client_sdk.identity import (
    BundleNamesDiffer,
    ConversationInfo,
    ConversationView,
    CredentialPolicy,
    check_renewed,
    view_of,
)
from client_sdk.mls import (
    CipherSuite,
    CommitReceived,
    CryptoError,
    GroupState,
    KeyPackageBundle,
    LeafNode,
    MLSError,
    MLSMessage,
    PrivateMessage,
    PublicMessage,
    ReInit,
    create_commit,
    find_extension,
    join_from_welcome,
    reinit_group,
)
from client_sdk.mls.extensions import EXTERNAL_PUB
from client_sdk.mls.leaf_node import MLS_VERSION
from relay.wire import Bundle
from relay.wire import frames as fr
from relay.wire.ids import DeviceId, device_id

_FIRST_EPOCH: Final = 1  # RFC 9420 section 11.2: a group that takes over begins with this one


def target(group: GroupState, view: ConversationView) -> CipherSuite | None:
    """The strongest suite, above the present one, that every member's leaf and device list name."""
    stronger = (suite for suite in suites.KNOWN if suites.is_stronger(suite.id, group.suite.id))
    return next((suite for suite in stronger if _all_support(suite.id, group, view)), None)


def _all_support(suite: int, group: GroupState, view: ConversationView) -> bool:
    able = all(suite in member.leaf_node.capabilities.cipher_suites for member in group.members)
    return able and all(suite in leaf.manifest.suites for leaf in view.leaves)


def plan_renewal(
    group: GroupState,
    view: ConversationView,
    engagement: fr.Engagement,
    refused: Collection[DeviceId] = (),
) -> Plan | None:
    """The move that this member should make now; None if there is none, or somebody's key package lacks."""
    suite = target(group, view)
    ready = {device.device for device in engagement.devices if device.has_key_package} - set(refused)
    others = tuple(leaf.device for leaf in view.leaves if leaf.index != group.own_leaf_index)
    if suite is None or view.leaves_to_remove or not ready.issuperset(others):
        return None
    return Plan((), others, False, view.places_before(group.own_leaf_index), renews=suite)


def lists_of(view: ConversationView) -> dict[DeviceId, int]:
    """The version of the device list in each leaf: the new group's may not be older."""
    return {leaf.device: leaf.manifest.version for leaf in view.leaves}


# Making it


def make_renewal(
    group: GroupState,
    view: ConversationView,
    account: Account,
    candidates: Sequence[Candidate],
    suite: CipherSuite,
    *,
    now: int,
    rng: Rng,
) -> Made:
    """The entry by which everybody goes over to this suite; raises what receivers would."""
    info = _next_info(view.info)
    reinit = ReInit(info.group_id, MLS_VERSION, suite.id, replaced(group.extensions, info.to_extension()))
    policy = CredentialPolicy(info.portal)
    # Without a path there is nothing in the commit that could open for one member and not for another.
    ended = create_commit(group, [reinit], auth=policy, now=now, rng=rng, force_path=False)
    founded = reinit_group(
        ended.state,
        [candidate.package for candidate in candidates],
        account.signer,
        account.credential,
        lifetime=lifetime(now),
        auth=CredentialPolicy(info.portal, info),
        now=now,
        rng=rng,
        capabilities=capabilities(),
        identify=_device_of,
    )
    check_renewed(view, view_of(founded.state))
    bundle = Bundle(commit=ended.commit, welcome=founded.welcome, group_info=founded.group_info)
    return Made(bundle.serialize(), founded.state, ended.current)


def _next_info(info: ConversationInfo) -> ConversationInfo:
    return replace(info, generation=info.generation + 1)


def _device_of(leaf: LeafNode) -> bytes:
    """Who is who in both groups: the device, whose list may be a newer one by now."""
    return device_id(leaf.signature_key)


# Receiving it


@dataclass(frozen=True, slots=True)
class Renewal:
    """A valid entry of this kind: the group that it ended, and the one that it offers to everybody."""

    ended: GroupState
    bundle: Bundle
    offer: Offer


def is_renewal(received: CommitReceived) -> bool:
    """Whether a commit ends the group in favour of a new one."""
    return any(isinstance(proposal, ReInit) for proposal in received.proposals)


def check_renewal(work: Work, context: Context, bundle: Bundle, received: CommitReceived) -> Renewal:
    """Whether the commit, and what its bundle offers, is the one move that a member may make.

    It rests on the group and on the entry's public part alone, so that all members judge alike. Raises
    `MLSError` or `IdentityError`; then it is void.
    """
    ended, before = received.state, work.view
    if before is None or work.group is None or ended.reinit is None:
        raise _refused("it ends the conversation")
    _check_reinit(ended.reinit, work.group, before)
    if bundle.adds or bundle.removes:
        raise BundleNamesDiffer("A change that moves the conversation names devices that come or go.")
    offer = read_offer(work, context, bundle.group_info)
    _check_offered(context, ended.reinit, offer)
    check_renewed(before, offer.view)
    return Renewal(ended, bundle, offer)


def _check_reinit(reinit: ReInit, group: GroupState, view: ConversationView) -> None:
    """Whether it asks for no more than a stronger suite; that it stays this conversation, the offer shows."""
    if not suites.is_stronger(reinit.cipher_suite, group.suite.id):
        raise _refused("the suite that it moves to is not a stronger one")
    if not _all_support(reinit.cipher_suite, group, view):
        raise _refused("the suite that it moves to is not one that every device supports")
    own = view.info.to_extension()
    if replaced(reinit.extensions, own) != replaced(group.extensions, own):
        raise _refused("it changes more than the suite")


def _check_offered(context: Context, reinit: ReInit, offer: Offer) -> None:
    """Whether the GroupInfo is what the ReInit asks for, and one by which a device could come in."""
    found = offer.info.group_context
    asked = (reinit.group_id, reinit.version, reinit.cipher_suite, tuple(reinit.extensions))
    given = (found.group_id, found.version, found.cipher_suite, tuple(found.extensions))
    if asked != given or found.epoch != _FIRST_EPOCH:
        raise _refused("the group that it offers is not the one that it asks for")
    if find_extension(offer.info.extensions, EXTERNAL_PUB) is None:
        raise _refused("the group that it offers lets nobody back in")
    check_signed(context, offer)


def follow(work: Work, context: Context, renewal: Renewal) -> GroupState:
    """The new group, opened by its Welcome; the key packages used for it are spent.

    Raises `MLSError` if it does not open for this device, which then comes in by external commit.
    """
    used: list[KeyPackageBundle] = []

    def find(ref: bytes) -> KeyPackageBundle | None:
        bundle = key_packages.find(work.tx, ref)
        used.extend([bundle] if bundle is not None else [])
        return bundle

    group = join_from_welcome(
        renewal.bundle.welcome or b"",
        find,
        context.account.signer,
        auth=context.policy,
        now=int(work.now),
        resumes=renewal.ended,
        identify=_device_of,
    )
    offered = renewal.offer.info
    same = hmac.compare_digest(group.epoch_state.confirmation_tag, offered.confirmation_tag)
    if group.group_context != offered.group_context or not same:
        raise CryptoError(None, "the Welcome leads into another group than the one offered to all")
    for bundle in used:
        key_packages.spend(work.tx, bundle, int(work.now))
    work.key_packages_spent = True
    return group


def is_of_next_group(work: Work, message: bytes) -> bool:
    """Whether this is a message of the group that would take over from the present one."""
    try:
        body = MLSMessage.parse(message).body
    except MLSError:
        return False
    if work.view is None or not isinstance(body, PrivateMessage | PublicMessage):
        return False
    named = body.group_id if isinstance(body, PrivateMessage) else body.content.group_id
    return hmac.compare_digest(_next_info(work.view.info).group_id, named)


def _refused(reason: str) -> MembershipError:
    return MembershipError(f"A change that would move the conversation is ignored by everybody: {reason}.")
