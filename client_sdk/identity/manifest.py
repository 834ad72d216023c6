"""Manifests: which devices are a user's, signed by that user (docs/PROTOCOL.md section 6).

Bytes from a peer become a ``Manifest``, which can do nothing but ``verify()``; only a
``VerifiedManifest`` is used.
"""

from __future__ import annotations

import hashlib
import hmac
from collections.abc import Iterable
from dataclasses import dataclass
from enum import IntEnum, IntFlag
from typing import Self, cast

from relay.wire.errors import WireError
from relay.wire.ids import DeviceId, PortalId, UserId, device_id, label, parse_portal_id, parse_user_id
from relay.wire.limits import MAX_DEVICES_PER_USER, MAX_UINT

from ..content.packing import PackingError, pack, unpack
from ..errors import ManifestInvalid, UsageError
from .keys import KEY_BYTES, SIGNATURE_BYTES, KeyPair, SignatureInvalid, verify_signature

FORMAT = 1
HASH_BYTES = 32

MANIFEST_BYTES = 2048
"""Eight devices and sixteen suites stay below 800; the rest is room for later fields of a format 2."""

MOST_SUITES = 16
FIRST_VERSION = 1
NO_PREVIOUS = bytes(HASH_BYTES)

ERA_BITS = 32
"""A version is an era and a number in it. Only the recovery key begins another era, so that nobody who got
hold of the identity key can sign a version that the recovery key could not surpass."""
SECONDS_AN_ERA = 60
"""A later recovery outranks an earlier one by the clock alone: who has only the words knows nothing else."""

ERAS_AHEAD = 2**30
"""How far ahead of the clock (minutes) an era counts that only an identity key signed: half of all eras,
for whatever clock was wrong. Without a bound a thief signs the last era there is, which nothing surpasses;
bound to the clock, each theft moves the eras no further than the next recovery can go."""

UNSEEN = b"\xff" * HASH_BYTES
"""The predecessor that a recovered list names: whoever has only the recovery words has not seen it."""

_NAME = "manifest"


class Signer(IntEnum):
    """Which key signed."""

    IDENTITY = 0
    RECOVERY = 1


class DeviceFlags(IntFlag):
    """What a device may do; unknown bits are kept."""

    NONE = 0
    MAY_LINK = 1
    """It holds the identity key and may link other devices."""


@dataclass(frozen=True, slots=True)
class ManifestDevice:
    """One device of a user: its Ed25519 public key and flags."""

    device_key: bytes
    flags: int = DeviceFlags.NONE

    @property
    def id(self) -> DeviceId:
        """The device's id."""
        return device_id(self.device_key)

    @property
    def may_link(self) -> bool:
        """Whether it may link other devices."""
        return bool(self.flags & DeviceFlags.MAY_LINK)


@dataclass(frozen=True, slots=True)
class _Body:
    portal: PortalId
    user: UserId
    version: int
    identity_key: bytes
    recovery_key: bytes
    devices: tuple[ManifestDevice, ...]
    suites: tuple[int, ...]
    previous: bytes

    def serialize(self) -> bytes:
        devices = [[d.device_key, int(d.flags)] for d in self.devices]
        keys = (self.identity_key, self.recovery_key)
        return pack(
            [FORMAT, self.portal, self.user, self.version, *keys, devices, self.suites, self.previous]
        )

    @classmethod
    def parse(cls, data: bytes) -> Self:
        fields = _list(_unpack(data), 9, "body")
        if type(fields[0]) is not int or fields[0] != FORMAT:
            raise _invalid("its format is not 1")
        _, portal, user, version, identity_key, recovery_key, devices, suites, previous = fields
        try:
            portal, user = parse_portal_id(portal), parse_user_id(user)
        except WireError as error:
            raise _invalid("its portal or user is no id") from error
        return cls(
            portal=portal,
            user=user,
            version=_uint(version, FIRST_VERSION),
            identity_key=_bytes(identity_key, KEY_BYTES),
            recovery_key=_bytes(recovery_key, KEY_BYTES),
            devices=_devices(devices),
            suites=_suites(suites),
            previous=_bytes(previous, HASH_BYTES),
        )


@dataclass(frozen=True, slots=True)
class Manifest:
    """A manifest as it came, not verified: nothing in it may be believed yet."""

    raw: bytes
    _body_bytes: bytes
    _body: _Body
    _signer: Signer
    _signature: bytes

    @classmethod
    def parse(cls, data: bytes) -> Self:
        """Decode a manifest; raises ManifestInvalid."""
        if len(data) > MANIFEST_BYTES:
            raise _invalid(f"it is longer than {MANIFEST_BYTES} bytes")
        body, signer, signature = _list(_unpack(data), 3, "envelope")
        if not isinstance(body, bytes) or type(signer) is not int or signer not in (0, 1):
            raise _invalid("its fields have the wrong types")
        parsed = _Body.parse(body)
        if (parsed.version == FIRST_VERSION) != (parsed.previous == NO_PREVIOUS):
            raise _invalid("its version and its predecessor do not fit")
        return cls(data, body, parsed, Signer(signer), _bytes(signature, SIGNATURE_BYTES))

    def verify(self) -> VerifiedManifest:
        """Verify the signature under the key that the manifest names for its signer; raises ManifestInvalid.

        This shows that whoever holds that key listed these devices; whose key it is, the participants of the
        conversation and the trust records say.
        """
        body = self._body
        key = body.identity_key if self._signer is Signer.IDENTITY else body.recovery_key
        try:
            verify_signature(key, _NAME, self._body_bytes, self._signature)
        except SignatureInvalid as error:
            raise _invalid("its signature does not verify") from error
        return VerifiedManifest(
            raw=self.raw,
            portal=body.portal,
            user=body.user,
            version=body.version,
            identity_key=body.identity_key,
            recovery_key=body.recovery_key,
            devices=body.devices,
            suites=body.suites,
            previous=body.previous,
            signer=self._signer,
        )


@dataclass(frozen=True, slots=True)
class VerifiedManifest:
    """A manifest whose signature holds. Made by ``Manifest.verify`` and by signing, nowhere else."""

    raw: bytes
    portal: PortalId
    user: UserId
    version: int
    identity_key: bytes
    recovery_key: bytes
    devices: tuple[ManifestDevice, ...]
    suites: tuple[int, ...]
    previous: bytes
    signer: Signer

    @property
    def era(self) -> int:
        """How the recovery key ranks it: a list of a higher era overrides every one of a lower era."""
        return self.version >> ERA_BITS

    @property
    def hash(self) -> bytes:
        """H(label("manifest") || manifest), which the next version names."""
        return hashlib.sha256(label(_NAME) + self.raw).digest()

    def lists(self, device_key: bytes) -> bool:
        """Whether a device with this key is the user's."""
        return any(d.device_key == device_key for d in self.devices)


def verify_manifest(data: bytes) -> VerifiedManifest:
    """Parse and verify; raises ManifestInvalid."""
    return Manifest.parse(data).verify()


def first_manifest(
    *,
    portal: PortalId,
    user: UserId,
    identity: KeyPair,
    recovery_key: bytes,
    devices: Iterable[ManifestDevice],
    suites: Iterable[int],
) -> VerifiedManifest:
    """Sign a user's first manifest with the identity key."""
    keys = (identity.public, recovery_key)
    body = _Body(portal, user, FIRST_VERSION, *keys, tuple(devices), tuple(suites), NO_PREVIOUS)
    return _sign(body, Signer.IDENTITY, identity)


def next_manifest(
    previous: VerifiedManifest,
    *,
    key: KeyPair,
    devices: Iterable[ManifestDevice] | None = None,
    suites: Iterable[int] | None = None,
    identity_key: bytes | None = None,
) -> VerifiedManifest:
    """Sign the next version with the identity key, or with the recovery key.

    Only the recovery key may name a new identity key. Which of the two ``key`` is follows from
    ``previous``; raises UsageError for a third one.
    """
    if hmac.compare_digest(key.public, previous.recovery_key):
        signer = Signer.RECOVERY
    elif hmac.compare_digest(key.public, previous.identity_key):
        signer = Signer.IDENTITY
    else:
        raise UsageError("This key is neither the identity key nor the recovery key of the manifest before.")
    body = _Body(
        portal=previous.portal,
        user=previous.user,
        version=previous.version + 1,
        identity_key=previous.identity_key if identity_key is None else identity_key,
        recovery_key=previous.recovery_key,
        devices=previous.devices if devices is None else tuple(devices),
        suites=previous.suites if suites is None else tuple(suites),
        previous=previous.hash,
    )
    if signer is Signer.IDENTITY and body.identity_key != previous.identity_key:
        raise UsageError("Only the recovery key may name a new identity key. Use the recovery kit.")
    return _sign(body, signer, key)


def recovered_manifest(
    *,
    portal: PortalId,
    user: UserId,
    era: int,
    recovery: KeyPair,
    identity_key: bytes,
    devices: Iterable[ManifestDevice],
    suites: Iterable[int],
) -> VerifiedManifest:
    """Sign a list with the recovery key alone, that begins an era and names a new identity key.

    It needs nothing that was lost. Everybody accepts it in the place of any list of a lower era that names
    the same recovery key.
    """
    keys = (identity_key, recovery.public)
    version = (era << ERA_BITS) + FIRST_VERSION
    body = _Body(portal, user, version, *keys, tuple(devices), tuple(suites), UNSEEN)
    return _sign(body, Signer.RECOVERY, recovery)


def era_at(now: float) -> int:
    """The era that a recovery begins at this time (Unix seconds)."""
    return int(now) // SECONDS_AN_ERA


def era_counts(manifest: VerifiedManifest, present: int) -> bool:
    """Whether a list may outrank another one at the time of this era, or somebody be met by it first."""
    return manifest.signer is Signer.RECOVERY or manifest.era <= present + ERAS_AHEAD


def check_successor(old: VerifiedManifest, new: VerifiedManifest) -> None:
    """Whether ``new`` may take the place of ``old``; raises ManifestInvalid.

    The same manifest may. A higher version may if it is the same user's and was signed by the identity
    key without touching either key or leaving the era, or by the same recovery key; the directly next version
    must name ``old`` as its predecessor (versions in between need not have been seen).
    """
    if new.raw == old.raw:
        return
    if (new.portal, new.user) != (old.portal, old.user):
        raise _invalid("it belongs to another user than the one before")
    if new.version <= old.version:
        raise _invalid("its version is not above the one before")
    if new.recovery_key != old.recovery_key:
        raise _invalid("it changes the recovery key, which nothing may")
    if new.signer is Signer.IDENTITY and new.identity_key != old.identity_key:
        raise _invalid("it changes the identity key without the recovery key")
    if new.signer is Signer.IDENTITY and new.era != old.era:
        raise _invalid("it begins another era without the recovery key")
    if new.version == old.version + 1 and new.previous != old.hash:
        raise _invalid("it does not continue the one before")


def _sign(body: _Body, signer: Signer, key: KeyPair) -> VerifiedManifest:
    """Sign, and read it back as a peer would: what would be refused there is refused here."""
    data = body.serialize()
    raw = pack([data, int(signer), key.sign(_NAME, data)])
    try:
        return verify_manifest(raw)
    except ManifestInvalid as error:
        raise UsageError(f"This manifest would be refused by everybody: {error}") from error


def _invalid(reason: str) -> ManifestInvalid:
    return ManifestInvalid(
        f"A device list is not valid: {reason}. It is not used; ask its owner to update the app."
    )


def _unpack(data: bytes) -> object:
    try:
        return unpack(data)
    except PackingError as error:
        raise _invalid("it is not well-formed") from error


def _list(value: object, length: int, what: str) -> list[object]:
    if not isinstance(value, list) or len(value) != length:
        raise _invalid(f"its {what} has not {length} fields")
    return cast(list[object], value)


def _bytes(value: object, length: int) -> bytes:
    if not isinstance(value, bytes) or len(value) != length:
        raise _invalid(f"a field is not {length} bytes")
    return value


def _uint(value: object, low: int = 0, high: int = MAX_UINT) -> int:
    if isinstance(value, bool) or not isinstance(value, int) or not low <= value <= high:
        raise _invalid("a number is out of range")
    return value


def _devices(value: object) -> tuple[ManifestDevice, ...]:
    if not isinstance(value, list) or len(value) > MAX_DEVICES_PER_USER:
        raise _invalid(f"it has not 0 to {MAX_DEVICES_PER_USER} devices")
    pairs = [_list(item, 2, "device") for item in value]
    devices = tuple(ManifestDevice(_bytes(key, KEY_BYTES), _uint(flags)) for key, flags in pairs)
    if len({d.device_key for d in devices}) != len(devices):
        raise _invalid("it lists a device twice")
    return devices


def _suites(value: object) -> tuple[int, ...]:
    if not isinstance(value, list) or len(value) > MOST_SUITES:
        raise _invalid(f"it lists more than {MOST_SUITES} suites")
    suites = tuple(_uint(item, 1, 0xFFFF) for item in value)
    if len(set(suites)) != len(suites):
        raise _invalid("it lists a suite twice")
    return suites
