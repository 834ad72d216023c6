"""The two servers that the load talks to: the real relay, and the bare forwarder beside it."""

from __future__ import annotations

import asyncio
import contextlib
import os
import re
import subprocess
import sys
from collections.abc import Awaitable, Callable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from types import MappingProxyType
from typing import Final, Protocol, TypeVar

import aiohttp

from relay.wire.ids import EngagementId, PortalId
from tests.bench import device as dev
from tests.bench.device import Device, Portal
from tests.bench.errors import ProcessError
from tests.bench.processes import ROOT, first_line, running
from tests.bench.traffic import Pair
from tests.bench.websocket import WebSocket

_AT_ONCE: Final = 32  # connections being set up at the same time
_ADD_SECONDS: Final = 30.0
_PORTAL: Final = "bench"
_T = TypeVar("_T")


class Server(Protocol):
    """What a load needs of a server."""

    @property
    def name(self) -> str: ...

    @property
    def pid(self) -> int: ...

    async def pairs(self, count: int) -> list[Pair]:
        """Connect so many pairs, ready to send."""

    async def idle(self, numbers: range) -> list[WebSocket]:
        """Connect clients with these numbers, which then say nothing."""


@dataclass(frozen=True, slots=True)
class ForwarderServer:
    """tests.bench.forwarder."""

    port: int
    pid: int
    name: str = "forwarder"

    async def pairs(self, count: int) -> list[Pair]:
        return await in_parallel(self._pair, range(count))

    async def idle(self, numbers: range) -> list[WebSocket]:
        return await in_parallel(self._receiver, numbers)

    async def _pair(self, number: int) -> Pair:
        stream = f"eng_{number:022d}"
        sender = await WebSocket.connect(self.port, f"/{stream}/sender")
        return Pair(
            stream, sender, await WebSocket.connect(self.port, f"/{stream}/receiver"), counter=0, seq=0
        )

    async def _receiver(self, number: int) -> WebSocket:
        return await WebSocket.connect(self.port, f"/eng_{number:022d}/receiver")


@dataclass(frozen=True, slots=True)
class RelayServer:
    """`coach-relay serve` with its defaults, a data folder of its own and one portal."""

    port: int
    pid: int
    portal: Portal
    name: str = "relay"

    async def pairs(self, count: int) -> list[Pair]:
        async with aiohttp.ClientSession() as session:
            return [pair for pair, _ in await in_parallel(lambda n: self.pair(session, n), range(count))]

    async def pair(self, session: aiohttp.ClientSession, number: int) -> tuple[Pair, Device]:
        """A coach who sends and a client who receives, in a new engagement; also the client's device."""
        coach, client = Device(f"coach-{number}"), Device(f"client-{number}")
        stream = await self.engagement(session, coach.user, client.user)
        sender = await self.connect(coach)
        receiver = await self.connect(client)
        await dev.create_group(sender, stream, (client.id,))
        await dev.open_new_stream(sender, stream)
        await dev.open_new_stream(receiver, stream)
        return Pair(stream, sender, receiver, counter=1, seq=1), client

    async def idle(self, numbers: range) -> list[WebSocket]:
        return await in_parallel(lambda n: self.connect(Device(f"idle-{n}")), numbers)

    async def connect(self, device: Device) -> WebSocket:
        """An authenticated connection."""
        return await dev.connect(self.port, self.portal, device, self.portal.token(device.user))

    async def engagement(self, session: aiohttp.ClientSession, coach: str, *clients: str) -> EngagementId:
        """A new engagement of these users."""
        participants = [{"user": coach, "role": "coach"}]
        participants += [{"user": client, "role": "client"} for client in clients]
        async with session.post(
            f"http://127.0.0.1:{self.port}/v1/engagements",
            json={"participants": participants},
            headers={"Authorization": f"Bearer {self.portal.api_key}"},
        ) as response:
            if response.status != 201:
                raise ProcessError(
                    f"the portal API answered {response.status}: {(await response.text())[:300]}"
                )
            return EngagementId((await response.json())["id"])


@contextlib.contextmanager
def forwarder(folder: Path, *, core: int | None) -> Iterator[ForwarderServer]:
    """Run the bare forwarder."""
    log = folder / "forwarder.log"
    with running(["-m", "tests.bench.forwarder"], core=core, log=log) as process:
        yield ForwarderServer(int(first_line(process, log)), process.pid)


@contextlib.contextmanager
def relay(
    folder: Path,
    *,
    core: int | None,
    profile: Path | None = None,
    settings: Mapping[str, str] = MappingProxyType({}),
    portal: Portal | None = None,
    name: str = "relay",
) -> Iterator[RelayServer]:
    """Run the real relay on a new database in `folder`; with `profile`, under cProfile.

    `settings` are more of its environment; `portal` is there already, in a store that nodes share.
    """
    folder.mkdir(parents=True)
    log = folder / "relay.log"
    environment = {
        "COACH_RELAY_DATA_DIR": str(folder / "data"),
        "COACH_RELAY_PORT": "0",
        "COACH_RELAY_LOG_LEVEL": "error",
        **settings,
    }
    portal = portal or _add_portal(environment)
    command = ["-m", "relay.cli.main", "serve"]
    if profile is not None:
        command = ["-m", "tests.bench.profiled", str(profile), "serve"]
    with running(command, core=core, log=log, environment=environment) as process:
        line = first_line(process, log)
        match = re.search(r"listening on \S+:(\d+)\b", line)
        if match is None:
            raise ProcessError(f"the relay's first line names no port: {line}")
        yield RelayServer(int(match[1]), process.pid, portal, name)


def _add_portal(environment: dict[str, str]) -> Portal:
    """Register a portal as an operator does; its keys are printed once."""
    done = subprocess.run(
        [sys.executable, "-m", "relay.cli.main", "portal", "add", _PORTAL],
        cwd=ROOT,
        env={**os.environ, **environment},
        capture_output=True,
        text=True,
        timeout=_ADD_SECONDS,
        check=False,
    )
    keys = dict(re.findall(r"(PORTAL_[A-Z_]+)=(\S+)", done.stdout))
    if done.returncode != 0 or not {"PORTAL_API_KEY", "PORTAL_TOKEN_SECRET"} <= keys.keys():
        raise ProcessError(f"`coach-relay portal add` failed:\n{done.stderr[-2000:]}")
    return Portal(PortalId(_PORTAL), keys["PORTAL_API_KEY"], keys["PORTAL_TOKEN_SECRET"].encode())


async def in_parallel(make: Callable[[int], Awaitable[_T]], numbers: range) -> list[_T]:
    """Await `make` for each number, a few at a time; raises what the first that fails raises."""
    gate = asyncio.Semaphore(_AT_ONCE)

    async def one(number: int) -> _T:
        async with gate:
            return await make(number)

    try:
        async with asyncio.TaskGroup() as group:
            tasks = [group.create_task(one(number)) for number in numbers]
    except BaseExceptionGroup as failures:
        raise failures.exceptions[0] from failures
    return [task.result() for task in tasks]
