"""Unknown kinds of everything, impossible states, and requirements of a group."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

import pytest

import client_sdk.mls as package
from client_sdk import mls
from client_sdk.mls import protection
from client_sdk.mls.codec import Reader, parse_all
from client_sdk.mls.framing import parse_content_type, parse_sender
from client_sdk.mls.leaf_node import parse_leaf_node
from client_sdk.mls.proposal_list import ResolvedProposal, Rules, check_proposal
from client_sdk.mls.proposals import parse_commit, parse_proposal
from client_sdk.mls.psk import parse_psk_id
from client_sdk.mls.secret_tree import SecretTree

from .support import FOREVER, Auth, Client, Group, RefusedError, refused

UNKNOWN: list[tuple[str, bytes, Callable[[Reader], object]]] = [
    ("FRAME-SENDER-TYPE", b"\5", parse_sender),
    ("FRAME-SENDER-TYPE", b"\0", parse_sender),
    ("FRAME-CONTENT-TYPE", b"\0", parse_content_type),
    ("FRAME-CONTENT-TYPE", b"\4", parse_content_type),
    ("PROPOSAL-TYPE", b"\0\0", parse_proposal),
    ("PROPOSAL-TYPE", b"\0\x08", parse_proposal),
    ("PROPOSAL-TYPE", b"\x0a\x0a", parse_proposal),
    ("COMMIT-PROPOSAL-OR-REF", b"\1\3\0", parse_commit),
    ("PSK-TYPE", b"\3", parse_psk_id),
    ("PSK-USAGE", b"\2\4", parse_psk_id),
    ("LEAF-SOURCE", bytes(2 + 3 + 5) + b"\4", parse_leaf_node),
]


@pytest.mark.parametrize(("rule", "data", "parse"), UNKNOWN)
def test_unknown_kinds_are_refused(rule: str, data: bytes, parse: Callable[[Reader], object]) -> None:
    with pytest.raises(mls.DecodeError) as caught:
        parse_all(data, parse)
    assert caught.value.rule == rule


REQUIREMENTS = [
    ("REQ-EXTENSIONS", mls.RequiredCapabilities(extension_types=(0xF001,))),
    ("REQ-PROPOSALS", mls.RequiredCapabilities(proposal_types=(0xF001,))),
    ("REQ-CREDENTIALS", mls.RequiredCapabilities(credential_types=(2,))),
]


@pytest.mark.parametrize(("rule", "required"), REQUIREMENTS)
def test_a_group_requires_only_what_its_members_can(rule: str, required: mls.RequiredCapabilities) -> None:
    group = Group("anna", "ben")
    with pytest.raises(mls.ValidationError) as caught:
        group.commit("anna", [mls.GroupContextExtensions((required.to_extension(),))])
    assert caught.value.rule == rule


def test_requiring_what_every_client_has_is_always_met() -> None:
    group = Group("anna", "ben")
    required = mls.RequiredCapabilities(
        extension_types=(1, 2, 3, 4, 5), proposal_types=(1, 2, 3, 4, 5, 6, 7), credential_types=(1,)
    )
    group.commit("anna", [mls.GroupContextExtensions((required.to_extension(),))])
    group.talk()


def test_sender_data_of_another_length_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    group = Group("anna", "ben")
    monkeypatch.setattr(protection, "u32", lambda value: value.to_bytes(4) + b"\0")
    message = group.send("anna", b"x")
    refused(group, "ben", message, "FRAME-SENDER-DATA", mls.CryptoError)


def test_a_state_without_its_keys_follows_no_commit() -> None:
    group = Group("anna", "ben", "cleo")
    state = group.states["ben"]
    output = group.clients["anna"].commit(group.states["anna"])
    group.states["ben"] = replace(state, epoch_state=replace(state.epoch_state, private_keys={}))
    refused(group, "ben", output.commit, "PATH-RECIPIENT")


def test_a_secret_tree_without_the_secret_says_so() -> None:
    with pytest.raises(mls.SecretReuse) as caught:
        SecretTree(2, {}, {}).open_leaf(mls.SUITE_1, 0)
    assert caught.value.rule == "SECRET-TREE"


def test_an_update_the_application_refuses_is_not_remembered() -> None:
    from .test_proposals import own_update, proposal_message

    group = Group("anna", "ben", "cleo")
    update, _ = own_update(group, "cleo")
    message = proposal_message(group, "cleo", update)
    ben = group.clients["ben"]
    ben.auth.refuse_successor = True
    with pytest.raises(RefusedError):
        ben.receive(group.states["ben"], message)
    ben.auth.refuse_successor, ben.auth.refuse_identity = False, b"cleo"
    with pytest.raises(RefusedError):
        ben.receive(group.states["ben"], message)
    assert group.states["ben"].pending == ()


def test_a_commit_is_no_reason_to_forget_the_window() -> None:
    """A failed message between two good ones must not cost a key."""
    group = Group("anna", "ben")
    first, second = group.send("anna", b"1"), group.send("anna", b"2")
    damaged = second[:-1] + bytes([second[-1] ^ 1])
    with pytest.raises(mls.CryptoError):
        group.clients["ben"].receive(group.states["ben"], damaged)
    assert group.read("ben", first).plaintext == b"1"
    assert group.read("ben", second).plaintext == b"2"


def test_impossible_states_say_what_is_wrong() -> None:
    state = Group("anna").states["anna"]
    lost = replace(state, epoch_state=replace(state.epoch_state, own_leaf_index=5))
    with pytest.raises(mls.ValidationError) as caught:
        _ = lost.own_leaf
    assert caught.value.rule == "STATE-OWN-LEAF"
    other_proposal = state.epoch_part()[:-1] + b"\1" + mls.Remove(0).serialize()
    with pytest.raises(mls.DecodeError) as decode:
        mls.GroupState.assemble(other_proposal, state.ratchet_part())
    assert decode.value.rule == "STATE-REINIT"
    rules = Rules(state.epoch_state.tree, state.group_context, Auth(), FOREVER)
    nobody = mls.Sender(mls.SenderType.MEMBER, 5)
    with pytest.raises(mls.ValidationError) as caught:
        check_proposal(rules, ResolvedProposal(mls.Update(state.own_leaf), nobody, by_reference=True))
    assert caught.value.rule == "PROP-UPDATE-MEMBER"


def test_the_public_surface_is_what_it_says() -> None:
    assert sorted(package.__all__, key=str) == sorted(set(package.__all__), key=str)
    for name in package.__all__:
        assert getattr(package, name) is not None


def test_errors_carry_a_stable_code_and_a_rule() -> None:
    codes = [error.code for error in all_errors(mls.MLSError)]
    assert len(codes) == len(set(codes))
    error = mls.ValidationError("SOME-RULE", "text")
    assert (error.code, error.rule, str(error)) == ("validation", "SOME-RULE", "SOME-RULE: text")


def all_errors(root: type[mls.MLSError]) -> list[type[mls.MLSError]]:
    return [root, *(error for child in root.__subclasses__() for error in all_errors(child))]


def test_clients_of_either_suite_do_not_mix() -> None:
    group = Group("anna", suite=mls.SUITE_3)
    other = Client("ben", mls.SUITE_1)
    with pytest.raises(mls.ValidationError) as caught:
        group.clients["anna"].verified(other.bundle().key_package)
    assert caught.value.rule == "KP-SUITE"
