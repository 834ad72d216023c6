"""The example portal, with a real relay: what it signs lets its users in, and nobody else."""

from __future__ import annotations

import asyncio
import re
import signal
import sys
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path

import aiohttp
import pytest

from relay.wire import frames as fr
from tests.relay.cli.processes import PATIENCE, RelayProcess, environment, relay_process, start
from tests.relay.http.support import Device, Peers

PROGRAM = (sys.executable, "-m", "client_sdk.demo.portal")


@dataclass(frozen=True, slots=True)
class Scene:
    """A relay, the portal, and what the portal was given."""

    relay: RelayProcess
    portal: str
    http: aiohttp.ClientSession

    async def token(self, user: str) -> str:
        async with self.http.get(f"{self.portal}/token", params={"user": user}) as answer:
            assert answer.status == 200
            assert answer.headers["Cache-Control"] == "no-store"
            return str((await answer.json())["token"])


async def keys_of(relay: RelayProcess, folder: Path) -> dict[str, str]:
    """Register a portal as its operator does: `portal add` prints what the portal's environment needs."""
    command = (sys.executable, "-m", "relay.cli.main", "portal", "add", "growth", "--data-dir", relay.data)
    process = await start(command, environment(), folder)
    async with asyncio.timeout(PATIENCE):
        output, _errors = await process.communicate()
    assert process.returncode == 0
    return dict(line.split("=", 1) for line in output.decode().splitlines())


@asynccontextmanager
async def portal_process(folder: Path, **env: str) -> AsyncIterator[str]:
    process = await start(PROGRAM, environment(PORTAL_PORT="0", **env), folder)
    assert process.stdout is not None
    try:
        async with asyncio.timeout(PATIENCE):
            line = (await process.stdout.readline()).decode()
        matched = re.search(r"http://127\.0\.0\.1:[1-9]\d*", line)
        assert matched is not None, line
        yield matched[0]
        process.send_signal(signal.SIGTERM)
        async with asyncio.timeout(PATIENCE):
            assert await process.wait() == 0
    finally:
        if process.returncode is None:
            process.kill()
        await process.communicate()


@pytest.fixture
async def scene(tmp_path: Path) -> AsyncIterator[Scene]:
    async with relay_process(tmp_path) as relay:
        keys = await keys_of(relay, tmp_path)
        async with (
            portal_process(tmp_path, RELAY_URL=relay.url, **keys) as portal,
            aiohttp.ClientSession(relay.url) as http,
        ):
            yield Scene(relay, portal, http)
        assert await relay.stop() == 0


async def test_its_users_get_in_and_find_their_engagement(scene: Scene) -> None:
    async with scene.http.post(f"{scene.portal}/engagement") as answer:
        assert answer.status == 201
        made = await answer.json()
    assert made["participants"] == [{"user": "anna", "role": "coach"}, {"user": "ben", "role": "client"}]
    for user in ("anna", "ben"):
        async with Device.connect(Peers(scene.relay.url, scene.http, {})) as device:
            ready = await device.prove(await scene.token(user))
            assert isinstance(ready, fr.Ready)
            assert (ready.portal, ready.user) == ("growth", user)
            await device.send(fr.ListEngagements(1))
            assert [one.id for one in (await device.wait_for(fr.Engagements)).engagements] == [made["id"]]


@pytest.mark.parametrize("user", ["eve", "", "Anna"])
async def test_nobody_else_gets_a_token(scene: Scene, user: str) -> None:
    async with scene.http.get(f"{scene.portal}/token", params={"user": user}) as answer:
        assert answer.status == 403
    async with scene.http.get(f"{scene.portal}/token") as answer:
        assert answer.status == 403


async def test_a_relay_that_is_away_is_said_so(tmp_path: Path) -> None:
    keys = {"PORTAL_ID": "growth", "PORTAL_API_KEY": "x", "PORTAL_TOKEN_SECRET": "y" * 43}
    async with (
        portal_process(tmp_path, RELAY_URL="http://127.0.0.1:1", **keys) as portal,
        aiohttp.ClientSession() as http,
        http.post(f"{portal}/engagement") as answer,
    ):
        assert answer.status == 502
