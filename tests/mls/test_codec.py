"""The codec: canonical when writing, strict when reading."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from client_sdk import mls
from client_sdk.mls import codec
from client_sdk.mls.extensions import parse_extensions, serialize_extensions


@given(st.integers(0, (1 << 30) - 1))
def test_length_headers_come_back_and_are_shortest(value: int) -> None:
    data = codec.varint(value)
    assert codec.parse_all(data, codec.Reader.varint) == value
    assert len(data) == (1 if value < 64 else 2 if value < 16384 else 4)


@pytest.mark.parametrize("data", ["4000", "403f", "80000000", "80003fff"])
def test_longer_than_shortest_is_refused(data: str) -> None:
    with pytest.raises(mls.DecodeError) as caught:
        codec.parse_all(bytes.fromhex(data), codec.Reader.varint)
    assert caught.value.rule == "CODEC-VARINT-SHORTEST"


def test_the_reserved_prefix_is_refused() -> None:
    with pytest.raises(mls.DecodeError) as caught:
        codec.parse_all(b"\xc0" + bytes(7), codec.Reader.varint)
    assert caught.value.rule == "CODEC-VARINT-PREFIX"


@pytest.mark.parametrize("presence", [2, 0x80, 0xFF])
def test_a_presence_byte_is_zero_or_one(presence: int) -> None:
    with pytest.raises(mls.DecodeError) as caught:
        codec.parse_all(bytes([presence, 0]), lambda reader: reader.optional(codec.Reader.u8))
    assert caught.value.rule == "CODEC-OPTIONAL"


def test_what_follows_the_end_is_refused() -> None:
    with pytest.raises(mls.DecodeError) as caught:
        codec.parse_all(b"\x01a\x00", codec.Reader.opaque)
    assert caught.value.rule == "CODEC-TRAILING"


def test_what_ends_early_is_refused() -> None:
    with pytest.raises(mls.DecodeError) as caught:
        codec.parse_all(b"\x05abc", codec.Reader.opaque)
    assert caught.value.rule == "CODEC-TRUNCATED"


def test_a_vector_ends_where_its_header_says() -> None:
    with pytest.raises(mls.DecodeError) as caught:
        codec.parse_all(b"\x03\x00\x01\x00", lambda reader: reader.vector(codec.Reader.u16))
    assert caught.value.rule == "CODEC-TRUNCATED"


@pytest.mark.parametrize("length", [1, 3, 5, 6, 7])
def test_a_vector_of_numbers_ends_with_one(length: int) -> None:
    for size, parse in ((2, codec.Reader.u16s), (4, codec.Reader.u32s)):
        if length % size:
            with pytest.raises(mls.DecodeError) as caught:
                codec.parse_all(codec.opaque(bytes(length)), parse)
            assert caught.value.rule == "CODEC-TRUNCATED"


def test_input_beyond_the_bound_is_refused() -> None:
    with pytest.raises(mls.DecodeError) as caught:
        codec.Reader(bytes(codec.MAX_INPUT_BYTES + 1))
    assert caught.value.rule == "CODEC-SIZE"


def test_a_vector_too_long_to_encode_is_a_local_fault() -> None:
    with pytest.raises(mls.UsageError):
        codec.varint(1 << 30)


@given(st.binary(max_size=200), st.lists(st.integers(0, 65535), max_size=40))
def test_values_come_back(data: bytes, numbers: list[int]) -> None:
    encoded = codec.opaque(data) + codec.vector(map(codec.u16, numbers)) + codec.optional(data[:1] or None)
    reader = codec.Reader(encoded)
    assert reader.opaque() == data
    assert reader.vector(codec.Reader.u16) == tuple(numbers)
    assert codec.Reader(codec.vector(map(codec.u16, numbers))).u16s() == tuple(numbers)
    assert codec.Reader(codec.vector(map(codec.u32, numbers))).u32s() == tuple(numbers)
    assert reader.optional(lambda inner: inner.take(1)) == (data[:1] or None)
    reader.finish()


def test_an_extension_type_may_occur_once() -> None:
    twice = serialize_extensions((mls.Extension(9, b"a"), mls.Extension(9, b"b")))
    with pytest.raises(mls.ValidationError) as caught:
        codec.parse_all(twice, parse_extensions)
    assert caught.value.rule == "EXT-UNIQUE"


@given(st.binary(max_size=400))
def test_noise_is_only_ever_a_typed_error(data: bytes) -> None:
    for parse in (mls.MLSMessage.parse, mls.KeyPackage.parse, mls.GroupContext.parse, mls.GroupState.parse):
        with pytest.raises(mls.MLSError):
            parse(data)


def test_other_versions_and_wire_formats_are_refused() -> None:
    for data, rule in ((b"\0\2\0\1", "FRAME-VERSION"), (b"\0\1\0\x09", "FRAME-WIRE-FORMAT")):
        with pytest.raises(mls.MLSError) as caught:
            mls.MLSMessage.parse(data)
        assert caught.value.rule == rule
