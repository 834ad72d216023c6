"""The real relay as a process of its own, which tests start, kill and start again, and a portal for it."""

from __future__ import annotations

import asyncio
import contextlib
import os
import secrets
import signal
import sys
import time
from collections.abc import Awaitable, Callable, Iterator, Mapping, Sequence
from pathlib import Path
from types import MappingProxyType
from typing import Final

import aiohttp
import jwt

from tests.support.ports import free_port

START_SECONDS: Final = 90  # three at once on a busy machine of two cores; nobody waits longer than it takes
_KEYS: Final = ("PORTAL_ID", "PORTAL_API_KEY", "PORTAL_TOKEN_SECRET")


class RealRelay:
    """One relay with one portal. Its address is `url`, which a restart keeps.

    `options` of the command and `settings` (by their names in the environment) are as an operator gives them;
    `code` is a folder with another version's packages, and may be changed between a stop and a start.
    """

    def __init__(
        self,
        folder: Path,
        *,
        options: Sequence[str] = (),
        settings: Mapping[str, str] = MappingProxyType({}),
        code: Path | None = None,
    ) -> None:
        self._options = tuple(options)
        self._settings = dict(settings)
        self.code = code
        self._data = folder / "relay"
        self._log = folder / "relay.log"
        self._process: asyncio.subprocess.Process | None = None
        self._portal: dict[str, str] = {}
        self._port = free_port()

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self._port}"

    @property
    def data(self) -> Path:
        """Everything that the relay keeps."""
        return self._data

    @property
    def log(self) -> Path:
        """Everything that it wrote to standard error, over all its lives."""
        return self._log

    @property
    def pid(self) -> int:
        """The process that runs now."""
        if self._process is None:
            raise RuntimeError("the relay was not started")
        return self._process.pid

    @property
    def portal(self) -> Mapping[str, str]:
        """The portal's id and keys, as the command printed them."""
        return self._portal

    async def start(self) -> None:
        """Start it, at first with a fresh portal, and wait until it listens."""
        if not self._portal:
            self._portal = await self.add_portal("growth")
        with self._log.open("ab") as log:
            self._process = await asyncio.create_subprocess_exec(
                *(sys.executable, "-m", "relay.cli.main", "serve"),
                *("--port", str(self._port), "--data-dir", str(self._data), *self._options),
                stdout=asyncio.subprocess.PIPE,
                stderr=log,
                env=_environment() | self._settings,
                cwd=self.code,
            )
        async with asyncio.timeout(START_SECONDS):
            await self._listens(self._process)

    def move(self, *, data: Path | None = None, **settings: str) -> None:
        """From the next start on it keeps its data elsewhere: in another folder, or as settings say."""
        self._data = data or self._data
        self._settings = settings

    async def kill(self) -> None:
        """End it as a crash or a power cut would."""
        await self._end(signal.SIGKILL)

    async def stop(self) -> None:
        """Let it end in order."""
        await self._end(signal.SIGTERM)

    @contextlib.contextmanager
    def mute(self) -> Iterator[None]:
        """Nobody hears it, and no connection ends: as where a network drops packets without a word."""
        if self._process is None:
            raise RuntimeError("the relay was not started")
        self._process.send_signal(signal.SIGSTOP)
        try:
            yield
        finally:
            self._process.send_signal(signal.SIGCONT)

    async def wait_ended(self) -> int:
        """Wait until it has ended by itself; its exit code."""
        if self._process is None:
            raise RuntimeError("the relay was not started")
        return await self._process.wait()

    async def _end(self, how: signal.Signals) -> None:
        if self._process is not None and self._process.returncode is None:
            self._process.send_signal(how)
            await self._process.wait()

    async def _listens(self, process: asyncio.subprocess.Process) -> None:
        if process.stdout is None:
            raise RuntimeError("no pipe")
        line = (await process.stdout.readline()).decode()
        if f"http://127.0.0.1:{self._port}" not in line:
            raise RuntimeError(f"the relay did not start: {self._log.read_text()}")

    async def make_portal(self, name: str) -> None:
        """Register the portal that is this relay's, before it starts."""
        self._portal = await self.add_portal(name)

    def share_portal(self, other: RealRelay) -> None:
        """This is another node of the same relay."""
        self._portal = dict(other.portal)

    async def add_portal(self, name: str) -> dict[str, str]:
        """Register a portal; its id and keys, as the command prints them."""
        adding = await asyncio.create_subprocess_exec(
            *(sys.executable, "-m", "relay.cli.main", "portal", "add", name),
            *("--data-dir", str(self._data)),
            stdout=asyncio.subprocess.PIPE,
            stderr=asyncio.subprocess.DEVNULL,
            env=_environment() | self._settings,
            cwd=self.code,
        )
        out, _ = await adding.communicate()
        pairs = (line.partition("=") for line in out.decode().splitlines())
        found = {key: value for key, _, value in pairs if key in _KEYS}
        if len(found) != len(_KEYS):
            raise RuntimeError("the relay did not register the portal")
        return found

    async def run(self, *command: str) -> str:
        """Run another command on the relay's data folder; what it said. Raises RuntimeError if it failed."""
        running = await asyncio.create_subprocess_exec(
            *(sys.executable, "-m", "relay.cli.main", *command, "--data-dir", str(self._data)),
            stdin=asyncio.subprocess.DEVNULL,
            stdout=asyncio.subprocess.PIPE,
            stderr=asyncio.subprocess.STDOUT,
            env=_environment(),
        )
        out, _ = await running.communicate()
        if running.returncode != 0:
            raise RuntimeError(out.decode())
        return out.decode()

    # The portal

    def token_for(self, user: str) -> Callable[[], Awaitable[str]]:
        """The function by which the portal gives this user tokens."""

        async def fetch() -> str:
            now = int(time.time())
            claims = {"iss": self._portal["PORTAL_ID"], "sub": user, "aud": "coach-relay"}
            times = {"iat": now, "nbf": now, "exp": now + 600}
            signed = {**claims, **times, "jti": secrets.token_urlsafe(16)}
            return jwt.encode(signed, self._portal["PORTAL_TOKEN_SECRET"], algorithm="HS256")

        return fetch

    async def create_engagement(self, **roster: str) -> str:
        """A new engagement of these users in these roles."""
        people = [{"user": user, "role": role} for user, role in roster.items()]
        return str((await self._call("/v1/engagements", {"participants": people}))["id"])

    async def end_engagement(self, engagement: str) -> None:
        """The portal ends an engagement."""
        await self._call(f"/v1/engagements/{engagement}/end", None)

    async def _call(self, path: str, body: object) -> dict[str, object]:
        key = {"Authorization": f"Bearer {self._portal['PORTAL_API_KEY']}"}
        async with (
            aiohttp.ClientSession(self.url, headers=key) as http,
            http.post(path, json=body) as answer,
        ):
            answer.raise_for_status()
            found: dict[str, object] = await answer.json()
            return found


def _environment() -> dict[str, str]:
    return {key: value for key, value in os.environ.items() if not key.startswith("COACH_RELAY_")}
