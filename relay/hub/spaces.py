"""The spaces of the Directory and how their keys are written. No part of a key contains a slash."""

from __future__ import annotations

from typing import Final

from relay.wire.ids import BlobId, DeviceId, EngagementId, PortalId, UserId

PORTALS: Final = "portals"  # portal -> PortalRecord
ENGAGEMENTS: Final = "engagements"  # engagement -> EngagementRecord
LISTS: Final = "lists"  # portal/created/engagement -> nothing: a portal's engagements by age
ACTIVE: Final = "active"  # portal/engagement -> nothing: which of them have not ended
IDEMPOTENCY: Final = "idempotency"  # portal/hash of a key -> KeptAnswer
ROSTERS: Final = "rosters"  # portal/user/engagement -> nothing: which engagements a user is in
BINDINGS: Final = "bindings"  # device -> DeviceBinding
USERS: Final = "users"  # portal/user -> UserDevices
MANIFESTS: Final = "manifests"  # portal/user -> HeldManifest: the newest signed device list
KEY_PACKAGES: Final = "keypackages"  # device/time and number -> one key package for single use
LAST_RESORT: Final = "lastresort"  # device -> its key package of last resort
UPLOADS: Final = "uploads"  # engagement/blob -> UploadRecord
REVOCATIONS: Final = "revocations"  # portal/user -> Revocations
NOTES: Final = "notes"  # kind:id -> nothing: what another process changed and the relay has yet to look at
MARKS: Final = "marks"  # name -> nothing, or what came of it: what was done once
ARCHIVES: Final = "archives"  # engagement/user -> ArchiveRecord
ARCHIVE_PARTS: Final = "archiveparts"  # engagement/user/series/number -> one sealed part
LEASES: Final = "leases"  # what only one node does at a time -> who, until when
COUNTERS: Final = "counters"  # name -> nothing: its versions count
RENDEZVOUS: Final = "rendezvous"  # portal/user/channel -> who is there (in memory where there is one node)
SECRETS: Final = "secrets"  # name -> a secret of this relay


def roster_key(portal: PortalId, user: UserId, engagement: EngagementId | None = None) -> str:
    """The key of a user's engagement, or what all of the user's begin with."""
    return f"{portal}/{user}/{engagement or ''}"


def user_key(portal: PortalId, user: UserId) -> str:
    """The key of a user's devices."""
    return f"{portal}/{user}"


def device_key(device: DeviceId) -> str:
    """The key of what belongs to a device."""
    return device.hex()


def upload_key(engagement: EngagementId, blob: BlobId | None = None) -> str:
    """The key of an upload, or what all of an engagement's begin with."""
    return f"{engagement}/{blob or ''}"


def list_key(portal: PortalId, suffix: str = "") -> str:
    """The key of a place in a portal's list, or what all of them begin with."""
    return f"{portal}/{suffix}"


def active_key(portal: PortalId, engagement: EngagementId | None = None) -> str:
    """The key of an active engagement, or what all of a portal's begin with."""
    return f"{portal}/{engagement or ''}"


def idempotency_key(portal: PortalId, name: str = "") -> str:
    """The key of a kept answer, or what all of a portal's begin with."""
    return f"{portal}/{name}"


def rendezvous_key(portal: PortalId, user: UserId, channel: bytes | None = None) -> str:
    """The key of a channel, or what all of a user's begin with."""
    return f"{portal}/{user}/{channel.hex() if channel is not None else ''}"


def archive_key(engagement: EngagementId, user: UserId) -> str:
    """The key of a user's archive in an engagement."""
    return f"{engagement}/{user}/"


def archive_part_key(engagement: EngagementId, user: UserId, series: bytes, number: int | None = None) -> str:
    """The key of a part, or what all of a series begin with."""
    start = f"{archive_key(engagement, user)}{series.hex()}/"
    return start if number is None else f"{start}{number:08x}"
