from __future__ import annotations

import nacl.signing
import pytest
from hypothesis import given
from hypothesis import strategies as st

from client_sdk.content.packing import pack, unpack
from client_sdk.engine.ephemeral import (
    MAX_WAITING,
    PAST_SECONDS,
    EphemeralBox,
    EphemeralMessage,
    EphemeralRefused,
)
from client_sdk.mls import (
    SUITE_3,
    Add,
    BasicCredential,
    CommitReceived,
    GroupState,
    Lifetime,
    SignatureKeyPair,
    create_commit,
    create_group,
    generate_key_package,
    generate_signature_key,
    join_from_welcome,
    process_message,
    verify_key_package,
)
from relay.wire.ids import label
from relay.wire.limits import MAX_EPHEMERAL_BODY_BYTES
from tests.support.fake_time import SeededRandom
from tests.support.rogue import Anyone

NOW = 1_790_000_000
LIFE = Lifetime(NOW - 10, NOW + 1000)


def signer_of(key: SignatureKeyPair) -> nacl.signing.SigningKey:
    return nacl.signing.SigningKey(key.private)


class Setting:
    """Anna and Ben in one group, with their boxes."""

    def __init__(self) -> None:
        self.rng = SeededRandom("ephemeral")
        auth = Anyone()
        self.anna_key, self.ben_key = (generate_signature_key(SUITE_3, self.rng) for _ in range(2))
        anna = create_group(
            SUITE_3, b"g", self.anna_key, BasicCredential(b"anna"), lifetime=LIFE, rng=self.rng
        )
        bundle = generate_key_package(
            SUITE_3, self.ben_key, BasicCredential(b"ben"), lifetime=LIFE, rng=self.rng
        )
        package = verify_key_package(bundle.key_package, suite=SUITE_3, auth=auth, now=NOW)
        made = create_commit(anna, [Add(package)], auth=auth, now=NOW, rng=self.rng)
        self.anna: GroupState = made.state
        self.ben = join_from_welcome(made.welcome or b"", bundle, self.ben_key, auth=auth, now=NOW)
        self.from_anna = self.box(self.anna, self.anna_key)
        self.from_ben = self.box(self.ben, self.ben_key)

    def box(self, group: GroupState, key: SignatureKeyPair) -> EphemeralBox:
        return EphemeralBox(group, group.epoch, lambda message: bytes(signer_of(key).sign(message).signature))

    def next_epoch(self) -> None:
        made = create_commit(self.anna, auth=Anyone(), now=NOW, rng=self.rng)
        received = process_message(self.ben, made.commit, auth=Anyone(), now=NOW)
        assert isinstance(received, CommitReceived)
        self.anna, self.ben = made.state, received.state

    def said(self, counter: int = 1, kind: str = "call.probe") -> bytes:
        return self.from_anna.seal(counter, kind, {"call": b"c" * 16}, self.rng)


@pytest.fixture
def at() -> Setting:
    return Setting()


def test_a_message_arrives_with_its_sender(at: Setting) -> None:
    message = at.from_ben.open(at.said(), 0.0)
    assert message == EphemeralMessage(
        1, 0, at.anna_key.public, at.anna.epoch_authenticator, "call.probe", {"call": b"c" * 16}
    )


def test_short_messages_have_one_length(at: Setting) -> None:
    lengths = {len(at.said(n, kind)) for n, kind in enumerate(("call.probe", "call.ringing"), 1)}
    assert len(lengths) == 1


def test_counters_rise_strictly(at: Setting) -> None:
    first, second, third = at.said(1), at.said(2), at.said(3)
    for body in (first, third):
        assert at.from_ben.open(body, 0.0)
    for body in (first, second, third):
        with pytest.raises(EphemeralRefused):
            at.from_ben.open(body, 0.0)


def test_a_refused_forgery_does_not_use_a_counter_up(at: Setting) -> None:
    good = at.said(5)
    fields = unpack(good)
    assert isinstance(fields, list)
    forged = pack([*fields[:5], bytes(64)])
    with pytest.raises(EphemeralRefused):
        at.from_ben.open(forged, 0.0)
    assert at.from_ben.open(good, 0.0)


def test_ones_own_message_reflected_is_refused(at: Setting) -> None:
    with pytest.raises(EphemeralRefused):
        at.from_anna.open(at.said(), 0.0)


def test_another_members_name_needs_their_signature(at: Setting) -> None:
    """Every member can derive every sender's key: the signature alone says who it was."""
    forger = at.box(at.anna, at.ben_key)
    body = forger.seal(1, "call.probe", {}, at.rng)
    with pytest.raises(EphemeralRefused):
        at.from_ben.open(body, 0.0)


@pytest.mark.parametrize("index", range(6))
def test_no_field_can_be_exchanged(at: Setting, index: int) -> None:
    one, other = unpack(at.said(1)), unpack(at.said(2, "call.ringing"))
    assert isinstance(one, list)
    assert isinstance(other, list)
    replaced: list[object] = [7, 1, 9, other[3], other[4], other[5]]
    fields = [*one[:index], replaced[index], *one[index + 1 :]]
    if index == 0:
        assert at.from_ben.open(pack(fields), 0.0) is None  # waits for an epoch that never comes
    else:
        with pytest.raises(EphemeralRefused):
            at.from_ben.open(pack(fields), 0.0)


@given(st.binary(max_size=300))
def test_noise_is_refused(noise: bytes) -> None:
    with pytest.raises(EphemeralRefused):
        SHARED.from_ben.open(noise, 0.0)


@pytest.mark.parametrize(
    "fields",
    [[], [1] * 6, [1, 0, -1, bytes(24), b"", bytes(64)], [1, 0, 1, bytes(23), b"", bytes(64)], {"a": 1}, 7],
)
def test_other_structures_are_refused(at: Setting, fields: object) -> None:
    with pytest.raises(EphemeralRefused):
        at.from_ben.open(pack(fields), 0.0)


def test_a_future_epoch_waits_bounded(at: Setting) -> None:
    at.next_epoch()
    at.from_anna.enter(at.anna, at.anna.epoch, 0.0)
    for number in range(1, MAX_WAITING + 5):
        assert at.from_ben.open(at.said(number), 0.0) is None
    opened = at.from_ben.enter(at.ben, at.ben.epoch, 0.0)
    assert len(opened) == MAX_WAITING
    assert all(message.epoch == 2 for message in opened)


def test_one_past_epoch_is_kept_for_a_minute(at: Setting) -> None:
    first, second, third = (at.said(number) for number in (1, 2, 3))
    at.next_epoch()
    at.from_ben.enter(at.ben, at.ben.epoch, 100.0)
    assert at.from_ben.open(first, 100.0 + PAST_SECONDS)
    with pytest.raises(EphemeralRefused):
        at.from_ben.open(second, 100.1 + PAST_SECONDS)
    at.next_epoch()
    at.from_ben.enter(at.ben, at.ben.epoch, 100.0)
    with pytest.raises(EphemeralRefused):
        at.from_ben.open(third, 100.0)


def test_what_is_too_long_is_refused_before_it_is_sent(at: Setting) -> None:
    with pytest.raises(EphemeralRefused):
        at.from_anna.seal(1, "call.offer", {"sdp": "x" * MAX_EPHEMERAL_BODY_BYTES}, at.rng)


def test_the_signature_is_under_our_label(at: Setting) -> None:
    fields = unpack(at.said())
    assert isinstance(fields, list)
    epoch, leaf, counter, nonce, ciphertext, signature = fields
    header = pack([b"g", epoch, leaf, counter])
    assert isinstance(nonce, bytes)
    assert isinstance(ciphertext, bytes)
    assert isinstance(signature, bytes)
    signed = label("ephemeral") + header + nonce + ciphertext
    nacl.signing.VerifyKey(at.anna_key.public).verify(signed, signature)


SHARED = Setting()
