"""Which server has which key: one, the one that Sentinels name, or those of a cluster."""

from __future__ import annotations

import asyncio
from collections.abc import Iterable
from typing import Any, Final

from redis import exceptions
from redis.asyncio import Redis
from redis.crc import key_slot

from relay.redis_address import RedisAddress, RedisKind
from relay.store.redis.connection import CONNECT_SECONDS, Meet, NoPrimary, RedisServer, make_pool

SLOTS: Final = 16_384
_Name = tuple[str, int]


class Topology:
    """The servers that take writes. `refresh` looks again who they are; before the first, nobody is."""

    def __init__(self, address: RedisAddress, meet: Meet) -> None:
        self.address = address
        self._meet = meet
        self._servers: dict[_Name, RedisServer] = {}
        self._slots: list[RedisServer | None] = [None]
        self._refreshing: asyncio.Task[None] | None = None
        self._last_number = 0
        self.version = 0  # another whenever a key may have moved

    @property
    def is_cluster(self) -> bool:
        return self.address.kind is RedisKind.CLUSTER

    def server_of(self, key: str) -> RedisServer:
        """The server that has a key; raises `ConnectionError` (Redis's) if none is known."""
        server = self._slots[self._slot(key)]
        if server is None:
            raise exceptions.ConnectionError("no server is known for this key")
        return server

    def _slot(self, key: str) -> int:
        return key_slot(key.encode("ascii")) if len(self._slots) > 1 else 0

    def servers(self) -> list[RedisServer]:
        """All servers that take writes."""
        return list({id(server): server for server in self._slots if server is not None}.values())

    def key_on(self, server: RedisServer, form: str) -> str:
        """A key whose slot `server` has: `form` with a number. Each time another one, for slots move.

        Raises `ConnectionError` (Redis's) if it has none.
        """
        for _ in range(SLOTS):
            self._last_number += 1
            key = form % self._last_number
            if self._slots[self._slot(key)] is server:
                return key
        raise exceptions.ConnectionError("this server has no keys")

    def by_name(self, host: str, port: int) -> RedisServer:
        """The server at an address, known before or not."""
        name = (host, port)
        if name not in self._servers:
            self._servers[name] = RedisServer(self.address, host, port, self._meet)
        return self._servers[name]

    async def refresh(self) -> None:
        """Look again; all who ask at one time look once. Raises Redis's errors or `OSError`."""
        if self._refreshing is None or self._refreshing.done():
            self._refreshing = asyncio.get_running_loop().create_task(self._refresh())
        await asyncio.shield(self._refreshing)

    async def close(self) -> None:
        if self._refreshing is not None:
            self._refreshing.cancel()
            await asyncio.gather(self._refreshing, return_exceptions=True)
        for server in self._servers.values():
            await server.close()

    async def _refresh(self) -> None:
        if self.address.kind is RedisKind.SENTINEL:
            self._take([self.by_name(*await self._master())])
        elif self.address.kind is RedisKind.CLUSTER:
            self._take(await self._cluster())
        else:
            host, port = self.address.hosts[0] if self.address.hosts else (self.address.path, 0)
            self._take([self.by_name(host, port)])

    def _take(self, slots: list[RedisServer | None] | list[RedisServer]) -> None:
        if list(slots) != self._slots:
            self._slots = list(slots)
            self.version += 1

    # Sentinel

    async def _master(self) -> _Name:
        failure: Exception = exceptions.ConnectionError("no Sentinel answers")
        for host, port in self.address.hosts:
            try:
                async with asyncio.timeout(CONNECT_SECONDS):
                    return await self._ask(host, port)
            except (exceptions.RedisError, OSError, TimeoutError) as error:
                failure = error
        raise failure

    async def _ask(self, host: str, port: int) -> _Name:
        """What one Sentinel says; a server it names that says itself it is a replica is not taken."""
        pool = make_pool(self.address, host, port, password=self.address.sentinel_password, bare=True)
        async with Redis.from_pool(pool) as sentinel:
            commands: Any = sentinel  # redis-py leaves this method untyped
            found = await commands.execute_command(
                "SENTINEL", "GET-MASTER-ADDR-BY-NAME", self.address.service
            )
        if not found:
            raise NoPrimary("the Sentinels know no primary by the name in redis_url")
        name = found[0].decode(), int(found[1])
        (role,) = await self.by_name(*name).send([("ROLE",)], meet=False)
        if isinstance(role, Exception) or role[0] != b"master":
            raise NoPrimary("the server that the Sentinels name is no primary yet")
        return name

    # Cluster

    async def _cluster(self) -> list[RedisServer | None]:
        failure: Exception = exceptions.ConnectionError("no server of the cluster answers")
        known = [*self._servers, *self.address.hosts]
        for host, port in dict.fromkeys(known):
            server = self.by_name(host, port)
            try:
                async with asyncio.timeout(CONNECT_SECONDS):
                    (found,) = await server.send([("CLUSTER", "SLOTS")], meet=False)
            except (exceptions.RedisError, OSError, TimeoutError) as error:
                failure = error
                continue
            if not isinstance(found, Exception):
                return self._read_slots(found, host)
            failure = found
        raise failure

    def _read_slots(self, found: Iterable[Any], asked: str) -> list[RedisServer | None]:
        slots: list[RedisServer | None] = [None] * SLOTS
        for first, last, primary, *_ in found:
            # A server that does not know its own address yet leaves it empty: it is the one that was asked.
            server = self.by_name(primary[0].decode() if primary[0] else asked, int(primary[1]))
            slots[first : last + 1] = [server] * (last - first + 1)
        return slots
