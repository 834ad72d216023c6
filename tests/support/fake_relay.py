"""A small relay in this process, honest unless a test makes it lie; it keeps all in memory.

Lies are made by what the test does with `relay.streams[...]` (see `fake_stream`) and with `relay.lies`.
"""

from __future__ import annotations

import asyncio
import base64
import json
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field
from typing import Any

import nacl.exceptions
import nacl.signing

from client_sdk.errors import RelayUnreachable
from relay.core.manifests import HeldManifest, end_list, read_manifest, take_manifest
from relay.wire import (
    Connection,
    EntryKind,
    ErrorCode,
    Side,
    State,
    WireError,
    connect_proof_bytes,
    decode_from_device,
    encode,
)
from relay.wire import frames as fr
from relay.wire.ids import DeviceId, EngagementId, PortalId, Role, UserId, device_id
from relay.wire.limits import (
    MAX_FRAMES_PER_MESSAGE,
    MAX_RENDEZVOUS_CHANNELS_PER_USER,
    MAX_RENDEZVOUS_DEVICES,
    PROTOCOL_VERSION,
    WINDOW_BYTES,
    WINDOW_ENTRIES,
)
from tests.support.fake_stream import Log, Stored, Stream

ORIGIN = "https://relay.test"
PORTAL = PortalId("portal-1")
TOKEN_SECONDS = 3600
_RUN_BYTES = 900_000


@dataclass(slots=True)
class Lies:
    """What a malicious relay does; None, or the identity, is honest. Each may be set at any time."""

    append: Callable[[Peer, fr.Append], list[fr.RelayFrame] | None] | None = None
    """Answers an append instead of the relay."""
    opened: Callable[[DeviceId, fr.Opened], fr.Opened] | None = None
    key_packages: Callable[[tuple[fr.ClaimedKeyPackage, ...]], tuple[fr.ClaimedKeyPackage, ...]] | None = None
    engagement: Callable[[DeviceId, fr.Engagement], fr.Engagement] | None = None
    ephemeral: Callable[[DeviceId, bytes], bytes | None] | None = None
    rendezvous: Callable[[DeviceId, bytes], bytes | None] | None = None
    lets_in_revoked: bool = False
    takes_no_lists: bool = False
    """A user's new device lists are not taken, and nobody is shut out."""
    withheld: set[DeviceId] = field(default_factory=set)
    """These devices get no entries."""
    offline: bool = False
    """Nobody gets a connection."""


def _base64url(data: bytes) -> str:
    return base64.urlsafe_b64encode(data).decode().rstrip("=")


def _runs(entries: list[fr.Entry]) -> list[tuple[fr.Entry, ...]]:
    """As many entries in each as a frame holds."""
    runs: list[list[fr.Entry]] = []
    size = 0
    for entry in entries:
        length = len(entry.body or b"")
        if not runs or size + length > _RUN_BYTES:
            runs.append([])
            size = 0
        runs[-1].append(entry)
        size += length
    return [tuple(run) for run in runs]


class FakeSocket:
    """The device's end of a connection."""

    def __init__(self, peer: Peer) -> None:
        self._peer = peer

    async def send(self, message: bytes) -> None:
        if self._peer.closed:
            raise RelayUnreachable("closed")
        self._peer.receive(message)
        await asyncio.sleep(0)

    async def receive(self) -> bytes | None:
        return await self._peer.outbox.get()

    async def close(self) -> None:
        self._peer.close()


class Peer:
    """The relay's end of a connection."""

    def __init__(self, relay: FakeRelay) -> None:
        self.relay = relay
        self.automaton = Connection(Side.RELAY)
        self.outbox: asyncio.Queue[bytes | None] = asyncio.Queue()
        self.closed = False
        self.user = UserId("")
        self.device = DeviceId(b"")
        self.open: dict[EngagementId, int] = {}
        """The last position pushed, of each open stream."""
        self.acked: dict[EngagementId, int] = {}
        self._client_nonce = b""
        self._relay_nonce = b""

    def receive(self, message: bytes) -> None:
        try:
            self.automaton.check_size(message)
            frames = decode_from_device(message)
            self.relay.received.extend((self.device, frame) for frame in frames)
            answers = [answer for f in frames if self.automaton.received(f) for answer in self._handle(f)]
        except WireError as error:
            self.goodbye(error.code)
            return
        self.send(answers)
        self.relay.push_all()

    def send(self, frames: list[fr.RelayFrame]) -> None:
        if self.closed:
            return
        for frame in frames:
            self.automaton.sent(frame)
        for start in range(0, len(frames), MAX_FRAMES_PER_MESSAGE):
            self.outbox.put_nowait(encode(frames[start : start + MAX_FRAMES_PER_MESSAGE]))

    def goodbye(self, code: str, reconnect_after_ms: int = 0) -> None:
        self.send([fr.Goodbye(code, "", reconnect_after_ms)])
        self.close()

    def close(self) -> None:
        if not self.closed:
            self.closed = True
            self.automaton.closed()
            self.outbox.put_nowait(None)
            self.relay.peers.pop(self.device, None)

    def _handle(self, frame: fr.DeviceFrame | fr.Unknown) -> list[fr.RelayFrame]:
        handler: Callable[[Any], list[fr.RelayFrame]] = getattr(self, f"on_{type(frame).__name__.lower()}")
        return handler(frame)

    # The handshake

    def on_hello(self, frame: fr.Hello) -> list[fr.RelayFrame]:
        self._client_nonce, self._relay_nonce = frame.client_nonce, self.relay.random(32)
        return [fr.Challenge(PROTOCOL_VERSION, self._relay_nonce)]

    def on_authenticate(self, frame: fr.Authenticate) -> list[fr.RelayFrame]:
        claims = self.relay.claims(frame.token)
        if claims["exp"] <= self.relay.now():
            raise WireError(ErrorCode.TOKEN_EXPIRED, "")
        device = device_id(frame.device_key)
        proof = connect_proof_bytes(ORIGIN, PORTAL, device, self._relay_nonce, self._client_nonce)
        try:
            nacl.signing.VerifyKey(frame.device_key).verify(proof, frame.signature)
        except nacl.exceptions.BadSignatureError:
            raise WireError(ErrorCode.SIGNATURE_INVALID, "") from None
        held = self.relay.manifests.get(UserId(claims["sub"]))
        if held is not None and device in held.revoked and not self.relay.lies.lets_in_revoked:
            raise WireError(ErrorCode.DEVICE_REVOKED, "")
        self.user, self.device = UserId(claims["sub"]), device
        self.relay.enter(self)
        left = len(self.relay.key_packages.get(device, []))
        now = int(self.relay.now())
        return [fr.Ready(device, PORTAL, self.user, claims["exp"], left, WINDOW_ENTRIES, WINDOW_BYTES, now)]

    def on_renew(self, frame: fr.Renew) -> list[fr.RelayFrame]:
        return [fr.Renewed(frame.request, self.relay.claims(frame.token)["exp"])]

    # Streams

    def on_append(self, frame: fr.Append) -> list[fr.RelayFrame]:
        lie = self.relay.lies.append
        answer = lie(self, frame) if lie is not None else None
        return self.append_honestly(frame) if answer is None else answer

    def append_honestly(self, frame: fr.Append) -> list[fr.RelayFrame]:
        log = self._log(frame.stream)
        if log is None:
            return [fr.Refused(frame.stream, frame.counter, "not_found", 0)]
        if self.relay.engagement(frame.stream).status != "active":
            return [fr.Refused(frame.stream, frame.counter, "ended", log.last_commit)]
        result = log.append(
            self.device, frame, int(self.relay.now() * 1000), self.relay.roster_devices(frame.stream)
        )
        if isinstance(result, str):
            return [fr.Refused(frame.stream, frame.counter, result, log.last_commit)]
        if frame.kind is EntryKind.COMMIT:
            self.relay.announce(frame.stream)
        return [fr.Appended(frame.stream, (fr.AppendResult(frame.counter, result),))]

    def on_open(self, frame: fr.Open) -> list[fr.RelayFrame]:
        log = self._log(frame.stream)
        if log is None:
            return [fr.Error(frame.request, "not_found", "")]
        cursor = log.members.get(self.device, 0)
        self.open[frame.stream] = self.acked[frame.stream] = frame.after
        counters = log.counters.get(self.device)
        opened = fr.Opened(
            frame.request,
            frame.stream,
            self.relay.streams[frame.stream].incarnation,
            log.head,
            log.last_commit,
            log.first,
            cursor,
            counters.last if counters else 0,
            self.device in log.members,
        )
        lie = self.relay.lies.opened
        return [lie(self.device, opened) if lie else opened]

    def on_ack(self, frame: fr.Ack) -> list[fr.RelayFrame]:
        log = self._log(frame.stream)
        if log is not None and self.device in log.members:
            log.members[self.device] = max(log.members[self.device], min(frame.seq, log.head))
        self.acked[frame.stream] = max(frame.seq, self.acked.get(frame.stream, 0))
        return []

    def on_ephemeral(self, frame: fr.Ephemeral) -> list[fr.RelayFrame]:
        for peer in list(self.relay.peers.values()):
            if peer is not self and frame.stream in peer.open:
                lie = self.relay.lies.ephemeral
                body = lie(peer.device, frame.body) if lie else frame.body
                if body is not None:
                    peer.send([fr.EphemeralFrom(frame.stream, body)])
        return []

    def push(self) -> None:
        """Push what the windows admit."""
        if self.device in self.relay.lies.withheld:
            return
        for stream_id, pushed in list(self.open.items()):
            stream = self.relay.streams[stream_id]
            log = stream.log_of(self.device)
            if self.device not in log.members:
                continue
            least = max(log.first, log.joined.get(self.device, 0)) - 1  # nobody gets what is before it
            start = max(pushed, least)
            room = WINDOW_ENTRIES - max(0, start - max(self.acked[stream_id], least))
            waiting = log.after(start)[: max(0, room)]
            if waiting:
                self.open[stream_id] = waiting[-1].seq
                self._push_entries(stream, waiting)

    def _push_entries(self, stream: Stream, waiting: list[Stored]) -> None:
        entries = [stored.seen_by(self.device) for stored in waiting]
        if stream.tamper is not None:
            altered = [stream.tamper(self.device, entry) for entry in entries]
            entries = [entry for entry in altered if entry is not None]
        if entries:
            for run in _runs(entries):
                self.send([fr.Entries(stream.id, run)])

    def _log(self, stream: EngagementId) -> Log | None:
        known = self.relay.streams.get(stream)
        if known is None or self.user not in self.relay.rosters[stream]:
            return None
        return known.log_of(self.device)

    # Everything else

    def on_publishkeypackages(self, frame: fr.PublishKeyPackages) -> list[fr.RelayFrame]:
        had = self.relay.has_key_package(self.device)
        kept = self.relay.key_packages.setdefault(self.device, [])
        if frame.last_resort is not None:
            kept.clear()
            self.relay.last_resorts[self.device] = frame.last_resort
        kept.extend(frame.packages)
        if not had:
            self.relay.announce_user(self.user)
        return [fr.Published(frame.request, len(kept))]

    def on_claimkeypackages(self, frame: fr.ClaimKeyPackages) -> list[fr.RelayFrame]:
        claimed = tuple(self.relay.claim(device) for device in frame.devices)
        lie = self.relay.lies.key_packages
        return [fr.KeyPackages(frame.request, lie(claimed) if lie else claimed)]

    def on_listengagements(self, frame: fr.ListEngagements) -> list[fr.RelayFrame]:
        mine = [s for s, roster in self.relay.rosters.items() if self.user in roster]
        return [fr.Engagements(frame.request, tuple(self.relay.engagement(s, self.device) for s in mine))]

    def on_requestblobaccess(self, frame: fr.RequestBlobAccess) -> list[fr.RelayFrame]:
        return [fr.BlobAccess(frame.request, "blob-token", int(self.relay.now()) + 900)]

    def on_requesticeservers(self, frame: fr.RequestIceServers) -> list[fr.RelayFrame]:
        return [fr.IceServers(frame.request, (), int(self.relay.now()) + 900)]

    def on_rendezvous(self, frame: fr.Rendezvous) -> list[fr.RelayFrame]:
        known = [key for key in self.relay.channels if key[0] == self.user]
        if (self.user, frame.channel) not in known and len(known) >= MAX_RENDEZVOUS_CHANNELS_PER_USER:
            return [fr.Error(frame.request, ErrorCode.RATE_LIMITED, "")]
        here = self.relay.channels.setdefault((self.user, frame.channel), {})
        if self.device not in here and len(here) >= MAX_RENDEZVOUS_DEVICES:
            return [fr.Error(frame.request, ErrorCode.TOO_MANY_DEVICES, "")]
        here[self.device] = self
        others = [peer for peer in here.values() if peer is not self and not peer.closed]
        lie = self.relay.lies.rendezvous
        body = lie(self.device, frame.body) if lie else frame.body
        for peer in others:
            if body is not None:
                peer.send([fr.RendezvousFrom(frame.channel, body)])
        return [fr.Met(frame.request, bool(others))]

    def on_putmanifest(self, frame: fr.PutManifest) -> list[fr.RelayFrame]:
        return [fr.HeldManifest(frame.request, self.relay.put_manifest(self, frame.manifest))]

    # Archives

    def on_putarchive(self, frame: fr.PutArchive) -> list[fr.RelayFrame]:
        parts = self._archive(frame.stream).setdefault(frame.series, [])
        if frame.number == len(parts) + 1:
            parts.append(frame.part)
        return [fr.ArchiveStored(frame.request, len(parts))]

    def on_listarchive(self, frame: fr.ListArchive) -> list[fr.RelayFrame]:
        kept = self._archive(frame.stream).items()
        listed = tuple(fr.ArchiveSeries(series, len(parts)) for series, parts in kept if parts)
        return [fr.ArchiveListed(frame.request, listed)]

    def on_readarchive(self, frame: fr.ReadArchive) -> list[fr.RelayFrame]:
        parts = self._archive(frame.stream).get(frame.series, [])
        return [fr.ArchiveParts(frame.request, tuple(parts[frame.after : frame.after + 3]))]

    def on_erasearchive(self, frame: fr.EraseArchive) -> list[fr.RelayFrame]:
        if frame.stream in self.relay.ended:
            return [fr.Error(frame.request, ErrorCode.ENDED, "")]
        if self.user not in self.relay.rosters[frame.stream]:
            return [fr.Error(frame.request, ErrorCode.NOT_FOUND, "")]
        kept = self._archive(frame.stream)
        for series in list(kept) if frame.series is None else [frame.series]:
            kept.pop(series, None)
        return [fr.ArchiveStored(frame.request, 0)]

    def _archive(self, stream: EngagementId) -> dict[bytes, list[bytes]]:
        return self.relay.archives.setdefault((stream, self.user), {})

    def on_unknown(self, frame: fr.Unknown) -> list[fr.RelayFrame]:
        return [fr.Error(0, "unknown_frame", "")]


class FakeRelay:
    """Make an engagement, give clients `dial` and `token_for(user)`, and look at `streams` afterwards."""

    def __init__(self, *, now: Callable[[], float], random: Callable[[int], bytes]) -> None:
        self.now = now
        self.random = random
        self.lies = Lies()
        self.peers: dict[DeviceId, Peer] = {}
        self.streams: dict[EngagementId, Stream] = {}
        self.rosters: dict[EngagementId, dict[UserId, Role]] = {}
        self.ended: set[EngagementId] = set()
        self.devices: dict[DeviceId, UserId] = {}
        self.key_packages: dict[DeviceId, list[bytes]] = {}
        self.last_resorts: dict[DeviceId, bytes] = {}
        self.channels: dict[tuple[UserId, bytes], dict[DeviceId, Peer]] = {}
        self.manifests: dict[UserId, HeldManifest] = {}
        self.archives: dict[tuple[EngagementId, UserId], dict[bytes, list[bytes]]] = {}
        self.received: list[tuple[DeviceId, fr.DeviceFrame | fr.Unknown]] = []
        """Every frame that came, with its sender."""

    async def dial(self) -> FakeSocket:
        """A connection (a `Dial` of the transport)."""
        if self.lies.offline:
            raise RelayUnreachable("offline")
        return FakeSocket(Peer(self))

    def token_for(self, user: str) -> Callable[[], Awaitable[str]]:
        """The function by which a portal gives this user tokens."""

        async def fetch() -> str:
            claims = {"iss": PORTAL, "sub": user, "exp": int(self.now()) + TOKEN_SECONDS}
            parts = ({"alg": "HS256"}, claims)
            return (
                ".".join(base64.urlsafe_b64encode(json.dumps(p).encode()).decode().rstrip("=") for p in parts)
                + ".c2ln"
            )

        return fetch

    def claims(self, token: str) -> dict[str, Any]:
        payload = token.split(".")[1]
        claims: dict[str, Any] = json.loads(base64.urlsafe_b64decode(payload + "=" * (-len(payload) % 4)))
        return claims

    def create_engagement(self, **roster: str) -> EngagementId:
        """A new engagement of these users in these roles (`anna="coach", ben="client"`)."""
        stream = EngagementId(f"eng_{_base64url(self.random(16))}")
        self.rosters[stream] = {UserId(user): Role(role) for user, role in roster.items()}
        self.streams[stream] = Stream(stream, self.random(16))
        self.announce(stream)
        return stream

    def set_roster(self, stream: EngagementId, **roster: str) -> None:
        """What a portal does when somebody joins or leaves."""
        self.rosters[stream] = {UserId(user): Role(role) for user, role in roster.items()}
        self.announce(stream)

    def end(self, stream: EngagementId) -> None:
        """End an engagement."""
        self.ended.add(stream)
        self.announce(stream)

    def enter(self, peer: Peer) -> None:
        older = self.peers.get(peer.device)
        if older is not None:
            older.goodbye(ErrorCode.REPLACED)
        self.peers[peer.device] = peer
        new = peer.device not in self.devices
        self.devices[peer.device] = peer.user
        if new:
            self.announce_user(peer.user)

    def put_manifest(self, peer: Peer, raw: bytes | None) -> bytes | None:
        """Hold a user's device list by the relay's own rules; who left it is out at once."""
        held = self.manifests.get(peer.user)
        if raw is not None and not self.lies.takes_no_lists:
            taken = take_manifest(held, read_manifest(raw), peer.device)
            if taken is not None:
                held = self.manifests[peer.user] = taken
        if held is not None:
            self._shut_out(held)
        return None if held is None else held.manifest or None

    def end_list(self, user: str) -> None:
        """The portal ends a user's list; their devices come again with fresh tokens."""
        held = self.manifests[UserId(user)] = end_list(self.manifests[UserId(user)])
        self._shut_out(held)
        for peer in [peer for peer in self.peers.values() if peer.user == user]:
            peer.goodbye(ErrorCode.TOKEN_REVOKED)

    def _shut_out(self, held: HeldManifest) -> None:
        for device in held.revoked:
            self.devices.pop(device, None)
            self.key_packages.pop(device, None)
            self.last_resorts.pop(device, None)
            if device in self.peers:
                self.peers[device].goodbye(ErrorCode.DEVICE_REVOKED)

    def device_of(self, user: str) -> DeviceId:
        """The one device of this user."""
        (device,) = [device for device, owner in self.devices.items() if owner == user]
        return device

    def drop_connections(self) -> None:
        """Break every connection."""
        for peer in list(self.peers.values()):
            peer.close()

    def has_key_package(self, device: DeviceId) -> bool:
        return bool(self.key_packages.get(device)) or device in self.last_resorts

    def claim(self, device: DeviceId) -> fr.ClaimedKeyPackage:
        waiting = self.key_packages.get(device, [])
        if waiting:
            return fr.ClaimedKeyPackage(device, waiting.pop(0), False)
        last = self.last_resorts.get(device)
        return fr.ClaimedKeyPackage(device, last, last is not None)

    def roster_devices(self, stream: EngagementId) -> dict[DeviceId, UserId]:
        return {device: user for device, user in self.devices.items() if user in self.rosters[stream]}

    def engagement(self, stream: EngagementId, viewer: DeviceId | None = None) -> fr.Engagement:
        """The engagement as this device is told it."""
        log = self.streams[stream].log
        devices = tuple(
            fr.EngagementDevice(user, device, device in log.members, self.has_key_package(device))
            for device, user in self.roster_devices(stream).items()
        )
        roster = tuple(fr.Participant(user, role) for user, role in self.rosters[stream].items())
        status = "ended" if stream in self.ended else "active"
        engagement = fr.Engagement(stream, status, 1_700_000_000, 720, roster, devices, log.last_commit)
        lie = self.lies.engagement
        return lie(viewer, engagement) if lie and viewer is not None else engagement

    def announce(self, stream: EngagementId) -> None:
        """Tell everyone on the roster how the engagement stands."""
        for peer in list(self.peers.values()):
            if peer.user in self.rosters[stream] and peer.automaton.state is State.READY:
                peer.send([fr.EngagementChanged(self.engagement(stream, peer.device))])

    def announce_user(self, user: UserId) -> None:
        for stream, roster in self.rosters.items():
            if user in roster:
                self.announce(stream)

    def push_all(self) -> None:
        """Push to everyone what their windows admit."""
        for peer in list(self.peers.values()):
            peer.push()

    def inject(
        self, stream: EngagementId, kind: EntryKind, body: bytes, *, only: DeviceId | None = None
    ) -> int:
        """Put an entry of the relay's own making into the log (of one device alone)."""
        log = self.streams[stream].log if only is None else self.streams[stream].log_of(only)
        entry = Stored(
            log.head + 1, kind, log.last_commit, int(self.now() * 1000), body, DeviceId(bytes(16)), 0
        )
        log.store(entry)
        self.push_all()
        return entry.seq

    def bodies(self, stream: EngagementId) -> list[bytes]:
        """Every entry's body in the true log."""
        return [entry.body for entry in self.streams[stream].log.entries]
