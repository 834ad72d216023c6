"""A relay that really serves, two portals, and a device that speaks the protocol."""

from __future__ import annotations

import itertools
import time
from collections.abc import AsyncIterator, Iterable
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Self, TypeVar

import aiohttp
import jwt
from nacl.signing import SigningKey

from client_sdk.identity import KeyPair, ManifestDevice, first_manifest
from relay.config import Settings, load_settings
from relay.core.portals import secret_text
from relay.http.server import Serving, serving
from relay.hub import NewKeys
from relay.wire import frames as fr
from relay.wire.bundle import Bundle
from relay.wire.codec import decode_from_relay, encode
from relay.wire.frames import EntryKind
from relay.wire.ids import BlobId, DeviceId, EngagementId, PortalId, UserId, device_id, parse_engagement_id
from relay.wire.proof import connect_proof_bytes

PORTAL, OTHER = "growth", "other"
PAGE, OTHER_PAGE = "https://portal.example", "https://other.example"
PATIENCE = aiohttp.ClientTimeout(total=60)
F = TypeVar("F")
_numbers = itertools.count(1)


@dataclass(slots=True)
class Peers:
    """Portals and their users' devices, at a relay wherever it runs."""

    url: str
    http: aiohttp.ClientSession
    keys: dict[str, NewKeys]

    def token(self, user: str, *, portal: str = PORTAL, **changes: Any) -> str:
        now = int(time.time())
        times = {"iat": now, "nbf": now, "exp": now + 600}
        claims = {
            "iss": portal,
            "sub": user,
            "aud": "coach-relay",
            "jti": f"t{next(_numbers)}",
            **times,
            **changes,
        }
        return jwt.encode(claims, secret_text(self.keys[portal].record.token_secret), algorithm="HS256")

    def bearer(self, portal: str = PORTAL) -> dict[str, str]:
        return {"Authorization": f"Bearer {self.keys[portal].api_key}"}

    async def engagement(self, *users: str, portal: str = PORTAL) -> EngagementId:
        """A new engagement; its first user is the coach."""
        roster = [{"user": user, "role": "client" if index else "coach"} for index, user in enumerate(users)]
        body = {"participants": roster}
        async with self.http.post("/v1/engagements", json=body, headers=self.bearer(portal)) as answer:
            assert answer.status == 201, await answer.text()
            return parse_engagement_id((await answer.json())["id"])

    @asynccontextmanager
    async def device(
        self, user: str, *, portal: str = PORTAL, origin: str | None = None
    ) -> AsyncIterator[Device]:
        """A connected device of a user."""
        async with Device.connect(self, origin=origin) as device:
            ready = await device.prove(self.token(user, portal=portal))
            assert isinstance(ready, fr.Ready), ready
            yield device

    async def blob_access(
        self, engagement: EngagementId, user: str, *, portal: str = PORTAL
    ) -> dict[str, str]:
        """The header that lets a device of a user at an engagement's blobs."""
        async with self.device(user, portal=portal) as device:
            return await device.blob_access(engagement)


@dataclass(slots=True)
class World(Peers):
    """A relay in this process, with its portals and devices."""

    running: Serving


@dataclass(slots=True)
class Device:
    """A websocket with a device key."""

    world: Peers
    socket: aiohttp.ClientWebSocketResponse
    key: SigningKey = field(default_factory=SigningKey.generate, repr=False)
    waiting: list[Any] = field(default_factory=list)

    @classmethod
    @asynccontextmanager
    async def connect(cls, world: Peers, *, origin: str | None = None) -> AsyncIterator[Self]:
        async with world.http.ws_connect("/v1/connect", origin=origin, max_msg_size=2**22) as socket:
            yield cls(world, socket)

    @property
    def id(self) -> DeviceId:
        return device_id(bytes(self.key.verify_key))

    async def send(self, *frames: fr.Frame) -> None:
        await self.socket.send_bytes(encode(frames))

    async def next(self) -> Any:
        """The next frame of the relay; None when the connection is closed."""
        while not self.waiting:
            message = await self.socket.receive(timeout=10)
            if message.type is not aiohttp.WSMsgType.BINARY:
                return None
            self.waiting += decode_from_relay(message.data)
        return self.waiting.pop(0)

    async def wait_for(self, kind: type[F]) -> F:
        """The next frame of a kind; what comes before it is passed over."""
        while True:
            frame = await self.next()
            assert frame is not None, f"closed before {kind.__name__}"
            if isinstance(frame, kind):
                return frame

    async def wait_for_any(self, *kinds: type) -> Any:
        """The next frame of one of these kinds."""
        while not isinstance(frame := await self.next(), kinds):
            assert frame is not None, "closed before"
        return frame

    async def rest(self) -> list[Any]:
        """Everything until the connection is closed."""
        found = []
        while (frame := await self.next()) is not None:
            found.append(frame)
        return found

    async def prove(self, token: str, *, origin: str | None = None) -> Any:
        """Go through the handshake; its last answer."""
        await self.send(fr.Hello((1,), b"c" * 32))
        challenge = await self.wait_for(fr.Challenge)
        issuer = jwt.decode(token, options={"verify_signature": False})["iss"]
        proof = connect_proof_bytes(
            origin or self.world.url,
            issuer,
            device_id(bytes(self.key.verify_key)),
            challenge.relay_nonce,
            b"c" * 32,
        )
        await self.send(fr.Authenticate(token, bytes(self.key.verify_key), self.key.sign(proof).signature))
        return await self.next()

    async def blob_access(self, engagement: EngagementId) -> dict[str, str]:
        await self.send(fr.RequestBlobAccess(1, engagement))
        access = await self.wait_for(fr.BlobAccess)
        return {"Authorization": f"Bearer {access.token}"}

    async def put_list(self, user: str, *, portal: str = PORTAL) -> bytes | None:
        """Put a first list of this device alone, under keys of its own; what the relay holds then."""
        keys = KeyPair.from_private(bytes(self.key))
        listed = first_manifest(
            portal=PortalId(portal),
            user=UserId(user),
            identity=keys,
            recovery_key=keys.public,
            devices=[ManifestDevice(keys.public)],
            suites=[3],
        )
        await self.send(fr.PutManifest(1, listed.raw))
        return (await self.wait_for(fr.HeldManifest)).manifest

    async def create_group(self, engagement: EngagementId, *adds: DeviceId) -> None:
        commit, welcome = (b"c", b"w") if adds else (b"", None)
        body = Bundle(adds=adds, removes=(), commit=commit, welcome=welcome, group_info=b"g").serialize()
        await self.send(fr.Append(engagement, 1, EntryKind.COMMIT, 0, body, ()))
        await self.wait_for(fr.Appended)

    async def append(self, engagement: EngagementId, counter: int, blobs: Iterable[BlobId] = ()) -> Any:
        """Append a message to a stream whose first entry is its only commit; the answer."""
        await self.send(fr.Append(engagement, counter, EntryKind.MESSAGE, 1, b"sealed", tuple(blobs)))
        return await self.wait_for_any(fr.Appended, fr.Refused)


def settings_in(folder: Path, **options: Any) -> Settings:
    """A relay's settings in a folder, on a port that the system chooses."""
    return load_settings(environ={}, options={"port": 0, "data_dir": folder / "data", **options})


@asynccontextmanager
async def world_in(folder: Path, **options: Any) -> AsyncIterator[World]:
    """A relay that serves, with two portals."""
    async with serving(settings_in(folder, **options)) as running:
        portals = running.relay.hub.portals
        keys = {
            PORTAL: await portals.add(PORTAL, origins=[PAGE]),
            OTHER: await portals.add(OTHER, origins=[OTHER_PAGE]),
        }
        async with aiohttp.ClientSession(running.url, timeout=PATIENCE) as http:
            yield World(running.url, http, keys, running)
