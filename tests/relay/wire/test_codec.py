"""Frames to bytes and back; and whatever else comes is refused with a typed error, never with another."""

from __future__ import annotations

from typing import Any

import msgpack
import pytest
from hypothesis import given
from hypothesis import strategies as st

from relay.wire import ErrorCode, WireError, decode_from_device, decode_from_relay, encode, encode_frame
from relay.wire import frames as fr
from relay.wire.codec import (
    encode_appended,
    encode_entries,
    encode_own_run,
    encode_run,
    entries_prefix,
)
from relay.wire.frames import EntryKind
from relay.wire.ids import BlobId, EngagementId
from relay.wire.limits import MAX_FRAME_BYTES, MAX_FRAMES_PER_MESSAGE, MAX_MESSAGE_BYTES
from tests.relay.wire.strategies import (
    DEVICE_FRAMES,
    RELAY_FRAMES,
    device_frames,
    relay_frames,
    streams,
)

STREAM = EngagementId("eng_" + "s" * 21 + "A")
BLOB = BlobId("b" * 21 + "A")
APPEND = fr.Append(STREAM, 1, EntryKind.MESSAGE, 0, b"body")


def refusal(message: bytes, *, by_relay: bool = True) -> ErrorCode:
    """The code with which a message is refused."""
    with pytest.raises(WireError) as refused:
        (decode_from_device if by_relay else decode_from_relay)(message)
    return refused.value.code


def packed(*values: Any) -> bytes:
    message: bytes = msgpack.packb(list(values))
    return message


def test_every_frame_has_a_strategy() -> None:
    assert set(DEVICE_FRAMES) | set(RELAY_FRAMES) == set(fr.FRAME_TYPES)
    assert len(set(fr.FRAME_TYPES.values())) == len(fr.FRAME_TYPES)


@given(st.lists(device_frames, min_size=1, max_size=8))
def test_what_a_device_says_arrives(frames: list[Any]) -> None:
    decoded = decode_from_device(encode(frames))
    assert decoded == frames
    assert [type(frame) for frame in decoded] == [type(frame) for frame in frames]


@given(st.lists(relay_frames, min_size=1, max_size=8))
def test_what_the_relay_says_arrives(frames: list[Any]) -> None:
    decoded = decode_from_relay(encode(frames))
    assert decoded == frames
    assert [type(frame) for frame in decoded] == [type(frame) for frame in frames]


@given(st.one_of(device_frames, relay_frames))
def test_an_encoding_is_the_type_and_the_fields(frame: Any) -> None:
    values = msgpack.unpackb(encode_frame(frame), use_list=False)
    assert values == (fr.FRAME_TYPES[type(frame)], *frame)


@given(relay_frames)
def test_a_relays_frame_is_out_of_order_from_a_device(frame: Any) -> None:
    assert refusal(encode([frame])) is ErrorCode.OUT_OF_ORDER


@given(device_frames)
def test_a_devices_frame_is_out_of_order_from_a_relay(frame: Any) -> None:
    assert refusal(encode([frame]), by_relay=False) is ErrorCode.OUT_OF_ORDER


@given(st.binary(max_size=300))
def test_random_bytes_are_frames_or_refused(message: bytes) -> None:
    for decode in (decode_from_device, decode_from_relay):
        try:
            frames: Any = decode(message)
        except WireError:
            continue
        assert frames


@given(st.one_of(device_frames, relay_frames), st.data())
def test_a_truncated_message_is_refused(frame: Any, data: st.DataObject) -> None:
    message = encode([frame])
    cut = data.draw(st.integers(0, len(message) - 1))
    by_relay = type(frame) in fr.DEVICE_FRAME_TYPES
    assert refusal(message[:cut], by_relay=by_relay) is ErrorCode.MALFORMED


@given(st.one_of(device_frames, relay_frames), st.data())
def test_a_mutated_message_is_a_frame_or_refused(frame: Any, data: st.DataObject) -> None:
    message = bytearray(encode([frame]))
    for _ in range(data.draw(st.integers(1, 3))):
        message[data.draw(st.integers(0, len(message) - 1))] = data.draw(st.integers(0, 255))
    decode: Any = decode_from_device if type(frame) in fr.DEVICE_FRAME_TYPES else decode_from_relay
    try:
        decoded = decode(bytes(message))
    except WireError:
        return
    again = [f for f in decoded if not isinstance(f, fr.Unknown)]
    if again:
        assert decode(encode(again)) == again  # what was let through is well-formed


_anything = st.recursive(
    st.none()
    | st.booleans()
    | st.integers(-(2**63), 2**64 - 1)
    | st.floats(allow_nan=False)
    | st.text(st.characters(exclude_categories=["Cs"]), max_size=30)
    | st.binary(max_size=64),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(max_size=3), inner, max_size=2),
    max_leaves=12,
)


@given(st.sampled_from(sorted(fr.FRAME_TYPES.values())), st.lists(_anything, max_size=8))
def test_fields_of_any_kind_are_a_frame_or_refused(frame_type: int, values: list[Any]) -> None:
    message = packed(frame_type, *values)
    for decode in (decode_from_device, decode_from_relay):
        try:
            frames: Any = decode(message)
        except WireError:
            continue
        assert encode(frames)


@given(streams, st.integers(1, 2**40), st.lists(st.binary(max_size=9), min_size=1, max_size=40))
def test_a_run_of_entries_is_packed_as_they_are(stream: EngagementId, seq: int, bodies: list[bytes]) -> None:
    prefix, count = entries_prefix(stream), len(bodies)
    theirs = [fr.Entry(seq + n, EntryKind.MESSAGE, 7, 8, 0, body) for n, body in enumerate(bodies)]
    own = [fr.Entry(seq + n, EntryKind.MESSAGE, 7, 8, 9 + n, None) for n in range(count)]
    for packed_run, run in (
        (encode_run(seq, 0, 7, 8, bodies), theirs),
        (encode_own_run(seq, 0, 7, 8, 9, count), own),
    ):
        assert encode_entries(prefix, count, [packed_run]) == encode_frame(fr.Entries(stream, tuple(run)))


def test_a_full_entries_frame_is_one() -> None:
    run = encode_run(1, EntryKind.MESSAGE, 0, 0, [b""] * 256)
    frame = encode_entries(entries_prefix(STREAM), 256, [run])
    entries = tuple(fr.Entry(1 + n, EntryKind.MESSAGE, 0, 0, 0, b"") for n in range(256))
    assert decode_from_relay(frame) == [fr.Entries(STREAM, entries)]


def test_answers_packed_apart_are_a_frame() -> None:
    (frame,) = decode_from_relay(encode_appended(STREAM, [(1, 2), (3, 4)]))
    assert frame == fr.Appended(STREAM, (fr.AppendResult(1, 2), fr.AppendResult(3, 4)))


def test_an_unknown_frame_is_left_to_the_reader() -> None:
    message = packed(99, "what", [1]) + encode_frame(APPEND)
    assert decode_from_device(message) == [fr.Unknown(99), APPEND]
    assert decode_from_relay(packed(0)) == [fr.Unknown(0)]


@pytest.mark.parametrize(
    "message",
    [
        b"",
        b"\xc1",
        b"\x00",
        b"\xc0",
        b"\x80",
        packed(),
        packed("10"),
        packed(True, 1),
        packed(-1),
        packed(2**63),
        packed(1.0),
        packed(None),
        packed([1]),
        msgpack.packb({1: 2}),
        packed(32, {"a": 1}),
        msgpack.packb(msgpack.ExtType(1, b"")),
        packed(32, msgpack.ExtType(1, b"x")),
        packed(32, msgpack.Timestamp(0)),
        b"\x92\x20\xd9\x01\xff",  # a string that is not UTF-8
        b"\x92\x20\xa3\xed\xa0\x80",  # a surrogate in UTF-8
        b"\xdd\xff\xff\xff\xff",
        b"\xc6\xff\xff\xff\xff",
        b"\xdb\xff\xff\xff\xff",
        b"\xdf\xff\xff\xff\xff",
    ],
)
def test_what_is_no_frame_is_malformed(message: bytes) -> None:
    assert refusal(message) is ErrorCode.MALFORMED
    assert refusal(message, by_relay=False) is ErrorCode.MALFORMED


GOOD_APPEND = [10, STREAM, 1, 0, 0, b"body", []]


@pytest.mark.parametrize(
    ("index", "value", "code"),
    [
        (1, "eng_short", ErrorCode.MALFORMED),
        (1, STREAM + "\n", ErrorCode.MALFORMED),
        (1, STREAM[:-1] + "B", ErrorCode.MALFORMED),  # another spelling of the same bits
        (1, STREAM.encode(), ErrorCode.MALFORMED),
        (2, 0, ErrorCode.MALFORMED),
        (2, -1, ErrorCode.MALFORMED),
        (2, 2**63, ErrorCode.MALFORMED),
        (2, True, ErrorCode.MALFORMED),
        (2, 1.0, ErrorCode.MALFORMED),
        (3, 2, ErrorCode.MALFORMED),
        (3, False, ErrorCode.MALFORMED),
        (4, -1, ErrorCode.MALFORMED),
        (4, None, ErrorCode.MALFORMED),
        (5, "text", ErrorCode.MALFORMED),
        (5, None, ErrorCode.MALFORMED),
        (6, None, ErrorCode.MALFORMED),
        (6, ["short"], ErrorCode.MALFORMED),
        (6, [BLOB] * 17, ErrorCode.TOO_BIG),
        (6, [[]], ErrorCode.MALFORMED),
        (6, [[[[[]]]]], ErrorCode.TOO_DEEP),
        (6, {}, ErrorCode.MALFORMED),
    ],
)
def test_an_append_with_a_wrong_field(index: int, value: Any, code: ErrorCode) -> None:
    assert decode_from_device(packed(*GOOD_APPEND)) == [APPEND]
    values = list(GOOD_APPEND)
    values[index] = value
    assert refusal(packed(*values)) is code


@pytest.mark.parametrize(
    "values", [GOOD_APPEND[:-1], [*GOOD_APPEND, 0], [10], [12, STREAM], [12, STREAM, 1, 1]]
)
def test_a_wrong_number_of_fields(values: list[Any]) -> None:
    assert refusal(packed(*values)) is ErrorCode.MALFORMED


@pytest.mark.parametrize(
    "values",
    [
        [1, [1] * 17, b"n" * 32],
        [2, "t" * 4097, b"k" * 32, b"s" * 64],
        [20, STREAM, bytes(32 * 1024 + 1)],
        [30, 1, [b"x"] * 101, None],
        [30, 1, [bytes(8 * 1024 + 1)], None],
        [31, 1, STREAM, [b"d" * 16] * 33],
    ],
)
def test_fields_beyond_their_bounds(values: list[Any]) -> None:
    assert refusal(packed(*values)) is ErrorCode.TOO_BIG


@pytest.mark.parametrize(
    "values",
    [
        [1, [], b"n" * 32],
        [1, [1], b"n" * 31],
        [2, "t", b"k" * 33, b"s" * 64],
        [2, "t", b"k" * 32, b"s" * 63],
        [11, 0, STREAM, 0],
        [31, 1, STREAM, []],
        [31, 1, STREAM, [b"d" * 15]],
        [32],
        [32, {}],
        [32, 0],
    ],
)
def test_fields_out_of_their_range(values: list[Any]) -> None:
    assert refusal(packed(*values)) is ErrorCode.MALFORMED


@pytest.mark.parametrize("depth", [6, 7, 100, 1000, 2000, 100_000])
def test_what_nests_deeply_is_refused(depth: int) -> None:
    assert refusal(b"\x91" * depth + b"\x01") in (ErrorCode.TOO_DEEP, ErrorCode.MALFORMED)
    assert refusal(b"\x92\x20" + b"\x91" * depth + b"\x01") is ErrorCode.TOO_DEEP
    assert refusal(b"\x92\x63" + b"\x91" * depth + b"\x01") is ErrorCode.TOO_DEEP


def test_an_unknown_frame_may_nest_as_deeply_as_a_known_one() -> None:
    assert decode_from_device(b"\x92\x63" + b"\x91" * 3 + b"\x01") == [fr.Unknown(99)]
    assert decode_from_device(b"\x92\x63" + b"\x91" * 4 + b"\x01") == [fr.Unknown(99)]
    assert refusal(b"\x92\x63" + b"\x91" * 5 + b"\x01") is ErrorCode.TOO_DEEP


def test_a_message_has_its_most_of_bytes() -> None:
    big = encode_frame(APPEND._replace(body=bytes(1024 * 1024)))
    assert len(decode_from_device(big + encode_frame(APPEND))) == 2
    assert refusal(bytes(MAX_MESSAGE_BYTES + 1)) is ErrorCode.TOO_BIG
    with pytest.raises(WireError):
        encode([APPEND._replace(body=bytes(1024 * 1024))] * 2)


def test_a_frame_has_its_most_of_bytes() -> None:
    overhead = len(encode_frame(APPEND._replace(body=bytes(MAX_FRAME_BYTES - 100)))) - MAX_FRAME_BYTES + 100
    largest = APPEND._replace(body=bytes(MAX_FRAME_BYTES - overhead))
    assert decode_from_device(encode([largest])) == [largest]
    assert decode_from_device(encode([largest, APPEND])) == [largest, APPEND]
    larger = largest._replace(body=largest.body + b"x")
    with pytest.raises(WireError):
        encode([larger])
    assert refusal(encode_frame(larger)) is ErrorCode.TOO_BIG
    assert refusal(encode_frame(APPEND) + encode_frame(larger)) is ErrorCode.TOO_BIG


def test_a_message_has_its_most_of_frames() -> None:
    ack = fr.Ack(STREAM, 1)
    assert len(decode_from_device(encode([ack] * MAX_FRAMES_PER_MESSAGE))) == MAX_FRAMES_PER_MESSAGE
    assert refusal(encode_frame(ack) * (MAX_FRAMES_PER_MESSAGE + 1)) is ErrorCode.TOO_BIG
    with pytest.raises(WireError):
        encode([ack] * (MAX_FRAMES_PER_MESSAGE + 1))
    with pytest.raises(WireError):
        encode([])


def test_many_arrays_in_a_large_message_are_refused() -> None:
    rows = b"\xdc\x02\x00" + b"\x90" * 512
    message = b"\x92\x63\xdc\x01\x00" + rows * 256
    assert refusal(message * 2) is ErrorCode.TOO_BIG
    assert decode_from_device(b"\x92\x63" + rows) == [fr.Unknown(99)]


def test_one_bad_frame_refuses_the_message() -> None:
    assert refusal(encode_frame(APPEND) + packed(12, STREAM)) is ErrorCode.MALFORMED


@pytest.mark.parametrize(
    "tail", [b"\x92", b"\x93\x01", b"\x91\xa3ab", b"\xa1", b"\xcd\x00", b"\xdc\x00", b"\xc4\x05"]
)
def test_a_frame_that_was_cut_off_behind_a_whole_one_refuses_the_message(tail: bytes) -> None:
    whole = encode_frame(fr.ListEngagements(1))
    assert decode_from_device(whole + whole) == [fr.ListEngagements(1)] * 2
    with pytest.raises(WireError) as refusal:
        decode_from_device(whole + tail)
    assert refusal.value.code is ErrorCode.MALFORMED


def test_an_error_says_nothing_of_what_was_sent() -> None:
    with pytest.raises(WireError) as refused:
        decode_from_device(packed(12, "secret-thing", 1))
    assert "secret" not in str(refused.value)
    assert "secret" not in refused.value.detail
