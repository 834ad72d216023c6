"""A device that speaks the protocol frame by frame, and a portal that signs whatever a test wants signed."""

from __future__ import annotations

import itertools
import time
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from typing import Any, Final, Self, TypeVar

import aiohttp
import jwt
from nacl.signing import SigningKey

from relay.wire import frames as fr
from relay.wire.bundle import Bundle
from relay.wire.codec import decode_from_relay, encode
from relay.wire.frames import EntryKind
from relay.wire.ids import DeviceId, EngagementId, PortalId, device_id
from relay.wire.proof import connect_proof_bytes

NONCE: Final = b"c" * 32
PATIENCE_SECONDS: Final = 60
OPAQUE: Final = b"in place of MLS messages, which the relay does not read"
_numbers = itertools.count(1)
F = TypeVar("F")


class Gone(Exception):
    """The connection is gone, or there is none to be had."""


@dataclass(frozen=True, slots=True)
class WirePortal:
    """A portal's keys, as the relay's command printed them."""

    keys: Mapping[str, str] = field(repr=False)

    @property
    def id(self) -> PortalId:
        return PortalId(self.keys["PORTAL_ID"])

    @property
    def bearer(self) -> dict[str, str]:
        """The header of its calls."""
        return {"Authorization": f"Bearer {self.keys['PORTAL_API_KEY']}"}

    def claims(self, user: str, **changes: Any) -> dict[str, Any]:
        """A good token's claims, some of them changed; None leaves one out."""
        now = int(time.time())
        claims = {
            "iss": self.id,
            "sub": user,
            "aud": "coach-relay",
            "iat": now,
            "nbf": now,
            "exp": now + 600,
            "jti": f"t{next(_numbers)}",
            **changes,
        }
        return {name: value for name, value in claims.items() if value is not None}

    def token(self, user: str, **changes: Any) -> str:
        """An access token under this portal's own secret."""
        return jwt.encode(self.claims(user, **changes), self.keys["PORTAL_TOKEN_SECRET"], algorithm="HS256")


@dataclass(slots=True)
class WireClient:
    """One connection of a device."""

    url: str
    socket: aiohttp.ClientWebSocketResponse
    key: SigningKey = field(default_factory=SigningKey.generate, repr=False)
    waiting: list[Any] = field(default_factory=list)

    @classmethod
    @asynccontextmanager
    async def dial(cls, url: str, key: SigningKey | None = None) -> AsyncIterator[Self]:
        """A connection on which nothing was said yet; raises `Gone`."""
        timeout = aiohttp.ClientTimeout(total=PATIENCE_SECONDS)
        async with aiohttp.ClientSession(url, timeout=timeout) as http:
            try:
                socket = await http.ws_connect("/v1/connect", max_msg_size=2**22)
            except (aiohttp.ClientError, OSError) as error:
                raise Gone from error
            async with socket:
                yield cls(url, socket, key or SigningKey.generate())

    @classmethod
    @asynccontextmanager
    async def connect(
        cls, url: str, portal: WirePortal, user: str, key: SigningKey | None = None
    ) -> AsyncIterator[Self]:
        """A connection that the relay has let in; raises `Gone`."""
        async with cls.dial(url, key) as client:
            answer = await client.prove(portal.id, portal.token(user))
            if not isinstance(answer, fr.Ready):
                raise Gone(str(answer))
            yield client

    @property
    def id(self) -> DeviceId:
        return device_id(bytes(self.key.verify_key))

    async def send(self, *frames: fr.Frame) -> None:
        await self.send_bytes(encode(frames))

    async def send_bytes(self, message: bytes) -> None:
        """Send a websocket message as it is."""
        try:
            await self.socket.send_bytes(message)
        except (aiohttp.ClientError, OSError) as error:
            raise Gone from error

    async def receive(self) -> list[Any]:
        """What the relay sent and was not taken yet, at least one frame; raises `Gone`."""
        if not self.waiting:
            message = await self.socket.receive(timeout=PATIENCE_SECONDS)
            if message.type is not aiohttp.WSMsgType.BINARY:
                raise Gone
            self.waiting += decode_from_relay(message.data)
        taken, self.waiting = self.waiting, []
        return taken

    async def wait_for(self, *kinds: type[F]) -> F:
        """The next frame of one of these kinds; what comes before it is passed over. Raises `Gone`."""
        while True:
            frames = await self.receive()
            for index, frame in enumerate(frames):
                if isinstance(frame, kinds):
                    self.waiting = frames[index + 1 :] + self.waiting
                    return frame

    async def prove(self, portal: PortalId, token: str) -> fr.Ready | fr.Goodbye:
        """Go through the handshake; its last answer."""
        await self.send(fr.Hello((1,), NONCE))
        challenge = await self.wait_for(fr.Challenge)
        await self.send(self.authenticate(portal, token, challenge.relay_nonce))
        return await self.wait_for(fr.Ready, fr.Goodbye)

    def authenticate(self, portal: PortalId, token: str, relay_nonce: bytes) -> fr.Authenticate:
        """The proof of this device for one challenge."""
        proof = connect_proof_bytes(self.url, portal, self.id, relay_nonce, NONCE)
        return fr.Authenticate(token, bytes(self.key.verify_key), self.key.sign(proof).signature)

    async def open(self, stream: EngagementId, after: int = 0) -> fr.Opened | fr.Error:
        await self.send(fr.Open(1, stream, after))
        return await self.wait_for(fr.Opened, fr.Error)

    async def append(
        self, stream: EngagementId, counter: int, body: bytes, *, after_commit: int = 1
    ) -> fr.Appended | fr.Refused:
        """Append a message and wait for the answer to it."""
        await self.send(fr.Append(stream, counter, EntryKind.MESSAGE, after_commit, body))
        return await self.wait_for(fr.Appended, fr.Refused)

    async def create_group(self, stream: EngagementId, adds: tuple[DeviceId, ...]) -> None:
        """Append the first bundle, which adds these devices."""
        body = Bundle(adds=adds, commit=OPAQUE, welcome=OPAQUE, group_info=OPAQUE).serialize()
        await self.send(fr.Append(stream, 1, EntryKind.COMMIT, 0, body))
        answer = await self.wait_for(fr.Appended, fr.Refused)
        if not isinstance(answer, fr.Appended):
            raise Gone(str(answer))

    async def read(self, stream: EngagementId, *, after: int, until: int) -> list[fr.Entry]:
        """Open a stream and take its entries up to a position, acknowledging none of those before it."""
        await self.send(fr.Open(2, stream, after))
        found: list[fr.Entry] = []
        while not found or found[-1].seq < until:
            found += (await self.wait_for(fr.Entries)).entries
        return found
