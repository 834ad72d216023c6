"""`coach-relay serve` on a Redis that is not there yet, or must not be used."""

from __future__ import annotations

import asyncio
import sys
from pathlib import Path

import pytest

from tests.relay.cli.processes import LINE, PATIENCE, environment, start
from tests.support import real_redis as redis

pytestmark = pytest.mark.skipif(redis.PROGRAM is None, reason=redis.MISSING)


def _serve(folder: Path, url: str) -> tuple[list[str], dict[str, str]]:
    command = [
        sys.executable,
        "-m",
        "relay.cli.main",
        "serve",
        "--port",
        "0",
        "--data-dir",
        str(folder / "d"),
    ]
    return command, environment(COACH_RELAY_REDIS_URL=url)


async def test_it_waits_for_a_redis_that_starts_later(tmp_path: Path) -> None:
    """After a power cut everything starts at once; and a failover takes some seconds."""
    with redis.real_redis(redis.Standalone) as servers:
        servers.servers[0].kill()
        process = await start(*_serve(tmp_path, servers.url), tmp_path)
        assert process.stdout is not None
        assert process.stderr is not None
        async with asyncio.timeout(PATIENCE):
            said = (await process.stderr.readline()).decode()
            assert "trying again: Redis cannot be reached" in said
            await asyncio.to_thread(servers.servers[0].start)
            assert LINE.fullmatch((await process.stdout.readline()).decode())
            process.terminate()
            await process.communicate()
        assert process.returncode == 0


async def test_it_is_told_to_stop_while_it_waits(tmp_path: Path) -> None:
    with redis.real_redis(redis.Standalone) as servers:
        servers.servers[0].kill()
        process = await start(*_serve(tmp_path, servers.url), tmp_path)
        assert process.stderr is not None
        async with asyncio.timeout(PATIENCE):
            await process.stderr.readline()
            process.terminate()
            await process.communicate()
        assert process.returncode == 0


async def test_it_does_not_wait_for_settings_to_change_by_themselves(tmp_path: Path) -> None:
    with redis.real_redis(redis.Standalone) as servers:
        servers.servers[0].ask("CONFIG", "SET", "maxmemory-policy", "allkeys-lru")
        process = await start(*_serve(tmp_path, servers.url), tmp_path)
        async with asyncio.timeout(PATIENCE):
            _, errors = await process.communicate()
        assert process.returncode == 1
        assert b"trying again" not in errors
        assert b"maxmemory-policy noeviction" in errors.splitlines()[-1]
