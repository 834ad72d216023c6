"""Identifiers of the protocol (PROTOCOL 1): their types, and parsers that raise `WireError`."""

from __future__ import annotations

import hashlib
import re
from collections.abc import Callable
from enum import StrEnum
from functools import lru_cache
from typing import Final, NewType

from relay.wire.errors import ErrorCode, WireError
from relay.wire.limits import DEVICE_ID_BYTES, DEVICE_KEY_BYTES

PortalId = NewType("PortalId", str)
UserId = NewType("UserId", str)
EngagementId = NewType("EngagementId", str)
"""Also the id of the engagement's stream."""
DeviceId = NewType("DeviceId", bytes)
BlobId = NewType("BlobId", str)


class Role(StrEnum):
    """What a participant is in an engagement."""

    COACH = "coach"
    CLIENT = "client"
    TEAM_MEMBER = "team-member"
    SUPERVISOR = "supervisor"


# 22 characters carry 132 bits: the last has its four low bits zero, so that an id has one spelling.
_RANDOM_128: Final = r"[A-Za-z0-9_-]{21}[AQgw]"
_match_portal: Final = re.compile(r"[a-z][a-z0-9-]{0,31}").fullmatch
_match_user: Final = re.compile(r"[A-Za-z0-9][A-Za-z0-9._:@~-]{0,63}").fullmatch
_match_engagement: Final = re.compile("eng_" + _RANDOM_128).fullmatch
ENGAGEMENT_ID_CHARS: Final = 26
# Asked for every entry, and mostly about the few streams in use. Only for texts of that many characters: that
# bounds what it remembers.
is_engagement_id: Final[Callable[[str], object]] = lru_cache(4096)(_match_engagement)
_match_blob: Final = re.compile(_RANDOM_128).fullmatch


def _parse_str(value: object, matches: Callable[[str], object], what: str) -> str:
    if type(value) is str and matches(value):
        return value
    raise WireError(ErrorCode.MALFORMED, f"not a {what} id")


def parse_portal_id(value: object) -> PortalId:
    """The value as a portal id; raises `WireError`."""
    return PortalId(_parse_str(value, _match_portal, "portal"))


def parse_user_id(value: object) -> UserId:
    """The value as a user id; raises `WireError`."""
    return UserId(_parse_str(value, _match_user, "user"))


def parse_engagement_id(value: object) -> EngagementId:
    """The value as an engagement (and stream) id; raises `WireError`."""
    return EngagementId(_parse_str(value, _match_engagement, "engagement"))


def parse_blob_id(value: object) -> BlobId:
    """The value as a blob id; raises `WireError`."""
    return BlobId(_parse_str(value, _match_blob, "blob"))


def parse_device_id(value: object) -> DeviceId:
    """The value as a device id; raises `WireError`."""
    if type(value) is bytes and len(value) == DEVICE_ID_BYTES:
        return DeviceId(value)
    raise WireError(ErrorCode.MALFORMED, "not a device id")


def parse_role(value: object) -> Role:
    """The value as a role; raises `WireError`."""
    role = _ROLES.get(value) if isinstance(value, str) else None
    if role is None:
        raise WireError(ErrorCode.MALFORMED, "not a role")
    return role


_ROLES: Final[dict[str, Role]] = {role.value: role for role in Role}


def label(name: str) -> bytes:
    """What everything that this protocol signs or hashes begins with: `coach-relay/1 NAME`, a zero byte."""
    return b"coach-relay/1 " + name.encode("ascii") + b"\0"


def device_id(device_key: bytes) -> DeviceId:
    """The id of the device with this Ed25519 public key (32 bytes); raises `WireError` on another length."""
    if len(device_key) != DEVICE_KEY_BYTES:
        raise WireError(ErrorCode.MALFORMED, "not a device key")
    return DeviceId(hashlib.sha256(label("device") + device_key).digest()[:DEVICE_ID_BYTES])
