"""The typed frames of PROTOCOL 2.2. A frame is encoded as the MessagePack array of its type and fields."""

from __future__ import annotations

from enum import IntEnum
from typing import Final, NamedTuple

from relay.wire.ids import BlobId, DeviceId, EngagementId, PortalId, Role, UserId


class EntryKind(IntEnum):
    """What an entry is to the relay."""

    MESSAGE = 0
    COMMIT = 1


class Entry(NamedTuple):
    """One entry as delivered. `counter` is 0 and `body` present, except in the receiver's own entries."""

    seq: int
    kind: EntryKind
    after_commit: int
    time_ms: int
    counter: int
    body: bytes | None


class AppendResult(NamedTuple):
    """The position that the entry with this counter got."""

    counter: int
    seq: int


class Participant(NamedTuple):
    """A person on an engagement's roster."""

    user: UserId
    role: Role


class EngagementDevice(NamedTuple):
    """A device of a person on the roster."""

    user: UserId
    device: DeviceId
    member: bool
    has_key_package: bool


class Engagement(NamedTuple):
    """An engagement as its participants see it. `created` is in Unix seconds, `status` is active or ended."""

    id: EngagementId
    status: str
    created: int
    retention_hours: int
    participants: tuple[Participant, ...]
    devices: tuple[EngagementDevice, ...]
    last_commit: int


class ClaimedKeyPackage(NamedTuple):
    """A key package (RFC 9420 section 10) of a device; None if it has none."""

    device: DeviceId
    package: bytes | None
    last_resort: bool


class IceServer(NamedTuple):
    """A STUN or TURN server, as in WebRTC's RTCIceServer."""

    urls: tuple[str, ...]
    username: str | None
    credential: str | None


class ArchiveSeries(NamedTuple):
    """A series of a user's archive, and how many parts it has."""

    series: bytes
    parts: int


# Device to relay


class Hello(NamedTuple):
    versions: tuple[int, ...]
    client_nonce: bytes


class Authenticate(NamedTuple):
    token: str
    device_key: bytes
    signature: bytes


class Renew(NamedTuple):
    request: int
    token: str


class Append(NamedTuple):
    stream: EngagementId
    counter: int
    kind: EntryKind
    after_commit: int
    body: bytes
    blobs: tuple[BlobId, ...] = ()


class Open(NamedTuple):
    request: int
    stream: EngagementId
    after: int


class Ack(NamedTuple):
    stream: EngagementId
    seq: int


class Ephemeral(NamedTuple):
    stream: EngagementId
    body: bytes


class PublishKeyPackages(NamedTuple):
    request: int
    packages: tuple[bytes, ...]
    last_resort: bytes | None


class ClaimKeyPackages(NamedTuple):
    request: int
    stream: EngagementId
    devices: tuple[DeviceId, ...]


class ListEngagements(NamedTuple):
    request: int


class RequestBlobAccess(NamedTuple):
    request: int
    stream: EngagementId


class RequestIceServers(NamedTuple):
    request: int
    stream: EngagementId


class Rendezvous(NamedTuple):
    """Meet another device of the same user at a channel; an empty body only says that one is there."""

    request: int
    channel: bytes
    body: bytes


class PutManifest(NamedTuple):
    """Put the user's newest manifest, or with None only ask for it."""

    request: int
    manifest: bytes | None


class PutArchive(NamedTuple):
    request: int
    stream: EngagementId
    series: bytes
    number: int
    part: bytes


class ListArchive(NamedTuple):
    request: int
    stream: EngagementId


class ReadArchive(NamedTuple):
    request: int
    stream: EngagementId
    series: bytes
    after: int


class EraseArchive(NamedTuple):
    request: int
    stream: EngagementId
    series: bytes | None


class CallOutcome(NamedTuple):
    """How a call connected, for the operator's counts: a word, and neither call, stream nor number."""

    path: str


# Relay to device


class Challenge(NamedTuple):
    version: int
    relay_nonce: bytes


class Ready(NamedTuple):
    device: DeviceId
    portal: PortalId
    user: UserId
    token_expires: int
    key_packages_left: int
    window_entries: int
    window_bytes: int
    time: int


class Renewed(NamedTuple):
    request: int
    token_expires: int


class Error(NamedTuple):
    request: int
    code: str
    detail: str


class Goodbye(NamedTuple):
    code: str
    detail: str
    reconnect_after_ms: int


class Appended(NamedTuple):
    stream: EngagementId
    results: tuple[AppendResult, ...]


class Refused(NamedTuple):
    stream: EngagementId
    counter: int
    code: str
    last_commit: int


class Opened(NamedTuple):
    request: int
    stream: EngagementId
    incarnation: bytes
    head: int
    last_commit: int
    first: int
    cursor: int
    last_counter: int
    member: bool


class Entries(NamedTuple):
    stream: EngagementId
    entries: tuple[Entry, ...]


class EphemeralFrom(NamedTuple):
    stream: EngagementId
    body: bytes


class Published(NamedTuple):
    request: int
    left: int


class KeyPackages(NamedTuple):
    request: int
    packages: tuple[ClaimedKeyPackage, ...]


class Engagements(NamedTuple):
    request: int
    engagements: tuple[Engagement, ...]


class EngagementChanged(NamedTuple):
    engagement: Engagement


class BlobAccess(NamedTuple):
    request: int
    token: str
    expires: int


class IceServers(NamedTuple):
    request: int
    servers: tuple[IceServer, ...]
    expires: int


class KeyPackagesLow(NamedTuple):
    left: int


class Met(NamedTuple):
    """Whether the other device was there and was sent the body."""

    request: int
    present: bool


class RendezvousFrom(NamedTuple):
    channel: bytes
    body: bytes


class HeldManifest(NamedTuple):
    """The user's manifest that the relay holds now: the one that was put, or one that stands against it."""

    request: int
    manifest: bytes | None


class ArchiveStored(NamedTuple):
    request: int
    parts: int


class ArchiveListed(NamedTuple):
    request: int
    series: tuple[ArchiveSeries, ...]


class ArchiveParts(NamedTuple):
    request: int
    parts: tuple[bytes, ...]


class Unknown(NamedTuple):
    """A well-formed frame of a type that this version lacks: skipped, and answered `unknown_frame`."""

    frame_type: int


DeviceFrame = (
    Hello
    | Authenticate
    | Renew
    | Append
    | Open
    | Ack
    | Ephemeral
    | PublishKeyPackages
    | ClaimKeyPackages
    | ListEngagements
    | RequestBlobAccess
    | RequestIceServers
    | Rendezvous
    | PutManifest
    | PutArchive
    | ListArchive
    | ReadArchive
    | EraseArchive
    | CallOutcome
)
RelayFrame = (
    Challenge
    | Ready
    | Renewed
    | Error
    | Goodbye
    | Appended
    | Refused
    | Opened
    | Entries
    | EphemeralFrom
    | Published
    | KeyPackages
    | Engagements
    | EngagementChanged
    | BlobAccess
    | IceServers
    | KeyPackagesLow
    | Met
    | RendezvousFrom
    | HeldManifest
    | ArchiveStored
    | ArchiveListed
    | ArchiveParts
)
Frame = DeviceFrame | RelayFrame

DEVICE_FRAME_TYPES: Final[dict[type[Frame], int]] = {
    Hello: 1,
    Authenticate: 2,
    Renew: 3,
    Append: 10,
    Open: 11,
    Ack: 12,
    Ephemeral: 20,
    PublishKeyPackages: 30,
    ClaimKeyPackages: 31,
    ListEngagements: 32,
    RequestBlobAccess: 33,
    RequestIceServers: 34,
    PutArchive: 35,
    ListArchive: 36,
    ReadArchive: 37,
    EraseArchive: 38,
    CallOutcome: 39,
    Rendezvous: 40,
    PutManifest: 41,
}
RELAY_FRAME_TYPES: Final[dict[type[Frame], int]] = {
    Challenge: 64,
    Ready: 65,
    Renewed: 66,
    Error: 67,
    Goodbye: 68,
    Appended: 70,
    Refused: 71,
    Opened: 72,
    Entries: 73,
    EphemeralFrom: 74,
    Published: 80,
    KeyPackages: 81,
    Engagements: 82,
    EngagementChanged: 83,
    BlobAccess: 84,
    IceServers: 85,
    KeyPackagesLow: 86,
    Met: 90,
    RendezvousFrom: 91,
    HeldManifest: 92,
    ArchiveStored: 100,
    ArchiveListed: 101,
    ArchiveParts: 102,
}
FRAME_TYPES: Final[dict[type[Frame], int]] = {**DEVICE_FRAME_TYPES, **RELAY_FRAME_TYPES}
