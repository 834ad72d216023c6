"""Records kept outside streams, as opaque bytes: a version and fields in MessagePack. Damage fails closed."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, Final

import msgpack

from relay.errors import StoreCorrupt
from relay.wire.errors import WireError
from relay.wire.fields import Field

# A user has at most 8 devices, an engagement at most 32 people: no record comes near this.
MAX_RECORD_BYTES: Final = 64 * 1024


def pack_record(version: int, fields: Sequence[Any]) -> bytes:
    """The fields as a record of this version."""
    packed: bytes = msgpack.packb([version, *fields])
    return packed


def unpack_record(value: bytes, version: int, fields: Sequence[Field]) -> list[Any]:
    """The validated fields of a record; raises `StoreCorrupt` on anything that `pack_record` did not make."""
    return unpack_versions(value, {version: fields})[1]


def unpack_versions(value: bytes, shapes: Mapping[int, Sequence[Field]]) -> tuple[int, list[Any]]:
    """A record's version, one of `shapes`, and its validated fields; raises `StoreCorrupt`."""
    if len(value) > MAX_RECORD_BYTES:
        raise StoreCorrupt("a record is too large to be one")
    try:
        values = msgpack.unpackb(value)
    except (ValueError, msgpack.UnpackException) as error:
        raise StoreCorrupt("a record is not MessagePack") from error
    if type(values) is not list or not values or type(values[0]) is not int or values[0] not in shapes:
        raise StoreCorrupt("a record is of another shape or version")
    version, fields = values[0], shapes[values[0]]
    if len(values) != len(fields) + 1:
        raise StoreCorrupt("a record is of another shape or version")
    try:
        return version, [field(item) for field, item in zip(fields, values[1:], strict=True)]
    except WireError as error:
        raise StoreCorrupt("a record has a field out of range") from error
