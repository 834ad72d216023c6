"""Calls between two hosts, a Chromium on each: one gets another address, and packets really are lost.

The hosts reach each other through the one between them. The relay and the portal are reached at each
host's own loopback address, where `.localhost` is a secure context: it is the call's way alone that changes.
"""

from __future__ import annotations

import asyncio
import shutil
import socket
import subprocess
import sys
from collections.abc import AsyncIterator, Iterator
from contextlib import AsyncExitStack, asynccontextmanager, contextmanager
from dataclasses import dataclass
from typing import Any, Final
from urllib.parse import urlsplit

import pytest
import pytest_asyncio

from tests.browser import marks
from tests.browser.callers import Person, call, come
from tests.browser.chromium import Chromium
from tests.browser.embedded import Place, place
from tests.browser.test_calls_hidden import PEERS
from tests.support.networks import Networks, networks

PATIENCE: Final = 200
pytestmark = [*marks.with_the_element(), pytest.mark.timeout(240)]

_LISTEN: Final = """
import socket, sys
port, way = map(int, sys.argv[1:])
listening = socket.create_server(("127.0.0.1", port))
socket.send_fds(socket.socket(fileno=way), [b"."], [listening.fileno()])
"""
LOOK: Final = """
const peer = window.peers.at(-1);
const all = new Map(await peer.getStats());
const transport = [...all.values()].find(({ type }) => type === "transport");
const pair = all.get(transport?.selectedCandidatePairId);
const pictures = [...all.values()].filter(({ type, kind }) => type === "inbound-rtp" && kind === "video");
return {
  here: all.get(pair?.localCandidateId)?.address ?? null,
  there: all.get(pair?.remoteCandidateId)?.address ?? null,
  attempt: /a=ice-ufrag:(.*)/.exec(peer.localDescription?.sdp ?? "")?.[1] ?? null,
  decoded: Math.max(0, ...pictures.map((one) => one.framesDecoded ?? 0)),
};
"""


def listening_on(hosts: Networks, who: str, port: int) -> socket.socket:
    """A socket of that host's own loopback, for this process."""
    ours, theirs = socket.socketpair()
    with ours, theirs:
        command = [*hosts.inside(who), sys.executable, "-c", _LISTEN, str(port), str(theirs.fileno())]
        subprocess.run(command, check=True, pass_fds=[theirs.fileno()])
        _, (made,), _, _ = socket.recv_fds(ours, 1, 1)
    return socket.socket(fileno=made)


async def _pass(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    try:
        while data := await reader.read(1 << 16):
            writer.write(data)
            await writer.drain()
    except ConnectionError:
        return  # the other direction closes both
    finally:
        writer.close()


@asynccontextmanager
async def reached(hosts: Networks, who: str, port: int) -> AsyncIterator[None]:
    """What listens at this port here is at the same one there."""

    async def forward(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        their_reader, their_writer = await asyncio.open_connection("127.0.0.1", port)
        await asyncio.gather(_pass(reader, their_writer), _pass(their_reader, writer))

    server = await asyncio.start_server(forward, sock=listening_on(hosts, who, port))
    try:
        yield
    finally:
        server.close()


@asynccontextmanager
async def chromium_on(hosts: Networks, who: str) -> AsyncIterator[Chromium]:
    arguments = ("--autoplay-policy=no-user-gesture-required",)
    browser = Chromium(*arguments, inside=hosts.inside(who))
    await browser.start()
    try:
        yield browser
    finally:
        await browser.stop()


@dataclass(frozen=True, slots=True)
class Talk:
    """Anna and Ben see each other, each on a host of their own."""

    hosts: Networks
    anna: Person
    ben: Person


def forwarding(hosts: Networks) -> None:
    """The one between lets them reach each other."""
    on = "echo 1 > /proc/sys/net/ipv4/ip_forward"
    subprocess.run([*hosts.inside("between"), "sh", "-c", on], check=True)


@pytest_asyncio.fixture(loop_scope="session", scope="module")
async def talk(tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[Talk]:
    with networks() as hosts:
        forwarding(hosts)
        async with AsyncExitStack() as stack:
            one, other = [await stack.enter_async_context(chromium_on(hosts, who)) for who in ("anna", "ben")]
            there = await stack.enter_async_context(place(tmp_path_factory.mktemp("networks"), one))
            for who in ("anna", "ben"):
                for port in (there.site.port, urlsplit(there.relay.url).port):
                    await stack.enter_async_context(reached(hosts, who, int(port or 0)))
            yield await _talking(hosts, there, Place(there.relay, there.site, other))


async def _talking(hosts: Networks, there: Place, elsewhere: Place) -> Talk:
    async with asyncio.timeout(PATIENCE):
        engagement = await there.relay.create_engagement(anna="coach", ben="client")
        anna = await come(there, engagement, "anna", init=PEERS)
        ben = await come(elsewhere, engagement, "ben", init=PEERS)
        await anna.says("hello")
        await ben.reads("hello")
        await call(anna, ben, "Anna", video=True)
    return Talk(hosts, anna, ben)


async def look(person: Person) -> dict[str, Any]:
    found: dict[str, Any] = await person.there.in_frame(person.page, LOOK)
    return found


async def sees_more(person: Person, frames: int = 30) -> None:
    """So many more pictures are decoded there than at the first look."""
    before = (await look(person))["decoded"]
    while (await look(person))["decoded"] < before + frames:  # noqa: ASYNC110  another program's count
        await asyncio.sleep(0.05)


async def runs_from(person: Person, here: str, there: str) -> dict[str, Any]:
    """How it stands once the call's packets go between these addresses."""
    while True:
        found = await look(person)
        if (found["here"], found["there"]) == (here, there):
            return found
        await asyncio.sleep(0.05)  # between two looks at another program's choice


async def test_another_address_in_mid_call(talk: Talk) -> None:
    anna, ben = talk.anna, talk.ben
    async with asyncio.timeout(PATIENCE):
        before = await runs_from(anna, "11.1.0.2", "11.2.0.2")
        await asyncio.gather(sees_more(anna), sees_more(ben))
        said = [await each.history() for each in (anna, ben)]
        for each in (anna, ben):
            await each.watches_for("Connecting again")
        talk.hosts.readdress("anna", 77)
        after = await runs_from(anna, "11.1.0.77", "11.2.0.2")
        await runs_from(ben, "11.2.0.2", "11.1.0.77")
        for each in (anna, ben):
            await each.has_read("Connecting again")
        assert after["attempt"] != before["attempt"]
        await asyncio.gather(anna.talks(), ben.talks(), sees_more(anna), sees_more(ben))
        assert [await each.history() for each in (anna, ben)] == said  # the same call: none ended, none began
        assert not any([await each.is_called() for each in (anna, ben)])


@contextmanager
def lossy(hosts: Networks, who: str, every: int) -> Iterator[None]:
    """Of so many packets that come to the host one is lost, for a while."""
    rule = ["INPUT", *("-p", "udp", "-m", "statistic", "--mode", "nth")]
    rule += ["--every", str(every), "--packet", "0", "-j", "DROP"]
    added = subprocess.run([*hosts.inside(who), "iptables", "-w", "-A", *rule], check=False)
    if added.returncode != 0:
        pytest.skip("this machine's iptables cannot lose packets")
    try:
        yield
    finally:
        subprocess.run([*hosts.inside(who), "iptables", "-w", "-D", *rule], check=True)


@pytest.mark.skipif(shutil.which("iptables") is None, reason="iptables is not installed")
async def test_lost_packets_are_told_in_words_and_so_is_their_end(talk: Talk) -> None:
    """A sixteenth, and a quarter."""
    anna, ben = talk.anna, talk.ben
    good, weak, poor = "Good connection", "Weak connection: the picture may", "Poor connection: turn the"
    async with asyncio.timeout(PATIENCE):
        await asyncio.gather(*(each.reads(good) for each in (anna, ben)))
        with lossy(talk.hosts, "anna", 16):
            await asyncio.gather(*(each.reads(weak) for each in (anna, ben)))
        with lossy(talk.hosts, "anna", 4):
            await asyncio.gather(*(each.reads(poor) for each in (anna, ben)))
        await asyncio.gather(*(each.reads(good) for each in (anna, ben)))
        await asyncio.gather(anna.reads("Ben ended the call."), ben.clicks("End call"))
