"""Linking this device: what it does from showing its secret until it has its account."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable, Sequence
from typing import Final

from client_sdk.content.packing import Value
from client_sdk.engine.linkline import HERE, MET_WITHOUT_US, TOO_MANY, Line
from client_sdk.engine.requests import Requests
from client_sdk.engine.told import ArrivalRecord, Told, check_whole, read_grant, read_more, strange
from client_sdk.errors import AccessRefused, LinkFailed, LinkTampered, RelayError
from client_sdk.identity import KeyPair
from client_sdk.identity.linking import Greeting, Hello, LinkSecret, LinkSession, Side, is_hello
from client_sdk.transport import Environment, Incoming, Link
from client_sdk.transport.together import until_first
from relay.wire import frames as fr
from relay.wire.errors import ErrorCode
from relay.wire.ids import PortalId, UserId

_log = logging.getLogger(__name__)

MOST_TAMPERED: Final = 64  # bodies that do not open; then somebody is at the channel who should not be
SHOWN_SECONDS: Final = 15 * 60  # how long the words count
LOOK_SECONDS: Final = 0.1


class Meeting:
    """The new device's side of the line: answers every greeting, and gives what was said after it."""

    def __init__(
        self, line: Line, record: ArrivalRecord, portal: PortalId, user: UserId, rng: Callable[[int], bytes]
    ) -> None:
        self._line = line
        self._record = record
        self._portal, self._user = portal, user
        self._rng = rng
        self._session: LinkSession | None = None
        self._tampered = 0
        self.other: Hello | None = None
        self.fresh = True
        """Whether a meeting has just begun, so that what was told before it does not count."""

    async def next(self) -> list[Value]:
        """The next message; raises `RelayError`, or `LinkTampered` when too much was none."""
        while True:
            body = await self._line.hear()
            try:
                if is_hello(body):
                    await self._greet(body)
                elif body != HERE and self._session is not None:
                    return self._session.open(body)
            except LinkTampered:
                self._tampered += 1
                if self._tampered >= MOST_TAMPERED:
                    raise

    async def _greet(self, body: bytes) -> None:
        greeting = Greeting(
            LinkSecret(self._record.secret),
            Side.NEW,
            portal=self._portal,
            user=self._user,
            device_key=KeyPair.from_private(self._record.device).public,
            name=self._record.name,
            rng=self._rng,
        )
        self.other, self._session = greeting.meet(body)
        self.fresh = True
        await self._line.say(greeting.body)
        await self._line.say(self._session.seal("ready"))

    async def say(self, kind: str, *fields: object) -> None:
        """Answer what was just said."""
        if self._session is not None:
            await self._line.say(self._session.seal(kind, *fields))


class FirstContact:
    """The link's handler of a device that has no account yet: it can do nothing but be linked."""

    def __init__(
        self,
        record: ArrivalRecord,
        portal: PortalId,
        user: UserId,
        make_link: Callable[[FirstContact], Link],
        environment: Environment,
    ) -> None:
        self._env = environment
        self._record = record
        self._portal, self._user = portal, user
        self._link = make_link(self)
        self._requests = Requests(self._link)
        self._line = Line(self._requests, LinkSecret(record.secret).channel)
        self._meeting = Meeting(self._line, record, portal, user, environment.rng)
        self._online = asyncio.Event()

    def connected(self, _ready: fr.Ready) -> None:
        """A connection is ready."""
        self._line.begin()
        self._online.set()

    def disconnected(self) -> None:
        """The connection is gone."""
        self._online.clear()
        self._requests.fail_all()
        self._line.broken()

    def received(self, frames: Sequence[Incoming]) -> None:
        """The frames of one message."""
        for frame in frames:
            if isinstance(frame, fr.RendezvousFrom):
                if frame.channel == self._line.channel:
                    self._line.feed(frame.body)
            else:
                self._requests.take(frame)

    async def run(self, keep: Callable[[Told], None]) -> None:
        """Wait to be told everything, `keep` it durably, say so. Raises `LinkFailed` or `AccessRefused`."""
        await until_first(self._link.run(), self._until_told(keep), self._until_late())

    async def _until_late(self) -> None:
        await self._env.sleep(SHOWN_SECONDS)
        raise LinkFailed(
            "Nobody let this device in within a quarter of an hour, and its words count no more. Begin again."
        )

    async def _until_told(self, keep: Callable[[Told], None]) -> None:
        while True:
            await self._until_online()
            try:
                await self._line.say(HERE)
                told = await self._listen()
                keep(told)
                await self._meeting.say("stored")
                return
            except RelayError as error:
                _log.info("linking is interrupted: %s", error.code)
                if error.code == ErrorCode.RATE_LIMITED:
                    raise LinkFailed(TOO_MANY) from error
                if error.code == ErrorCode.TOO_MANY_DEVICES:
                    raise LinkFailed(MET_WITHOUT_US) from error
                await self._env.sleep(LOOK_SECONDS)

    async def _until_online(self) -> None:
        while not self._online.is_set():
            if isinstance(self._link.status.error, AccessRefused):
                raise self._link.status.error
            await self._env.sleep(LOOK_SECONDS)

    async def _listen(self) -> Told:
        told: Told | None = None
        while True:
            kind, *values = await self._meeting.next()
            if self._meeting.fresh:
                told, self._meeting.fresh = None, False
            if kind == "refused":
                raise LinkFailed(
                    "On your other device this one was not let in. If that was a mistake, begin again."
                )
            if kind == "grant":
                told = read_grant(values, self._record, self._portal, self._user, self._meeting.other)
            elif told is None:
                raise strange()
            elif kind == "floors":
                check_whole(told, values)
                return told
            else:
                read_more(told, str(kind), values)
