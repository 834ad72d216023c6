"""Storing states: whole, or as an epoch's part and a message's part."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

import pytest

from client_sdk import mls
from client_sdk.mls.codec import opaque, parse_all, u32
from client_sdk.mls.secret_tree import SecretTree, parse_secret_tree

from .support import Auth, Group


@pytest.fixture
def group() -> Group:
    group = Group("anna", "ben", "cleo")
    group.talk()
    return group


def test_a_state_comes_back_in_the_middle_of_an_epoch(group: Group) -> None:
    early = [group.send("anna", b"one"), group.send("anna", b"two"), group.send("anna", b"three")]
    group.read("ben", early[2])
    for name, state in group.states.items():
        data = state.serialize()
        restored = mls.GroupState.parse(data)
        assert restored == state
        assert restored.serialize() == data
        group.states[name] = restored
    assert group.read("ben", early[0]).plaintext == b"one"
    group.talk()
    group.commit("cleo")
    group.talk()
    group.check_agreement()


def test_only_the_small_part_changes_with_messages(group: Group) -> None:
    before = group.states["anna"]
    group.send("anna", b"x")
    after = group.states["anna"]
    assert after.epoch_part() == before.epoch_part()
    assert after.ratchet_part() != before.ratchet_part()
    assert len(after.ratchet_part()) < len(after.epoch_part())
    assert mls.GroupState.assemble(before.epoch_part(), after.ratchet_part()) == after


def test_parts_of_different_epochs_do_not_fit(group: Group) -> None:
    before = group.states["anna"]
    group.commit("anna")
    after = group.states["anna"]
    for parts in (
        (before.epoch_part(), after.ratchet_part()),
        (after.epoch_part(), before.ratchet_part()),
    ):
        with pytest.raises(mls.ValidationError) as caught:
            mls.GroupState.assemble(*parts)
        assert caught.value.rule == "STATE-PARTS"


def test_parts_of_another_epoch_number_or_width_do_not_fit(group: Group) -> None:
    state, ratchet = group.states["anna"], group.states["anna"].ratchet_part()
    other_number = ratchet[:1] + (state.epoch + 1).to_bytes(8) + ratchet[9:]
    wider = replace(state.secret_tree, leaf_width=2 * state.secret_tree.leaf_width)
    for part in (other_number, state.with_secret_tree(wider).ratchet_part()):
        with pytest.raises(mls.ValidationError) as caught:
            mls.GroupState.assemble(state.epoch_part(), part)
        assert caught.value.rule == "STATE-PARTS"


def test_waiting_proposals_are_stored(group: Group) -> None:
    sent = mls.create_proposal(
        group.states["anna"], mls.Remove(2), auth=Auth(), rng=group.clients["anna"].rng
    )
    assert mls.GroupState.parse(sent.state.serialize()) == sent.state


def test_truncated_or_other_states_are_refused(group: Group) -> None:
    data = group.states["anna"].serialize()
    for length in range(0, len(data), 7):
        with pytest.raises(mls.MLSError):
            mls.GroupState.parse(data[:length])
    with pytest.raises(mls.DecodeError) as caught:
        mls.GroupState.parse(b"\xff" + data[1:])
    assert caught.value.rule == "STATE-VERSION"
    state = group.states["anna"]
    loads: list[Callable[[], mls.GroupState]] = [
        lambda: mls.GroupState.parse(data + b"\0"),
        lambda: mls.GroupState.assemble(state.epoch_part() + b"\0", state.ratchet_part()),
        lambda: mls.GroupState.assemble(state.epoch_part(), state.ratchet_part() + b"\0"),
    ]
    for load in loads:
        with pytest.raises(mls.DecodeError) as caught:
            load()
        assert caught.value.rule == "CODEC-TRAILING"


def test_a_bundle_of_another_version_is_refused(group: Group) -> None:
    data = group.clients["anna"].bundle().serialize()
    with pytest.raises(mls.DecodeError) as caught:
        mls.KeyPackageBundle.parse(b"\xff" + data[1:])
    assert caught.value.rule == "BUNDLE-VERSION"


def test_secrets_of_a_past_epoch_are_gone(group: Group) -> None:
    old = group.states["ben"]
    group.commit("anna")
    stored = group.states["ben"].serialize()
    secrets = old.epoch_state.secrets
    for name in secrets.__dataclass_fields__:
        assert getattr(secrets, name) not in stored, name
    for secret in old.secret_tree.secrets.values():
        assert secret not in stored
    replaced = set(old.epoch_state.private_keys) - {2 * old.own_leaf_index}
    shared = replaced & set(group.states["ben"].epoch_state.tree.direct_path(0))
    assert shared, "the committer's path replaces nodes this member has keys of"
    for node in shared:
        assert old.epoch_state.private_keys[node] not in stored


def test_states_cannot_be_changed(group: Group) -> None:
    with pytest.raises(AttributeError):
        group.states["anna"].pending = ()  # type: ignore[misc]  # this is what must not work


def test_an_index_that_is_stored_twice_is_refused() -> None:
    """Found by fuzzing: the later of the two was taken without a word."""
    tree = SecretTree(2, {1: b"a"}, {})
    assert parse_all(tree.serialize(), parse_secret_tree) == tree
    entry = u32(1) + opaque(b"a")
    with pytest.raises(mls.DecodeError) as caught:
        parse_all(u32(2) + opaque(2 * entry) + opaque(b""), parse_secret_tree)
    assert caught.value.rule == "STATE-INDEX-TWICE"
