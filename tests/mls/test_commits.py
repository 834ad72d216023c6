"""Commits a rogue member might build: every one is refused, before any state changes."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace

import pytest

from client_sdk import mls
from client_sdk.mls import protection, treekem
from client_sdk.mls.framing import AuthData
from client_sdk.mls.hpke import KemKeyPair
from client_sdk.mls.leaf_node import LeafSource
from client_sdk.mls.update_path import HpkeCiphertext, UpdatePath, UpdatePathNode

from .support import Client, Group, RefusedError, refused, unchecked

Change = Callable[[UpdatePath], UpdatePath]
LeafChange = Callable[[mls.LeafNode], mls.LeafNode]


@pytest.fixture
def group() -> Group:
    return Group("anna", "ben", "cleo", "dan", "eve")


def with_path(group: Group, change: Change, proposals: Sequence[mls.Proposal] = ()) -> bytes:
    """A commit by anna whose encrypted path was changed before signing."""
    real = treekem.encrypt_path

    def altered(*args: object) -> UpdatePath:
        return change(real(*args))  # type: ignore[arg-type]  # passed through as they came

    with unchecked(committing_encrypt_path=altered):
        return group.clients["anna"].commit(group.states["anna"], proposals).commit


def with_leaf(group: Group, change: LeafChange, sign_index: int = 0) -> bytes:
    """A commit by anna whose path leaf was changed, and properly signed, before its tree was hashed."""
    real = treekem.generate_path
    signer = group.clients["anna"].signer

    def altered(
        tree: object, index: int, make: Callable[[bytes, bytes], mls.LeafNode], rng: mls.Rng
    ) -> object:
        def other(encryption_key: bytes, parent_hash: bytes) -> mls.LeafNode:
            leaf = change(make(encryption_key, parent_hash))
            return leaf.signed_by(group.suite, signer, b"group", sign_index)

        return real(tree, index, other, rng)  # type: ignore[arg-type]  # passed through as they came

    with unchecked(committing_generate_path=altered):
        return group.clients["anna"].commit(group.states["anna"]).commit


def test_an_empty_commit_needs_a_path(group: Group) -> None:
    with unchecked():
        commit = group.clients["anna"].commit(group.states["anna"], force_path=False).commit
    refused(group, "ben", commit, "COMMIT-PATH")


@pytest.mark.parametrize(
    "proposal", [mls.Remove(2), mls.GroupContextExtensions(())], ids=["remove", "extensions"]
)
def test_such_proposals_need_a_path(group: Group, proposal: mls.Proposal) -> None:
    with unchecked():
        commit = group.clients["anna"].commit(group.states["anna"], [proposal], force_path=False).commit
    refused(group, "ben", commit, "COMMIT-PATH")


def drop_node(path: UpdatePath) -> UpdatePath:
    return replace(path, nodes=path.nodes[:-1])


def extra_node(path: UpdatePath) -> UpdatePath:
    return replace(path, nodes=(*path.nodes, UpdatePathNode(b"k" * 32, ())))


def at_node(place: int, change: Callable[[UpdatePathNode], UpdatePathNode]) -> Change:
    def altered(path: UpdatePath) -> UpdatePath:
        nodes = list(path.nodes)
        nodes[place] = change(nodes[place])
        return replace(path, nodes=tuple(nodes))

    return altered


def fewer(node: UpdatePathNode) -> UpdatePathNode:
    return replace(node, encrypted_path_secret=node.encrypted_path_secret[:-1])


def more(node: UpdatePathNode) -> UpdatePathNode:
    return replace(node, encrypted_path_secret=node.encrypted_path_secret * 2)


def damaged(node: UpdatePathNode) -> UpdatePathNode:
    sealed = [
        HpkeCiphertext(item.kem_output, item.ciphertext[:-1] + b"\0") for item in node.encrypted_path_secret
    ]
    return replace(node, encrypted_path_secret=tuple(sealed))


PATHS: list[tuple[str, Change, type[mls.MLSError]]] = [
    ("PATH-LENGTH", drop_node, mls.ValidationError),
    ("PATH-LENGTH", extra_node, mls.ValidationError),
    ("PATH-CIPHERTEXTS", at_node(0, fewer), mls.ValidationError),
    ("PATH-CIPHERTEXTS", at_node(-1, fewer), mls.ValidationError),
    ("PATH-CIPHERTEXTS", at_node(1, more), mls.ValidationError),
    ("AEAD-TAG", at_node(0, damaged), mls.CryptoError),
    (
        "PATH-PARENT-HASH",
        at_node(-1, lambda node: replace(node, encryption_key=b"\5" * 32)),
        mls.ValidationError,
    ),
]


@pytest.mark.parametrize(("rule", "change", "error"), PATHS)
def test_a_malformed_path_is_refused(
    group: Group, rule: str, change: Change, error: type[mls.MLSError]
) -> None:
    refused(group, "ben", with_path(group, change), rule, error)


def test_a_public_key_of_the_wrong_length_is_refused(group: Group) -> None:
    real = treekem.node_key_pair
    seen = 0

    def short(suite: mls.CipherSuite, secret: bytes) -> KemKeyPair:
        nonlocal seen
        seen += 1
        pair = real(suite, secret)
        return pair if seen == 1 else replace(pair, public=pair.public[:31])

    with unchecked(treekem_node_key_pair=short, committing_encrypt_path=keyless_path):
        commit = group.clients["anna"].commit(group.states["anna"]).commit
    refused(group, "ben", commit, "KEM-KEY", mls.CryptoError)


def keyless_path(new: treekem.NewPath, leaf_index: int, *_: object) -> UpdatePath:
    nodes = []
    for node, _copath in new.tree.filtered_direct_path(leaf_index):
        parent = new.tree.parent_node(node)
        assert parent is not None
        nodes.append(UpdatePathNode(parent.encryption_key, ()))
    return UpdatePath(new.leaf, tuple(nodes))


def test_a_path_secret_that_does_not_fit_its_public_key_is_refused(group: Group) -> None:
    real = treekem.encrypt_path

    def lying(new: treekem.NewPath, *rest: object) -> UpdatePath:
        other = dict.fromkeys(new.path_secrets, b"\x07" * 32)
        return real(replace(new, path_secrets=other), *rest)  # type: ignore[arg-type]  # passed through

    with unchecked(committing_encrypt_path=lying):
        commit = group.clients["anna"].commit(group.states["anna"]).commit
    refused(group, "ben", commit, "PATH-PUBLIC-KEY", mls.CryptoError)

    def short(new: treekem.NewPath, *rest: object) -> UpdatePath:
        other = dict.fromkeys(new.path_secrets, b"\7" * 31)
        return real(replace(new, path_secrets=other), *rest)  # type: ignore[arg-type]  # passed through

    with unchecked(committing_encrypt_path=short):
        commit = group.clients["anna"].commit(group.states["anna"]).commit
    refused(group, "ben", commit, "PATH-SECRET", mls.CryptoError)


def test_path_keys_are_new_to_the_tree(group: Group) -> None:
    existing = group.states["ben"].own_leaf.encryption_key
    taken = at_node(1, lambda node: replace(node, encryption_key=existing))
    refused(group, "ben", with_path(group, taken), "PATH-FRESH-KEYS")

    def twice(path: UpdatePath) -> UpdatePath:
        first = path.nodes[0].encryption_key
        return at_node(1, lambda node: replace(node, encryption_key=first))(path)

    refused(group, "ben", with_path(group, twice), "PATH-FRESH-KEYS")


def test_a_path_leaf_keeps_neither_key_nor_hash(group: Group) -> None:
    old = group.states["anna"].own_leaf
    kept = with_leaf(group, lambda leaf: replace(leaf, encryption_key=old.encryption_key))
    refused(group, "ben", kept, "PATH-LEAF-KEY")
    refused(
        group, "ben", with_leaf(group, lambda leaf: replace(leaf, parent_hash=bytes(32))), "PATH-PARENT-HASH"
    )


def test_a_path_leaf_is_made_for_a_commit(group: Group) -> None:
    def as_update(leaf: mls.LeafNode) -> mls.LeafNode:
        return replace(leaf, source=LeafSource.UPDATE, parent_hash=None)

    refused(group, "ben", with_leaf(group, as_update), "PATH-LEAF-SOURCE")


def test_a_path_leaf_is_signed_for_its_place(group: Group) -> None:
    commit = with_leaf(group, lambda leaf: leaf, sign_index=1)
    refused(group, "ben", commit, "LEAF-SIGNATURE", mls.CryptoError)


LEAVES: list[tuple[str, LeafChange]] = [
    ("LEAF-SUITE", lambda leaf: replace(leaf, capabilities=replace(leaf.capabilities, cipher_suites=()))),
    ("LEAF-VERSION", lambda leaf: replace(leaf, capabilities=replace(leaf.capabilities, versions=()))),
    ("LEAF-CREDENTIAL", lambda leaf: replace(leaf, credential=mls.OpaqueCredential(9, b"anna"))),
    ("LEAF-EXTENSIONS", lambda leaf: replace(leaf, extensions=(mls.Extension(0xF00F, b""),))),
    (
        "LEAF-CREDENTIAL-MUTUAL",
        lambda leaf: replace(
            leaf,
            credential=mls.OpaqueCredential(2, b"anna"),
            capabilities=replace(leaf.capabilities, credentials=(1, 2)),
        ),
    ),
]


@pytest.mark.parametrize(("rule", "change"), LEAVES, ids=[rule for rule, _ in LEAVES])
def test_a_bad_path_leaf_is_refused(group: Group, rule: str, change: LeafChange) -> None:
    group.clients["ben"].auth.verify_successor = lambda old, new: None  # type: ignore[method-assign]  # not the point here
    refused(group, "ben", with_leaf(group, change), rule)


def test_mutual_support_works_both_ways(group: Group) -> None:
    """A newcomer who cannot read the others' credentials is refused like one the others cannot read."""
    capabilities = replace(mls.default_capabilities(), credentials=(2,))
    fay = Client("fay")
    fay.credential = mls.OpaqueCredential(2, b"fay")  # type: ignore[assignment]  # another type on purpose
    add = mls.Add(group.clients["anna"].verified(fay.bundle(capabilities=capabilities).key_package))
    with pytest.raises(mls.ValidationError) as caught:
        group.commit("anna", [add])
    assert caught.value.rule == "LEAF-CREDENTIAL-MUTUAL"
    with unchecked():
        commit = group.clients["anna"].commit(group.states["anna"], [add]).commit
    refused(group, "ben", commit, "LEAF-CREDENTIAL-MUTUAL")


def test_a_leaf_with_anothers_signature_key_is_refused(group: Group) -> None:
    ben = group.clients["ben"].signer

    def ben_key(leaf: mls.LeafNode) -> mls.LeafNode:
        return replace(leaf, signature_key=ben.public)

    real_signer = group.clients["anna"].signer
    group.clients["anna"].signer = ben
    commit = with_leaf(group, ben_key)
    group.clients["anna"].signer = real_signer
    refused(group, "cleo", commit, "LEAF-UNIQUE-SIGNATURE-KEY")


def test_an_added_leaf_with_a_key_of_the_tree_is_refused(group: Group) -> None:
    fay = Client("fay")
    package = fay.bundle().key_package
    taken = replace(package.leaf_node, encryption_key=group.states["ben"].own_leaf.encryption_key)
    leaf = taken.signed_by(group.suite, fay.signer, b"", 0)
    unsigned = replace(package, leaf_node=leaf)
    signed = replace(unsigned, signature=fay.signer.sign(group.suite, b"KeyPackageTBS", unsigned.tbs))
    add = mls.Add(group.clients["anna"].verified(signed))
    for force_path in (True, False):
        with pytest.raises(mls.ValidationError) as caught:
            group.commit("anna", [add], force_path=force_path)
        assert caught.value.rule == "TREE-UNIQUE-ENCRYPTION-KEY"
        with unchecked():
            commit = group.clients["anna"].commit(group.states["anna"], [add], force_path=force_path).commit
        refused(group, "cleo", commit, "TREE-UNIQUE-ENCRYPTION-KEY")


def with_tag(group: Group, change: Callable[[bytes], bytes]) -> bytes:
    real = protection.protect_private

    def altered(*args: object, **options: object) -> object:
        *head, auth = args
        assert isinstance(auth, AuthData)
        tag = change(auth.confirmation_tag or b"")
        return real(*head, AuthData(auth.signature, tag), **options)  # type: ignore[arg-type, call-arg]  # passed through

    with unchecked(committing_protect_private=altered):
        return group.clients["anna"].commit(group.states["anna"]).commit


TAGS: list[Callable[[bytes], bytes]] = [
    lambda tag: b"",
    lambda tag: tag[:-1],
    lambda tag: tag + b"\0",
    lambda tag: bytes(32),
    lambda tag: bytes([tag[0] ^ 1]) + tag[1:],
]


@pytest.mark.parametrize("change", TAGS)
def test_a_wrong_confirmation_tag_is_refused(group: Group, change: Callable[[bytes], bytes]) -> None:
    refused(group, "ben", with_tag(group, change), "COMMIT-CONFIRMATION-TAG", mls.CryptoError)


def test_every_damaged_or_truncated_commit_is_refused(group: Group) -> None:
    commit = group.clients["anna"].commit(group.states["anna"], [mls.Remove(3)]).commit
    before = group.states["ben"].serialize()
    for place in range(len(commit)):
        for bad in (commit[:place], commit[:place] + bytes([commit[place] ^ 4]) + commit[place + 1 :]):
            with pytest.raises(mls.MLSError):
                group.clients["ben"].receive(group.states["ben"], bad)
    assert group.states["ben"].serialize() == before
    assert isinstance(group.clients["ben"].receive(group.states["ben"], commit), mls.CommitReceived)


def test_a_failed_commit_of_ones_own_changes_nothing(group: Group) -> None:
    before = group.states["anna"].serialize()
    with pytest.raises(mls.ValidationError):
        group.commit("anna", [mls.Remove(0)])
    assert group.states["anna"].serialize() == before


def test_a_commit_may_be_refused_by_the_application_and_the_state_goes_on(group: Group) -> None:
    output = group.clients["anna"].commit(group.states["anna"])
    received = group.clients["ben"].receive(group.states["ben"], output.commit)
    assert isinstance(received, mls.CommitReceived)
    assert group.states["ben"].epoch == received.state.epoch - 1
    group.commit("cleo")
    group.talk()


def test_the_application_sees_who_comes_and_who_changes(group: Group) -> None:
    fay = Client("fay")
    add = mls.Add(group.clients["anna"].verified(fay.bundle().key_package))
    output = group.clients["anna"].commit(group.states["anna"], [add])
    ben = group.clients["ben"]
    ben.auth.asked.clear()
    ben.auth.successors.clear()
    ben.receive(group.states["ben"], output.commit)
    assert sorted(ben.auth.asked) == [b"anna", b"fay"]
    assert ben.auth.successors == [(b"anna", b"anna")]
    before = group.states["ben"].serialize()
    for refusal in ({"refuse_identity": b"fay"}, {"refuse_identity": b"anna"}, {"refuse_successor": True}):
        for name, value in refusal.items():
            setattr(ben.auth, name, value)
        with pytest.raises(RefusedError):
            ben.receive(group.states["ben"], output.commit)
        ben.auth.refuse_identity, ben.auth.refuse_successor = None, False
    assert group.states["ben"].serialize() == before


def test_a_ghost_device_is_stopped_by_its_adder_too(group: Group) -> None:
    ghost = Client("ghost")
    anna = group.clients["anna"]
    verified = anna.verified(ghost.bundle().key_package)
    anna.auth.refuse_identity = b"ghost"
    with pytest.raises(RefusedError):
        group.commit("anna", [mls.Add(verified)])


def test_a_forbidden_change_of_ones_own_credential_is_never_sent(group: Group) -> None:
    with pytest.raises(RefusedError):
        group.commit("anna", new_credential=mls.BasicCredential(b"ben"))


def test_a_group_whose_epochs_are_used_up_stays_as_it_is(group: Group) -> None:
    state = group.states["anna"]
    last = replace(state.epoch_state, context=replace(state.group_context, epoch=(1 << 64) - 1))
    with pytest.raises(mls.StateError) as caught:
        group.clients["anna"].commit(replace(state, epoch_state=last))
    assert caught.value.rule == "EPOCH-LIMIT"


def test_ones_own_next_leaf_is_judged_as_a_successor_before_it_is_sent(group: Group) -> None:
    anna = group.clients["anna"]
    anna.auth.refuse_successor = True
    with pytest.raises(RefusedError):
        anna.commit(group.states["anna"])
    anna.auth.refuse_successor = False
    group.commit("anna")
    group.talk()
