"""The messages of a negotiation: what is sent comes out, and nothing else does."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from client_sdk.calls import KINDS
from client_sdk.calls.errors import CallMessageInvalid
from client_sdk.calls.messages import (
    MAX_SDP_CHARS,
    Accept,
    Answer,
    Candidate,
    Decline,
    Hangup,
    Message,
    Offer,
    Probe,
    Reveal,
    Ringing,
    call_id,
    message_body,
    parse_message,
)

CALL = b"c" * 16
ATTEMPT, DEVICE, NONCE = (
    st.integers(1, 1000),
    st.binary(min_size=16, max_size=16),
    st.binary(min_size=32, max_size=32),
)
MESSAGES: st.SearchStrategy[Message] = st.one_of(
    st.sampled_from([Probe(), Ringing(), Decline()]),
    st.builds(Accept, DEVICE, st.integers(0, 1000)),
    st.builds(Offer, DEVICE, ATTEMPT, st.text(max_size=50), NONCE),
    st.builds(Answer, ATTEMPT, st.text(max_size=50), NONCE),
    st.builds(Reveal, ATTEMPT, NONCE),
    st.builds(Candidate, ATTEMPT, st.text(max_size=50), st.text(max_size=16), st.integers(0, 15)),
    st.builds(Hangup, st.from_regex(r"[a-z][a-z_]{0,31}", fullmatch=True)),
)


@given(MESSAGES)
def test_a_message_survives_its_body(message: Message) -> None:
    body = message_body(message, CALL)
    assert call_id(body) == CALL
    assert message.kind in KINDS
    assert parse_message(message.kind, body) == message
    assert parse_message(message.kind, {**body, "later": 1}) == message


@given(MESSAGES, st.data())
def test_a_field_that_is_missing_or_wrong_is_refused(message: Message, data: st.DataObject) -> None:
    body = message_body(message, CALL)
    names = sorted(body.keys() - {"call", "after"})
    if not names:
        return
    name = data.draw(st.sampled_from(names))
    wrong: object = data.draw(
        st.sampled_from([None, -1, 0.5, True, b"short", b"x" * 33, [], {}, "\0" * 40_000])
    )
    with pytest.raises(CallMessageInvalid):
        parse_message(message.kind, {**body, name: wrong})
    del body[name]
    with pytest.raises(CallMessageInvalid):
        parse_message(message.kind, body)


def test_an_acceptance_without_after_is_the_first() -> None:
    assert parse_message("call.accept", {"call": CALL, "device": bytes(16)}) == Accept(bytes(16), 0)
    with pytest.raises(CallMessageInvalid):
        parse_message("call.accept", {"call": CALL, "device": bytes(16), "after": -1})


@pytest.mark.parametrize(
    ("kind", "body"),
    [
        ("call.unknown", {}),
        ("text", {}),
        ("call.offer", {"to": bytes(16), "attempt": 0, "sdp": "", "commit": bytes(32)}),
        ("call.offer", {"to": bytes(16), "attempt": 1001, "sdp": "", "commit": bytes(32)}),
        (
            "call.offer",
            {"to": bytes(16), "attempt": 1, "sdp": "x" * (MAX_SDP_CHARS + 1), "commit": bytes(32)},
        ),
        ("call.hangup", {"reason": "Because I say so"}),
        ("call.hangup", {"reason": ""}),
    ],
)
def test_what_is_out_of_bounds_is_refused(kind: str, body: dict[str, object]) -> None:
    with pytest.raises(CallMessageInvalid):
        parse_message(kind, body)


@pytest.mark.parametrize("call", [None, b"", b"c" * 15, b"c" * 17, "c" * 16, 5])
def test_a_body_says_which_call_it_is_about(call: object) -> None:
    with pytest.raises(CallMessageInvalid):
        call_id({"call": call})
    with pytest.raises(CallMessageInvalid):
        call_id({})
