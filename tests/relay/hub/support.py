"""Devices that talk to a hub without a network, and a clock and chance that tests set."""

from __future__ import annotations

import itertools
from collections.abc import Sequence
from typing import Any, TypeVar

import nacl.signing

from relay.core.access import AccessToken
from relay.core.engagements import EngagementRecord
from relay.errors import AccessRefused
from relay.hub import Hub, HubSettings, Session
from relay.store import MemoryDirectory, MemoryStreamStore
from relay.wire import Bundle, EntryKind, ErrorCode, connect_proof_bytes, decode_from_relay, encode
from relay.wire import frames as fr
from relay.wire.ids import BlobId, DeviceId, EngagementId, PortalId, Role, UserId, device_id

ORIGIN = "https://relay.example"
OTHER_ORIGIN = "http://127.0.0.1:8470"
PORTAL = PortalId("portal")
ANNA = UserId("anna")
BEN = UserId("ben")
CARA = UserId("cara")
NOW = 1_700_000_000
TOKEN_LIFE = 3600
COMMIT = EntryKind.COMMIT
MESSAGE = EntryKind.MESSAGE
_F = TypeVar("_F")


class Clock:
    """Stands still until a test moves it."""

    def __init__(self) -> None:
        self.now = float(NOW)

    def __call__(self) -> float:
        return self.now


class Chance:
    """Bytes that look random and are the same in every run."""

    def __init__(self) -> None:
        self._numbers = itertools.count(1)

    def __call__(self, count: int) -> bytes:
        return next(self._numbers).to_bytes(count, "big")


class Sink:
    """What the relay sends to one connection."""

    def __init__(self) -> None:
        self.messages: list[bytes] = []
        self.closed = False
        self.unread = 0

    def send(self, message: bytes, /) -> None:
        assert not self.closed
        self.messages.append(message)

    def close(self) -> None:
        self.closed = True

    def pending(self) -> int:
        return self.unread


def verify_token(token: str, now: int) -> AccessToken:
    """Tokens of the tests: `portal/user/expires`."""
    portal, user, expires = token.split("/")
    if portal == "bad":
        raise AccessRefused(ErrorCode.TOKEN_INVALID)
    if int(expires) <= now:
        raise AccessRefused(ErrorCode.TOKEN_EXPIRED)
    return AccessToken(PortalId(portal), UserId(user), int(expires), "id", issued=int(expires) - TOKEN_LIFE)


def token(user: str, *, portal: str = PORTAL, expires: int = NOW + TOKEN_LIFE) -> str:
    return f"{portal}/{user}/{expires}"


def make_hub(streams: Any = None, directory: Any = None, clock: Clock | None = None, **settings: Any) -> Hub:
    """A hub; `steady` is a clock of its own if the other one is to jump."""
    options = {"origins": (ORIGIN, OTHER_ORIGIN), "tick_seconds": 3600, **settings}
    erase_blob = options.pop("erase_blob", None)
    bus = options.pop("bus", None)
    clock = clock or Clock()
    steady = options.pop("steady", clock)
    return Hub(
        streams or MemoryStreamStore(),
        directory or MemoryDirectory(),
        settings=HubSettings(**options),
        verify_token=verify_token,
        erase_blob=erase_blob,
        bus=bus,
        ice_servers=lambda now: ([fr.IceServer(("stun:relay.example",), None, None)], now + 60),
        clock=clock,
        steady=steady,
        rng=Chance(),
    )


class Device:
    """One device: its key, its connection, what it has received."""

    def __init__(self, hub: Hub, user: str, *, portal: str = PORTAL, seed: str = "") -> None:
        self.hub = hub
        self.user = UserId(user)
        self.portal = PortalId(portal)
        self.key = nacl.signing.SigningKey((portal + user + seed).encode().ljust(32, b".")[:32])
        self.public_key = bytes(self.key.verify_key)
        self.id: DeviceId = device_id(self.public_key)
        self.sink = Sink()
        self.session: Session = None  # type: ignore[assignment]  # until it attaches
        self.counter = 0
        self.access = token(self.user, portal=self.portal)

    def attach(self) -> None:
        self.sink = Sink()
        self.session = self.hub.attach(self.sink)

    async def connect(self) -> Device:
        self.attach()
        (challenge,) = await self.say(fr.Hello((1,), b"c" * 32))
        assert isinstance(challenge, fr.Challenge)
        ready, *_ = await self.say(self.proof(challenge))
        assert isinstance(ready, fr.Ready), ready
        return self

    def proof(
        self,
        challenge: fr.Challenge,
        *,
        origin: str = ORIGIN,
        access: str | None = None,
        portal: str | None = None,
        device: DeviceId | None = None,
    ) -> fr.Authenticate:
        signed = connect_proof_bytes(
            origin,
            PortalId(portal or self.portal),
            device or self.id,
            challenge.relay_nonce,
            b"c" * 32,
        )
        access = access if access is not None else self.access
        return fr.Authenticate(access, self.public_key, self.key.sign(signed).signature)

    async def say(self, *frames: fr.Frame) -> list[Any]:
        """Send frames in one message; what has come from the relay when everything is done."""
        await self.session.receive(encode(frames))
        await self.hub.settle()
        return self.take()

    def take(self) -> list[Any]:
        """What has come since the last time, a frame each."""
        messages, self.sink.messages = self.sink.messages, []
        return [frame for message in messages for frame in decode_from_relay(message)]

    def take_entries(self) -> list[fr.Entry]:
        """The entries that have come since the last time; everything else is left out."""
        return [entry for frame in self.take() if isinstance(frame, fr.Entries) for entry in frame.entries]

    async def open(self, stream: EngagementId, after: int = 0) -> fr.Opened:
        """Open a stream; entries stay to be taken."""
        await self.session.receive(encode([fr.Open(1, stream, after)]))
        await self.hub.settle()
        return next(frame for frame in only(self.peek(), fr.Opened) if frame.stream == stream)

    def peek(self) -> list[Any]:
        return [frame for message in self.sink.messages for frame in decode_from_relay(message)]

    def commit(
        self,
        stream: EngagementId,
        after_commit: int = 0,
        *,
        adds: Sequence[DeviceId] = (),
        removes: Sequence[DeviceId] = (),
        counter: int | None = None,
    ) -> fr.Append:
        bundle = Bundle(
            adds=tuple(adds), removes=tuple(removes), commit=b"commit", welcome=b"w", group_info=b"g"
        )
        return fr.Append(stream, self._next(counter), COMMIT, after_commit, bundle.serialize())

    def message(
        self,
        stream: EngagementId,
        after_commit: int = 1,
        body: bytes = b"hello",
        *,
        counter: int | None = None,
        blobs: Sequence[BlobId] = (),
    ) -> fr.Append:
        return fr.Append(stream, self._next(counter), MESSAGE, after_commit, body, tuple(blobs))

    def _next(self, counter: int | None) -> int:
        self.counter = self.counter + 1 if counter is None else counter
        return self.counter


def only(frames: Sequence[Any], kind: type[_F]) -> list[_F]:
    return [frame for frame in frames if isinstance(frame, kind)]


def participants(*users: str) -> list[fr.Participant]:
    roles = itertools.chain([Role.COACH], itertools.repeat(Role.CLIENT))
    return [fr.Participant(UserId(user), role) for user, role in zip(users, roles, strict=False)]


async def new_engagement(hub: Hub, *users: str, portal: PortalId = PORTAL) -> EngagementRecord:
    record = await hub.engagements.create(portal, participants(*(users or (ANNA, BEN))))
    await hub.settle()
    return record


class Pair:
    """Anna and Ben, connected, in a group of two with its stream open and everything taken."""

    def __init__(self, anna: Device, ben: Device, stream: EngagementId) -> None:
        self.anna = anna
        self.ben = ben
        self.stream = stream


async def connected_pair(hub: Hub) -> Pair:
    record = await new_engagement(hub)
    anna, ben = await Device(hub, ANNA).connect(), await Device(hub, BEN).connect()
    (appended,) = only(await anna.say(anna.commit(record.id, adds=[ben.id])), fr.Appended)
    assert appended.results == ((1, 1),)
    for device in (anna, ben):
        await device.open(record.id)
        await device.say(fr.Ack(record.id, 1))
    for device in (anna, ben):
        device.take()
    return Pair(anna, ben, record.id)
