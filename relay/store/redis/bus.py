"""The bus of a relay's nodes: Redis's publish and subscribe, in a cluster on the shard that has the topic.

Redis may hand out news before the append that they are of is on its disk: to a subscriber that was slow it
writes as soon as that takes something. News that bring entries are therefore held until the answer to a ping
that was sent after they had come: Redis answers whom it has read only when everything done before is synced.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
import os
from collections import Counter, deque
from collections.abc import Callable, Hashable
from itertools import count
from typing import Any, Final

from redis import exceptions

from relay.errors import StoreError, StoreUnavailable
from relay.store.bus import Heard
from relay.store.redis.client import Call, RedisClient
from relay.store.redis.connection import Command, RedisServer, pack_command, take_over
from relay.store.redis.news import begin_bringing, brings_entries, channel_of

_log: Final = logging.getLogger("relay.store")
NODE_BYTES: Final = 8
PING_SECONDS: Final = 2.0
SILENCE_SECONDS: Final = 5.0  # a server that does not answer a ping for so long is taken for gone
CANCEL_SECONDS: Final = 0.2
FOLLOW_SECONDS: Final = 5.0
AGAIN_SECONDS: Final = (0.05, 0.1, 0.25, 0.5, 1.0)  # until the next attempt to listen; the last one stays
READ_BYTES: Final = 64 * 1024  # at once
# What waits to be told: beyond it the oldest is forgotten, as if it had been lost on the way.
MAX_UNTOLD: Final = 4_096

# News that wait for an answer to a ping: who has more of them than this hears too slowly, and looks.
MAX_HELD_BYTES: Final = 16 * 1024 * 1024

_PING: Final = pack_command(("PING",))
_FAULTS: Final = (exceptions.RedisError, OSError, TimeoutError, StoreError)
_MESSAGES: Final = frozenset((b"message", b"smessage"))
_CONFIRMED: Final = frozenset((b"subscribe", b"ssubscribe"))


class RedisBus:
    """The `Bus` of one node."""

    def __init__(self, client: RedisClient) -> None:
        self.node = os.urandom(NODE_BYTES)
        self._client = client
        self._prefix = "S" if client.topology.is_cluster else ""
        self._topics: dict[bytes, str] = {}  # by channel
        self._confirmed: dict[bytes, asyncio.Future[None]] = {}
        self._leaving: Counter[bytes] = Counter()  # what we asked to be unsubscribed from, in a cluster
        self._ears: dict[RedisServer, _Ear] = {}
        self._deaf: set[RedisServer] = set()  # the servers that are not listened to now
        self._version = 0  # of what is known about the servers: the one that is listened by
        self._untold: dict[Hashable, deque[Call]] = {}  # by lane: one for each server there has been
        self._telling: dict[Hashable, asyncio.Task[None]] = {}
        self._listening: asyncio.Task[None] | None = None
        self._heard: Heard = lambda _topic, _news: None
        self._missed: Callable[[], None] = lambda: None

    @property
    def is_current(self) -> bool:
        return bool(self._version) and not self._deaf

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
        lane = self._client.lane(channel)
        untold = self._untold.setdefault(lane, deque(maxlen=MAX_UNTOLD))
        untold.append(Call(channel, (f"{self._prefix}PUBLISH", channel, news)))
        if lane not in self._telling:
            self._telling[lane] = asyncio.get_running_loop().create_task(self._tell(lane, untold))

    async def close(self) -> None:
        """Tell what is left, then stop."""
        while self._telling:
            await asyncio.wait(self._telling.values())
        if self._listening is not None:
            await _end(self._listening)
        for future in self._confirmed.values():
            future.cancel()

    # To the others

    async def _tell(self, lane: Hashable, untold: deque[Call]) -> None:
        """What is told while some are on their way goes out with the next."""
        try:
            while untold:
                calls = list(untold)
                untold.clear()
                try:
                    await self._client.run_all(calls, again=False, barrier=False)
                except StoreError as error:
                    _log.warning("news were lost", extra={"code": str(error.code), "count": len(calls)})
        finally:
            del self._telling[lane]

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
        """Listen to each server by itself, so that one that is down keeps away no news of the others; anew
        when keys have moved."""
        topology = self._client.topology
        missed = False
        while True:
            await self._find()
            version, servers = topology.version, topology.servers()
            self._version, self._deaf = version, set(servers)
            loop = asyncio.get_running_loop()
            tasks = [loop.create_task(self._listen_to(server, missed)) for server in servers]
            done: set[asyncio.Task[None]] = set()
            try:
                while topology.version == version and not done:
                    done, _ = await asyncio.wait(
                        tasks, timeout=PING_SECONDS, return_when=asyncio.FIRST_COMPLETED
                    )
            finally:
                await _end(*tasks)
                self._ears = {}
            missed = True

    async def _find(self) -> None:
        """Until it is known who there is."""
        for attempt in count():
            try:
                await self._client.topology.refresh()
            except _FAULTS as error:
                _cannot_hear(error)
            if self._client.topology.servers():
                return
            await asyncio.sleep(_delay(attempt))

    async def _listen_to(self, server: RedisServer, missed: bool) -> None:
        """Listen to one server, again and again, until keys have moved."""
        topology = self._client.topology
        version, attempt = topology.version, 0
        while topology.version == version:
            try:
                await self._listen_once(server, missed)
            except _FAULTS as error:
                _cannot_hear(error)
            except Exception:  # whatever it is: who hears nothing more must begin again
                _log.exception("news of other nodes cannot be heard")
            attempt = attempt + 1 if server in self._deaf else 0
            missed = True
            self._deaf.add(server)
            with contextlib.suppress(*_FAULTS):
                await topology.refresh()
            await asyncio.sleep(_delay(attempt))

    async def _listen_once(self, server: RedisServer, missed: bool) -> None:
        """Listen to a server until that fails; raises what failed."""
        ear = self._ears[server] = _Ear(server, self.node, self._take)
        for name in [name for name in self._leaving if self._is_at(name, server)]:
            del self._leaving[name]
        for name in [name for name in self._topics if self._is_at(name, server)]:
            ear.ask((f"{self._prefix}SUBSCRIBE", name))
        listening = asyncio.get_running_loop().create_task(ear.listen())
        try:
            async with asyncio.timeout(FOLLOW_SECONDS):
                await ear.listens()
            self._deaf.discard(server)
            if missed:
                self._missed()
            await listening
        finally:
            self._ears.pop(server, None)
            await _end(listening)

    def _is_at(self, name: bytes, server: RedisServer) -> bool:
        try:
            return self._client.topology.server_of(name.decode("ascii")) is server
        except exceptions.ConnectionError:  # nobody has it now
            return False

    def _take(self, message: Any) -> None:
        if isinstance(message, Exception):
            raise message  # the topic is elsewhere
        kind, name, news = message
        if self._client.topology.version != self._version:
            raise exceptions.ConnectionError("what was here may be elsewhere")
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


def _cannot_hear(error: Exception) -> None:
    _log.warning("news of other nodes cannot be heard", extra={"error": type(error).__name__})


def _delay(attempt: int) -> float:
    """Seconds until the next attempt to listen."""
    return AGAIN_SECONDS[min(attempt, len(AGAIN_SECONDS) - 1)]


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


class _Ear(asyncio.BufferedProtocol):
    """One connection that listens: what comes is worked on as it comes."""

    def __init__(self, server: RedisServer, node: bytes, take: Callable[[Any], None]) -> None:
        self._server = server
        self._own = begin_bringing(node)
        self._take = take
        self._buffer = bytearray(READ_BYTES)
        self._replies: Any = None
        self._held: list[Any] = []  # news that bring entries, come since the last ping
        self._held_bytes = 0
        self._pinged: deque[list[Any]] = deque()  # what each ping under way was sent behind
        self._asking: list[Command] = []
        self._transport: asyncio.WriteTransport | None = None
        self._heard_at = 0.0
        loop = asyncio.get_running_loop()
        self._now = loop.time
        self._listens: asyncio.Future[None] = loop.create_future()
        self._failed: asyncio.Future[None] = loop.create_future()

    def ask(self, command: Command) -> None:
        """Ask something, as soon as there is a connection."""
        self._asking.append(command)
        self._write()

    async def listens(self) -> None:
        """Wait until what was asked before has gone out and been answered; raises what failed."""
        await asyncio.shield(self._listens)

    async def listen(self) -> None:
        """Listen until it fails."""
        try:
            connection = await self._server.reserve()
            try:
                self._transport, self._replies = take_over(connection, self)
                await self._stay()
            finally:
                self._transport = None
                await self._server.give_up(connection)
        except Exception as error:
            if not self._listens.done():
                self._listens.set_exception(error)
            raise
        finally:
            if not self._failed.cancel():
                self._failed.exception()  # somebody has to ask, or it is reported as forgotten
            if not self._listens.done():
                self._listens.cancel()

    async def _stay(self) -> None:
        """Ping now and then until the connection ends, or says nothing for too long."""
        self._heard_at = self._now()
        while self._now() - self._heard_at < SILENCE_SECONDS:
            self._write()
            done, _ = await asyncio.wait([self._failed], timeout=PING_SECONDS)
            for future in done:
                future.result()
        raise exceptions.ConnectionError("Redis says nothing")

    def get_buffer(self, sizehint: int) -> memoryview:
        """Where what Redis says is put; asyncio's TLS writes to slices of it, which a bytearray copies."""
        del sizehint
        return memoryview(self._buffer)

    def buffer_updated(self, nbytes: int) -> None:
        """Take so much of it."""
        self._heard_at = self._now()
        try:
            self._replies.feed(self._buffer, 0, nbytes)
            while (message := self._replies.gets()) is not False:
                self._hear(message)
            if self._held:
                self._write()
        except Exception as error:
            self._fail(error)

    def connection_lost(self, exc: Exception | None) -> None:
        """The connection has ended."""
        self._fail(exc or exceptions.ConnectionError("the connection has ended"))

    def _fail(self, error: Exception) -> None:
        self._transport = None
        if not self._failed.done():
            self._failed.set_exception(error)

    def _hear(self, message: Any) -> None:
        is_list = isinstance(message, list)
        if is_list and message[0] in _MESSAGES and brings_entries(message[2]):
            if not message[2].startswith(self._own):
                self._hold(message)
        elif isinstance(message, bytes) or (is_list and message[0] == b"pong"):
            self._ponged()
        else:
            self._take(message)

    def _hold(self, message: Any) -> None:
        """Keep news until a ping that goes out from now on is answered."""
        self._held.append(message)
        self._held_bytes += len(message[2])
        if self._held_bytes > MAX_HELD_BYTES:
            raise exceptions.ConnectionError("news come faster than they are confirmed")

    def _ponged(self) -> None:
        if not self._listens.done():
            self._listens.set_result(None)
        for message in self._pinged.popleft() if self._pinged else ():
            self._held_bytes -= len(message[2])
            self._take(message)

    def _write(self) -> None:
        """Send what is asked, and a ping behind it, whose answer shows that it came, and that what was heard
        before is durable. Nobody waits until it has gone out: if it does not, no answer comes."""
        if self._transport is not None:
            asking, self._asking = self._asking, []
            held, self._held = self._held, []
            self._pinged.append(held)
            self._transport.write(b"".join((*map(pack_command, asking), _PING)))
