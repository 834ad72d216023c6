"""Joining from a Welcome: what a joiner must not believe."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

import pytest

from client_sdk import mls
from client_sdk.mls import committing, treekem
from client_sdk.mls.codec import parse_all
from client_sdk.mls.joining import BundleLookup
from client_sdk.mls.ratchet_tree import ParentNode, RatchetTree
from client_sdk.mls.welcome import GroupSecrets, parse_group_info

from .support import LIFETIME, Auth, Client, Group, RefusedError, seeded, unchecked


@pytest.fixture
def group() -> Group:
    return Group("anna", "ben", "cleo")


@pytest.fixture
def dan() -> Client:
    return Client("dan")


def refuse(
    dan: Client, welcome: bytes | None, bundle: mls.KeyPackageBundle, rule: str, **options: object
) -> None:
    assert welcome is not None
    with pytest.raises(mls.MLSError) as caught:
        dan.join(welcome, bundle, **options)
    assert caught.value.rule == rule


def add(group: Group, bundle: mls.KeyPackageBundle, **options: object) -> mls.CommitOutput:
    proposal = mls.Add(mls.VerifiedKeyPackage(bundle.key_package))
    return group.clients["anna"].commit(group.states["anna"], [proposal], **options)


def test_bundles_are_found_by_reference(group: Group, dan: Client) -> None:
    bundles = [dan.bundle() for _ in range(3)]
    welcome = add(group, bundles[1]).welcome
    assert welcome is not None
    by_ref = {bundle.ref: bundle for bundle in bundles}
    for lookup in (bundles[1], by_ref, by_ref.get):
        state = mls.join_from_welcome(welcome, lookup, dan.signer, auth=Auth(), now=0)
        assert state.own_leaf == bundles[1].key_package.leaf_node
    lookups: list[BundleLookup] = [bundles[0], {}, lambda ref: None]
    for nothing in lookups:
        with pytest.raises(mls.UnknownKeyPackage) as caught:
            mls.join_from_welcome(welcome, nothing, dan.signer, auth=Auth(), now=0)
        assert caught.value.rule == "WELCOME-KEY-PACKAGE"


def test_another_signer_or_private_key_is_a_local_fault(group: Group, dan: Client) -> None:
    bundle, other = dan.bundle(), dan.bundle()
    welcome = add(group, bundle).welcome
    assert welcome is not None
    with pytest.raises(mls.UsageError):
        mls.join_from_welcome(welcome, bundle, Client("eve").signer, auth=Auth(), now=0)
    for wrong in (
        replace(bundle, init_private=other.init_private),
        replace(bundle, encryption_private=other.encryption_private),
    ):
        with pytest.raises(mls.UsageError):
            dan.join(welcome, wrong)


def test_another_suite_is_refused(group: Group, dan: Client) -> None:
    bundle = dan.bundle()
    message = mls.MLSMessage.parse(add(group, bundle).welcome or b"").body
    assert isinstance(message, mls.Welcome)
    changed = mls.MLSMessage(replace(message, cipher_suite=3)).serialize()
    refuse(dan, changed, bundle, "WELCOME-SUITE")


def test_every_damaged_or_truncated_welcome_is_refused(group: Group, dan: Client) -> None:
    bundle = dan.bundle()
    welcome = add(group, bundle).welcome
    assert welcome is not None
    for place in range(len(welcome)):
        for bad in (welcome[:place], welcome[:place] + bytes([welcome[place] ^ 2]) + welcome[place + 1 :]):
            with pytest.raises(mls.MLSError):
                dan.join(bad, bundle)
    assert dan.join(welcome, bundle).own_leaf_index == 3


def test_a_welcome_that_was_used_opens_nothing_without_its_keys(group: Group, dan: Client) -> None:
    welcome = add(group, dan.bundle()).welcome
    assert welcome is not None
    with pytest.raises(mls.UnknownKeyPackage):
        mls.join_from_welcome(welcome, {}, dan.signer, auth=Auth(), now=0)


# ---- lies inside a Welcome ---------------------------------------------------------------------------


def lying_info(
    group: Group,
    bundle: mls.KeyPackageBundle,
    change: Callable[[mls.GroupInfo], mls.GroupInfo],
    signer: str = "anna",
) -> bytes | None:
    """A Welcome whose GroupInfo was changed and signed again."""
    real = committing._group_info

    def altered(state: mls.GroupState, extensions: tuple[mls.Extension, ...]) -> mls.GroupInfo:
        return change(real(state, extensions)).signed_by(group.suite, group.clients[signer].signer)

    with unchecked(committing__group_info=altered):
        return add(group, bundle).welcome


def in_context(**changes: object) -> Callable[[mls.GroupInfo], mls.GroupInfo]:
    def change(info: mls.GroupInfo) -> mls.GroupInfo:
        context = replace(info.group_context, **changes)  # type: ignore[arg-type]  # changes of any kind
        return replace(info, group_context=context)

    return change


def in_tree(change: Callable[[RatchetTree], RatchetTree]) -> Callable[[mls.GroupInfo], mls.GroupInfo]:
    """Another tree, with the tree hash that belongs to it."""

    def altered(info: mls.GroupInfo) -> mls.GroupInfo:
        data = mls.find_extension(info.extensions, 2)
        assert data is not None
        tree = change(RatchetTree.parse(mls.SUITE_1, data))
        context = replace(info.group_context, tree_hash=tree.tree_hash())
        return replace(info, group_context=context, extensions=(mls.Extension(2, tree.serialize()),))

    return altered


INFOS: list[tuple[str, Callable[[mls.GroupInfo], mls.GroupInfo]]] = [
    ("GROUPINFO-VERSION", in_context(version=2)),
    ("GROUPINFO-SUITE", in_context(cipher_suite=3)),
    ("GROUPINFO-TREE-HASH", in_context(tree_hash=bytes(32))),
    ("GROUPINFO-TREE", lambda info: replace(info, extensions=())),
    ("GROUPINFO-SIGNER", lambda info: replace(info, signer=77)),
    ("GROUPINFO-SIGNATURE", lambda info: replace(info, signer=1)),
    ("COMMIT-CONFIRMATION-TAG", lambda info: replace(info, confirmation_tag=bytes(32))),
    ("COMMIT-CONFIRMATION-TAG", lambda info: replace(info, confirmation_tag=b"")),
    ("COMMIT-CONFIRMATION-TAG", in_context(epoch=77)),
    ("COMMIT-CONFIRMATION-TAG", in_context(confirmed_transcript_hash=bytes(32))),
    ("LEAF-SIGNATURE", in_context(group_id=b"elsewhere")),
    ("GROUP-EXTENSIONS", in_context(extensions=(mls.Extension(0xF0C1, b""),))),
]


@pytest.mark.parametrize(("rule", "change"), INFOS)
def test_a_lying_group_info_is_refused(
    group: Group, dan: Client, rule: str, change: Callable[[mls.GroupInfo], mls.GroupInfo]
) -> None:
    bundle = dan.bundle()
    refuse(dan, lying_info(group, bundle, change), bundle, rule)


def swap_unmerged(tree: RatchetTree, leaves: tuple[int, ...]) -> RatchetTree:
    root = tree.root
    parent = tree.parent_node(root)
    assert parent is not None
    return tree.with_nodes({root: ParentNode(parent.encryption_key, parent.parent_hash, leaves)})


TREES: list[tuple[str, Callable[[RatchetTree], RatchetTree]]] = [
    ("TREE-UNMERGED-SORTED", lambda tree: swap_unmerged(tree, (2, 1))),
    ("TREE-UNMERGED-SORTED", lambda tree: swap_unmerged(tree, (1, 1))),
    ("TREE-UNMERGED-LEAF", lambda tree: swap_unmerged(tree, (9,))),
    ("TREE-UNMERGED-BETWEEN", lambda tree: swap_unmerged(tree, (1,))),
    ("TREE-PARENT-HASH", lambda tree: swap_unmerged(tree, (3,))),
    ("TREE-PARENT-HASH", lambda tree: tree.with_nodes({tree.root: ParentNode(b"\5" * 32, b"", ())})),
    ("TREE-PARENT-HASH", lambda tree: tree.with_nodes({2: tree.nodes[4]})),
    (
        "TREE-UNIQUE-ENCRYPTION-KEY",
        lambda tree: tree.with_nodes({1: None, 3: None, 5: None, 4: tree.nodes[6]}),
    ),
]


@pytest.mark.parametrize(("rule", "change"), TREES)
def test_a_lying_tree_is_refused(
    group: Group, dan: Client, rule: str, change: Callable[[RatchetTree], RatchetTree]
) -> None:
    bundle = dan.bundle()
    refuse(dan, lying_info(group, bundle, in_tree(change)), bundle, rule)


def test_the_tree_must_hold_the_joiners_own_leaf(group: Group, dan: Client) -> None:
    bundle = dan.bundle()
    refuse(
        dan, lying_info(group, bundle, in_tree(lambda tree: tree.remove_leaf(3))), bundle, "WELCOME-OWN-LEAF"
    )
    other = mls.generate_key_package(
        group.suite, dan.signer, dan.credential, lifetime=LIFETIME, rng=seeded("another leaf")
    )
    same_place = in_tree(
        lambda tree: tree.with_nodes({1: None, 3: None, 5: None, 6: other.key_package.leaf_node})
    )
    refuse(dan, lying_info(group, bundle, same_place), bundle, "WELCOME-OWN-LEAF")


def lying_secrets(
    group: Group, bundle: mls.KeyPackageBundle, change: Callable[[GroupSecrets], GroupSecrets]
) -> bytes:
    real = GroupSecrets

    def altered(*args: object) -> GroupSecrets:
        return change(real(*args))  # type: ignore[arg-type]  # passed through as they came

    with unchecked(committing_GroupSecrets=altered):
        welcome = add(group, bundle).welcome
    assert welcome is not None
    return welcome


def psk(usage: mls.ResumptionUsage) -> mls.PreSharedKeyID:
    return mls.PreSharedKeyID(mls.ResumptionPsk(usage, b"group", usage.value), b"n" * 32)


BRANCH, REINIT = psk(mls.ResumptionUsage.BRANCH), psk(mls.ResumptionUsage.REINIT)
SECRETS: list[tuple[str, Callable[[GroupSecrets], GroupSecrets]]] = [
    ("PATH-PUBLIC-KEY", lambda secrets: replace(secrets, path_secret=bytes(32))),
    ("PATH-SECRET", lambda secrets: replace(secrets, path_secret=b"")),
    ("WELCOME-GROUPINFO", lambda secrets: replace(secrets, joiner_secret=bytes(32))),
    ("WELCOME-SECRETS", lambda secrets: replace(secrets, joiner_secret=b"")),
    ("PSK-MISSING", lambda secrets: replace(secrets, psks=(BRANCH,))),
    ("PSK-DUPLICATE", lambda secrets: replace(secrets, psks=(BRANCH, BRANCH))),
    ("WELCOME-PSK-USAGE", lambda secrets: replace(secrets, psks=(BRANCH, REINIT))),
]


@pytest.mark.parametrize(("rule", "change"), SECRETS)
def test_lying_group_secrets_are_refused(
    group: Group, dan: Client, rule: str, change: Callable[[GroupSecrets], GroupSecrets]
) -> None:
    bundle = dan.bundle()
    refuse(dan, lying_secrets(group, bundle, change), bundle, rule)


def test_a_branched_group_begins_at_epoch_one(group: Group, dan: Client) -> None:
    bundle = dan.bundle()
    proposal = mls.PreSharedKey(BRANCH)
    store = {BRANCH.psk: b"secret"}
    with unchecked():
        output = group.clients["anna"].commit(
            group.states["anna"], [mls.Add(mls.VerifiedKeyPackage(bundle.key_package)), proposal], psks=store
        )
    refuse(dan, output.welcome, bundle, "WELCOME-PSK-EPOCH", psks=store)


def test_a_path_secret_for_a_blank_node_is_refused(group: Group, dan: Client) -> None:
    bundle = dan.bundle()
    real = GroupSecrets

    def with_secret(joiner: bytes, _path: bytes | None, psks: tuple[mls.PreSharedKeyID, ...]) -> GroupSecrets:
        return real(joiner, bytes(32), psks)

    proposals: list[mls.Proposal] = [
        mls.Remove(1),
        mls.Remove(2),
        mls.Add(mls.VerifiedKeyPackage(bundle.key_package)),
    ]
    with unchecked(committing_GroupSecrets=with_secret):
        output = group.clients["anna"].commit(group.states["anna"], proposals, force_path=False)
    refuse(dan, output.welcome, bundle, "WELCOME-PATH-SECRET")


def test_a_path_secret_of_a_node_above_the_blank_one_is_refused(dan: Client) -> None:
    """The joiner and its adder have a blank node in common; that the root has a key is no excuse."""
    group, bundle = Group("anna", "ben", "cleo"), dan.bundle()
    group.commit("anna", [mls.Remove(1)])
    made: list[treekem.NewPath] = []

    def remembered(*args: object, **options: object) -> treekem.NewPath:
        made.append(treekem.generate_path(*args, **options))  # type: ignore[arg-type]  # passed through
        return made[-1]

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(committing, "generate_path", remembered)
        group.commit("anna")
    tree = group.states["anna"].epoch_state.tree
    assert tree.parent_node(1) is None
    assert tree.parent_node(3) is not None
    real = GroupSecrets

    def with_secret(joiner: bytes, _path: bytes | None, psks: tuple[mls.PreSharedKeyID, ...]) -> GroupSecrets:
        return real(joiner, made[0].path_secrets[3], psks)

    with unchecked(committing_GroupSecrets=with_secret):
        output = group.clients["anna"].commit(
            group.states["anna"], [mls.Add(mls.VerifiedKeyPackage(bundle.key_package))], force_path=False
        )
    refuse(dan, output.welcome, bundle, "WELCOME-PATH-SECRET")


def test_a_welcome_does_not_come_from_the_joiner(group: Group, dan: Client) -> None:
    bundle = dan.bundle()
    group.clients["dan"] = dan

    def from_dan(info: mls.GroupInfo) -> mls.GroupInfo:
        return replace(info, signer=3)

    refuse(dan, lying_info(group, bundle, from_dan, signer="dan"), bundle, "WELCOME-SIGNER")


def test_the_joiner_asks_about_every_member(group: Group, dan: Client) -> None:
    bundle = dan.bundle()
    welcome = add(group, bundle).welcome
    assert welcome is not None
    dan.join(welcome, bundle)
    assert sorted(dan.auth.asked) == [b"anna", b"ben", b"cleo", b"dan"]
    for name in (b"anna", b"cleo"):
        with pytest.raises(RefusedError):
            dan.join(welcome, bundle, auth=Auth(refuse_identity=name))


def test_a_tree_with_a_leaf_of_endless_lifetime_is_refused(dan: Client) -> None:
    group = Group("anna", lifetime=mls.Lifetime(0, (1 << 64) - 1))
    bundle = dan.bundle()
    welcome = add(group, bundle, force_path=False).welcome
    refuse(dan, welcome, bundle, "LEAF-LIFETIME-TOTAL")
    assert welcome is not None
    assert dan.join(welcome, bundle, max_lifetime=1 << 64)


def test_the_published_group_info_parses(group: Group) -> None:
    data = mls.export_group_info(group.states["anna"])
    body = mls.MLSMessage.parse(data).body
    assert isinstance(body, mls.GroupInfo)
    assert parse_all(body.serialize(), parse_group_info) == body
    assert body.group_context == group.states["ben"].group_context
