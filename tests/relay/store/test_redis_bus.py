"""The bus of several nodes over real Redis servers."""

from __future__ import annotations

import asyncio
import os
from collections.abc import AsyncIterator, Callable
from contextlib import AsyncExitStack, asynccontextmanager
from pathlib import Path
from typing import Final

import msgpack
import pytest

from relay.core.operations import StoredEntry
from relay.errors import StoreUnavailable
from relay.hub.told import Fresh, read_wake
from relay.redis_address import parse_redis_url
from relay.store.bus import WAKE
from relay.store.redis import RedisBus, RedisClient, RedisStreamStore
from relay.store.redis.news import MAX_TOLD_BYTES
from tests.conformance.support import ANNA, BEN, STREAM, bundle, create, message, messages
from tests.support import real_redis as redis
from tests.support.coturn import make_certificate
from tests.support.ports import free_port
from tests.support.real_redis import Process, Servers
from tests.support.wires import Wire

pytestmark = pytest.mark.skipif(redis.PROGRAM is None, reason=redis.MISSING)
_PATIENCE: Final = 60.0


class Node:
    """A bus, and what it heard."""

    def __init__(self, url: str) -> None:
        self.url = url
        self.client = RedisClient(parse_redis_url(url))
        self.bus = RedisBus(self.client)
        self.store = RedisStreamStore(self.client, node=self.bus.node)
        self.heard: list[tuple[str, bytes]] = []
        self.missed = 0
        self._changed = asyncio.Event()

    async def start(self) -> None:
        await self.bus.start(self._heard, self._missed)

    def _heard(self, topic: str, news: bytes) -> None:
        self.heard.append((topic, news))
        self._changed.set()

    def _missed(self) -> None:
        self.missed += 1
        self._changed.set()

    async def wait_for(self, holds: Callable[[], bool]) -> None:
        async with asyncio.timeout(_PATIENCE):
            while not holds():
                self._changed.clear()
                await self._changed.wait()


@asynccontextmanager
async def node(url: str) -> AsyncIterator[Node]:
    node = Node(url)
    await node.start()
    try:
        yield node
    finally:
        await node.store.close()
        await node.bus.close()
        await node.client.close()


@pytest.fixture(params=[redis.Standalone, redis.Cluster], ids=["standalone", "cluster"], scope="module")
def servers(request: pytest.FixtureRequest) -> object:
    with redis.real_redis(request.param) as running:
        yield running


async def test_news_reach_who_follows_the_topic_in_order(servers: Servers) -> None:
    async with node(servers.url) as one, node(servers.url) as other:
        await asyncio.gather(*[other.bus.follow(f"topic{number}") for number in range(20)])
        for number in range(100):
            one.bus.tell(f"topic{number % 20}", str(number).encode())
            one.bus.tell("nobody's", b"x")
        await other.wait_for(lambda: len(other.heard) == 100)
        for number in range(20):
            its = [int(news) for topic, news in other.heard if topic == f"topic{number}"]
            assert its == sorted(its)
        assert not one.heard
        other.bus.unfollow("topic1")
        one.bus.tell("topic2", b"last")
        await other.wait_for(lambda: other.heard[-1][1] == b"last")
        await other.bus.follow("topic1")
        one.bus.tell("topic1", b"again")
        await other.wait_for(lambda: ("topic1", b"again") in other.heard)


async def test_an_append_wakes_the_other_nodes_with_what_it_did(servers: Servers) -> None:
    servers.empty()
    async with node(servers.url) as one, node(servers.url) as other:
        await other.bus.follow(STREAM)
        await one.store.commit([create(), bundle(ANNA, 1, adds=[BEN])])
        await one.store.commit([message(BEN, 1), message(BEN, 2), message(BEN, 9)])
        await one.store.commit([message(BEN, 9)])
        await other.wait_for(lambda: len(other.heard) >= 2)
        expected = [[WAKE.encode(), one.bus.node, head, 1] for head in (1, 3)]
        assert [msgpack.unpackb(news, raw=True) for _, news in other.heard] == expected


async def test_who_was_cut_off_is_told_that_something_may_be_missed(tmp_path: Path) -> None:
    async with AsyncExitStack() as stack:
        servers = stack.enter_context(redis.real_redis(redis.Standalone))
        one = await stack.enter_async_context(node(servers.url))
        await one.bus.follow("topic")
        servers.servers[0].kill()
        servers.servers[0].start()
        await one.wait_for(lambda: one.missed == 1)
        assert one.bus.is_current
        one.bus.tell("topic", b"again")
        await one.wait_for(lambda: one.heard == [("topic", b"again")])


async def test_news_come_through_tls_as_well(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    certificate, key = make_certificate(tmp_path, "127.0.0.1")
    monkeypatch.setenv("SSL_CERT_FILE", str(certificate))
    port = free_port()
    with redis.real_redis(
        lambda folder: redis.Standalone(
            folder,
            tls_port=str(port),
            tls_cert_file=str(certificate),
            tls_key_file=str(key),
            tls_auth_clients="no",
        )
    ):
        url = f"rediss://127.0.0.1:{port}/0"
        async with node(url) as one, node(url) as other:
            await asyncio.gather(one.bus.follow(STREAM), other.bus.follow(STREAM))
            await one.store.commit([create(), bundle(ANNA, 1, adds=[BEN])])
            bodies = [os.urandom(MAX_TOLD_BYTES - 100), b"a"]  # of more than one TLS record
            for counter, body in enumerate(bodies, 1):
                await one.store.commit([message(BEN, counter, body=body)])
            await other.wait_for(lambda: len(other.heard) == 3)
            told = [entry for _, news in other.heard for entry in entries_in(news)]
            assert told == [(2, bodies[0]), (3, bodies[1])]


# News that bring entries


def entries_in(news: bytes) -> list[tuple[int, bytes]]:
    """Seqs and bodies that news bring."""
    kind, *parts = msgpack.unpackb(news, raw=True)
    assert kind == WAKE.encode()
    return [
        (fresh.seq + number, body)
        for fresh in read_wake(*parts).fresh
        for number, body in enumerate(fresh.bodies)
    ]


async def test_news_bring_what_was_appended_to_other_nodes_that_listen(servers: Servers) -> None:
    servers.empty()
    async with node(servers.url) as one, node(servers.url) as other:
        await asyncio.gather(one.bus.follow(STREAM), other.bus.follow(STREAM))
        await one.store.commit([create(), bundle(ANNA, 1, adds=[BEN])])
        await one.store.commit([messages(BEN, 1, b"a", b"b"), message(ANNA, 2, body=b"c")])
        await other.wait_for(lambda: len(other.heard) == 2)
        commit, news = [msgpack.unpackb(news, raw=True) for _, news in other.heard]
        assert commit == [b"w", one.bus.node, 1, 1], "of a commit who is a member has to be looked at"
        _, teller, head, last_commit = news
        wake = read_wake(teller, head, last_commit)
        assert (wake.node, wake.before, wake.head, wake.last_commit) == (one.bus.node, 1, 4, 1)
        read = await other.store.read(STREAM, after=1, limit=9, max_bytes=999)
        assert [entry for fresh in wake.fresh for entry in _stored(fresh)] == read
        assert all(news[3:4] != b"\x93" for _, news in one.heard), "who has told hears no entries"


def _stored(run: Fresh) -> list[StoredEntry]:
    kind, after_commit, time_ms, device = run.kind, run.after_commit, run.time_ms, run.device
    return [
        StoredEntry(run.seq + number, kind, after_commit, time_ms, device, run.counter + number, body)
        for number, body in enumerate(run.bodies)
    ]


async def test_news_bring_nothing_large_and_nothing_to_who_is_alone(servers: Servers) -> None:
    servers.empty()
    async with node(servers.url) as one, node(servers.url) as other:
        await one.bus.follow(STREAM)
        await one.store.commit([create(), bundle(ANNA, 1, adds=[BEN])])
        await one.store.commit([message(BEN, 1)])
        await one.wait_for(lambda: len(one.heard) == 2)
        assert entries_in(one.heard[-1][1]) == []
        await other.bus.follow(STREAM)
        await one.store.commit([messages(BEN, 2, *[b"x" * (MAX_TOLD_BYTES // 4)] * 5)])
        await one.store.commit([message(BEN, 7)])
        await other.wait_for(lambda: len(other.heard) == 2)
        assert sorted(entries_in(news) for _, news in other.heard) == [[], [(8, b"hello")]]


class Gate(Wire):
    """Lets what a Redis says pass; with `until` it holds what comes from that on, once `after` has passed."""

    def __init__(self, port: int) -> None:
        super().__init__(lambda: [port])
        self.after = b""
        self.until = b""
        self.holds = asyncio.Event()
        self._there = port

    async def _pump(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        if writer.get_extra_info("peername")[1] == self._there:
            await super()._pump(reader, writer)
        while chunk := await reader.read(65_536):
            at = self._held_from(chunk)
            writer.write(chunk[:at])
            if at < len(chunk):
                self.holds.set()
                await reader.read()  # until that Redis is gone
                return

    def _held_from(self, chunk: bytes) -> int:
        """Where to stop; `after`, once seen, is asked for no more."""
        seen = chunk.find(self.after)
        if not self.until or seen < 0:
            return len(chunk)
        self.after = b""
        at = chunk.find(self.until, seen)
        return len(chunk) if at < 0 else at


@asynccontextmanager
async def gate(server: Process) -> AsyncIterator[Gate]:
    gate = Gate(server.port)
    await gate.start()
    try:
        yield gate
    finally:
        await gate.close()


def _log_of(server: Process) -> Path:
    """What Redis appends to now."""
    found = server.ask("CONFIG", "GET", "dir")
    folder = found["dir"] if isinstance(found, dict) else found[1]
    (log,) = (Path(folder) / "appendonlydir").glob("*.incr.aof")
    return log


async def test_news_of_an_append_that_power_takes_before_it_is_synced_are_not_heard(tmp_path: Path) -> None:
    """Redis tells before it has synced, as it does to who is slow; it is killed, and its log is cut off."""
    async with AsyncExitStack() as stack:
        servers = stack.enter_context(redis.real_redis(redis.Standalone))
        (server,) = servers.servers
        gates = [await stack.enter_async_context(gate(server)) for _ in range(2)]
        one, other = [
            await stack.enter_async_context(node(f"redis://127.0.0.1:{its.port}/0")) for its in gates
        ]
        await asyncio.gather(one.bus.follow(STREAM), other.bus.follow(STREAM))
        await one.store.commit([create(), bundle(ANNA, 1, adds=[BEN])])
        await one.store.commit([message(BEN, 1)])
        await other.wait_for(lambda: len(other.heard) == 2)
        assert entries_in(other.heard[-1][1]) == [(2, b"hello")]
        log = _log_of(server)
        synced = log.stat().st_size
        gates[1].after = b"never synced"
        gates[0].until, gates[1].until = b"$", b"pong"
        appending = asyncio.create_task(one.store.commit([message(BEN, 2, body=b"never synced")]))
        async with asyncio.timeout(_PATIENCE):
            await asyncio.gather(*[its.holds.wait() for its in gates])
        server.kill()
        await gates[0].close()
        with log.open("r+b") as file:
            file.truncate(synced)
        gates[1].until = b""
        server.start()
        await other.wait_for(lambda: other.missed == 1)
        with pytest.raises(StoreUnavailable):
            await appending
        third = await stack.enter_async_context(node(servers.url))
        await third.bus.follow(STREAM)
        assert [e.seq for e in await other.store.read(STREAM, after=0, limit=9, max_bytes=99)] == [1, 2]
        await third.store.commit([message(BEN, 2, body=b"instead")])
        await other.wait_for(lambda: len(other.heard) == 3)
        assert entries_in(other.heard[-1][1]) == [(3, b"instead")]
        assert not any(b"never synced" in news for _, news in other.heard)
