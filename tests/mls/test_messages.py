"""Application messages: order, windows, replays, damage, forgeries."""

from __future__ import annotations

from dataclasses import replace

import pytest

from client_sdk import mls
from client_sdk.mls import protection, sending
from client_sdk.mls.codec import opaque
from client_sdk.mls.framing import AuthData, FramedContent
from client_sdk.mls.protection import protect_private, protect_public, sign_content
from client_sdk.mls.secret_tree import MAX_BACKWARD, MAX_FORWARD

from .support import NOW, Auth, Group, refused, seeded


@pytest.fixture
def group() -> Group:
    return Group("anna", "ben", "cleo")


def private(data: bytes) -> mls.PrivateMessage:
    body = mls.MLSMessage.parse(data).body
    assert isinstance(body, mls.PrivateMessage)
    return body


def forge(
    group: Group,
    sender: str,
    body: bytes = b"forged",
    *,
    signature: bytes | None = None,
    trailer: bytes = b"",
    leaf: int | None = None,
) -> bytes:
    """A message a member makes with the group's keys, but not by the rules."""
    state = group.states[sender]
    epoch = state.epoch_state
    content = FramedContent(
        state.group_id,
        state.epoch,
        mls.Sender(mls.SenderType.MEMBER, state.own_leaf_index if leaf is None else leaf),
        b"",
        mls.ContentType.APPLICATION,
        body,
    )
    wire_format = mls.WireFormat.PRIVATE_MESSAGE
    if signature is None:
        signature = sign_content(group.suite, epoch.signer, wire_format, content, epoch.context.encoded)
    auth = AuthData(signature, None)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(protection, "_pad", lambda *_: trailer)
        message, _ = protect_private(
            group.suite,
            epoch.secrets.sender_data_secret,
            state.secret_tree,
            content,
            auth,
            rng=seeded("forger"),
            padding=None,
        )
    return mls.MLSMessage(message).serialize()


def test_what_arrives_is_what_was_sent_with_its_evidence(group: Group) -> None:
    message = group.send("anna", b"hello", authenticated_data=b"aad")
    received = group.read("ben", message)
    assert (received.plaintext, received.authenticated_data) == (b"hello", b"aad")
    assert (received.sender, received.generation, received.epoch) == (0, 0, group.states["anna"].epoch)
    leaf = group.states["ben"].member(0)
    assert leaf is not None
    label = b"FramedContentTBS"
    group.suite.verify_with_label(leaf.signature_key, label, received.signed, received.signature, "T")
    assert opaque(b"hello") in received.signed
    assert group.states["ben"].group_context.encoded in received.signed


def test_a_replay_is_refused(group: Group) -> None:
    message = group.send("anna", b"once")
    group.read("ben", message)
    refused(group, "ben", message, "RATCHET-GENERATION", mls.SecretReuse)


def test_the_window_reaches_five_back(group: Group) -> None:
    messages = [group.send("anna", str(number).encode()) for number in range(MAX_BACKWARD + 2)]
    assert group.read("ben", messages[-1]).generation == MAX_BACKWARD + 1
    for message in reversed(messages[1:-1]):
        assert group.read("ben", message).plaintext.isdigit()
    refused(group, "ben", messages[0], "RATCHET-GENERATION", mls.SecretReuse)


def test_a_key_that_was_skipped_stays_to_the_end_of_the_window(group: Group) -> None:
    sent = [group.send("anna", str(number).encode()) for number in range(7)]
    for newest in (3, 5):
        group.read("ben", sent[newest])
    before = group.states["ben"]
    assert group.read("ben", sent[0]).plaintext == b"0"
    group.states["ben"] = before
    group.read("ben", sent[6])
    refused(group, "ben", sent[0], "RATCHET-GENERATION", mls.SecretReuse)
    assert group.read("ben", sent[1]).plaintext == b"1"


def test_the_window_reaches_a_thousand_forward(group: Group) -> None:
    first = group.states["anna"]
    for _ in range(MAX_FORWARD + 2):
        message = group.send("anna", b"x")
    refused(group, "ben", message, "RATCHET-FORWARD", mls.SecretReuse)
    group.states["anna"] = first
    for _ in range(MAX_FORWARD):
        group.send("anna", b"x")
    assert group.read("ben", group.send("anna", b"last")).generation == MAX_FORWARD


def test_consumed_keys_are_gone_from_the_state(group: Group) -> None:
    sender = group.states["anna"]
    message = group.send("anna", b"x")
    pair, _ = sender.secret_tree.open_leaf(group.suite, 0)
    key, spent = pair.application.key(group.suite), pair.application.secret
    group.read("ben", message)
    for name in ("anna", "ben"):
        stored = group.states[name].serialize()
        assert key.key not in stored
        assert key.nonce not in stored
        assert spent not in stored


def test_every_truncation_is_refused_and_changes_nothing(group: Group) -> None:
    message = group.send("anna", b"hello", authenticated_data=b"aad")
    before = group.states["ben"].serialize()
    for length in range(len(message)):
        with pytest.raises(mls.MLSError):
            group.clients["ben"].receive(group.states["ben"], message[:length])
    assert group.states["ben"].serialize() == before


@pytest.mark.parametrize("bit", [1, 0x80])
def test_every_changed_byte_is_refused_and_changes_nothing(group: Group, bit: int) -> None:
    message = group.send("anna", b"hello", authenticated_data=b"aad")
    before = group.states["ben"].serialize()
    for place in range(len(message)):
        changed = message[:place] + bytes([message[place] ^ bit]) + message[place + 1 :]
        with pytest.raises(mls.MLSError):
            group.clients["ben"].receive(group.states["ben"], changed)
    assert group.states["ben"].serialize() == before
    assert group.read("ben", message).plaintext == b"hello"


def test_an_empty_or_short_ciphertext_is_refused(group: Group) -> None:
    message = private(group.send("anna", b"hello"))
    for changed in (
        replace(message, ciphertext=b""),
        replace(message, ciphertext=message.ciphertext[:15]),
        replace(message, encrypted_sender_data=b""),
        replace(message, encrypted_sender_data=message.encrypted_sender_data + b"\0"),
    ):
        refused(group, "ben", mls.MLSMessage(changed).serialize(), "AEAD-TAG", mls.CryptoError)


@pytest.mark.parametrize("signature", [b"", bytes(64), bytes(63), b"\1" * 65])
def test_an_unsigned_or_wrongly_signed_message_is_refused(group: Group, signature: bytes) -> None:
    refused(group, "ben", forge(group, "anna", signature=signature), "FRAME-SIGNATURE", mls.CryptoError)


def test_a_member_cannot_speak_for_another(group: Group) -> None:
    refused(group, "ben", forge(group, "anna", leaf=2), "FRAME-SIGNATURE", mls.CryptoError)


def test_a_blank_leaf_says_nothing(group: Group) -> None:
    refused(group, "ben", forge(group, "anna", leaf=3), "FRAME-SENDER-LEAF")


def test_a_leaf_outside_the_tree_says_nothing(group: Group) -> None:
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(protection, "u32", lambda value: (value or 77).to_bytes(4))
        message = forge(group, "anna")
    refused(group, "ben", message, "FRAME-SENDER-LEAF")


def test_padding_hides_the_length_and_must_be_zero(group: Group) -> None:
    def to_256(length: int) -> int:
        return max(256, length)

    short = group.send("anna", b"x", padding=to_256)
    longer = group.send("anna", b"x" * 60, padding=to_256)
    assert len(short) == len(longer)
    assert group.read("ben", longer).plaintext == b"x" * 60
    assert group.read("ben", short).plaintext == b"x"
    refused(group, "cleo", forge(group, "anna", trailer=bytes(8) + b"\1"), "FRAME-PADDING")
    with pytest.raises(mls.UsageError):
        group.send("anna", b"four", padding=lambda length: length - 1)


def test_padding_covers_application_data_and_padding_together(group: Group) -> None:
    seen: list[int] = []

    def exactly(length: int) -> int:
        seen.append(length)
        return length

    group.send("anna", b"x" * 300, padding=exactly)
    assert seen == [300]


def test_application_data_is_never_public(group: Group) -> None:
    epoch = group.states["anna"].epoch_state
    sender = mls.Sender(mls.SenderType.MEMBER, 0)
    content = FramedContent(
        b"group", group.states["anna"].epoch, sender, b"", mls.ContentType.APPLICATION, b"x"
    )
    context = epoch.context.encoded
    wire_format = mls.WireFormat.PUBLIC_MESSAGE
    auth = AuthData(sign_content(group.suite, epoch.signer, wire_format, content, context), None)
    message = protect_public(group.suite, epoch.secrets.membership_key, content, auth, context)
    refused(group, "ben", mls.MLSMessage(message).serialize(), "FRAME-APPLICATION-PRIVATE")


def test_reuse_guards_are_random(group: Group) -> None:
    client, state = group.clients["anna"], group.states["anna"]
    one, other = (private(mls.encrypt(state, b"same", rng=client.rng).message) for _ in range(2))
    assert one.ciphertext != other.ciphertext


def test_empty_and_large_messages_arrive(group: Group) -> None:
    for plaintext in (b"", b"x" * 100_000):
        assert group.read("ben", group.send("anna", plaintext)).plaintext == plaintext


def test_what_no_receiver_takes_is_not_sent(group: Group) -> None:
    with pytest.raises(mls.UsageError):
        group.send("anna", bytes(1 << 24))
    group.talk()


def test_application_data_waits_for_pending_proposals(group: Group) -> None:
    sent = mls.create_proposal(
        group.states["anna"], mls.Remove(2), auth=Auth(), rng=group.clients["anna"].rng
    )
    received = group.clients["ben"].receive(group.states["ben"], sent.message)
    assert isinstance(received, mls.ProposalReceived)
    for state in (sent.state, received.state):
        with pytest.raises(mls.StateError) as caught:
            mls.encrypt(state, b"x", rng=group.clients["ben"].rng)
        assert caught.value.rule == "PENDING-PROPOSALS"
    again = group.clients["ben"].receive(group.states["ben"], sent.message)
    assert isinstance(again, mls.ProposalReceived)
    assert mls.encrypt(group.states["ben"], b"x", rng=group.clients["ben"].rng), (
        "an ignored proposal blocks nobody"
    )


def test_pending_proposals_are_bounded(group: Group, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sending, "MAX_PENDING_PROPOSALS", 1)
    state, auth = group.states["anna"], Auth()
    first = mls.create_proposal(state, mls.Remove(2), auth=auth, rng=group.clients["anna"].rng)
    with pytest.raises(mls.StateError) as caught:
        mls.create_proposal(first.state, mls.Remove(1), auth=auth, rng=group.clients["anna"].rng)
    assert caught.value.rule == "PENDING-LIMIT"


def test_old_epochs_are_closed(group: Group) -> None:
    message = group.send("anna", b"late")
    group.commit("ben")
    refused(group, "cleo", message, "FRAME-EPOCH", mls.WrongEpoch)


def test_a_ratchet_ends_before_its_generations_repeat(group: Group) -> None:
    pair, tree = group.states["anna"].secret_tree.open_leaf(group.suite, 0)
    last = replace(pair.application, generation=(1 << 32) - 1)
    state = group.states["anna"].with_secret_tree(tree.with_ratchet(0, mls.ContentType.APPLICATION, last))
    with pytest.raises(mls.SecretReuse) as caught:
        mls.encrypt(state, b"x", rng=group.clients["anna"].rng)
    assert caught.value.rule == "RATCHET-EXHAUSTED"


def test_the_clock_plays_no_part_in_reading(group: Group) -> None:
    message = group.send("anna", b"x")
    received = group.clients["ben"].receive(group.states["ben"], message, now=NOW + 10**10)
    assert isinstance(received, mls.ApplicationReceived)
