"""A user's signed device list, as far as the relay reads it: who is no longer let in (PROTOCOL 2.4 and 6)."""

from __future__ import annotations

import hashlib
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any, Final

import msgpack
from nacl.exceptions import CryptoError
from nacl.signing import VerifyKey

from relay.core.records import pack_record, unpack_record
from relay.errors import InvalidRequest
from relay.wire import fields as f
from relay.wire.errors import WireError
from relay.wire.ids import (
    DeviceId,
    PortalId,
    UserId,
    device_id,
    label,
    parse_device_id,
    parse_portal_id,
    parse_user_id,
)
from relay.wire.limits import (
    DEVICE_KEY_BYTES,
    MAX_DEVICES_PER_USER,
    MAX_MANIFEST_BYTES,
    SIGNATURE_BYTES,
)

_VERSION: Final = 1
_FORMAT: Final = 1
_HASH_BYTES: Final = 32
_LIST_ID_BYTES: Final = 16
_MOST_SUITES: Final = 16
# The lower bits of a version; only the recovery key changes the others.
ERA_BITS: Final = 32
# A device revoked so many devices ago is a member of nothing, and its place was used many times since.
MOST_REVOKED: Final = 256


def _values(*values: object) -> tuple[object, ...]:
    return values


_KEY: Final = f.fixed(DEVICE_KEY_BYTES)
_BODY: Final = (
    f.uint,
    parse_portal_id,
    parse_user_id,
    f.positive,
    _KEY,
    _KEY,
    f.many(f.record(_values, _KEY, f.uint), most=MAX_DEVICES_PER_USER),
    f.many(f.uint, most=_MOST_SUITES),
    f.fixed(_HASH_BYTES),
)
_ENVELOPE: Final = (f.binary(MAX_MANIFEST_BYTES), f.uint, f.fixed(SIGNATURE_BYTES))


@dataclass(frozen=True, slots=True)
class Manifest:
    """A device list whose signature holds under the key that it names itself."""

    raw: bytes
    portal: PortalId
    user: UserId
    version: int
    identity_key: bytes
    recovery_key: bytes
    devices: frozenset[DeviceId]
    previous: bytes
    by_recovery: bool

    @property
    def hash(self) -> bytes:
        """What the next version names as its predecessor."""
        return hashlib.sha256(label("manifest") + self.raw).digest()


@dataclass(frozen=True, slots=True)
class HeldManifest:
    """What the relay keeps of a user: the newest list, and the devices that left it, the latest last.

    `manifest` is empty after the portal has ended the list.
    """

    manifest: bytes
    revoked: tuple[DeviceId, ...] = ()

    @property
    def list_id(self) -> bytes | None:
        """16 bytes that name the list, whatever its version; None if it was ended."""
        if not self.manifest:
            return None
        recovery_key = read_manifest(self.manifest).recovery_key
        return hashlib.sha256(label("device list") + recovery_key).digest()[:_LIST_ID_BYTES]

    def serialize(self) -> bytes:
        """The record as bytes."""
        return pack_record(_VERSION, (self.manifest, list(self.revoked)))

    @classmethod
    def parse(cls, value: bytes) -> HeldManifest:
        """The record in these bytes; raises `StoreCorrupt`."""
        fields = (f.binary(MAX_MANIFEST_BYTES), f.many(parse_device_id, most=MOST_REVOKED))
        return cls(*unpack_record(value, _VERSION, fields))


def read_manifest(raw: bytes) -> Manifest:
    """The verified list in these bytes; raises `InvalidRequest`."""
    try:
        envelope: Any = f.read_record(_values, _ENVELOPE, _unpack(raw))
        body, signer, signature = envelope
        values: Any = f.read_record(_values, _BODY, _unpack(body))
    except WireError as error:
        raise InvalidRequest("not a device list") from error
    form, portal, user, version, identity, recovery, devices, _suites, previous = values
    if form != _FORMAT or signer not in (0, 1):
        raise InvalidRequest("a device list of another format")
    try:
        VerifyKey(recovery if signer else identity).verify(label("manifest") + body, signature)
    except (CryptoError, ValueError) as error:
        raise InvalidRequest("a device list whose signature does not hold") from error
    ids = frozenset(device_id(key) for key, _ in devices)
    return Manifest(raw, portal, user, version, identity, recovery, ids, previous, bool(signer))


def take_manifest(held: HeldManifest | None, put: Manifest, by: DeviceId) -> HeldManifest | None:
    """What to keep when this device puts this list; None if what is held stands against it.

    A first list, or the next one after the portal has ended one, comes from a device that it names. Otherwise
    a list has to succeed the one that is held (PROTOCOL 6), and if the identity key signed it, to come from a
    device that the one held names: whoever took that key with a device that was revoked cannot shut the
    others out. The recovery key may do so from any device that its list names.
    """
    if held is None or not held.manifest:
        revoked = () if held is None else held.revoked
        return _holding(put, revoked) if by in put.devices else None
    before = read_manifest(held.manifest)
    if put.raw == before.raw:
        return held
    if not _succeeds(before, put) or by not in (put.devices if put.by_recovery else before.devices):
        return None
    return _holding(put, [*held.revoked, *sorted(before.devices - put.devices)])


def end_list(held: HeldManifest) -> HeldManifest:
    """What to keep when the portal ends a list: its devices are out, and the next list is a first one."""
    gone = sorted(read_manifest(held.manifest).devices) if held.manifest else []
    return HeldManifest(b"", (*held.revoked, *gone)[-MOST_REVOKED:])


def _holding(put: Manifest, revoked: Iterable[DeviceId]) -> HeldManifest:
    out = tuple(device for device in revoked if device not in put.devices)
    return HeldManifest(put.raw, out[-MOST_REVOKED:])


def _succeeds(before: Manifest, put: Manifest) -> bool:
    same_keys = put.recovery_key == before.recovery_key and (
        put.by_recovery or put.identity_key == before.identity_key
    )
    follows = put.version > before.version + 1 or put.previous == before.hash
    same_era = put.by_recovery or put.version >> ERA_BITS == before.version >> ERA_BITS
    return same_keys and same_era and put.version > before.version and follows


def unlisted(devices: Iterable[DeviceId], manifest: Manifest) -> tuple[DeviceId, ...]:
    """Those of the devices that the list does not name, in their order."""
    return tuple(device for device in devices if device not in manifest.devices)


def _unpack(data: bytes) -> list[Any]:
    try:
        values = msgpack.unpackb(data, max_map_len=0, max_ext_len=0)
    except (ValueError, msgpack.UnpackException) as error:
        raise InvalidRequest("not a device list") from error
    if type(values) is not list:
        raise InvalidRequest("not a device list")
    return values
