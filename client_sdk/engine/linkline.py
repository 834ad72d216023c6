"""The line between two devices of one person, by way of the relay's rendezvous (PROTOCOL 2.5)."""

from __future__ import annotations

import asyncio
from typing import Final

from client_sdk.engine.requests import Requests
from client_sdk.errors import RelayUnreachable
from relay.wire import frames as fr

HERE: Final = b""
"""What a device says that has come to the channel and waits for the other one."""
TOO_MANY: Final = (
    "Too many devices were to be linked to your account within a quarter of an hour, or you tried too often. "
    "Wait that long, then begin again."
)
MET_WITHOUT_US: Final = (
    "Two other devices have met by the words that this one shows. If you did not type them anywhere else, "
    "somebody saw them. Begin again: new words are shown, to nobody but you."
)
MOST_WAITING: Final = 64
"""Bodies that nobody has taken yet; the two devices answer each other, so there are never more than a few."""


class Line:
    """One channel on one client's connection."""

    def __init__(self, requests: Requests, channel: bytes) -> None:
        self._requests = requests
        self.channel: Final = channel
        self._bodies: asyncio.Queue[bytes | None] = asyncio.Queue()

    async def say(self, body: bytes) -> bool:
        """Say something, or with `HERE` only that one is here; whether the other device was there.

        Raises `RelayUnreachable` or `RelayRefused`.
        """
        answer = await self._requests.ask(lambda number: fr.Rendezvous(number, self.channel, body), fr.Met)
        return answer.present

    async def hear(self) -> bytes:
        """What the other device says next; raises `RelayUnreachable` when the connection breaks."""
        body = await self._bodies.get()
        if body is None:
            raise RelayUnreachable("The connection to the relay broke.")
        return body

    def feed(self, body: bytes) -> None:
        """The relay brought something; what is too much is dropped, and the two begin anew."""
        if self._bodies.qsize() < MOST_WAITING:
            self._bodies.put_nowait(body)

    def broken(self) -> None:
        """The connection is gone, and with it what was on its way."""
        while not self._bodies.empty():
            self._bodies.get_nowait()
        self._bodies.put_nowait(None)

    def begin(self) -> None:
        """Forget what came before: a meeting begins."""
        while not self._bodies.empty():
            self._bodies.get_nowait()
