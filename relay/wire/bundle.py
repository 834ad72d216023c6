"""The body of a commit entry (PROTOCOL 5): commit, Welcome and GroupInfo in one: no crash separates them."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Final

import msgpack

from relay.wire import fields as f
from relay.wire.errors import ErrorCode, WireError
from relay.wire.ids import DeviceId, parse_device_id
from relay.wire.limits import MAX_COMMIT_BODY_BYTES, MAX_MEMBER_DEVICES

BUNDLE_VERSION: Final = 1


@dataclass(frozen=True, slots=True, kw_only=True)
class Bundle:
    """`commit` is empty when the group's creator is alone in it. MLS messages are opaque here."""

    adds: tuple[DeviceId, ...] = ()
    removes: tuple[DeviceId, ...] = ()
    commit: bytes
    welcome: bytes | None = None
    group_info: bytes

    def serialize(self) -> bytes:
        """The bundle as the body of a commit entry; raises `WireError` (`entry_too_big`) above 1 MiB."""
        fields = (BUNDLE_VERSION, self.adds, self.removes, self.commit, self.welcome, self.group_info)
        packed: bytes = msgpack.packb(fields)
        if len(packed) > MAX_COMMIT_BODY_BYTES:
            raise WireError(ErrorCode.ENTRY_TOO_BIG, "a bundle beyond its bound")
        return packed

    @classmethod
    def parse(cls, body: bytes) -> Bundle:
        """The bundle in a commit entry's body; raises `WireError` (`bundle_invalid` or `entry_too_big`)."""
        if len(body) > MAX_COMMIT_BODY_BYTES:
            raise WireError(ErrorCode.ENTRY_TOO_BIG, "a bundle beyond its bound")
        try:
            return cls._from_values(_unpack(body))
        except WireError as error:
            raise WireError(ErrorCode.BUNDLE_INVALID, error.detail) from error

    @classmethod
    def _from_values(cls, values: object) -> Bundle:
        if type(values) is not list or len(values) != 1 + len(_FIELDS) or type(values[0]) is not int:
            raise WireError(ErrorCode.BUNDLE_INVALID, "not a bundle")
        if values[0] != BUNDLE_VERSION:
            raise WireError(ErrorCode.BUNDLE_INVALID, "a bundle of another version")
        adds, removes, commit, welcome, group_info = (
            field(value) for field, value in zip(_FIELDS, values[1:], strict=True)
        )
        if len(set(adds)) != len(adds) or len(set(removes)) != len(removes):
            raise WireError(ErrorCode.BUNDLE_INVALID, "a device is named twice")
        return cls(adds=adds, removes=removes, commit=commit, welcome=welcome, group_info=group_info)


_devices: Final = f.many(parse_device_id, most=MAX_MEMBER_DEVICES)
_message: Final = f.binary(MAX_COMMIT_BODY_BYTES)
_FIELDS: Final = (_devices, _devices, _message, f.optional(_message), _message)


def _unpack(body: bytes) -> Any:
    try:
        return msgpack.unpackb(
            body,
            max_str_len=0,
            max_bin_len=MAX_COMMIT_BODY_BYTES,
            max_array_len=MAX_MEMBER_DEVICES,
            max_map_len=0,
            max_ext_len=0,
        )
    except (ValueError, msgpack.UnpackException) as error:
        raise WireError(ErrorCode.BUNDLE_INVALID, "not MessagePack") from error
