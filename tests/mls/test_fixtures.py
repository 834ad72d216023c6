"""States stored by earlier versions of this package load, and go on: none may ever stop to."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from _pytest.mark import ParameterSet

from client_sdk import mls

from .support import NOW, Auth, Client, seeded

FILES = sorted((Path(__file__).parent / "fixtures").glob("*.json"))


def fixtures(kind: str) -> list[ParameterSet]:
    return [
        pytest.param(kinds[kind], id=f"{path.stem} {suite} {kind}")
        for path in FILES
        for suite, kinds in json.loads(path.read_text()).items()
    ]


def load(fixture: dict[str, Any]) -> mls.GroupState:
    state = mls.GroupState.assemble(
        bytes.fromhex(fixture["epoch_part"]), bytes.fromhex(fixture["ratchet_part"])
    )
    assert state == mls.GroupState.parse(bytes.fromhex(fixture["whole"]))
    assert (state.epoch, len(state.members), len(state.pending)) == (
        fixture["epoch"],
        fixture["members"],
        fixture["pending"],
    )
    assert state.epoch_authenticator.hex() == fixture["epoch_authenticator"]
    assert mls.GroupState.parse(state.serialize()) == state
    return state


def test_every_version_has_a_fixture() -> None:
    assert [path.stem for path in FILES] == ["version-1", "version-2"]


@pytest.mark.parametrize("fixture", fixtures("fresh"))
def test_a_fresh_state(fixture: dict[str, Any]) -> None:
    sent = mls.encrypt(load(fixture), b"still here", rng=seeded("fixture"))
    assert sent.state.epoch == fixture["epoch"]


@pytest.mark.parametrize("fixture", fixtures("talking"))
def test_a_state_in_the_middle_of_a_conversation(fixture: dict[str, Any]) -> None:
    state = load(fixture)
    late = mls.process_message(state, bytes.fromhex(fixture["late"]), auth=Auth(), now=NOW)
    assert isinstance(late, mls.ApplicationReceived)
    assert late.plaintext == b"late"
    followed = mls.process_message(late.state, bytes.fromhex(fixture["commit"]), auth=Auth(), now=NOW)
    assert isinstance(followed, mls.CommitReceived)
    assert followed.state.epoch == fixture["epoch"] + 1


@pytest.mark.parametrize("fixture", fixtures("fresh"))
def test_a_state_of_a_newer_version_says_so_and_is_not_guessed_at(fixture: dict[str, Any]) -> None:
    epoch, ratchet, whole = (bytes.fromhex(fixture[name]) for name in ("epoch_part", "ratchet_part", "whole"))

    version = b"\x03"
    for parts in ((version + epoch[1:], ratchet), (epoch, version + ratchet[1:])):
        with pytest.raises(mls.DecodeError) as caught:
            mls.GroupState.assemble(*parts)
        assert caught.value.rule == "STATE-VERSION"
    with pytest.raises(mls.DecodeError) as caught:
        mls.GroupState.parse(version + whole[1:])
    assert caught.value.rule == "STATE-VERSION"


@pytest.mark.parametrize("fixture", fixtures("waiting"))
def test_a_state_with_a_proposal_waiting(fixture: dict[str, Any]) -> None:
    received = mls.process_message(load(fixture), bytes.fromhex(fixture["commit"]), auth=Auth(), now=NOW)
    assert isinstance(received, mls.CommitReceived)
    assert [index for index, _ in received.removed] == [0]


@pytest.mark.parametrize("fixture", fixtures("ended"))
def test_a_reinitialised_state(fixture: dict[str, Any]) -> None:
    state = load(fixture)
    assert state.reinit is not None
    assert state.reinit.group_id == b"next"
    with pytest.raises(mls.StateError):
        mls.encrypt(state, b"x", rng=seeded("fixture"))


@pytest.mark.parametrize("fixture", fixtures("bundle"))
def test_a_key_package_with_its_keys(fixture: dict[str, Any]) -> None:
    bundle = mls.KeyPackageBundle.parse(bytes.fromhex(fixture["whole"]))
    suite = mls.cipher_suite(bundle.key_package.cipher_suite)
    assert bundle.ref == bundle.key_package.ref(suite) == bytes.fromhex(fixture["ref"])
    assert suite.kem.public_key(bundle.init_private) == bundle.key_package.init_key
    assert Client("cleo").signer.public == bundle.key_package.leaf_node.signature_key
