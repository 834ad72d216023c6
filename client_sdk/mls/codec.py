"""The TLS presentation language as RFC 9420 section 2.1 uses it: reading is strict, writing canonical."""

from __future__ import annotations

import struct
from collections.abc import Callable, Iterable
from typing import TypeVar

from .errors import DecodeError, UsageError

T = TypeVar("T")

MAX_INPUT_BYTES = 1 << 24
"""No single message is larger: a tree of thousands of leaves fits, and a length field cannot fill memory."""

_MAX_VARINT = 1 << 30


class Reader:
    """Reads one input from front to back; every method raises `DecodeError` rather than read past the end."""

    __slots__ = ("_data", "_pos")

    def __init__(self, data: bytes) -> None:
        if len(data) > MAX_INPUT_BYTES:
            raise DecodeError("CODEC-SIZE", "the input is larger than any message may be")
        self._data = data
        self._pos = 0

    @property
    def at_end(self) -> bool:
        """Whether the whole input has been consumed."""
        return self._pos == len(self._data)

    def take(self, count: int) -> bytes:
        """Exactly ``count`` bytes."""
        end = self._pos + count
        if end > len(self._data):
            raise DecodeError("CODEC-TRUNCATED", "the input ends too early")
        chunk = self._data[self._pos : end]
        self._pos = end
        return chunk

    def rest(self) -> bytes:
        """Everything that is left."""
        return self.take(len(self._data) - self._pos)

    def u8(self) -> int:
        """A uint8."""
        return self.take(1)[0]

    def u16(self) -> int:
        """A uint16."""
        return int.from_bytes(self.take(2))

    def u32(self) -> int:
        """A uint32."""
        return int.from_bytes(self.take(4))

    def u64(self) -> int:
        """A uint64."""
        return int.from_bytes(self.take(8))

    def varint(self) -> int:
        """A variable-size length header, which must be in its shortest form (section 2.1.2)."""
        first = self.u8()
        prefix = first >> 6
        if prefix == 3:
            raise DecodeError("CODEC-VARINT-PREFIX", "a length header starts with the reserved prefix 11")
        value = first & 0x3F
        if prefix == 0:
            return value
        extra = (1 << prefix) - 1
        value = (value << (8 * extra)) | int.from_bytes(self.take(extra))
        if value < (1 << 6 if prefix == 1 else 1 << 14):
            raise DecodeError("CODEC-VARINT-SHORTEST", "a length header is not in its shortest form")
        return value

    def opaque(self) -> bytes:
        """``opaque<V>``: a length header and that many bytes."""
        return self.take(self.varint())

    def vector(self, parse: Callable[[Reader], T]) -> tuple[T, ...]:
        """``T<V>``: elements that fill exactly the announced length."""
        inner = Reader(self.opaque())
        items = []
        while not inner.at_end:
            items.append(parse(inner))
        return tuple(items)

    def u16s(self) -> tuple[int, ...]:
        """``uint16<V>``, at once: a long one must not cost a call for each."""
        return self._numbers("H", 2)

    def u32s(self) -> tuple[int, ...]:
        """``uint32<V>``, at once."""
        return self._numbers("I", 4)

    def _numbers(self, form: str, size: int) -> tuple[int, ...]:
        data = self.opaque()
        if len(data) % size:
            raise DecodeError("CODEC-TRUNCATED", "a vector of numbers ends within one")
        return struct.unpack(f">{len(data) // size}{form}", data)

    def optional(self, parse: Callable[[Reader], T]) -> T | None:
        """``optional<T>``: a presence byte that is 0 or 1 and nothing else."""
        present = self.u8()
        if present > 1:
            raise DecodeError("CODEC-OPTIONAL", "a presence byte is neither 0 nor 1")
        return parse(self) if present else None

    def finish(self) -> None:
        """Refuse anything left over."""
        if not self.at_end:
            raise DecodeError("CODEC-TRAILING", "bytes follow the end of the structure")


def parse_all(data: bytes, parse: Callable[[Reader], T]) -> T:
    """Parse one structure that must fill ``data`` completely."""
    reader = Reader(data)
    value = parse(reader)
    reader.finish()
    return value


def u8(value: int) -> bytes:
    """Encode a uint8."""
    return value.to_bytes(1)


def u16(value: int) -> bytes:
    """Encode a uint16."""
    return value.to_bytes(2)


def u32(value: int) -> bytes:
    """Encode a uint32."""
    return value.to_bytes(4)


def u64(value: int) -> bytes:
    """Encode a uint64."""
    return value.to_bytes(8)


def varint(value: int) -> bytes:
    """Encode a length header in its shortest form."""
    if value < 1 << 6:
        return value.to_bytes(1)
    if value < 1 << 14:
        return (value | 0x4000).to_bytes(2)
    if value < _MAX_VARINT:
        return (value | 0x8000_0000).to_bytes(4)
    raise UsageError(None, "a vector is longer than the encoding allows")


def opaque(data: bytes) -> bytes:
    """Encode ``opaque<V>``."""
    return varint(len(data)) + data


def vector(items: Iterable[bytes]) -> bytes:
    """Encode ``T<V>`` from encoded elements."""
    return opaque(b"".join(items))


def optional(item: bytes | None) -> bytes:
    """Encode ``optional<T>`` from an encoded element or None."""
    return b"\0" if item is None else b"\1" + item
