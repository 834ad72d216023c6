"""One authenticated connection: the handshake of PROTOCOL 2.1, then frames in and out."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Final, TypeVar

from client_sdk.errors import AccessRefused, RelayError, RelayRefused, RelayUnreachable
from client_sdk.transport.socket import Socket
from relay.wire import Connection, ErrorCode, Side, WireError, connect_proof_bytes, decode_from_relay, encode
from relay.wire import frames as fr
from relay.wire.ids import PortalId, device_id
from relay.wire.limits import HANDSHAKE_SECONDS, NONCE_BYTES, SUPPORTED_VERSIONS

Incoming = fr.RelayFrame | fr.Unknown
_F = TypeVar("_F", bound=fr.RelayFrame)

REVOKED: Final = (
    "Another of your devices, or your portal, has removed this device: it gets and sends nothing any more. "
    "What it has stays readable here. If it is still yours, link it anew with a new vault"
)

_SAID: Final[dict[str, str]] = {
    ErrorCode.DEVICE_REVOKED: REVOKED,
    ErrorCode.TOKEN_REVOKED: "Your portal has ended your access for now. This device tries again by itself; "
    "if it stays like this, log in to your portal again",
    ErrorCode.TOKEN_INVALID: "The relay does not accept the access token that your portal gave you",
    ErrorCode.DEVICE_LIMIT: "You have as many devices as there can be. On one of them, remove another that "
    "you do not use any more, then begin again",
    ErrorCode.DEVICE_FOREIGN: "This device belongs to another person's account. Make a vault of your own",
    ErrorCode.SIGNATURE_INVALID: "The relay does not know the address by which this device reaches it. Check "
    "the address, and tell whoever runs the relay",
    ErrorCode.UNSUPPORTED_VERSION: "This program and the relay do not understand each other: one of them is "
    "too old. Update this program first",
    ErrorCode.QUOTA_EXCEEDED: "Your portal has as many devices connected as it may. This one tries again by "
    "itself; if it stays like this, tell your portal",
}

# The relay does not let this device in until something changes: the token, its device list, our version.
_ACCESS_CODES: Final = frozenset(
    {
        ErrorCode.UNSUPPORTED_VERSION,
        ErrorCode.TOKEN_INVALID,
        ErrorCode.TOKEN_REVOKED,
        ErrorCode.SIGNATURE_INVALID,
        ErrorCode.DEVICE_LIMIT,
        ErrorCode.DEVICE_FOREIGN,
        ErrorCode.DEVICE_REVOKED,
        ErrorCode.QUOTA_EXCEEDED,
    }
)


@dataclass(frozen=True, slots=True, kw_only=True)
class DeviceProof:
    """What a device shows a relay: `sign` signs with the private half of `device_key` (Ed25519, 32 bytes)."""

    origin: str
    portal: PortalId
    device_key: bytes
    sign: Callable[[bytes], bytes] = field(repr=False)


class GoodbyeReceived(RelayError):
    """The relay ended the connection; `retry_after` is in seconds, 0 if the relay named no time."""

    def __init__(self, goodbye: fr.Goodbye) -> None:
        super().__init__("The relay ended the connection.")
        self.code = goodbye.code
        self.retry_after = goodbye.reconnect_after_ms / 1000

    def meaning(self) -> RelayError:
        """The error as the SDK's user should see it."""
        if self.code in _ACCESS_CODES:
            said = _SAID.get(self.code, "The relay does not let this device in")
            refused = AccessRefused(f"{said} ({self.code}).")
            refused.code = self.code
            return refused
        return RelayRefused(f"The relay ended the connection ({self.code}).", code=self.code)


class Session:
    """A connection in the state ready. Methods raise `RelayUnreachable` or `GoodbyeReceived` when it ends."""

    def __init__(
        self, socket: Socket, automaton: Connection, ready: fr.Ready, waiting: Sequence[Incoming]
    ) -> None:
        self._socket = socket
        self._automaton = automaton
        self._waiting = list(waiting)
        self.ready: Final = ready

    async def receive(self) -> Sequence[Incoming]:
        """The frames of the next message."""
        if self._waiting:
            frames, self._waiting = self._waiting, []
            return frames
        return await _receive(self._socket, self._automaton)

    async def send_message(self, message: bytes) -> None:
        """Send one message of encoded frames."""
        await self._socket.send(message)


async def open_session(
    socket: Socket, proof: DeviceProof, token: str, rng: Callable[[int], bytes]
) -> Session:
    """Greet and authenticate; raises `RelayUnreachable`, or `GoodbyeReceived` with the relay's reason."""
    automaton = Connection(Side.DEVICE)
    try:
        async with asyncio.timeout(HANDSHAKE_SECONDS):
            return await _authenticate(socket, automaton, proof, token, rng(NONCE_BYTES))
    except TimeoutError:
        raise RelayUnreachable("The relay did not finish its greeting in time.") from None


async def _authenticate(
    socket: Socket, automaton: Connection, proof: DeviceProof, token: str, client_nonce: bytes
) -> Session:
    await socket.send(encode([fr.Hello(SUPPORTED_VERSIONS, client_nonce)]))
    challenge, rest = _head(await _receive(socket, automaton), fr.Challenge)
    if challenge.version not in SUPPORTED_VERSIONS or rest:
        raise RelayUnreachable("The relay's greeting breaks the protocol.")
    device = device_id(proof.device_key)
    signed = connect_proof_bytes(proof.origin, proof.portal, device, challenge.relay_nonce, client_nonce)
    await socket.send(encode([fr.Authenticate(token, proof.device_key, proof.sign(signed))]))
    ready, rest = _head(await _receive(socket, automaton), fr.Ready)
    if ready.device != device or ready.portal != proof.portal:
        raise RelayUnreachable("The relay took this device for another one.")
    return Session(socket, automaton, ready, rest)


def _head(frames: Sequence[Incoming], kind: type[_F]) -> tuple[_F, Sequence[Incoming]]:
    first = frames[0]
    if not isinstance(first, kind):
        raise RelayUnreachable("The relay's greeting breaks the protocol.")
    return first, frames[1:]


async def _receive(socket: Socket, automaton: Connection) -> Sequence[Incoming]:
    message = await socket.receive()
    if message is None:
        raise RelayUnreachable("The relay closed the connection.")
    try:
        automaton.check_size(message)
        frames = automaton.received_all(decode_from_relay(message))
    except WireError as error:
        raise RelayUnreachable(f"The relay breaks the protocol ({error.code}).") from error
    goodbye = next((frame for frame in frames if isinstance(frame, fr.Goodbye)), None)
    if goodbye is not None:
        # What came with it is lost to us and asked for again after connecting anew.
        raise GoodbyeReceived(goodbye)
    return frames
