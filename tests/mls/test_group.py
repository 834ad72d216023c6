"""Groups through our own interface: people come, talk, leave, come back."""

from __future__ import annotations

import pytest

from client_sdk import mls

from .support import NOW, Auth, Client, Group, refused, seeded, unchecked

SUITES = pytest.mark.parametrize("suite", [mls.SUITE_1, mls.SUITE_3], ids=["suite 1", "suite 3"])


@SUITES
@pytest.mark.parametrize("size", [1, 2, 3, 5, 9])
def test_members_agree_and_talk(suite: mls.CipherSuite, size: int) -> None:
    group = Group(*(f"member {number}" for number in range(size)), suite=suite)
    group.check_agreement()
    group.talk()
    assert [member.leaf_index for member in group.states["member 0"].members] == list(range(size))


def test_many_are_added_by_one_commit() -> None:
    group = Group("anna")
    output = group.add("anna", "ben", "cleo", "dan")
    assert output.state.epoch == 1
    group.check_agreement()
    group.talk()


def test_an_empty_commit_renews_the_secrets() -> None:
    group = Group("anna", "ben")
    before = group.states["anna"].own_leaf.encryption_key
    group.commit("anna")
    assert group.states["anna"].own_leaf.encryption_key != before
    group.check_agreement()
    group.talk()


@pytest.mark.parametrize("force_path", [True, False])
def test_a_commit_of_adds_alone_may_do_without_a_path(force_path: bool) -> None:
    group = Group("anna", "ben")
    client = Client("cleo")
    bundle = client.bundle()
    adds = [mls.Add(group.clients["anna"].verified(bundle.key_package))]
    key = group.states["anna"].own_leaf.encryption_key
    output = group.commit("anna", adds, force_path=force_path)
    assert (group.states["anna"].own_leaf.encryption_key != key) == force_path
    assert output.welcome is not None
    group.clients["cleo"], group.states["cleo"] = client, client.join(output.welcome, bundle)
    group.check_agreement()
    group.talk()
    group.commit("cleo")
    group.talk()


def test_the_tree_may_come_out_of_band() -> None:
    group = Group("anna")
    client = Client("ben")
    bundle = client.bundle()
    adds = [mls.Add(group.clients["anna"].verified(bundle.key_package))]
    output = group.commit("anna", adds, tree_in_welcome=False)
    assert output.welcome is not None
    with pytest.raises(mls.ValidationError) as caught:
        client.join(output.welcome, bundle)
    assert caught.value.rule == "GROUPINFO-TREE"
    state = client.join(output.welcome, bundle, ratchet_tree=output.state.serialize_tree())
    assert state.epoch_authenticator == output.state.epoch_authenticator
    other = Group("anna", "cleo").states["anna"].serialize_tree()
    with pytest.raises(mls.MLSError):
        client.join(output.welcome, bundle, ratchet_tree=other)


def test_a_removed_member_hears_of_it_and_reads_nothing_more() -> None:
    group = Group("anna", "ben", "cleo")
    gone = group.states["cleo"]
    output = group.commit("anna", [mls.Remove(group.leaf("cleo"))])
    received = group.clients["cleo"].receive(gone, output.commit)
    assert isinstance(received, mls.RemovedFromGroup)
    assert [index for index, _ in received.removed] == [2]
    assert received.sender == 0
    group.check_agreement()
    group.talk()
    with pytest.raises(mls.WrongEpoch) as caught:
        group.clients["cleo"].receive(gone, group.send("anna", b"among us"))
    assert (caught.value.seen, caught.value.current) == (output.state.epoch, gone.epoch)


def test_a_removed_member_has_no_key_of_the_new_epoch() -> None:
    group = Group("anna", "ben", "cleo", "dan")
    known = set(group.states["cleo"].epoch_state.private_keys.values())
    group.commit("anna", [mls.Remove(group.leaf("cleo"))])
    kem = mls.SUITE_1.kem
    public = {kem.public_key(private) for private in known}
    assert public.isdisjoint(group.states["anna"].epoch_state.tree.encryption_keys())


def test_a_place_left_is_filled_again_and_the_tree_shrinks() -> None:
    group = Group("anna", "ben", "cleo", "dan", "eve")
    assert group.states["anna"].epoch_state.tree.leaf_width == 8
    group.commit("anna", [mls.Remove(4)])
    assert group.states["anna"].epoch_state.tree.leaf_width == 4
    group.commit("ben", [mls.Remove(2)])
    group.add("dan", "fay")
    assert group.leaf("fay") == 2
    group.check_agreement()
    group.talk()


def test_add_and_remove_in_one_commit() -> None:
    group = Group("anna", "ben", "cleo")
    dan = Client("dan")
    bundle = dan.bundle()
    proposals: list[mls.Proposal] = [
        mls.Add(group.clients["ben"].verified(bundle.key_package)),
        mls.Remove(group.leaf("cleo")),
    ]
    output = group.commit("ben", proposals)
    assert output.welcome is not None
    group.clients["dan"], group.states["dan"] = dan, dan.join(output.welcome, bundle)
    assert group.leaf("dan") == 2
    group.check_agreement()
    group.talk()


def test_what_a_commit_did_is_told() -> None:
    group = Group("anna", "ben", "cleo")
    dan = Client("dan")
    add = mls.Add(group.clients["anna"].verified(dan.bundle().key_package))
    output = group.clients["anna"].commit(
        group.states["anna"], [add, mls.Remove(2)], authenticated_data=b"why"
    )
    received = group.clients["ben"].receive(group.states["ben"], output.commit)
    assert isinstance(received, mls.CommitReceived)
    assert (received.sender, received.external, received.added) == (0, False, (2,))
    assert [(index, leaf.credential.content) for index, leaf in received.removed] == [(2, b"cleo")]
    assert [change.leaf_index for change in received.updated] == [0]
    assert received.authenticated_data == b"why"
    assert received.expired == ()
    assert {type(proposal) for proposal in received.proposals} == {mls.Add, mls.Remove}
    late = group.clients["ben"].receive(group.states["ben"], output.commit, now=NOW + 10**9)
    assert isinstance(late, mls.CommitReceived)
    assert late.expired == (2,), "an expired package is told, for all members accept the same"


def test_a_credential_can_be_replaced() -> None:
    group = Group("anna", "ben")
    auth = Auth()
    auth.verify_successor = lambda old, new: None  # type: ignore[method-assign]  # this service allows it
    group.clients["anna"].auth = group.clients["ben"].auth = auth
    group.commit("anna", new_credential=mls.BasicCredential(b"anna, manifest 2"))
    leaf = group.states["ben"].member(0)
    assert leaf is not None
    assert leaf.credential == mls.BasicCredential(b"anna, manifest 2")
    group.talk()


def test_extensions_are_replaced_and_required_capabilities_hold() -> None:
    group = Group("anna", "ben")
    required = mls.RequiredCapabilities(extension_types=(0x000A,)).to_extension()
    group.commit("anna", [mls.GroupContextExtensions((required,))])
    assert group.states["ben"].extensions == (required,)
    group.add("ben", "cleo")
    client = Client("dan")
    poor = mls.Capabilities((1,), (1,), (), (), (1,))
    add = mls.Add(group.clients["anna"].verified(client.bundle(capabilities=poor).key_package))
    with pytest.raises(mls.ValidationError) as caught:
        group.commit("anna", [add])
    assert caught.value.rule == "REQ-EXTENSIONS"


def test_new_extensions_apply_to_the_proposals_beside_them() -> None:
    """Section 12.3: whoever is added must be able to do what the same commit requires, and no more."""
    group = Group("anna", "ben")
    required = mls.RequiredCapabilities(extension_types=(0x000A,)).to_extension()
    poor = mls.Capabilities((1,), (1,), (), (), (1,))

    def poor_add(name: str) -> mls.Add:
        return mls.Add(group.clients["anna"].verified(Client(name).bundle(capabilities=poor).key_package))

    both: list[mls.Proposal] = [poor_add("dan"), mls.GroupContextExtensions((required,))]
    with pytest.raises(mls.ValidationError) as caught:
        group.commit("anna", both)
    assert caught.value.rule == "REQ-EXTENSIONS"
    with unchecked():
        output = group.clients["anna"].commit(group.states["anna"], both)
    refused(group, "ben", output.commit, "REQ-EXTENSIONS")
    group.commit("anna", [mls.GroupContextExtensions((required,))])
    group.commit("anna", [poor_add("eve"), mls.GroupContextExtensions(())])
    assert len(group.states["ben"].members) == 3


def test_a_group_extension_needs_every_member() -> None:
    group = Group("anna", "ben")
    with pytest.raises(mls.ValidationError) as caught:
        group.commit("anna", [mls.GroupContextExtensions((mls.Extension(0xF0C1, b"x"),))])
    assert caught.value.rule == "GROUP-EXTENSIONS"


def test_a_group_starts_with_its_extensions() -> None:
    extension = mls.Extension(0xF0C1, b"policy")
    group = Group("anna", extensions=(extension,))
    able = {"capabilities": mls.default_capabilities([0xF0C1])}
    group.add("anna", "ben", bundle_options=able)
    assert group.states["ben"].extensions == (extension,)
    assert mls.find_extension(group.states["ben"].extensions, 0xF0C1) == b"policy"
    with pytest.raises(mls.ValidationError) as caught:
        group.add("anna", "cleo")
    assert caught.value.rule == "GROUP-EXTENSIONS"
    with pytest.raises(mls.ValidationError):
        Group("anna", extensions=(extension, extension))


def test_a_fresh_psk_id_has_a_nonce_of_its_own() -> None:
    for suite in (mls.SUITE_1, mls.SUITE_XWING):
        rng, psk = seeded("psk"), mls.ExternalPsk(b"x")
        one, other = (mls.PreSharedKeyID.fresh(psk, suite=suite, rng=rng) for _ in range(2))
        assert one.psk == other.psk == psk
        assert len(one.nonce) == len(other.nonce) == suite.hash_length
        assert one.nonce != other.nonce


def test_pre_shared_keys_bind_both_sides() -> None:
    group = Group("anna", "ben")
    psk = mls.ExternalPsk(b"said aloud")
    proposal = mls.PreSharedKey(mls.PreSharedKeyID(psk, b"n" * 32))
    output = group.clients["anna"].commit(group.states["anna"], [proposal], psks={psk: b"word"})
    ben, state = group.clients["ben"], group.states["ben"]
    with pytest.raises(mls.MissingPsk):
        ben.receive(state, output.commit)
    with pytest.raises(mls.CryptoError) as caught:
        ben.receive(state, output.commit, psks={psk: b"sword"})
    assert caught.value.rule == "COMMIT-CONFIRMATION-TAG"
    received = ben.receive(state, output.commit, psks={psk: b"word"})
    assert isinstance(received, mls.CommitReceived)
    assert received.state.epoch_authenticator == output.state.epoch_authenticator


def test_resumption_keys_reach_joiners_who_have_them() -> None:
    group = Group("anna", "ben")
    psk = mls.ResumptionPsk(mls.ResumptionUsage.APPLICATION, b"group", group.states["anna"].epoch)
    store = {psk: group.states["anna"].resumption_psk}
    cleo = Client("cleo")
    bundle = cleo.bundle()
    proposals: list[mls.Proposal] = [
        mls.PreSharedKey(mls.PreSharedKeyID(psk, b"n" * 32)),
        mls.Add(group.clients["anna"].verified(bundle.key_package)),
    ]
    output = group.commit("anna", proposals)
    assert output.welcome is not None
    with pytest.raises(mls.MissingPsk):
        cleo.join(output.welcome, bundle)
    state = cleo.join(output.welcome, bundle, psks=store)
    assert state.epoch_authenticator == group.states["ben"].epoch_authenticator


def test_a_reinitialised_group_is_over() -> None:
    group = Group("anna", "ben")
    group.commit("anna", [mls.ReInit(b"next", 1, 3, ())])
    for name in ("anna", "ben"):
        state = mls.GroupState.parse(group.states[name].serialize())
        with pytest.raises(mls.StateError) as caught:
            mls.encrypt(state, b"x", rng=group.clients[name].rng)
        assert caught.value.rule == "REINIT-DONE"
        with pytest.raises(mls.StateError):
            group.clients[name].commit(state)


def test_two_commits_race_and_the_loser_follows() -> None:
    group = Group("anna", "ben", "cleo")
    won = group.clients["ben"].commit(group.states["ben"])
    lost = group.clients["cleo"].commit(group.states["cleo"])
    assert lost.current is not None
    group.states["cleo"] = lost.current
    group.deliver("ben", won)
    group.check_agreement()
    group.talk()
    refused(group, "anna", lost.commit, "FRAME-EPOCH", mls.WrongEpoch)


def test_exported_secrets_differ_by_label_context_and_length() -> None:
    group = Group("anna", "ben")
    anna, ben = group.states["anna"], group.states["ben"]
    assert anna.export_secret("a", b"c", 32) == ben.export_secret("a", b"c", 32)
    outputs = {anna.export_secret(*args) for args in (("a", b"c", 32), ("b", b"c", 32), ("a", b"d", 32))}
    assert len(outputs) == 3
    assert len(anna.export_secret("a", b"c", 100)) == 100
    group.commit("anna")
    assert group.states["anna"].export_secret("a", b"c", 32) not in outputs


def test_own_messages_are_told_apart() -> None:
    group = Group("anna", "ben")
    before = group.states["anna"]
    message = mls.encrypt(before, b"x", rng=group.clients["anna"].rng).message
    refused(group, "anna", message, "FRAME-OWN", mls.OwnMessage)
    output = group.clients["anna"].commit(before)
    refused(group, "anna", output.commit, "FRAME-OWN", mls.OwnCommit)
    with pytest.raises(mls.OwnMessage) as caught:
        group.clients["anna"].receive(before, message)
    assert not isinstance(caught.value, mls.OwnCommit)


def test_another_group_is_another_group() -> None:
    group = Group("anna", "ben")
    other = Client("zoe")
    state = mls.create_group(
        mls.SUITE_1, b"elsewhere", other.signer, other.credential, lifetime=mls.Lifetime(0, 1), rng=other.rng
    )
    refused(group, "ben", mls.encrypt(state, b"x", rng=other.rng).message, "FRAME-GROUP", mls.WrongGroup)


def test_a_welcome_is_no_message_and_a_message_no_welcome() -> None:
    group = Group("anna")
    output = group.add("anna", "ben")
    assert output.welcome is not None
    refused(group, "ben", output.welcome, "FRAME-WIRE-FORMAT", mls.DecodeError)
    with pytest.raises(mls.DecodeError):
        group.clients["ben"].join(output.commit, group.clients["ben"].bundle())
