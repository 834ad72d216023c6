"""Who is to be added to or removed from a group, and the commit that does it. Pure: decisions and bytes."""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Final

from client_sdk.engine.account import Account
from client_sdk.engine.key_packages import capabilities, lifetime
from client_sdk.errors import ManifestInvalid
from client_sdk.identity import (
    EXTENSION_TYPE,
    ConversationInfo,
    ConversationView,
    CredentialPolicy,
    Participant,
    VerifiedManifest,
    check_commit,
    check_successor,
    check_view,
    view_of,
)
from client_sdk.mls import (
    Add,
    CipherSuite,
    CommitOutput,
    Extension,
    GroupContextExtensions,
    GroupState,
    Proposal,
    Remove,
    RequiredCapabilities,
    VerifiedKeyPackage,
    create_commit,
    create_group,
    export_group_info,
)
from relay.wire import Bundle
from relay.wire import frames as fr
from relay.wire.ids import DeviceId, EngagementId, Role, UserId
from relay.wire.limits import MAX_MEMBER_DEVICES

WAIT_PER_PLACE_SECONDS: Final = 2.0  # PROTOCOL 7: a random part of it for each place behind the first

Rng = Callable[[int], bytes]


@dataclass(frozen=True, slots=True)
class Candidate:
    """A waiting device whose key package and manifest were checked; its user's role is the roster's."""

    package: VerifiedKeyPackage
    manifest: VerifiedManifest
    role: Role


@dataclass(frozen=True, slots=True)
class Plan:
    """What the next commit should do; `places` is how many devices stand before this one."""

    removes: tuple[int, ...]
    waiting: tuple[DeviceId, ...]
    refresh: bool
    places: int
    renews: CipherSuite | None = None
    """The suite to move to; then nothing else is done."""


@dataclass(frozen=True, slots=True)
class Made:
    """A commit to be sent: the entry's body, the state after it, and the state to go on from until then."""

    body: bytes
    state: GroupState
    current: GroupState | None


def plan_commit(
    view: ConversationView,
    own_leaf: int,
    own_manifest: VerifiedManifest,
    engagement: fr.Engagement,
    *,
    admissible: Callable[[UserId], bool],
    refused: Collection[DeviceId] = (),
) -> Plan | None:
    """What this member should commit now; None if nothing.

    `admissible` says whether a user may be added without asking anybody; `refused` are devices whose key
    packages were no good lately.
    """
    leaving = leaves_that_go(view, own_manifest)
    if own_leaf in leaving:
        return None
    room = MAX_MEMBER_DEVICES - len(view.leaves) + len(leaving)
    waiting = waiting_devices(engagement, present=view.devices, admissible=admissible, refused=refused)[:room]
    own = next(leaf.manifest for leaf in view.leaves if leaf.index == own_leaf)
    refresh = own_manifest.version > own.version
    if not (leaving or waiting or refresh):
        return None
    return Plan(leaving, waiting, refresh, 0 if refresh else view.places_before(own_leaf))


def leaves_that_go(view: ConversationView, own: VerifiedManifest) -> tuple[int, ...]:
    """The leaves to remove: also those that this user's newest list, not yet in the tree, takes away.

    So one commit brings the list and removes the device, and nothing is said in between.
    """
    governing = view.governing(own.user)
    if governing is None or governing.version >= own.version:
        return view.leaves_to_remove
    revoked = (leaf.index for leaf in view.leaves_of(own.user) if not own.lists(leaf.device_key))
    return tuple(sorted({*view.leaves_to_remove, *revoked}))


def waiting_devices(
    engagement: fr.Engagement,
    *,
    present: Collection[DeviceId],
    admissible: Callable[[UserId], bool],
    refused: Collection[DeviceId] = (),
) -> tuple[DeviceId, ...]:
    """The devices that wait to be let in and may be, in the relay's order."""
    roster = {participant.user for participant in engagement.participants}
    return tuple(
        entry.device
        for entry in engagement.devices
        if entry.has_key_package
        and entry.user in roster
        and entry.device not in present
        and entry.device not in refused
        and admissible(entry.user)
    )


def info_with(info: ConversationInfo, candidates: Sequence[Candidate]) -> ConversationInfo:
    """The conversation's description with these devices' users among its participants."""
    participants: dict[UserId, Participant] = {p.user: p for p in info.participants}
    for candidate in candidates:
        user, key = candidate.manifest.user, candidate.manifest.identity_key
        known = participants.get(user)
        if known is None or known.identity_key != key:
            participants[user] = Participant(user, known.role if known else candidate.role, key)
    return replace(info, participants=tuple(participants.values()))


def make_commit(
    group: GroupState,
    view: ConversationView,
    account: Account,
    candidates: Sequence[Candidate],
    *,
    removes: Sequence[int] = (),
    now: int,
    rng: Rng,
) -> Made:
    """The commit that adds and removes these; raises what receivers would, so that nothing void is sent.

    Of somebody who came back with another identity key all earlier devices go. If the recovery key vouches
    for it, the new ones come in the same commit; else the person leaves with this one and comes with the
    next.
    """
    candidates, leaving = _one_identity_each(candidates), _who_must_leave(view, candidates)
    candidates = [candidate for candidate in candidates if candidate.manifest.user not in leaving]
    removes = sorted({*removes, *_replaced_leaves(view, candidates, leaving)})
    staying = tuple(p for p in view.info.participants if p.user not in leaving)
    info = info_with(replace(view.info, participants=staying), candidates)
    proposals: list[Proposal] = [Remove(index) for index in removes]
    proposals += [Add(candidate.package) for candidate in candidates]
    if info != view.info:
        proposals.append(GroupContextExtensions(replaced(group.extensions, info.to_extension())))
    output = create_commit(
        group,
        proposals,
        auth=CredentialPolicy(info.portal, info),
        now=now,
        rng=rng,
        new_credential=account.credential,
    )
    after = view_of(output.state)
    bundle = _bundle(view.devices, after.devices, output)
    check_commit(view, after, adds=bundle.adds, removes=bundle.removes)
    return Made(bundle.serialize(), output.state, output.current)


def _one_identity_each(candidates: Sequence[Candidate]) -> list[Candidate]:
    """Of devices that name different identity keys of one user only those with the newest list."""
    newest: dict[UserId, VerifiedManifest] = {}
    for candidate in candidates:
        known = newest.get(candidate.manifest.user)
        if known is None or candidate.manifest.version > known.version:
            newest[candidate.manifest.user] = candidate.manifest
    return [c for c in candidates if c.manifest.identity_key == newest[c.manifest.user].identity_key]


def _who_must_leave(view: ConversationView, candidates: Sequence[Candidate]) -> set[UserId]:
    """Users whose new identity nothing connects with the one that takes part."""
    leaving = set()
    for candidate in candidates:
        user, participant = candidate.manifest.user, view.info.participant(candidate.manifest.user)
        if participant is None or participant.identity_key == candidate.manifest.identity_key:
            continue
        governing = view.governing(user)
        if governing is None or not _succeeds(governing, candidate.manifest):
            leaving.add(user)
    return leaving


def _succeeds(old: VerifiedManifest, new: VerifiedManifest) -> bool:
    try:
        check_successor(old, new)
    except ManifestInvalid:
        return False
    return True


def _replaced_leaves(
    view: ConversationView, candidates: Sequence[Candidate], leaving: Collection[UserId]
) -> set[int]:
    """The leaves of who leaves, and of earlier identities of those who come."""
    keys = {candidate.manifest.user: candidate.manifest.identity_key for candidate in candidates}
    return {
        leaf.index
        for leaf in view.leaves
        if leaf.user in leaving
        or leaf.manifest.identity_key != keys.get(leaf.user, leaf.manifest.identity_key)
    }


def make_group(
    engagement: fr.Engagement,
    account: Account,
    candidates: Sequence[Candidate],
    *,
    suite: CipherSuite,
    now: int,
    rng: Rng,
) -> Made:
    """A new group of this device and the candidates, as the first bundle of a stream."""
    roles = {participant.user: participant.role for participant in engagement.participants}
    own = Participant(account.user, roles[account.user], account.manifest.identity_key)
    info = ConversationInfo(
        portal=account.portal,
        engagement=EngagementId(engagement.id),
        policy={"retention_hours": engagement.retention_hours},
        participants=(own,),
    )
    required = RequiredCapabilities(extension_types=(EXTENSION_TYPE,)).to_extension()
    group = create_group(
        suite,
        info.group_id,
        account.signer,
        account.credential,
        lifetime=lifetime(now),
        rng=rng,
        extensions=(required, info_with(info, candidates).to_extension()),
        capabilities=capabilities(),
    )
    if not candidates:
        check_view(view_of(group))
        alone = Bundle(commit=b"", group_info=export_group_info(group))
        return Made(alone.serialize(), group, None)
    policy = CredentialPolicy(account.portal, info_with(info, candidates))
    adds = [Add(candidate.package) for candidate in candidates]
    output = create_commit(group, adds, auth=policy, now=now, rng=rng)
    after = view_of(output.state)
    check_view(after)
    return Made(_bundle(frozenset({account.device}), after.devices, output).serialize(), output.state, None)


def _bundle(before: frozenset[DeviceId], after: frozenset[DeviceId], output: CommitOutput) -> Bundle:
    return Bundle(
        adds=tuple(sorted(after - before)),
        removes=tuple(sorted(before - after)),
        commit=output.commit,
        welcome=output.welcome,
        group_info=output.group_info,
    )


def replaced(extensions: Sequence[Extension], new: Extension) -> tuple[Extension, ...]:
    """These extensions with the one of the same type in its place."""
    return tuple(new if extension.type == new.type else extension for extension in extensions)


def roles_of(engagement: fr.Engagement) -> Mapping[UserId, Role]:
    """The roster: each user's role."""
    return {participant.user: participant.role for participant in engagement.participants}
