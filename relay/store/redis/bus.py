"""The bus of a relay's nodes: Redis's publish and subscribe, in a cluster on the shard that has the topic."""

from __future__ import annotations

import asyncio
import contextlib
import logging
import os
from collections import Counter, deque
from collections.abc import Callable
from typing import Any, Final

from redis import exceptions

from relay.errors import StoreError, StoreUnavailable
from relay.store.bus import Heard
from relay.store.redis.client import Call, RedisClient
from relay.store.redis.connection import Command, RedisServer
from relay.store.redis.news import channel_of

_log: Final = logging.getLogger("relay.store")
NODE_BYTES: Final = 8
PING_SECONDS: Final = 2.0
SILENCE_SECONDS: Final = 5.0  # a server that does not answer a ping for so long is taken for gone
CANCEL_SECONDS: Final = 0.2
FOLLOW_SECONDS: Final = 5.0
AGAIN_SECONDS: Final = (0.05, 0.1, 0.25, 0.5, 1.0)  # until the next attempt to listen; the last one stays
# What waits to be told: beyond it the oldest is forgotten, as if it had been lost on the way.
MAX_UNTOLD: Final = 4_096

_FAULTS: Final = (exceptions.RedisError, OSError, TimeoutError, StoreError)
_MESSAGES: Final = frozenset((b"message", b"smessage"))
_CONFIRMED: Final = frozenset((b"subscribe", b"ssubscribe"))


class RedisBus:
    """The `Bus` of one node."""

    def __init__(self, client: RedisClient) -> None:
        self.node = os.urandom(NODE_BYTES)
        self.is_current = False
        self._client = client
        self._prefix = "S" if client.topology.is_cluster else ""
        self._topics: dict[bytes, str] = {}  # by channel
        self._confirmed: dict[bytes, asyncio.Future[None]] = {}
        self._leaving: Counter[bytes] = Counter()  # what we asked to be unsubscribed from, in a cluster
        self._ears: dict[RedisServer, _Ear] = {}
        self._untold: deque[Call] = deque(maxlen=MAX_UNTOLD)
        self._telling: asyncio.Task[None] | None = None
        self._listening: asyncio.Task[None] | None = None
        self._heard: Heard = lambda _topic, _news: None
        self._missed: Callable[[], None] = lambda: None

    async def start(self, heard: Heard, missed: Callable[[], None]) -> None:
        """As the interface says; it listens as soon as there is somebody to listen to."""
        self._heard, self._missed = heard, missed
        self._listening = asyncio.get_running_loop().create_task(self._listen(), name="bus")

    async def follow(self, topic: str) -> None:
        channel = channel_of(topic)
        name = channel.encode("ascii")
        if name not in self._topics:
            self._topics[name] = topic
            self._confirmed[name] = asyncio.get_running_loop().create_future()
            self._subscribe(channel)
        try:
            async with asyncio.timeout(FOLLOW_SECONDS):
                await asyncio.shield(self._confirmed[name])
        except TimeoutError:
            raise StoreUnavailable("the news of other nodes cannot be had now") from None

    def unfollow(self, topic: str) -> None:
        channel = channel_of(topic)
        name = channel.encode("ascii")
        if self._topics.pop(name, None) is not None:
            self._confirmed.pop(name).cancel()
            if self._prefix:
                self._leaving[name] += 1
            self._ask(channel, f"{self._prefix}UNSUBSCRIBE")

    def tell(self, topic: str, news: bytes) -> None:
        channel = channel_of(topic)
        self._untold.append(Call(channel, (f"{self._prefix}PUBLISH", channel, news)))
        if self._telling is None:
            self._telling = asyncio.get_running_loop().create_task(self._tell())

    async def close(self) -> None:
        """Tell what is left, then stop."""
        while self._telling is not None:
            await asyncio.wait([self._telling])
        if self._listening is not None:
            await _end(self._listening)
        for future in self._confirmed.values():
            future.cancel()

    # To the others

    async def _tell(self) -> None:
        """What is told while some are on their way goes out with the next."""
        try:
            while self._untold:
                calls = list(self._untold)
                self._untold.clear()
                try:
                    await self._client.run_all(calls, again=False, barrier=False)
                except StoreError as error:
                    _log.warning("news were lost", extra={"code": str(error.code), "count": len(calls)})
        finally:
            self._telling = None

    # From the others

    def _subscribe(self, channel: str) -> None:
        self._ask(channel, f"{self._prefix}SUBSCRIBE")

    def _ask(self, channel: str, command: str) -> None:
        """Ask it of whoever listens where the channel is; who begins to listen asks by itself."""
        with contextlib.suppress(exceptions.ConnectionError):
            ear = self._ears.get(self._client.topology.server_of(channel))
            if ear is not None:
                ear.ask((command, channel))

    async def _listen(self) -> None:
        attempt = 0
        missed = False
        while True:
            try:
                await self._listen_once(missed)
            except _FAULTS as error:
                _log.warning("news of other nodes cannot be heard", extra={"error": type(error).__name__})
            attempt = 0 if self.is_current else attempt + 1
            missed = True
            self.is_current = False
            await asyncio.sleep(AGAIN_SECONDS[min(attempt, len(AGAIN_SECONDS) - 1)])

    async def _listen_once(self, missed: bool) -> None:
        """Listen to all servers until one of them fails or keys have moved; raises what failed."""
        topology = self._client.topology
        await topology.refresh()
        version = topology.version
        self._leaving.clear()
        self._ears = {server: _Ear(server, self._take) for server in topology.servers()}
        for name in self._topics:
            channel = name.decode("ascii")
            self._ears[topology.server_of(channel)].ask((f"{self._prefix}SUBSCRIBE", channel))
        tasks = [asyncio.get_running_loop().create_task(ear.listen()) for ear in self._ears.values()]
        try:
            async with asyncio.timeout(FOLLOW_SECONDS):
                await asyncio.gather(*[ear.listens() for ear in self._ears.values()])
            self.is_current = True
            if missed:
                self._missed()
            while topology.version == version:
                done, _ = await asyncio.wait(tasks, timeout=PING_SECONDS, return_when=asyncio.FIRST_COMPLETED)
                for task in done:
                    task.result()
        finally:
            self._ears = {}
            await _end(*tasks)

    def _take(self, message: Any) -> None:
        if isinstance(message, Exception):
            raise message  # the topic is elsewhere
        kind, name, news = message
        if kind in _MESSAGES:
            topic = self._topics.get(name)
            if topic is not None:
                self._heard(topic, news)
        elif kind in _CONFIRMED:
            future = self._confirmed.get(name)
            if future is not None and not future.done():
                future.set_result(None)
        elif kind == b"sunsubscribe":
            if not self._leaving[name]:
                raise exceptions.ConnectionError("the topic has moved")
            self._leaving[name] -= 1


async def _end(*tasks: asyncio.Task[None]) -> None:
    """Cancel tasks until they have ended: `asyncio.wait_for`, which redis-py uses, may swallow a cancellation
    that comes with its answer (until Python 3.12)."""
    left = [task for task in tasks if not task.done()]
    while left:
        for task in left:
            task.cancel()
        _, pending = await asyncio.wait(left, timeout=CANCEL_SECONDS)
        left = list(pending)
    await asyncio.gather(*tasks, return_exceptions=True)


class _Ear:
    """One connection that listens."""

    def __init__(self, server: RedisServer, take: Callable[[Any], None]) -> None:
        self._server = server
        self._take = take
        self._asking: list[Command] = []
        self._wake = asyncio.Event()
        self._listens: asyncio.Future[None] = asyncio.get_running_loop().create_future()

    def ask(self, command: Command) -> None:
        self._asking.append(command)
        self._wake.set()

    async def listens(self) -> None:
        """Wait until what was asked before has gone out and been answered; raises what failed."""
        await asyncio.shield(self._listens)

    async def listen(self) -> None:
        """Listen until it fails."""
        try:
            connection = await self._server.reserve()
            writing = asyncio.get_running_loop().create_task(self._write(connection))
            try:
                await self._read(connection)
            finally:
                await _end(writing)
                await self._server.give_up(connection)
        except Exception as error:
            if not self._listens.done():
                self._listens.set_exception(error)
            raise
        finally:
            if not self._listens.done():
                self._listens.cancel()

    async def _read(self, connection: Any) -> None:
        while True:
            try:
                message = await connection.read_response(timeout=SILENCE_SECONDS, disconnect_on_error=False)
            except exceptions.ResponseError as error:
                message = error
            if isinstance(message, bytes) or (isinstance(message, list) and message[0] == b"pong"):
                if not self._listens.done():
                    self._listens.set_result(None)
            else:
                self._take(message)

    async def _write(self, connection: Any) -> None:
        """Send what is asked, and a ping behind it and now and then, whose answer shows that it came."""
        while True:
            asking, self._asking = self._asking, []
            self._wake.clear()
            await connection.send_packed_command(connection.pack_commands([*asking, ("PING",)]))
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(PING_SECONDS):  # wait_for may swallow that we are cancelled
                    await self._wake.wait()
