"""External commits: coming back by replacing one's own leaf, and every way to abuse it."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

import pytest

from client_sdk import mls
from client_sdk.mls import external_commit
from client_sdk.mls.framing import AuthData, FramedContent
from client_sdk.mls.proposals import Commit
from client_sdk.mls.protection import protect_public, sign_content

from .support import Client, Group, RefusedError, refused, unchecked


@pytest.fixture
def group() -> Group:
    group = Group("anna", "ben", "cleo", "dan")
    group.commit("anna")
    return group


def info(group: Group) -> bytes:
    return mls.export_group_info(group.states["anna"])


def test_a_lost_member_comes_back_in_its_own_place(group: Group) -> None:
    group.rejoin("cleo", group.leaf("cleo"))
    assert group.leaf("cleo") == 2
    group.check_agreement()
    group.talk()
    group.commit("cleo")
    group.talk()


def test_the_members_are_told(group: Group) -> None:
    output = group.clients["cleo"].rejoin(info(group), 2, authenticated_data=b"again")
    ben = group.clients["ben"]
    ben.auth.successors.clear()
    received = ben.receive(group.states["ben"], output.commit)
    assert isinstance(received, mls.CommitReceived)
    assert (received.sender, received.external, received.added) == (2, True, ())
    assert [index for index, _ in received.removed] == [2]
    assert received.updated == (), "a leaf in another's place is no update of it"
    assert received.authenticated_data == b"again"
    assert ben.auth.successors == [(b"cleo", b"cleo")]
    plain = ben.receive(group.states["ben"], group.clients["cleo"].rejoin(info(group), 2).commit)
    assert isinstance(plain, mls.CommitReceived)
    assert plain.authenticated_data == b""
    told = group.clients["cleo"].receive(group.states["cleo"], output.commit)
    assert isinstance(told, mls.RemovedFromGroup)
    assert told.external


def test_a_newcomer_takes_the_next_place(group: Group) -> None:
    group.clients["eve"] = Client("eve")
    group.rejoin("eve")
    assert group.leaf("eve") == 4
    group.check_agreement()
    group.talk()


def test_an_empty_group_of_one_can_be_joined() -> None:
    group = Group("anna")
    group.commit("anna")
    group.clients["ben"] = Client("ben")
    group.rejoin("ben")
    group.talk()


def test_the_old_state_cannot_read_on(group: Group) -> None:
    old = group.states["cleo"]
    group.rejoin("cleo", 2)
    with pytest.raises(mls.WrongEpoch):
        group.clients["cleo"].receive(old, group.send("anna", b"x"))


def test_the_leaf_of_another_cannot_be_taken(group: Group) -> None:
    with pytest.raises(RefusedError):
        group.clients["cleo"].rejoin(info(group), 1)
    mallory = Client("mallory")
    mallory.auth.verify_successor = lambda old, new: None  # type: ignore[method-assign]  # mallory asks nobody
    output = mallory.rejoin(info(group), 1)
    before = group.states["anna"].serialize()
    with pytest.raises(RefusedError):
        group.clients["anna"].receive(group.states["anna"], output.commit)
    assert group.states["anna"].serialize() == before


def test_a_stranger_is_refused_by_the_application(group: Group) -> None:
    output = Client("mallory").rejoin(info(group), None)
    group.clients["anna"].auth.refuse_identity = b"mallory"
    with pytest.raises(RefusedError):
        group.clients["anna"].receive(group.states["anna"], output.commit)


def test_the_joiner_asks_about_the_members(group: Group) -> None:
    eve = Client("eve")
    eve.auth.refuse_identity = b"dan"
    with pytest.raises(RefusedError):
        eve.rejoin(info(group), None)


def test_a_member_cannot_be_there_twice(group: Group) -> None:
    with pytest.raises(mls.ValidationError) as caught:
        group.clients["cleo"].rejoin(info(group), None)
    assert caught.value.rule == "LEAF-UNIQUE-SIGNATURE-KEY"
    with unchecked():
        output = group.clients["cleo"].rejoin(info(group), None)
    refused(group, "ben", output.commit, "LEAF-UNIQUE-SIGNATURE-KEY")


def test_a_newcomer_is_not_in_the_group_yet(group: Group) -> None:
    eve = Client("eve")
    with pytest.raises(mls.ValidationError) as caught:
        eve.rejoin(info(group), None, known_groups={b"other", b"group"})
    assert caught.value.rule == "GROUPINFO-GROUP-KNOWN"
    assert eve.rejoin(info(group), None, known_groups={b"other"}).commit
    assert group.clients["cleo"].rejoin(info(group), 2, known_groups={b"group"}).commit


def test_an_old_group_info_leads_nowhere(group: Group) -> None:
    old = info(group)
    group.commit("ben")
    output = group.clients["cleo"].rejoin(old, 2)
    refused(group, "anna", output.commit, "FRAME-EPOCH", mls.WrongEpoch)


def test_every_damaged_group_info_is_refused(group: Group) -> None:
    data = info(group)
    for place in range(0, len(data), 3):
        for bad in (data[:place], data[:place] + bytes([data[place] ^ 8]) + data[place + 1 :]):
            with pytest.raises(mls.MLSError):
                group.clients["cleo"].rejoin(bad, 2)


def test_a_group_info_without_external_key_does_not_allow_it(group: Group) -> None:
    body = mls.MLSMessage.parse(info(group)).body
    assert isinstance(body, mls.GroupInfo)
    closed = replace(body, extensions=body.extensions[:1]).signed_by(
        group.suite, group.clients["anna"].signer
    )
    with pytest.raises(mls.ValidationError) as caught:
        mls.create_external_commit(
            closed,
            group.clients["cleo"].signer,
            group.clients["cleo"].credential,
            remove=2,
            auth=group.clients["cleo"].auth,
            now=0,
            rng=group.clients["cleo"].rng,
        )
    assert caught.value.rule == "GROUPINFO-EXTERNAL-PUB"
    with pytest.raises(mls.DecodeError):
        group.clients["cleo"].rejoin(group.send("anna", b"no GroupInfo"), 2)


def test_the_tree_may_come_beside_the_group_info(group: Group) -> None:
    body = mls.MLSMessage.parse(info(group)).body
    assert isinstance(body, mls.GroupInfo)
    bare = replace(body, extensions=body.extensions[1:]).signed_by(group.suite, group.clients["anna"].signer)
    message = mls.MLSMessage(bare).serialize()
    output = group.clients["cleo"].rejoin(message, 2, ratchet_tree=group.states["ben"].serialize_tree())
    group.states.pop("cleo")
    group.deliver("cleo", output)
    group.talk()


def rebuilt(group: Group, change: Callable[[Commit], Commit]) -> bytes:
    """cleo's external commit with another list, signed again."""
    cleo = group.clients["cleo"]
    real = external_commit._sign_and_enter

    def altered(info: mls.GroupInfo, signer: object, content: FramedContent, *rest: object) -> object:
        assert isinstance(content.body, Commit)
        return real(info, signer, replace(content, body=change(content.body)), *rest)  # type: ignore[arg-type]  # passed through

    with unchecked(external__sign_and_enter=altered):
        return cleo.rejoin(info(group), 2).commit


def added(*proposals: mls.Proposal | mls.ProposalRef) -> Callable[[Commit], Commit]:
    return lambda commit: replace(commit, proposals=(*commit.proposals, *proposals))


EVE = mls.Add(mls.VerifiedKeyPackage(Client("eve").bundle().key_package))
LISTS: list[tuple[str, Callable[[Commit], Commit]]] = [
    ("EXTCOMMIT-PATH", lambda commit: replace(commit, path=None)),
    ("EXTCOMMIT-ONE-INIT", lambda commit: replace(commit, proposals=commit.proposals[1:])),
    ("EXTCOMMIT-ONE-INIT", added(mls.ExternalInit(b"k" * 32))),
    ("EXTCOMMIT-ONE-REMOVE", added(mls.Remove(1))),
    ("EXTCOMMIT-PROPOSALS", added(EVE)),
    ("EXTCOMMIT-PROPOSALS", added(mls.GroupContextExtensions(()))),
    ("EXTCOMMIT-PROPOSALS", added(mls.ReInit(b"x", 1, 1, ()))),
    (
        "COMMIT-CONFIRMATION-TAG",
        lambda commit: replace(
            commit, proposals=(mls.ExternalInit(b"\x09" + bytes(31)), *commit.proposals[1:])
        ),
    ),
]


@pytest.mark.parametrize(("rule", "change"), LISTS)
def test_a_bad_external_commit_is_refused(
    group: Group, rule: str, change: Callable[[Commit], Commit]
) -> None:
    error = mls.CryptoError if rule == "COMMIT-CONFIRMATION-TAG" else mls.ValidationError
    refused(group, "ben", rebuilt(group, change), rule, error)


def test_an_external_commit_refers_to_nothing(group: Group) -> None:
    sent = mls.create_proposal(
        group.states["anna"], mls.Remove(3), auth=group.clients["anna"].auth, rng=group.clients["anna"].rng
    )
    received = group.clients["ben"].receive(group.states["ben"], sent.message)
    assert isinstance(received, mls.ProposalReceived)
    group.states["ben"] = received.state
    commit = rebuilt(group, added(mls.ProposalRef(received.ref)))
    refused(group, "ben", commit, "EXTCOMMIT-BY-VALUE")


def test_a_psk_may_stand_in_an_external_commit(group: Group) -> None:
    psk = mls.PreSharedKey(mls.PreSharedKeyID(mls.ExternalPsk(b"x"), b"n" * 32))
    refused(group, "ben", rebuilt(group, added(psk)), "PSK-MISSING", mls.MissingPsk)


def test_every_damaged_external_commit_is_refused(group: Group) -> None:
    commit = group.clients["cleo"].rejoin(info(group), 2).commit
    before = group.states["ben"].serialize()
    for place in range(len(commit)):
        for bad in (commit[:place], commit[:place] + bytes([commit[place] ^ 16]) + commit[place + 1 :]):
            with pytest.raises(mls.MLSError):
                group.clients["ben"].receive(group.states["ben"], bad)
    assert group.states["ben"].serialize() == before


def test_an_application_message_or_proposal_has_no_such_sender(group: Group) -> None:
    cleo = group.clients["cleo"]
    sender = mls.Sender(mls.SenderType.NEW_MEMBER_COMMIT)
    epoch = group.states["anna"].epoch
    content = FramedContent(b"group", epoch, sender, b"", mls.ContentType.PROPOSAL, mls.Remove(1))
    context = group.states["anna"].group_context.encoded
    signature = sign_content(group.suite, cleo.signer, mls.WireFormat.PUBLIC_MESSAGE, content, context)
    message = mls.PublicMessage(content, AuthData(signature, None), None)
    refused(group, "ben", mls.MLSMessage(message).serialize(), "FRAME-SENDER-CONTENT")


# ---- members' PublicMessages -------------------------------------------------------------------------


def public_remove(group: Group, tag: Callable[[bytes], bytes] = lambda tag: tag) -> bytes:
    epoch = group.states["anna"].epoch_state
    sender = mls.Sender(mls.SenderType.MEMBER, 0)
    content = FramedContent(
        b"group", epoch.context.epoch, sender, b"", mls.ContentType.PROPOSAL, mls.Remove(3)
    )
    context, wire_format = epoch.context.encoded, mls.WireFormat.PUBLIC_MESSAGE
    auth = AuthData(sign_content(group.suite, epoch.signer, wire_format, content, context), None)
    message = protect_public(group.suite, epoch.secrets.membership_key, content, auth, context)
    return mls.MLSMessage(replace(message, membership_tag=tag(message.membership_tag or b""))).serialize()


def test_a_members_public_message_needs_its_membership_tag(group: Group) -> None:
    received = group.clients["ben"].receive(group.states["ben"], public_remove(group))
    assert isinstance(received, mls.ProposalReceived)
    for change in (lambda tag: b"", lambda tag: tag[:31], lambda tag: tag + b"\0", lambda tag: bytes(32)):
        bad = public_remove(group, change)
        refused(group, "ben", bad, "FRAME-MEMBERSHIP-TAG", mls.CryptoError)


def test_ones_own_public_message_is_told_apart(group: Group) -> None:
    refused(group, "anna", public_remove(group), "FRAME-OWN", mls.OwnMessage)
