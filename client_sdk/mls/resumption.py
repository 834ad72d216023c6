"""Re-initialising a group and branching off a subgroup (RFC 9420 section 11.2, 11.3)."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterable, Sequence

from .committing import CommitOutput, create_commit, create_group
from .credentials import AuthenticationService, Credential, SignatureKeyPair, serialize_credential
from .errors import StateError, ValidationError
from .extensions import Extension, Extensions
from .group_state import GroupState
from .hpke import Rng
from .key_package import VerifiedKeyPackage
from .key_schedule import GroupContext
from .leaf_node import MLS_VERSION, Capabilities, LeafNode, Lifetime
from .proposals import Add, PreSharedKey, Proposal
from .psk import PreSharedKeyID, PskStore, ResumptionPsk, ResumptionUsage
from .ratchet_tree import RatchetTree
from .suites import cipher_suite

Identify = Callable[[LeafNode], bytes]
"""The identifier a leaf's credential presents: two leaves with the same one are the same client."""


def identify_by_credential(leaf: LeafNode) -> bytes:
    """The whole credential: the strictest answer, for applications whose credentials do not change."""
    return serialize_credential(leaf.credential)


def reinit_group(
    old: GroupState,
    packages: Sequence[VerifiedKeyPackage],
    signer: SignatureKeyPair,
    credential: Credential,
    *,
    lifetime: Lifetime,
    auth: AuthenticationService,
    now: int,
    rng: Rng,
    capabilities: Capabilities | None = None,
    leaf_extensions: Iterable[Extension] = (),
    identify: Identify = identify_by_credential,
) -> CommitOutput:
    """Found the group that a committed ReInit asks for, with the members of ``old`` (section 11.2).

    ``packages`` are one key package of the new suite for each other member. Raises `StateError` if ``old``
    was not re-initialised, `ValidationError` if the members differ.
    """
    reinit = old.reinit
    if reinit is None:
        raise StateError("RESUME-REINIT", "the group was not re-initialised")
    if reinit.version != MLS_VERSION:
        raise ValidationError("RESUME-VERSION", "the ReInit asks for an unknown protocol version")
    new = create_group(
        cipher_suite(reinit.cipher_suite),
        reinit.group_id,
        signer,
        credential,
        lifetime=lifetime,
        rng=rng,
        extensions=reinit.extensions,
        capabilities=capabilities,
        leaf_extensions=leaf_extensions,
    )
    return _found(old, new, packages, ResumptionUsage.REINIT, identify, auth=auth, now=now, rng=rng)


def branch_group(
    parent: GroupState,
    group_id: bytes,
    packages: Sequence[VerifiedKeyPackage],
    signer: SignatureKeyPair,
    credential: Credential,
    *,
    lifetime: Lifetime,
    auth: AuthenticationService,
    now: int,
    rng: Rng,
    extensions: Extensions = (),
    capabilities: Capabilities | None = None,
    leaf_extensions: Iterable[Extension] = (),
    identify: Identify = identify_by_credential,
) -> CommitOutput:
    """Found a subgroup of some members of ``parent``, in its suite (section 11.3)."""
    parent.require_active()
    new = create_group(
        parent.suite,
        group_id,
        signer,
        credential,
        lifetime=lifetime,
        rng=rng,
        extensions=extensions,
        capabilities=capabilities,
        leaf_extensions=leaf_extensions,
    )
    return _found(parent, new, packages, ResumptionUsage.BRANCH, identify, auth=auth, now=now, rng=rng)


def _found(
    old: GroupState,
    new: GroupState,
    packages: Sequence[VerifiedKeyPackage],
    usage: ResumptionUsage,
    identify: Identify,
    *,
    auth: AuthenticationService,
    now: int,
    rng: Rng,
) -> CommitOutput:
    psk = ResumptionPsk(usage, old.group_id, old.epoch)
    entry = PreSharedKeyID.fresh(psk, suite=new.suite, rng=rng)
    proposals: list[Proposal] = [Add(package) for package in packages]
    proposals.append(PreSharedKey(entry))
    psks: PskStore = {psk: old.resumption_psk}
    output = create_commit(new, proposals, auth=auth, now=now, rng=rng, psks=psks, founding=usage)
    tree = output.state.epoch_state.tree
    _check_members(old, tree, usage, identify)
    return output


def check_resumption(
    resumes: GroupState | None,
    named: Sequence[ResumptionPsk],
    context: GroupContext,
    tree: RatchetTree,
    identify: Identify,
) -> None:
    """Check, at joining, a Welcome's re-initialisation or branch against the old group (12.4.3.1).

    ``named`` are the Welcome's PSKs with such a usage, ``resumes`` the old group as the caller has it.
    """
    if resumes is None and not named:
        return
    if resumes is None or not named:
        raise ValidationError("RESUME-WELCOME", "a Welcome resumes no group, or none was given")
    psk = named[0]
    if (psk.group_id, psk.epoch) != (resumes.group_id, resumes.epoch):
        raise ValidationError("RESUME-GROUP", "a Welcome resumes another group or epoch than the one given")
    if psk.usage is ResumptionUsage.REINIT:
        _check_reinit(resumes, context)
    elif (context.version, context.cipher_suite) != (MLS_VERSION, resumes.suite.id):
        raise ValidationError("RESUME-BRANCH", "a branched group has another version or suite")
    _check_members(resumes, tree, psk.usage, identify)


def _check_reinit(old: GroupState, context: GroupContext) -> None:
    reinit = old.reinit
    if reinit is None:
        raise ValidationError("RESUME-NO-REINIT", "a Welcome re-initialises a group whose members did not")
    asked = (reinit.group_id, reinit.version, reinit.cipher_suite, reinit.extensions)
    if asked != (context.group_id, context.version, context.cipher_suite, context.extensions):
        raise ValidationError("RESUME-PARAMETERS", "a re-initialised group is not what the ReInit asked for")


def _check_members(old: GroupState, tree: RatchetTree, usage: ResumptionUsage, identify: Identify) -> None:
    before = Counter(identify(leaf) for _, leaf in old.epoch_state.tree.leaves())
    after = Counter(identify(leaf) for _, leaf in tree.leaves())
    if after - before:
        raise ValidationError("RESUME-STRANGER", "the new group has a member the old one has not")
    if usage is ResumptionUsage.REINIT and before - after:
        raise ValidationError("RESUME-MISSING", "the re-initialised group misses a member of the old one")
