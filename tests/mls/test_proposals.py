"""Proposals by reference, and what a commit's list may hold."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

import pytest

from client_sdk import mls
from client_sdk.mls import proposal_list, sending
from client_sdk.mls.codec import opaque
from client_sdk.mls.framing import AuthData, AuthenticatedContent, FramedContent
from client_sdk.mls.leaf_node import LeafSource
from client_sdk.mls.proposal_list import Rules, apply_proposals, resolve_proposals
from client_sdk.mls.proposals import ReceivedAdd
from client_sdk.mls.protection import proposal_ref, sign_content
from client_sdk.mls.psk import MAX_PSKS

from .support import FOREVER, LIFETIME, Auth, Client, Group, RefusedError, refused, unchecked


@pytest.fixture
def group() -> Group:
    return Group("anna", "ben", "cleo", "dan")


def propose(group: Group, sender: str, proposal: mls.Proposal) -> bytes:
    """Send a proposal; everyone remembers it. Returns its reference."""
    client = group.clients[sender]
    sent = mls.create_proposal(group.states[sender], proposal, auth=client.auth, rng=client.rng)
    ref = b""
    for name, state in group.states.items():
        if name == sender:
            group.states[name] = sent.state
            continue
        received = group.clients[name].receive(state, sent.message)
        assert isinstance(received, mls.ProposalReceived)
        assert received.sender.index == group.leaf(sender)
        group.states[name], ref = received.state, received.ref
    return ref


def proposal_message(group: Group, sender: str, proposal: mls.Proposal) -> bytes:
    """A proposal our own interface would not send."""
    client = group.clients[sender]
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(sending, "check_proposal", lambda *_: None)
        patch.setattr(sending, "Update", ())
        return mls.create_proposal(group.states[sender], proposal, auth=client.auth, rng=client.rng).message


def propose_unchecked(group: Group, sender: str, proposal: mls.Proposal) -> bytes:
    """Deliver such a proposal to all others, who must accept it; the sender's state stays as it was."""
    message, ref = proposal_message(group, sender, proposal), b""
    for name in [name for name in group.states if name != sender]:
        received = group.clients[name].receive(group.states[name], message)
        assert isinstance(received, mls.ProposalReceived)
        group.states[name], ref = received.state, received.ref
    return ref


def own_update(group: Group, name: str, **changes: object) -> tuple[mls.Update, bytes]:
    """An Update of a member's leaf, and the new private key."""
    state, client = group.states[name], group.clients[name]
    pair = group.suite.kem.generate_key_pair(client.rng)
    fields = {
        "encryption_key": pair.public,
        "source": LeafSource.UPDATE,
        "lifetime": None,
        "parent_hash": None,
    }
    leaf = replace(state.own_leaf, **{**fields, **changes})  # type: ignore[arg-type]  # changes of any kind
    leaf = leaf.signed_by(group.suite, client.signer, state.group_id, state.own_leaf_index)
    return mls.Update(leaf), pair.private


def test_a_commit_may_refer_to_what_was_proposed(group: Group) -> None:
    ref = propose(group, "ben", mls.Remove(group.leaf("dan")))
    output = group.commit("anna", [mls.ProposalRef(ref)])
    assert set(group.states) == {"anna", "ben", "cleo"}
    assert output.state.pending == ()
    group.check_agreement()
    group.talk()


def test_the_proposer_itself_may_commit_it(group: Group) -> None:
    ref = propose(group, "ben", mls.Remove(group.leaf("dan")))
    group.commit("ben", [mls.ProposalRef(ref)])
    group.talk()


def test_a_member_may_ask_to_be_removed(group: Group) -> None:
    ref = propose(group, "dan", mls.Remove(group.leaf("dan")))
    group.commit("anna", [mls.ProposalRef(ref)])
    assert "dan" not in group.states
    group.talk()


def test_an_add_by_reference_is_verified_and_welcomed(group: Group) -> None:
    client = Client("eve")
    bundle = client.bundle()
    ref = propose(group, "ben", ReceivedAdd(bundle.key_package))
    output = group.commit("anna", [mls.ProposalRef(ref)])
    assert output.welcome is not None
    group.clients["eve"], group.states["eve"] = client, client.join(output.welcome, bundle)
    group.check_agreement()
    group.talk()


def test_a_received_update_is_applied(group: Group) -> None:
    update, private = own_update(group, "cleo")
    ref = propose_unchecked(group, "cleo", update)
    auth = group.clients["ben"].auth
    asked = len(auth.successors)
    output = group.clients["anna"].commit(group.states["anna"], [mls.ProposalRef(ref)])
    received = group.clients["ben"].receive(group.states["ben"], output.commit)
    assert isinstance(received, mls.CommitReceived)
    assert {change.leaf_index for change in received.updated} == {0, 2}
    assert received.state.member(2) == update.leaf_node
    assert auth.successors[asked:] == [(b"cleo", b"cleo"), (b"anna", b"anna")]
    assert private not in received.state.serialize()


def test_an_unknown_reference_is_refused(group: Group) -> None:
    ref = propose(group, "ben", mls.Remove(group.leaf("dan")))
    output = group.clients["anna"].commit(group.states["anna"], [mls.ProposalRef(ref)])
    group.states["cleo"] = replace(group.states["cleo"], pending=())
    refused(group, "cleo", output.commit, "COMMIT-REFERENCE", mls.UnknownProposal)
    with pytest.raises(mls.UnknownProposal):
        group.commit("anna", [mls.ProposalRef(b"no such thing")])


def test_a_reference_counts_once(group: Group) -> None:
    ref = mls.ProposalRef(propose(group, "ben", mls.Remove(group.leaf("dan"))))
    with pytest.raises(mls.ValidationError) as caught:
        group.commit("anna", [ref, ref])
    assert caught.value.rule == "COMMIT-REFERENCE-TWICE"


def test_proposals_are_checked_when_they_arrive(group: Group) -> None:
    keeps_key, _ = own_update(group, "cleo", encryption_key=group.states["cleo"].own_leaf.encryption_key)
    wrong_source, _ = own_update(group, "cleo", source=LeafSource.COMMIT, parent_hash=b"")
    cases: list[tuple[str, mls.Proposal]] = [
        ("PROP-REMOVE-MEMBER", mls.Remove(9)),
        ("PROP-UPDATE-KEY", keeps_key),
        ("PROP-UPDATE-SOURCE", wrong_source),
        ("PROP-EXTERNAL-INIT", mls.ExternalInit(b"x")),
        ("PROP-REINIT-VERSION", mls.ReInit(b"next", 0, 1, ())),
        ("PSK-NONCE", mls.PreSharedKey(mls.PreSharedKeyID(mls.ExternalPsk(b"x"), b"short"))),
        ("PROP-PSK-USAGE", mls.PreSharedKey(mls.PreSharedKeyID(branch(), b"n" * 32))),
    ]
    for rule, proposal in cases:
        refused(group, "ben", proposal_message(group, "cleo", proposal), rule)


def branch() -> mls.ResumptionPsk:
    return mls.ResumptionPsk(mls.ResumptionUsage.BRANCH, b"group", 1)


def test_an_update_signed_for_another_place_is_refused(group: Group) -> None:
    update, _ = own_update(group, "cleo")
    client = group.clients["cleo"]
    elsewhere = mls.Update(update.leaf_node.signed_by(group.suite, client.signer, b"group", 3))
    message = proposal_message(group, "cleo", elsewhere)
    refused(group, "ben", message, "LEAF-SIGNATURE", mls.CryptoError)


def test_a_member_updates_itself_by_committing(group: Group) -> None:
    update, _ = own_update(group, "ben")
    with pytest.raises(mls.UsageError):
        propose(group, "ben", update)


def package(group: Group, name: str, **options: object) -> mls.Add:
    return mls.Add(mls.VerifiedKeyPackage(Client(name, group.suite).bundle(**options).key_package))


def psk(name: bytes = b"x", nonce: bytes = b"n" * 32) -> mls.PreSharedKey:
    return mls.PreSharedKey(mls.PreSharedKeyID(mls.ExternalPsk(name), nonce))


LISTS: list[tuple[str, Callable[[Group], list[mls.Proposal]]]] = [
    ("LIST-SELF-REMOVE", lambda group: [mls.Remove(0)]),
    ("LIST-OWN-UPDATE", lambda group: [own_update(group, "anna")[0]]),
    ("LIST-ONE-PER-LEAF", lambda group: [mls.Remove(2), mls.Remove(2)]),
    ("LIST-ADD-TWICE", lambda group: [package(group, "eve"), package(group, "eve", last_resort=True)]),
    ("LIST-ONE-EXTENSIONS", lambda group: [mls.GroupContextExtensions(()), mls.GroupContextExtensions(())]),
    ("LIST-REINIT-ALONE", lambda group: [mls.ReInit(b"next", 1, 1, ()), mls.Remove(2)]),
    ("PSK-DUPLICATE", lambda group: [psk(), psk()]),
    ("PSK-NONCE", lambda group: [psk(nonce=b"")]),
    ("PSK-LIMIT", lambda group: [psk(nonce=number.to_bytes(32)) for number in range(257)]),
    ("PROP-PSK-USAGE", lambda group: [mls.PreSharedKey(mls.PreSharedKeyID(branch(), b"n" * 32))]),
    ("PROP-EXTERNAL-INIT", lambda group: [mls.ExternalInit(b"k" * 32)]),
    ("PROP-REMOVE-MEMBER", lambda group: [mls.Remove(7)]),
    ("LEAF-UNIQUE-SIGNATURE-KEY", lambda group: [package(group, "ben")]),
    (
        "EXT-UNIQUE",
        lambda group: [mls.GroupContextExtensions((mls.Extension(1, b""), mls.Extension(1, b"")))],
    ),
    (
        "KP-SUITE",
        lambda group: [mls.Add(mls.VerifiedKeyPackage(Client("eve", mls.SUITE_3).bundle().key_package))],
    ),
]


@pytest.mark.parametrize(("rule", "make"), LISTS, ids=[rule for rule, _ in LISTS])
def test_a_bad_list_is_neither_sent_nor_accepted(
    group: Group, rule: str, make: Callable[[Group], list[mls.Proposal]]
) -> None:
    proposals = make(group)
    store = {mls.ExternalPsk(b"x"): b"secret", branch(): b"secret"}
    with pytest.raises(mls.ValidationError) as caught:
        group.clients["anna"].commit(group.states["anna"], proposals, psks=store)
    assert caught.value.rule == rule
    if rule == "PROP-REMOVE-MEMBER":
        return  # such a commit cannot even be built by force
    with unchecked():
        output = group.clients["anna"].commit(group.states["anna"], proposals, psks=store)
    refused(group, "ben", output.commit, rule)


def test_as_many_pre_shared_keys_as_the_bound_allows(group: Group) -> None:
    keys = [psk(nonce=number.to_bytes(32)) for number in range(MAX_PSKS)]
    store = {mls.ExternalPsk(b"x"): b"secret"}
    output = group.clients["anna"].commit(group.states["anna"], keys, psks=store)
    received = group.clients["ben"].receive(group.states["ben"], output.commit, psks=store)
    assert isinstance(received, mls.CommitReceived)


def test_a_commit_holds_a_bounded_number_of_proposals(group: Group) -> None:
    anna, ben = group.clients["anna"], group.clients["ben"]
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(proposal_list, "MAX_PROPOSALS", 2)
        with pytest.raises(mls.ValidationError) as caught:
            anna.commit(group.states["anna"], [mls.Remove(1), mls.Remove(2), mls.Remove(3)])
        assert caught.value.rule == "LIST-LIMIT"
    store = {mls.ExternalPsk(b"x"): b"secret"}
    output = anna.commit(group.states["anna"], [mls.Remove(2), mls.Remove(3), psk()], psks=store)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(proposal_list, "MAX_PROPOSALS", 2)
        refused(group, "ben", output.commit, "LIST-LIMIT")
        patch.setattr(proposal_list, "MAX_PROPOSALS", 3)
        received = ben.receive(group.states["ben"], output.commit, psks=store)
    assert isinstance(received, mls.CommitReceived)


def test_a_client_may_be_replaced_in_one_commit(group: Group) -> None:
    client = group.clients["dan"]
    bundle = client.bundle()
    output = group.commit(
        "anna", [mls.Remove(3), mls.Add(group.clients["anna"].verified(bundle.key_package))]
    )
    assert output.welcome is not None
    group.states["dan"] = client.join(output.welcome, bundle)
    group.talk()


def test_update_and_remove_of_one_leaf_exclude_each_other(group: Group) -> None:
    update, _ = own_update(group, "cleo")
    ref = propose_unchecked(group, "cleo", update)
    with pytest.raises(mls.ValidationError) as caught:
        group.commit("anna", [mls.ProposalRef(ref), mls.Remove(2)])
    assert caught.value.rule == "LIST-ONE-PER-LEAF"


def test_an_expired_package_is_not_added_but_accepted_from_others(group: Group) -> None:
    late = LIFETIME.not_after + 1
    add = package(group, "eve")
    with pytest.raises(mls.ValidationError) as caught:
        group.clients["anna"].commit(group.states["anna"], [add], now=late)
    assert caught.value.rule == "KP-LIFETIME"
    output = group.clients["anna"].commit(group.states["anna"], [add])
    received = group.clients["ben"].receive(group.states["ben"], output.commit, now=late)
    assert isinstance(received, mls.CommitReceived)


# ---- senders from outside ----------------------------------------------------------------------------


def outside(
    group: Group,
    key: mls.SignatureKeyPair,
    sender: mls.Sender,
    proposal: mls.Proposal,
) -> bytes:
    """A proposal as a PublicMessage from someone who is no member."""
    state = group.states["anna"]
    content = FramedContent(b"group", state.epoch, sender, b"", mls.ContentType.PROPOSAL, proposal)
    signature = sign_content(group.suite, key, mls.WireFormat.PUBLIC_MESSAGE, content, b"")
    return mls.MLSMessage(mls.PublicMessage(content, AuthData(signature, None), None)).serialize()


def with_external_sender() -> tuple[Group, Client]:
    portal = Client("portal")
    extension = mls.Extension(
        5, vector_of(mls.ExternalSender(portal.signer.public, portal.credential).serialize())
    )
    group = Group("anna", extensions=(extension,))
    group.add("anna", "ben", "cleo")
    return group, portal


def vector_of(item: bytes) -> bytes:
    return opaque(item)


def test_a_known_external_sender_may_propose() -> None:
    group, portal = with_external_sender()
    sender = mls.Sender(mls.SenderType.EXTERNAL, 0)
    message = outside(group, portal.signer, sender, mls.Remove(2))
    ref = b""
    for name in list(group.states):
        received = group.clients[name].receive(group.states[name], message)
        assert isinstance(received, mls.ProposalReceived)
        group.states[name], ref = received.state, received.ref
    group.commit("anna", [mls.ProposalRef(ref)])
    assert set(group.states) == {"anna", "ben"}
    group.talk()


ALLOWED: list[Callable[[Group], mls.Proposal]] = [
    lambda group: ReceivedAdd(Client("eve").bundle().key_package),
    lambda group: mls.Remove(2),
    lambda group: psk(),
    lambda group: mls.ReInit(b"next", 1, 1, ()),
    lambda group: mls.GroupContextExtensions(()),
]


@pytest.mark.parametrize("make", ALLOWED, ids=["add", "remove", "psk", "reinit", "extensions"])
def test_an_external_sender_may_propose_five_kinds(make: Callable[[Group], mls.Proposal]) -> None:
    """Section 12.1.8."""
    group, portal = with_external_sender()
    message = outside(group, portal.signer, mls.Sender(mls.SenderType.EXTERNAL, 0), make(group))
    store = {mls.ExternalPsk(b"x"): b"secret"}
    for name in list(group.states):
        received = group.clients[name].receive(group.states[name], message)
        assert isinstance(received, mls.ProposalReceived)
        group.states[name] = received.state
    reference = mls.ProposalRef(group.states["anna"].pending[0].ref)
    output = group.clients["anna"].commit(group.states["anna"], [reference], psks=store)
    followed = group.clients["ben"].receive(group.states["ben"], output.commit, psks=store)
    assert isinstance(followed, mls.CommitReceived)
    assert followed.state.epoch_authenticator == output.state.epoch_authenticator


def test_an_external_sender_is_held_to_its_limits() -> None:
    group, portal = with_external_sender()
    known, unknown = (mls.Sender(mls.SenderType.EXTERNAL, index) for index in (0, 1))
    stranger = Client("stranger")
    refused(group, "ben", outside(group, portal.signer, unknown, mls.Remove(2)), "FRAME-EXTERNAL-SENDER")
    forged = outside(group, stranger.signer, known, mls.Remove(2))
    refused(group, "ben", forged, "FRAME-SIGNATURE", mls.CryptoError)
    update, _ = own_update(group, "cleo")
    refused(group, "ben", outside(group, portal.signer, known, update), "PROP-EXTERNAL-SENDER")


def test_external_senders_need_the_applications_consent() -> None:
    group, _ = with_external_sender()
    extensions = group.states["anna"].extensions
    output = group.clients["anna"].commit(group.states["anna"], [mls.GroupContextExtensions(extensions)])
    group.clients["ben"].auth.refuse_identity = b"portal"
    with pytest.raises(RefusedError):
        group.clients["ben"].receive(group.states["ben"], output.commit)
    client = Client("dan", auth=Auth(refuse_identity=b"portal"))
    bundle = client.bundle()
    welcome = group.commit_welcome("anna", bundle.key_package)
    with pytest.raises(RefusedError):
        client.join(welcome, bundle)


def test_a_newcomer_may_ask_to_be_added_and_nothing_else(group: Group) -> None:
    eve = Client("eve")
    bundle = eve.bundle()
    sender = mls.Sender(mls.SenderType.NEW_MEMBER_PROPOSAL)
    message = outside(group, eve.signer, sender, ReceivedAdd(bundle.key_package))
    received = group.clients["anna"].receive(group.states["anna"], message)
    assert isinstance(received, mls.ProposalReceived)
    refused(group, "anna", outside(group, eve.signer, sender, mls.Remove(1)), "PROP-NEW-MEMBER")
    stranger = Client("stranger")
    forged = outside(group, stranger.signer, sender, ReceivedAdd(bundle.key_package))
    refused(group, "anna", forged, "FRAME-SIGNATURE", mls.CryptoError)


def test_a_proposal_that_comes_twice_waits_once(group: Group) -> None:
    eve = Client("eve")
    sender = mls.Sender(mls.SenderType.NEW_MEMBER_PROPOSAL)
    message = outside(group, eve.signer, sender, ReceivedAdd(eve.bundle().key_package))
    state = group.states["anna"]
    for _ in range(2):
        received = group.clients["anna"].receive(state, message)
        assert isinstance(received, mls.ProposalReceived)
        state = received.state
        assert [entry.ref for entry in state.pending] == [received.ref]


def test_a_reference_is_the_hash_of_the_whole_message(group: Group) -> None:
    eve = Client("eve")
    sender = mls.Sender(mls.SenderType.NEW_MEMBER_PROPOSAL)
    message = outside(group, eve.signer, sender, ReceivedAdd(eve.bundle().key_package))
    received = group.clients["anna"].receive(group.states["anna"], message)
    assert isinstance(received, mls.ProposalReceived)
    body = mls.MLSMessage.parse(message).body
    assert isinstance(body, mls.PublicMessage)
    whole = AuthenticatedContent(mls.WireFormat.PUBLIC_MESSAGE, body.content, body.auth)
    assert received.ref == proposal_ref(group.suite, whole)


def test_proposals_apply_in_the_order_of_the_rfc(group: Group) -> None:
    state = group.states["anna"]
    add = package(group, "eve")
    committer = mls.Sender(mls.SenderType.MEMBER, 0)
    rules = Rules(state.epoch_state.tree, state.group_context, Auth(), FOREVER)
    entries = resolve_proposals((), (add, mls.Remove(1)), committer)
    applied = apply_proposals(rules, entries, committer)
    assert applied.added[0][0] == 1, "the place a Remove frees is filled, though the Add stands first"
