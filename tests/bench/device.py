"""A real device's side of the handshake and of a conversation's beginning, on the load's thin websocket."""

from __future__ import annotations

import os
import time
import uuid
from dataclasses import dataclass, field
from typing import Final, TypeVar

import jwt
from nacl.signing import SigningKey

from relay.wire.bundle import Bundle
from relay.wire.codec import decode_from_relay, encode
from relay.wire.frames import (
    Ack,
    Append,
    Appended,
    Authenticate,
    Challenge,
    Entries,
    EntryKind,
    Error,
    Frame,
    Goodbye,
    Hello,
    Open,
    Ready,
    Refused,
)
from relay.wire.ids import DeviceId, EngagementId, PortalId, device_id
from relay.wire.limits import NONCE_BYTES, PROTOCOL_VERSION
from relay.wire.proof import connect_proof_bytes
from tests.bench.errors import UnexpectedError
from tests.bench.websocket import WebSocket

CONNECT_PATH: Final = "/v1/connect"
_TOKEN_SECONDS: Final = 3600
_OPAQUE: Final = os.urandom(512)  # in place of MLS messages, which the relay does not read
_F = TypeVar("_F", bound=Frame)


@dataclass(frozen=True, slots=True)
class Portal:
    """A portal's side: it signs tokens for its users."""

    id: PortalId
    api_key: str = field(repr=False)
    token_secret: bytes = field(repr=False)

    def token(self, user: str) -> str:
        """An access token for a user (PROTOCOL 3)."""
        now = int(time.time())
        claims = {
            "iss": self.id,
            "sub": user,
            "aud": "coach-relay",
            "iat": now,
            "nbf": now,
            "exp": now + _TOKEN_SECONDS,
            "jti": str(uuid.uuid4()),
        }
        return jwt.encode(claims, self.token_secret, algorithm="HS256")


@dataclass(frozen=True, slots=True)
class Device:
    """A device with a key of its own."""

    user: str
    key: SigningKey = field(default_factory=SigningKey.generate, repr=False)

    @property
    def public_key(self) -> bytes:
        return bytes(self.key.verify_key)

    @property
    def id(self) -> DeviceId:
        return device_id(self.public_key)


async def connect(port: int, portal: Portal, device: Device, token: str) -> WebSocket:
    """Connect to the relay on 127.0.0.1, prove the device (PROTOCOL 2.1), and wait for `Ready`."""
    socket = await WebSocket.connect(port, CONNECT_PATH)
    client_nonce = os.urandom(NONCE_BYTES)
    socket.send(encode([Hello((PROTOCOL_VERSION,), client_nonce)]))
    challenge = await expect(socket, Challenge)
    origin = f"http://127.0.0.1:{port}"
    proof = connect_proof_bytes(origin, portal.id, device.id, challenge.relay_nonce, client_nonce)
    socket.send(encode([Authenticate(token, device.public_key, device.key.sign(proof).signature)]))
    await expect(socket, Ready)
    return socket


async def expect(socket: WebSocket, kind: type[_F]) -> _F:
    """The next frame of this kind, news skipped; raises `UnexpectedError` if the relay refuses instead."""
    while True:
        frames = decode_from_relay(await socket.receive())
        for frame in frames:
            if isinstance(frame, kind):
                return frame
            if isinstance(frame, Error | Goodbye | Refused):
                raise UnexpectedError(f"{kind.__name__} was due, but the relay said {str(frame)[:300]}")


async def create_group(socket: WebSocket, stream: EngagementId, adds: tuple[DeviceId, ...]) -> None:
    """Append the bundle that creates the conversation's group with these other devices."""
    bundle = Bundle(adds=adds, commit=_OPAQUE, welcome=_OPAQUE, group_info=_OPAQUE)
    socket.send(encode([Append(stream, 1, EntryKind.COMMIT, 0, bundle.serialize())]))
    appended = await expect(socket, Appended)
    if [tuple(result) for result in appended.results] != [(1, 1)]:
        raise UnexpectedError(f"the first bundle got {appended.results}")


async def open_new_stream(socket: WebSocket, stream: EngagementId) -> None:
    """Open a stream that holds nothing but its first bundle, take that, and acknowledge it."""
    socket.send(encode([Open(1, stream, 0)]))
    await expect(socket, Entries)
    socket.send(encode([Ack(stream, 1)]))
