"""The channel between two devices that are being linked: only who has the secret can say anything there."""

from __future__ import annotations

import contextlib

import pytest
from hypothesis import given
from hypothesis import strategies as st

from client_sdk.errors import LinkCodeInvalid, LinkTampered, UsageError
from client_sdk.identity.linking import (
    MESSAGE_BYTES,
    Greeting,
    Hello,
    LinkSecret,
    LinkSession,
    Side,
    is_hello,
)
from relay.wire.ids import PortalId, UserId
from relay.wire.limits import MAX_RENDEZVOUS_BODY_BYTES
from tests.support.fake_time import SeededRandom

SECRET = LinkSecret(bytes(range(16)))


def greet(side: Side, *, secret: LinkSecret = SECRET, user: str = "anna", seed: str = "") -> Greeting:
    return Greeting(
        secret,
        side,
        portal=PortalId("portal"),
        user=UserId(user),
        device_key=bytes([side + 1]) * 32,
        name=f"device {side.name.lower()}",
        rng=SeededRandom(f"{side} {seed}"),
    )


def met(seed: str = "") -> tuple[LinkSession, LinkSession]:
    known, new = greet(Side.KNOWN, seed=seed), greet(Side.NEW, seed=seed)
    return known.meet(new.body)[1], new.meet(known.body)[1]


@given(st.binary(min_size=16, max_size=16))
def test_the_words_and_the_code_are_the_secret(value: bytes) -> None:
    secret = LinkSecret(value)
    assert len(secret.words) == 12
    assert LinkSecret.read(" ".join(secret.words)) == secret
    assert LinkSecret.read(f"  {', '.join(secret.words).upper()} ") == secret
    assert LinkSecret.read(secret.code) == secret
    assert LinkSecret.read(secret.code.lower()) == secret


def test_wrong_words_are_nearly_always_noticed() -> None:
    """Four bits of checksum let one mistake in sixteen pass; then nobody is met at the channel."""
    noticed = 0
    for position in range(12):
        words = list(SECRET.words)
        words[position] = "zoo"
        with contextlib.suppress(LinkCodeInvalid):
            assert LinkSecret.read(" ".join(words)) != SECRET
            continue
        noticed += 1
    assert noticed >= 9


NO_CODES = (
    "",
    "abandon",
    " ".join(SECRET.words[:11]),
    " ".join([*SECRET.words, "zoo"]),
    "coach " * 12,
    "hokuspokus " * 12,
    "COACH-LINK:",
    "COACH-LINK:00",
    "COACH-LINK:" + "zz" * 16,
)


@pytest.mark.parametrize("text", NO_CODES)
def test_what_is_no_code_is_refused_in_words(text: str) -> None:
    with pytest.raises(LinkCodeInvalid) as caught:
        LinkSecret.read(text)
    assert str(caught.value).endswith(".")


def test_nothing_shows_the_secret() -> None:
    assert SECRET.value.hex() not in repr(SECRET)
    assert SECRET.value not in SECRET.channel
    assert SECRET.channel != LinkSecret(bytes(16)).channel
    assert b"device new" not in greet(Side.NEW).body
    assert "device new" not in repr(greet(Side.KNOWN).meet(greet(Side.NEW).body)[0])


def test_they_learn_who_the_other_is_and_talk() -> None:
    known, new = greet(Side.KNOWN), greet(Side.NEW)
    hello, here = known.meet(new.body)
    assert (hello.name, hello.device_key, hello.user) == ("device new", b"\x02" * 32, "anna")
    there = new.meet(known.body)[1]
    for number in range(3):
        assert there.open(here.seal("grant", number, b"x" * number)) == ["grant", number, b"x" * number]
        assert here.open(there.seal("stored")) == ["stored"]


def test_who_does_not_know_the_secret_is_not_met() -> None:
    stranger = greet(Side.NEW, secret=LinkSecret(bytes(16)))
    with pytest.raises(LinkTampered):
        greet(Side.KNOWN).meet(stranger.body)


def test_a_greeting_sent_back_is_no_answer() -> None:
    known = greet(Side.KNOWN)
    with pytest.raises(LinkTampered):
        known.meet(known.body)
    with pytest.raises(LinkTampered):
        known.meet(greet(Side.KNOWN, seed="another").body)


def test_another_users_device_is_not_met() -> None:
    with pytest.raises(LinkTampered):
        greet(Side.KNOWN).meet(greet(Side.NEW, user="ben").body)


def test_every_altered_byte_of_a_greeting_is_refused() -> None:
    body = greet(Side.NEW).body
    for position in range(len(body)):
        with pytest.raises(LinkTampered):
            greet(Side.KNOWN).meet(body[:position] + bytes([body[position] ^ 1]) + body[position + 1 :])
    for length in range(len(body)):
        with pytest.raises(LinkTampered):
            greet(Side.KNOWN).meet(body[:length])


def test_every_altered_byte_of_a_message_is_refused_and_the_true_one_still_opens() -> None:
    here, there = met()
    body = here.seal("grant", b"secret")
    for position in range(len(body)):
        with pytest.raises(LinkTampered):
            there.open(body[:position] + bytes([body[position] ^ 1]) + body[position + 1 :])
    with pytest.raises(LinkTampered):
        there.open(body + b"\0")
    assert there.open(body) == ["grant", b"secret"]


def test_messages_come_once_and_in_order_and_from_the_other_side() -> None:
    here, there = met()
    first, second = here.seal("first"), here.seal("second")
    for wrong in (second, b"", first[:1], greet(Side.KNOWN).body):
        with pytest.raises(LinkTampered):
            there.open(wrong)
    assert there.open(first) == ["first"]
    with pytest.raises(LinkTampered):
        there.open(first)
    with pytest.raises(LinkTampered):
        here.open(second)  # sent back to who said it
    assert there.open(second) == ["second"]


def test_nothing_of_one_meeting_counts_in_another() -> None:
    here, _ = met("one")
    _, there = met("two")
    with pytest.raises(LinkTampered):
        there.open(here.seal("grant"))


def test_a_replayed_greeting_leads_to_keys_that_nobody_has() -> None:
    known, new = greet(Side.KNOWN, seed="later"), greet(Side.NEW, seed="earlier")
    session = known.meet(new.body)[1]
    answer = greet(Side.NEW, seed="later").meet(known.body)[1]
    with pytest.raises(LinkTampered):
        answer.open(session.seal("grant"))


def test_the_secret_alone_opens_nothing_that_was_recorded() -> None:
    """Somebody recorded everything, and finds the words afterwards."""
    known, new = greet(Side.KNOWN), greet(Side.NEW)
    session = known.meet(new.body)[1]
    recorded = session.seal("grant", b"identity key")
    late = greet(Side.NEW, seed="who found the words")
    with pytest.raises(LinkTampered):
        late.meet(known.body)[1].open(recorded)


def test_lengths_are_hidden_and_bounded() -> None:
    here, _ = met()
    assert len(here.seal("grant", b"x")) == len(here.seal("grant", b"x" * 100))
    assert len(here.seal("x", bytes(MESSAGE_BYTES - 10))) <= MAX_RENDEZVOUS_BODY_BYTES
    with pytest.raises(UsageError):
        here.seal("x", bytes(MESSAGE_BYTES))


def test_a_point_of_small_order_is_refused() -> None:
    known = greet(Side.KNOWN)
    forged = greet(Side.NEW)
    hello = Hello(PortalId("portal"), UserId("anna"), b"\x02" * 32, "x", bytes(32))
    with pytest.raises(LinkTampered):
        known._session(hello, forged.body)


def test_only_greetings_look_like_one() -> None:
    here, _ = met()
    assert is_hello(greet(Side.NEW).body)
    assert not is_hello(here.seal("grant"))
    assert not is_hello(b"")
