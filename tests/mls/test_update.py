"""Update proposals of one's own: sent by reference, committed by another member (RFC 9420 section 12.1.2)."""

from __future__ import annotations

from dataclasses import replace

import pytest

from client_sdk import mls
from client_sdk.mls.proposals import ReceivedAdd

from .support import Group


def propose(group: Group, name: str) -> bytes:
    client = group.clients[name]
    sent = mls.create_update(group.states[name], auth=client.auth, rng=client.rng)
    group.states[name] = sent.state
    return sent.message


def ref_of(group: Group, name: str) -> mls.ProposalRef:
    return mls.ProposalRef(group.states[name].pending[-1].ref)


@pytest.mark.parametrize("suite", [mls.SUITE_1, mls.SUITE_3, mls.SUITE_XWING], ids=["1", "3", "X-Wing"])
def test_an_own_update_takes_effect_when_another_commits_it(suite: mls.CipherSuite) -> None:
    group = Group("anna", "ben", "cleo", suite=suite)
    old = group.states["ben"]
    message = propose(group, "ben")
    for name in ("anna", "cleo"):
        received = group.clients[name].receive(group.states[name], message)
        assert isinstance(received, mls.ProposalReceived)
        group.states[name] = received.state
    group.states["ben"] = mls.GroupState.parse(group.states["ben"].serialize())
    group.commit("cleo", [ref_of(group, "cleo")])
    group.check_agreement()
    ben = group.states["ben"]
    assert ben.own_leaf.encryption_key != old.own_leaf.encryption_key
    assert ben.own_leaf.source is mls.LeafSource.UPDATE
    private = ben.epoch_state.private_keys[2 * ben.own_leaf_index]
    assert suite.kem.public_key(private) == ben.own_leaf.encryption_key
    assert ben.own_updates == ()
    group.commit("anna")  # ben can follow a path encrypted to the new key
    group.talk()


def test_an_update_that_nobody_committed_is_forgotten_with_the_epoch() -> None:
    group = Group("anna", "ben")
    propose(group, "ben")
    private = group.states["ben"].own_updates[0].private
    group.commit("anna")
    assert private not in group.states["ben"].serialize()
    group.talk()


def test_several_own_updates_may_wait_and_any_may_be_committed() -> None:
    group = Group("anna", "ben")
    messages = [propose(group, "ben") for _ in range(3)]
    anna = group.clients["anna"]
    for message in messages:
        received = anna.receive(group.states["anna"], message)
        assert isinstance(received, mls.ProposalReceived)
        group.states["anna"] = received.state
    refs = [mls.ProposalRef(pending.ref) for pending in group.states["anna"].pending]
    group.commit("anna", [refs[1]])
    group.check_agreement()
    group.commit("anna")
    group.talk()


def test_an_update_whose_key_is_lost_is_not_followed_blindly() -> None:
    group = Group("anna", "ben")
    message = propose(group, "ben")
    received = group.clients["anna"].receive(group.states["anna"], message)
    assert isinstance(received, mls.ProposalReceived)
    group.states["anna"] = received.state
    output = group.clients["anna"].commit(group.states["anna"], [ref_of(group, "anna")])
    lost = replace(group.states["ben"], own_updates=())
    before = lost.serialize()
    with pytest.raises(mls.StateError) as caught:
        group.clients["ben"].receive(lost, output.commit)
    assert caught.value.rule == "UPDATE-NOT-OURS"
    assert lost.serialize() == before


def test_create_proposal_makes_no_update() -> None:
    group = Group("anna", "ben")
    state, anna = group.states["anna"], group.clients["anna"]
    with pytest.raises(mls.UsageError):
        mls.create_proposal(state, mls.Update(state.own_leaf), auth=anna.auth, rng=anna.rng)


def test_a_proposed_add_is_compared_with_the_clock_if_one_is_given() -> None:
    group = Group("anna", "ben")
    anna = group.clients["anna"]
    bundle = anna.bundle()
    for add in (mls.Add(mls.VerifiedKeyPackage(bundle.key_package)), ReceivedAdd(bundle.key_package)):
        with pytest.raises(mls.ValidationError) as caught:
            mls.create_proposal(group.states["anna"], add, auth=anna.auth, rng=anna.rng, now=1)
        assert caught.value.rule == "KP-LIFETIME"
