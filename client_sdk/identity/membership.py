"""The rules of membership: the same verdict for every member (docs/PROTOCOL.md sections 5, 6 and 7).

Everything here is a pure function of the group before and after a commit and of the bundle's names. Clock,
trust and verification have no place here: they may stop this client from sending, never from accepting. A
commit whose check raises any ``IdentityError`` is void: the state before it stays.
"""

from __future__ import annotations

import hmac
from collections.abc import Collection, Sequence
from dataclasses import dataclass, replace
from typing import Protocol

from relay.wire.ids import DeviceId, EngagementId, PortalId, UserId, device_id
from relay.wire.limits import MAX_MEMBER_DEVICES

from ..errors import ManifestInvalid, MembershipError
from ..mls.extensions import Extension, RequiredCapabilities
from ..mls.group_state import Member
from .conversation import EXTENSION_TYPE, ConversationInfo
from .credentials import check_participant, manifest_of
from .manifest import VerifiedManifest, check_successor


class Group(Protocol):
    """What of an ``mls.GroupState`` the rules read."""

    @property
    def group_id(self) -> bytes:
        """The group's id."""

    @property
    def extensions(self) -> Sequence[Extension]:
        """The GroupContext's extensions."""

    @property
    def members(self) -> Sequence[Member]:
        """The non-blank leaves."""


@dataclass(frozen=True, slots=True)
class Leaf:
    """One member device: its place in the tree, and what its user signed about it."""

    index: int
    device_key: bytes
    manifest: VerifiedManifest

    @property
    def device(self) -> DeviceId:
        """The device's id."""
        return device_id(self.device_key)

    @property
    def user(self) -> UserId:
        """The device's user."""
        return self.manifest.user


@dataclass(frozen=True, slots=True)
class ConversationView:
    """A group's state as the rules see it, every manifest in it verified."""

    group_id: bytes
    info: ConversationInfo
    leaves: tuple[Leaf, ...]

    @property
    def devices(self) -> frozenset[DeviceId]:
        """The member devices."""
        return frozenset(leaf.device for leaf in self.leaves)

    def leaves_of(self, user: UserId) -> tuple[Leaf, ...]:
        """The user's leaves."""
        return tuple(leaf for leaf in self.leaves if leaf.user == user)

    def governing(self, user: UserId) -> VerifiedManifest | None:
        """The user's manifest with the highest version in the tree; None without a leaf."""
        manifests = (leaf.manifest for leaf in self.leaves_of(user))
        return max(manifests, key=lambda manifest: manifest.version, default=None)

    @property
    def leaves_to_remove(self) -> tuple[int, ...]:
        """The leaves that their user's governing manifest does not list.

        The next committer removes them, and nobody sends application data before that.
        """
        return tuple(leaf.index for leaf in self.leaves if not _governs(self, leaf))

    def places_before(self, leaf_index: int) -> int:
        """How many leaves that stay stand before this one: who commits first when several could."""
        leaving = set(self.leaves_to_remove)
        return sum(1 for leaf in self.leaves if leaf.index < leaf_index and leaf.index not in leaving)


def view_of(group: Group) -> ConversationView:
    """Verify every manifest, decode the extensions; raises an ``IdentityError``."""
    leaves = []
    for member in group.members:
        node = member.leaf_node
        manifest = manifest_of(node.credential, node.signature_key)
        leaves.append(Leaf(member.leaf_index, node.signature_key, manifest))
    info = ConversationInfo.from_extensions(group.extensions)
    required = RequiredCapabilities.find(tuple(group.extensions))
    if required is None or EXTENSION_TYPE not in required.extension_types:
        raise _void("it no longer demands that everybody understands its description")
    return ConversationView(group.group_id, info, tuple(leaves))


def check_view(view: ConversationView) -> None:
    """The rules that hold in every epoch; raises MembershipError or CredentialRefused."""
    if not hmac.compare_digest(view.group_id, view.info.group_id):
        raise _void("the group's id is not that of its engagement")
    if not 1 <= len(view.leaves) <= MAX_MEMBER_DEVICES:
        raise _void(f"it has not 1 to {MAX_MEMBER_DEVICES} devices")
    if len(view.devices) != len(view.leaves):
        raise _void("a device is in it twice")
    for leaf in view.leaves:
        check_participant(view.info, leaf.manifest)
        if not leaf.manifest.lists(leaf.device_key):
            raise _void("a device is not in its user's device list")
    _check_one_manifest_a_version(view)


def check_joined(view: ConversationView, *, portal: PortalId, engagement: EngagementId) -> None:
    """What a device that was added (or rejoins) checks before it takes part, besides ``check_view``."""
    if (view.info.portal, view.info.engagement) != (portal, engagement):
        raise _void("it belongs to another engagement than the one opened")
    check_view(view)


def check_commit(
    before: ConversationView,
    after: ConversationView,
    *,
    adds: Collection[DeviceId],
    removes: Collection[DeviceId],
    external: bool = False,
) -> None:
    """Whether a commit keeps the rules; raises an ``IdentityError``, and then it is void for all.

    ``adds`` and ``removes`` are the bundle's names. Whether the names fit is checked last, by
    ``check_bundle``, which raises its own MembershipError subclass.
    """
    check_view(after)
    _check_constant(before.info, after.info)
    _check_participants(before, after)
    _check_manifests(before, after)
    _check_added(before, after)
    if external:
        _check_external(before, after)
    check_bundle(before, after, adds=adds, removes=removes)


def check_renewed(before: ConversationView, after: ConversationView) -> None:
    """Whether a group that takes over has the same conversation, people and devices; raises MembershipError.

    Only its generation is the next one; each device's list is the same as before or a successor.
    """
    check_view(after)
    if replace(before.info, generation=before.info.generation + 1) != after.info:
        raise _void("the group that is to take over is described otherwise than as its next generation")
    if before.devices != after.devices or len(before.leaves) != len(after.leaves):
        raise _void("the group that is to take over has other devices")
    _check_manifests(before, after)


class BundleNamesDiffer(MembershipError):
    """The bundle names other devices than its commit adds and removes."""

    code = "bundle_names_differ"


def check_bundle(
    before: ConversationView,
    after: ConversationView,
    *,
    adds: Collection[DeviceId],
    removes: Collection[DeviceId],
) -> None:
    """Whether the bundle names exactly the devices that come and go; raises BundleNamesDiffer.

    A device that a commit removes and adds again neither comes nor goes.
    """
    if set(adds) != after.devices - before.devices or set(removes) != before.devices - after.devices:
        raise BundleNamesDiffer(
            "A change of the conversation's devices names others than it changes. It is ignored by everybody."
        )


def _governs(view: ConversationView, leaf: Leaf) -> bool:
    governing = view.governing(leaf.user)
    return governing is not None and governing.lists(leaf.device_key)


def _check_one_manifest_a_version(view: ConversationView) -> None:
    seen: dict[tuple[UserId, int], bytes] = {}
    for leaf in view.leaves:
        key = (leaf.user, leaf.manifest.version)
        if seen.setdefault(key, leaf.manifest.raw) != leaf.manifest.raw:
            raise _void("two device lists of one user claim the same version")


def _check_constant(before: ConversationInfo, after: ConversationInfo) -> None:
    if (before.portal, before.engagement, before.generation) != (
        after.portal,
        after.engagement,
        after.generation,
    ):
        raise _void("it changes what conversation this is")


def _check_participants(before: ConversationView, after: ConversationView) -> None:
    """Who is new brings a device; roles stay; an identity key changes only by its recovery key."""
    for participant in after.info.participants:
        known = before.info.participant(participant.user)
        if known is None:
            if not after.leaves_of(participant.user):
                raise _void("it names a new participant without adding one of their devices")
            continue
        if known.role != participant.role:
            raise _void("it changes the role of a participant")
        if not hmac.compare_digest(known.identity_key, participant.identity_key):
            _check_recovered(before, after, participant.user)


def _check_recovered(before: ConversationView, after: ConversationView, user: UserId) -> None:
    old, new = before.governing(user), after.governing(user)
    if old is None or new is None:
        raise _void("it changes a participant's identity key, and nothing shows that it was they")
    _check_follows(old, new)


def _check_manifests(before: ConversationView, after: ConversationView) -> None:
    """A user's governing manifest only moves forward, and no device's own one moves back."""
    for user in {leaf.user for leaf in before.leaves} & {leaf.user for leaf in after.leaves}:
        old, new = before.governing(user), after.governing(user)
        if old is not None and new is not None and new.version >= old.version:
            _check_follows(old, new)
    earlier = {leaf.device_key: leaf.manifest for leaf in before.leaves}
    for leaf in after.leaves:
        if leaf.device_key in earlier:
            _check_follows(earlier[leaf.device_key], leaf.manifest)


def _check_follows(old: VerifiedManifest, new: VerifiedManifest) -> None:
    try:
        check_successor(old, new)
    except ManifestInvalid as error:
        raise _void("a device list does not follow the one before") from error


def _check_added(before: ConversationView, after: ConversationView) -> None:
    """A device that comes is one its user lists today, as far as anybody in the group has seen."""
    known = before.devices
    for leaf in after.leaves:
        if leaf.device in known:
            continue
        newest = before.governing(leaf.user)
        if newest is None or newest.version <= leaf.manifest.version or newest.lists(leaf.device_key):
            continue
        raise _void("it adds a device that its user has removed from their list")


def _check_external(before: ConversationView, after: ConversationView) -> None:
    """A rejoin replaces the leaf of a member device, and changes nothing else."""
    if before.devices != after.devices:
        raise _void("a rejoining device is not the one whose place it takes")
    if before.info != after.info:
        raise _void("a rejoin changes the conversation's description")


def _void(reason: str) -> MembershipError:
    return MembershipError(f"A change of the conversation breaks its rules: {reason}. Everybody ignores it.")
