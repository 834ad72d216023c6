"""The envelope's codec: round trips, bounds, tolerance to what is newer, refusal of what is malformed."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import msgpack
import pytest
from hypothesis import given
from hypothesis import strategies as st

from client_sdk.content import (
    Attest,
    BodyInvalid,
    CallInvite,
    CheckIn,
    Content,
    Envelope,
    Profile,
    Receipt,
    Text,
    Unknown,
)
from client_sdk.errors import ContentError, ContentMalformed, ContentTooBig

from .strategies import envelopes, known, unknown

ATTEST = Attest(3, 17, bytes(32))


def envelope(content: Content) -> Envelope:
    return Envelope(
        id=bytes(range(16)),
        counter=5,
        attest=ATTEST,
        closings=(ATTEST,),
        sent_ms=1_700_000_000_000,
        content=content,
    )


def fields(content: Content | None = None) -> list[Any]:
    values = msgpack.unpackb(envelope(content or Text("hello")).serialize())
    assert isinstance(values, list)
    return values


@given(envelopes(known | unknown))
def test_what_is_serialized_parses_to_the_same(message: Envelope) -> None:
    data = message.serialize()
    again = Envelope.parse(data)
    assert again == message
    assert again.serialize() == data


@given(envelopes(known), st.data())
def test_a_mutated_message_is_refused_with_a_typed_error_or_is_another_message(
    message: Envelope, data: st.DataObject
) -> None:
    raw = bytearray(message.serialize())
    position = data.draw(st.integers(0, len(raw) - 1))
    raw[position] ^= data.draw(st.integers(1, 255))
    cut = data.draw(st.integers(0, len(raw)))
    for mutant in (bytes(raw), bytes(raw[:cut]), bytes(raw) + b"\0"):
        try:
            parsed = Envelope.parse(mutant)
        except ContentError:
            continue
        stable = parsed.serialize()
        assert Envelope.parse(stable).serialize() == stable


@given(st.binary(max_size=200))
def test_arbitrary_bytes_never_crash_the_parser(data: bytes) -> None:
    with pytest.raises(ContentError):
        Envelope.parse(data)


def test_the_encoding_is_the_documented_one() -> None:
    assert fields() == [
        1,
        bytes(range(16)),
        5,
        [3, 17, bytes(32)],
        [[3, 17, bytes(32)]],
        1_700_000_000_000,
        "text",
        1,
        False,
        "A text message.",
        {"text": "hello"},
    ]


def test_a_later_kind_survives_byte_for_byte_with_its_fallback() -> None:
    values = fields()
    values[6:] = ["goal.set", 3, True, "Anna set a goal.", {"goal": "sleep", "parts": [{"x": 1.5}]}]
    data = msgpack.packb(values)
    parsed = Envelope.parse(data)
    assert isinstance(parsed.content, Unknown)
    assert (parsed.content.kind, parsed.content.kind_version, parsed.content.critical) == (
        "goal.set",
        3,
        True,
    )
    assert parsed.content.fallback == "Anna set a goal."
    assert parsed.content.values == {"goal": "sleep", "parts": [{"x": 1.5}]}
    assert parsed.serialize() == data


def test_a_later_version_of_a_known_kind_is_kept_even_if_its_body_looks_wrong() -> None:
    values = fields()
    values[7] = 2
    values[10] = {"text": 17}
    parsed = Envelope.parse(msgpack.packb(values))
    assert isinstance(parsed.content, Unknown)
    assert parsed.kind == "text"
    assert parsed.serialize() == msgpack.packb(values)


def test_a_body_in_an_unusual_encoding_is_kept_as_it_came() -> None:
    values = fields()
    values[6] = "later"
    body = b"\xde\x00\x01" + b"\xd9\x01a" + b"\xcd\x00\x05"  # map16, str8 and uint16, all longer than needed
    data = b"\x9b" + b"".join(msgpack.packb(v) for v in values[:10]) + body
    parsed = Envelope.parse(data)
    assert isinstance(parsed.content, Unknown)
    assert parsed.content.values == {"a": 5}
    assert parsed.serialize() == data


def test_unknown_keys_of_a_known_kind_are_kept() -> None:
    values = fields()
    values[10] = {"text": "hello", "mood": ["calm"]}
    parsed = Envelope.parse(msgpack.packb(values))
    assert parsed.content == Text("hello", extra={"mood": ["calm"]})
    assert msgpack.unpackb(parsed.serialize())[10] == {"text": "hello", "mood": ["calm"]}


@pytest.mark.parametrize(
    ("kind", "body"),
    [
        ("text", {}),
        ("text", {"text": 5}),
        ("text", {"text": ""}),
        ("text", {"text": "x" * (32 * 1024 + 1)}),
        ("profile", {"name": "two\nlines"}),
        ("profile", {"name": "é" * 128}),
        ("checkin", {"prompt": "p", "questions": []}),
        ("checkin", {"prompt": "p", "questions": {}}),
        ("checkin", {"prompt": "p", "questions": [1]}),
        ("checkin", {"prompt": "p", "questions": [{"id": "a", "text": "t", "answer": "smell"}]}),
        ("checkin", {"prompt": "p", "questions": [{"id": "a", "text": "t", "answer": ["scale"]}]}),
        (
            "checkin",
            {"prompt": "p", "questions": [{"id": "a", "text": "t", "answer": "scale", "min": 5, "max": 5}]},
        ),
        (
            "checkin",
            {"prompt": "p", "questions": [{"id": "a", "text": "t", "answer": "choice", "choices": ["x"]}]},
        ),
        (
            "checkin",
            {"prompt": "p", "questions": [{"id": "a", "text": "t", "answer": "choice", "choices": "xy"}]},
        ),
        ("checkin", {"prompt": "p", "questions": [{"id": "a", "text": "t", "answer": "text"}] * 2}),
        (
            "checkin",
            {"prompt": "p", "questions": [{"id": str(i), "text": "t", "answer": "text"} for i in range(21)]},
        ),
        ("checkin.answer", {"checkin": b"short", "answers": {"a": 1}}),
        ("checkin.answer", {"checkin": bytes(16), "answers": {}}),
        ("checkin.answer", {"checkin": bytes(16), "answers": {"a": True}}),
        ("checkin.answer", {"checkin": bytes(16), "answers": {"a": None}}),
        ("checkin.answer", {"checkin": bytes(16), "answers": [1]}),
        ("call.invite", {"call": bytes(16), "media": []}),
        ("call.invite", {"call": bytes(16), "media": ["audio", "audio"]}),
        ("call.invite", {"call": bytes(16), "media": ["smell"]}),
        ("call.invite", {"call": bytes(16), "media": [["audio"]]}),
        ("call.ended", {"call": bytes(16), "outcome": "won", "answered_by": None, "seconds": 1}),
        ("call.ended", {"call": bytes(16), "outcome": "missed", "answered_by": 5, "seconds": 1}),
        ("call.ended", {"call": bytes(16), "outcome": "missed", "answered_by": None, "seconds": -1}),
        ("file", {"name": "a"}),
    ],
)
def test_a_known_kind_with_an_invalid_body_is_refused_but_kept(kind: str, body: dict[str, object]) -> None:
    values = fields()
    values[6], values[9], values[10] = kind, "what it was", body
    data = msgpack.packb(values)
    with pytest.raises(BodyInvalid) as caught:
        Envelope.parse(data)
    kept = caught.value.envelope
    assert (kept.counter, kept.attest) == (5, ATTEST)
    assert isinstance(kept.content, Unknown)
    assert kept.content.fallback == "what it was"
    assert kept.serialize() == data


@pytest.mark.parametrize(
    ("position", "value"),
    [
        (0, 2),
        (0, True),
        (0, 1.0),
        (1, b"short"),
        (1, "x" * 16),
        (2, 0),
        (2, -1),
        (2, 2**63),
        (2, True),
        (2, 1.0),
        (3, [1, 2]),
        (3, [1, 2, bytes(31)]),
        (3, [True, 2, bytes(32)]),
        (3, None),
        (4, None),
        (4, [[1, 2, bytes(32)]] * 9),
        (5, "now"),
        (6, ""),
        (6, "k" * 65),
        (6, 7),
        (7, 0),
        (7, False),
        (8, 0),
        (8, None),
        (9, "f" * 1025),
        (9, None),
        (10, []),
        (10, "body"),
        (10, {5: 6}),
        (10, {b"a": 6}),
        (10, {"a": msgpack.ExtType(5, b"x")}),
        (10, {"a": msgpack.ExtType(5, b"")}),
        (10, {"a": msgpack.Timestamp(5)}),
    ],
)
def test_a_malformed_field_is_refused(position: int, value: object) -> None:
    values = fields()
    values[position] = value
    with pytest.raises(ContentMalformed):
        Envelope.parse(msgpack.packb(values))


@pytest.mark.parametrize("count", [0, 10, 12])
def test_another_number_of_fields_is_refused(count: int) -> None:
    with pytest.raises(ContentMalformed):
        Envelope.parse(msgpack.packb((fields() * 2)[:count]))


def test_the_same_key_twice_is_refused() -> None:
    head = b"\x9b" + b"".join(msgpack.packb(v) for v in fields()[:10])
    with pytest.raises(ContentMalformed):
        Envelope.parse(head + b"\x82\xa4text\xa1a\xa4text\xa1b")


@pytest.mark.parametrize("depth", [9, 600, 1500, 50_000])
def test_deep_nesting_is_refused(depth: int) -> None:
    head = b"\x9b" + b"".join(msgpack.packb(v) for v in fields()[:10])
    with pytest.raises(ContentMalformed):
        Envelope.parse(head + b"\x81\xa4text" + b"\x91" * depth + b"\xc0")


def test_text_that_is_no_utf8_is_refused() -> None:
    head = b"\x9b" + b"".join(msgpack.packb(v) for v in fields()[:10])
    with pytest.raises(ContentMalformed):
        Envelope.parse(head + b"\x81\xa4text\xa1\xff")


def test_a_promise_of_more_than_was_sent_is_refused() -> None:
    head = b"\x9b" + b"".join(msgpack.packb(v) for v in fields()[:10])
    for promise in (b"\xdf\xff\xff\xff\xff", b"\xdd\xff\xff\xff\xff", b"\xc6\xff\xff\xff\xff"):
        with pytest.raises(ContentMalformed):
            Envelope.parse(head + promise)


def test_the_whole_message_is_bounded() -> None:
    questions = CheckIn("p").questions
    big = Text("x" * 32 * 1024, extra={"more": "y" * 32 * 1024})
    assert questions
    with pytest.raises(ContentTooBig):
        envelope(big).serialize()
    values = fields()
    values[6], values[10] = "later", {"more": "y" * 62_000}
    with pytest.raises(ContentTooBig):
        Envelope.parse(msgpack.packb(values))


def test_a_long_fallback_is_cut_between_characters() -> None:
    message = envelope(CheckIn("é" * 1000))
    fallback = msgpack.unpackb(message.serialize())[9]
    assert len(fallback.encode()) <= 1024
    assert fallback.startswith("Check-in: é")
    assert fallback.endswith("é…")


@pytest.mark.parametrize("content", [CallInvite(bytes(16)), Receipt(), Profile("Anna"), CheckIn("Energy?")])
def test_every_kind_has_a_fallback_in_words(content: CheckIn) -> None:
    assert " " in content.fallback
    assert content.fallback[-1] in ".?"


def test_nothing_that_was_said_stands_in_a_repr() -> None:
    values = fields()
    values[6], values[9], values[10] = "later", "secret fallback", {"a": "secret body"}
    for message in (
        envelope(Text("secret text", extra={"a": "secret extra"})),
        envelope(Profile("secret name")),
        envelope(CheckIn("secret prompt")),
        Envelope.parse(msgpack.packb(values)),
    ):
        assert "secret" not in repr(message)


def test_an_envelope_checks_its_own_fields() -> None:
    good = envelope(Text("hello"))
    changes: list[dict[str, Any]] = [
        {"id": b"x"},
        {"counter": 0},
        {"sent_ms": -1},
        {"closings": (ATTEST,) * 9},
    ]
    for change in changes:
        with pytest.raises(ContentMalformed):
            replace(good, **change)
