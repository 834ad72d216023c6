"""The lasting connection to a relay: connects, renews the token, and connects again when it breaks."""

from __future__ import annotations

import asyncio
import itertools
import logging
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass
from typing import Final, Protocol

from client_sdk.errors import CoachRelayError, RelayUnreachable
from client_sdk.transport.backoff import Backoff
from client_sdk.transport.environment import Environment
from client_sdk.transport.outgoing import Outgoing
from client_sdk.transport.session import DeviceProof, GoodbyeReceived, Incoming, Session, open_session
from client_sdk.transport.socket import Dial
from client_sdk.transport.together import until_first
from relay.wire import frames as fr
from relay.wire.limits import HANDSHAKE_SECONDS

_log = logging.getLogger(__name__)

RENEW_AT: Final = 0.8  # of the token's remaining life: leaves time for the portal to be slow
RENEW_RETRY_SECONDS: Final = 5.0
MAX_RETRY_AFTER_SECONDS: Final = 120.0  # a relay cannot send a device away for longer

TokenSource = Callable[[], Awaitable[str]]


class LinkHandler(Protocol):
    """Who works on what the link brings. The methods are called one after the other and never wait."""

    def connected(self, ready: fr.Ready) -> None:
        """A new connection is ready; nothing of the one before counts any more."""

    def received(self, frames: Sequence[Incoming]) -> None:
        """The frames of one message."""

    def disconnected(self) -> None:
        """The connection is gone; what was not answered is unknown."""


@dataclass(frozen=True, slots=True)
class LinkStatus:
    """`error` says why the last attempt to be online failed."""

    online: bool = False
    error: CoachRelayError | None = None


class Link:
    """Keeps one device connected to its relay for as long as `run` runs."""

    def __init__(
        self,
        dial: Dial,
        proof: DeviceProof,
        token: TokenSource,
        handler: LinkHandler,
        environment: Environment,
    ) -> None:
        self._dial = dial
        self._proof = proof
        self._token = token
        self._handler = handler
        self._env = environment
        self._backoff = Backoff(environment.fraction)
        self._requests = itertools.count(1)
        self._outgoing: Outgoing | None = None
        self._renewal = 0
        self._renewed = asyncio.Event()
        self._dropped = asyncio.Event()
        self._lifetime = 0.0
        self._relay_ahead = 0.0
        """The relay's clock over our monotonic one: our wall clock may be wrong, or set right meanwhile."""
        self.status = LinkStatus()
        self.failed: Callable[[], None] = lambda: None
        """Told when an attempt to be online has failed; `status` says why."""

    @property
    def online(self) -> bool:
        """True between `connected` and `disconnected`."""
        return self._outgoing is not None

    def next_request(self) -> int:
        """A number for a request that no other request of this link has."""
        return next(self._requests)

    def send(self, *frames: fr.DeviceFrame) -> None:
        """Have these frames go out in order; raises `RelayUnreachable` when offline."""
        if self._outgoing is None:
            raise RelayUnreachable("There is no connection to the relay.")
        for frame in frames:
            self._outgoing.put(frame)

    def reconnect(self) -> None:
        """End the present connection, if there is one; `run` makes another."""
        if self.online:
            self._dropped.set()

    async def run(self) -> None:
        """Connect, again and again; ends by cancellation, or with what a handler raised."""
        while True:
            wait = 0.0
            try:
                await self._connect_once()
            except GoodbyeReceived as goodbye:
                self._failed(goodbye.meaning())
                wait = min(goodbye.retry_after, MAX_RETRY_AFTER_SECONDS)
            except CoachRelayError as error:
                self._failed(error)
            await self._env.sleep(wait or self._backoff.next_delay())

    def _failed(self, error: CoachRelayError) -> None:
        _log.info("the connection ended: %s", error.code)
        self.status = LinkStatus(online=False, error=error)
        self.failed()

    async def _fetch_token(self) -> str:
        try:
            return await self._token()
        except CoachRelayError:
            raise
        except Exception as error:
            raise RelayUnreachable("The portal gave no access token.") from error

    async def _connect_once(self) -> None:
        token = await self._fetch_token()
        try:
            async with asyncio.timeout(HANDSHAKE_SECONDS):
                socket = await self._dial()
        except TimeoutError:
            raise RelayUnreachable("The relay does not answer.") from None
        try:
            session = await open_session(socket, self._proof, token, self._env.rng)
            await self._serve(session)
        finally:
            await socket.close()

    async def _serve(self, session: Session) -> None:
        outgoing = self._outgoing = Outgoing()
        self._lifetime = session.ready.token_expires - session.ready.time
        self._relay_ahead = session.ready.time - self._env.monotonic()
        ready_at = self._env.monotonic()
        self._renewal = 0
        self.status = LinkStatus(online=True)
        try:
            self._dropped.clear()
            self._handler.connected(session.ready)
            await until_first(
                self._read(session), self._write(session, outgoing), self._keep_token(), self._until_dropped()
            )
        finally:
            self._outgoing = None
            self._backoff.connection_lived(self._env.monotonic() - ready_at)
            self.status = LinkStatus()
            self._handler.disconnected()

    async def _read(self, session: Session) -> None:
        while True:
            frames = await session.receive()
            self._handler.received([frame for frame in frames if not self._is_renewal(frame)])
            # A relay that sends without pause must not keep the program's other tasks from running.
            await asyncio.sleep(0)

    async def _write(self, session: Session, outgoing: Outgoing) -> None:
        while True:
            await session.send_message(await outgoing.take())

    async def _until_dropped(self) -> None:
        await self._dropped.wait()

    async def _keep_token(self) -> None:
        while True:
            await self._env.sleep(max(1.0, self._lifetime * RENEW_AT))
            self._renewed.clear()
            try:
                token = await self._fetch_token()
            except CoachRelayError as error:
                _log.info("no token to renew with: %s", error.code)
                self._lifetime = RENEW_RETRY_SECONDS / RENEW_AT
                continue
            self._renewal = self.next_request()
            self.send(fr.Renew(self._renewal, token))
            await self._renewed.wait()

    def _is_renewal(self, frame: Incoming) -> bool:
        if not isinstance(frame, fr.Renewed | fr.Error) or not frame.request == self._renewal != 0:
            return False
        if isinstance(frame, fr.Renewed):
            self._lifetime = max(0.0, frame.token_expires - self._relay_ahead - self._env.monotonic())
        else:
            self._lifetime = RENEW_RETRY_SECONDS / RENEW_AT
        self._renewed.set()
        return True
