"""The relay and the make-believe portal, each a process of its own."""

from __future__ import annotations

import asyncio
import re
import socket
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, Final

import aiohttp

from client_sdk.demo.errors import DemoError
from client_sdk.demo.line import HOST
from client_sdk.demo.processes import Child, clean_environment, on_a_leash, python

START_PATIENCE: Final = 60.0
"""Seconds for a server to say where it listens; it usually takes one, on a busy machine more."""

RELAY: Final = "relay.cli.main"

_ADDRESS: Final = re.compile(rb"http://127\.0\.0\.1:(\d+)")


def free_port() -> int:
    """Return a port that the system says is free."""
    with socket.socket() as probe:
        probe.bind((HOST, 0))
        return int(probe.getsockname()[1])


class Server:
    """A server process: started, waited for until it listens, and able to outlive the demo."""

    name = "Server"

    def __init__(self, log: Path) -> None:
        self.log = log
        self.port = 0
        self._child: Child | None = None

    @property
    def url(self) -> str:
        """Its address."""
        return f"http://{HOST}:{self.port}"

    @property
    def pid(self) -> int:
        """The id of its process."""
        return self._running().pid

    async def let_go(self) -> None:
        """Have it outlive the demo."""
        await self._running().let_go()

    async def kill(self) -> None:
        """End it at once with SIGKILL."""
        await self._running().kill()

    async def end(self) -> None:
        """Ask it to end, if it runs."""
        if self._child is not None and self._child.running:
            await self._child.end()

    async def _launch(self, command: list[str], environment: Mapping[str, str]) -> None:
        seen = self.log.stat().st_size if self.log.exists() else 0
        self._child = await Child.start(
            self.name, command, log=self.log, environment=environment, background=True
        )
        self.port = await self._address(seen)

    async def _address(self, seen: int) -> int:
        deadline = asyncio.get_running_loop().time() + START_PATIENCE
        while asyncio.get_running_loop().time() < deadline and self._running().running:
            found = _ADDRESS.search(self.log.read_bytes()[seen:])
            if found:
                return int(found[1])
            await asyncio.sleep(0.02)
        raise DemoError(f"{self.name} did not start", log=self.log)

    def _running(self) -> Child:
        if self._child is None:
            raise DemoError(f"{self.name} has not been started", log=self.log)
        return self._child


class RelayServer(Server):
    """The relay: `coach-relay serve` with its files in a folder of the demo."""

    name = "The relay"

    def __init__(self, folder: Path, *, port: int, serve_element: bool = False) -> None:
        super().__init__(folder / "relay.log")
        self._serve_element = serve_element
        self.folder = folder
        """Everything it writes: its log, and in `data` its database and the files it keeps."""
        self.data = folder / "data"
        self.port = port
        self.origins = [self.url]

    async def start(self) -> None:
        """Start it, the first time or again, at the same address."""
        command = on_a_leash(RELAY, "serve", "--port", str(self.port), "--data-dir", str(self.data))
        for origin in self.origins:
            command += ["--public-origin", origin]
        if self._serve_element:
            command.append("--serve-element")
        await self._launch(command, {})

    async def add_portal(self, name: str, *, pages: Sequence[str] = ()) -> dict[str, str]:
        """Register a portal with its pages' origins; its id and keys as environment variables."""
        origins = (part for page in pages for part in ("--origin", page))
        process = await asyncio.create_subprocess_exec(
            *coach_relay("portal", "add", name, "--data-dir", str(self.data), *origins),
            stdout=asyncio.subprocess.PIPE,
            stderr=asyncio.subprocess.PIPE,
            env=clean_environment(),
        )
        output, complaint = await process.communicate()
        keys = dict(line.split("=", 1) for line in output.decode().splitlines() if "=" in line)
        if process.returncode != 0 or not {"PORTAL_API_KEY", "PORTAL_TOKEN_SECRET"} <= keys.keys():
            raise DemoError(f"“coach-relay portal add” did not work: {complaint.decode().strip()}")
        return keys

    def blob_bytes(self) -> int:
        """Return how many bytes of files it keeps."""
        return sum(file.stat().st_size for file in (self.data / "blobs").glob("[!.]*/*") if file.is_file())


class PortalServer(Server):
    """The portal: `client_sdk/demo/portal.py`."""

    name = "The portal"

    async def start(self, *, relay: str, keys: Mapping[str, str]) -> None:
        """Start it with the keys that the relay gave it."""
        environment = {**keys, "RELAY_URL": relay, "PORTAL_PORT": "0"}
        await self._launch(on_a_leash("client_sdk.demo.portal"), environment)

    async def open_engagement(self) -> dict[str, Any]:
        """Have it open the engagement of its coach and its client, and return the relay's answer."""
        async with aiohttp.ClientSession() as http, http.post(f"{self.url}/engagement") as answer:
            if answer.status != 201:
                raise DemoError(f"the portal answered {answer.status}: {await answer.text()}", log=self.log)
            engagement: dict[str, Any] = await answer.json()
            return engagement

    def token_url(self, user: str) -> str:
        """Where this user's program gets its access token."""
        return f"{self.url}/token?user={user}"


class PagesServer(Server):
    """The portal with pages: `client_sdk/demo/pages.py`."""

    name = "The portal"

    def __init__(self, log: Path, *, port: int) -> None:
        super().__init__(log)
        self.port = port

    @property
    def address(self) -> str:
        """Where both people's pages are, side by side."""
        return f"http://localhost:{self.port}/"

    async def start(self, *, relay: str, keys: Mapping[str, str]) -> None:
        """Start it with the keys that the relay gave it."""
        environment = {**keys, "RELAY_URL": relay, "PORTAL_PORT": str(self.port)}
        await self._launch(on_a_leash("client_sdk.demo.pages"), environment)


def coach_relay(*arguments: str) -> list[str]:
    """Return the command line of `coach-relay` run by this very Python."""
    return python("-m", RELAY, *arguments)
