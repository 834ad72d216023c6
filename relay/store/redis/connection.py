"""A pipeline to one Redis server: commands go out together, and so do their answers come."""

from __future__ import annotations

import asyncio
import re
import ssl
import time
from collections.abc import Awaitable, Callable, Sequence
from typing import Any, Final, TypeVar

import hiredis
from redis import exceptions
from redis.asyncio import BlockingConnectionPool, Redis
from redis.asyncio.connection import Connection, SSLConnection, UnixDomainSocketConnection
from redis.asyncio.retry import Retry
from redis.backoff import NoBackoff

from relay.errors import StoreError, StoreFull, StoreUnavailable
from relay.redis_address import RedisAddress

CONNECT_SECONDS: Final = 3.0
MAX_CONNECTIONS: Final = 32  # to one server: batches use one or two at a time, requests a few
MAX_WARM: Final = 4
WARM_SECONDS: Final = 0.5  # so long a connection is taken to be still there, as it was at the last answer
ANSWER_SECONDS: Final = 10.0  # a server that takes longer is not one that a message can wait for
_RUN_ID: Final = re.compile(r"run_id:([0-9a-f]+)")
_REPLICATION_ID: Final = re.compile(r"master_replid:([0-9a-f]+)")
_T = TypeVar("_T")

Command = tuple[str | bytes | int, ...]
# redis-py packs in Python what asyncio sends, argument by argument.
pack_command: Final[Callable[[Command], bytes]] = hiredis.pack_command  # type: ignore[assignment]  # stub: tuples of one

NOT_DONE: Final = (
    exceptions.MovedError,
    exceptions.AskError,
    exceptions.TryAgainError,
    exceptions.ClusterDownError,
    exceptions.ReadOnlyError,
    exceptions.BusyLoadingError,
    exceptions.ExecAbortError,
)
"""Answers which say that the command was not done, and may be elsewhere or later."""
UNKNOWN: Final = (exceptions.ConnectionError, exceptions.TimeoutError, OSError, TimeoutError)
"""What leaves open whether a command was done."""
_PASSING: Final = ("NOREPLICAS", "MISCONF", "UNBLOCKED", "CLUSTERDOWN", "MASTERDOWN")


class NotConnected(exceptions.ConnectionError):
    """There was no connection: nothing was sent."""


class NoPrimary(exceptions.ConnectionError):
    """Nobody tells of a server that takes writes; the text is for the operator."""


Meet = Callable[[str], Awaitable[None]]


class RedisServer:
    """One server, by its address. `meet` is awaited before anything is asked of it as somebody new."""

    def __init__(self, address: RedisAddress, host: str, port: int, meet: Meet) -> None:
        self.name = (host, port)
        self.pool = make_pool(address, host, port)
        self.client = Redis.from_pool(self.pool)
        self._meet = meet
        self._met = ""
        self._warm: list[tuple[float, Any]] = []  # the one that was used last is at the end

    async def send(self, commands: Sequence[Command], *, meet: bool = True) -> list[Any]:
        """The answers to commands, in order; an error that is the answer to one stands in its place.

        Raises one of `UNKNOWN` if answers are missing: then nobody knows what was done.
        """
        connection = await self._take()
        if meet and _identity(connection) != self._met:
            identity = _identity(connection)
            await self.pool.release(connection)
            await self._meet(identity)
            self._met = identity
            connection = await self._take()
        try:
            if meet and _identity(connection) != self._met:
                raise NotConnected("the server is somebody else again")
            async with asyncio.timeout(ANSWER_SECONDS):  # once for all: redis-py would for each answer
                await connection.send_packed_command([pack_command(command) for command in commands])
                answers = [await _answer(connection) for _ in commands]
        except BaseException:
            await connection.disconnect(nowait=True)  # answers that nobody read must not meet other commands
            await self.pool.release(connection)
            raise
        if len(self._warm) < MAX_WARM:
            self._warm.append((time.monotonic(), connection))
        else:
            await self.pool.release(connection)
        return answers

    async def _take(self) -> Any:
        """A connection that was used a moment ago, or one that the pool has looked at."""
        while self._warm:
            used, connection = self._warm.pop()
            if time.monotonic() - used < WARM_SECONDS and connection.is_connected:
                return connection
            await self.pool.release(connection)
        return await self._connection()

    async def identity(self) -> str:
        """As whom it is met now: another after each start, and each time a replica becomes the primary."""
        connection = await self._connection()
        await self.pool.release(connection)
        return _identity(connection)

    async def reserve(self) -> Any:
        """A connection of one's own, to listen on; `give_up` ends it."""
        return await self._connection()

    async def give_up(self, connection: Any) -> None:
        """End a connection that was reserved."""
        await connection.disconnect(nowait=True)
        await self.pool.release(connection)

    async def close(self) -> None:
        await self.client.aclose(close_connection_pool=True)

    async def _connection(self) -> Any:
        try:
            pool: Any = self.pool  # redis-py leaves this method untyped
            async with asyncio.timeout(ANSWER_SECONDS):
                return await pool.get_connection()
        except UNKNOWN as error:
            raise NotConnected(str(error)) from error


def _identity(connection: Any) -> str:
    identity: str = connection.__dict__.get("coach_identity", "")
    return identity


async def _introduce(connection: Any) -> None:
    """What every new connection begins with: the login, and who is there."""
    await connection.on_connect()
    for section in ("server", "replication"):
        await connection.send_command("INFO", section)
    server, replication = [(await connection.read_response()).decode() for _ in range(2)]
    run, history = _RUN_ID.search(server), _REPLICATION_ID.search(replication)
    connection.coach_identity = f"{run[1] if run else ''} {history[1] if history else ''}"


async def _answer(connection: Any) -> Any:
    try:
        return await connection.read_response()
    except exceptions.ConnectionError as error:
        if isinstance(error, exceptions.BusyLoadingError):
            return error
        raise
    except exceptions.ResponseError as error:
        return error


def take_over(connection: Any, protocol: asyncio.BaseProtocol) -> tuple[asyncio.WriteTransport, Any]:
    """Let a reserved connection's bytes come to `protocol` from now on: where to write, and what makes
    replies of bytes. By way of redis-py each reply takes several times as long."""
    transport: asyncio.WriteTransport = connection._writer.transport
    transport.set_protocol(protocol)
    return transport, hiredis.Reader(replyError=exceptions.ResponseError)


def make_pool(
    address: RedisAddress, host: str, port: int, *, password: str | None = None, bare: bool = False
) -> BlockingConnectionPool:
    """Connections to one server; each connects when it is first used.

    Nothing is tried again behind our back: whoever asked decides, since a lost answer may hide a done deed.
    `bare` leaves the login out, but for `password`: for Sentinels.
    """
    options: dict[str, Any] = {
        "socket_connect_timeout": CONNECT_SECONDS,
        "socket_timeout": None,  # whoever asks says how long all answers together may take
        "retry": Retry(NoBackoff(), 0),
        "redis_connect_func": None if bare else _introduce,
        "decode_responses": False,
        "protocol": 2,
        "password": (password if bare else address.password) or None,
        "username": None if bare else address.username or None,
        "db": 0 if bare else address.database,
    }
    kind: Any = Connection
    if address.path and not bare:
        kind = UnixDomainSocketConnection
        options["path"] = address.path
    else:
        options |= {"host": host, "port": port, "socket_keepalive": True}
    if address.tls:
        kind = SSLConnection
        options |= {"ssl_check_hostname": True, "ssl_min_version": ssl.TLSVersion.TLSv1_2}
    return BlockingConnectionPool(
        max_connections=MAX_CONNECTIONS, timeout=ANSWER_SECONDS, connection_class=kind, **options
    )


async def answer(running: Awaitable[_T]) -> _T:
    """Await what Redis answers; raises our error for its."""
    try:
        return await running
    except (exceptions.RedisError, OSError, TimeoutError) as error:
        raise translate(error) from error


def translate(error: Exception) -> StoreError:
    """Our error for one of Redis's. Its text names what failed, never a key or a value."""
    if isinstance(error, exceptions.OutOfMemoryError):
        return StoreFull("Redis has reached its maxmemory")
    if isinstance(error, exceptions.ReadOnlyError):
        return StoreUnavailable("Redis is a replica, or became one")
    why = error.__cause__ if isinstance(error, NotConnected) and error.__cause__ else error
    if isinstance(why, exceptions.AuthenticationError | exceptions.NoPermissionError):
        return StoreUnavailable("Redis refuses this user or password")
    if isinstance(why, NoPrimary):
        return StoreUnavailable(str(why))
    if isinstance(error, UNKNOWN):
        return StoreUnavailable("Redis cannot be reached, or breaks off")
    return StoreUnavailable(f"Redis did not do it: {type(error).__name__}")


def is_not_done(error: Exception) -> bool:
    """Whether an answer says that nothing was done, and that it may be done soon."""
    return isinstance(error, (*NOT_DONE, NotConnected)) or str(error).startswith(_PASSING)
