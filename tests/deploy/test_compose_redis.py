"""deploy/compose/compose.redis.yaml: three relays on Redis and a bucket, as the files say; one dies."""

from __future__ import annotations

import asyncio
import os
import subprocess
from collections.abc import AsyncIterator, Iterator
from contextlib import AsyncExitStack, asynccontextmanager
from pathlib import Path
from typing import Any

import aiohttp
import pytest

from relay.config import load_settings
from relay.hub import NewKeys, Portals
from relay.store.redis import RedisClient, RedisDirectory
from relay.wire import frames as fr
from tests.deploy import compose
from tests.deploy.running import caddy_config, caddy_process, session_to, started
from tests.deploy.test_compose import NAME, relay_of
from tests.relay.cli.processes import PATIENCE
from tests.relay.http.support import PORTAL, Peers
from tests.support import real_redis
from tests.support.ports import free_port
from tests.support.s3 import S3Server, s3_server

FILES = ("compose.yaml", "compose.redis.yaml")
ANSWERS = {
    **compose.ANSWERS,
    "REDIS_PASSWORD": "0f1e2d3c4b5a69788796a5b4c3d2e1f0",
    "S3_BUCKET": "coach-files",
    "S3_ACCESS_KEY_ID": "test",
    "S3_SECRET_ACCESS_KEY": "test",
}
RELAYS = ("relay", "relay-2", "relay-3")


@pytest.fixture
def services(tmp_path: Path) -> dict[str, Any]:
    found: dict[str, Any] = compose.config(tmp_path, *FILES, **ANSWERS)["services"]
    return found


@pytest.mark.parametrize("name", ["REDIS_PASSWORD", "S3_BUCKET"])
def test_what_is_missing_is_said_with_what_to_do(name: str, tmp_path: Path) -> None:
    with pytest.raises(AssertionError, match="write into"):
        compose.config(tmp_path, *FILES, **{**ANSWERS, name: ""})


def test_the_relays_differ_in_nothing_but_their_folder(services: dict[str, Any]) -> None:
    relays = [dict(services[name]) for name in RELAYS]
    folders = [relay.pop("volumes") for relay in relays]
    assert relays[0] == relays[1] == relays[2]
    assert len({str(folder) for folder in folders}) == 3
    assert services["caddy"]["environment"]["RELAYS"].split() == [f"{name}:8470" for name in RELAYS]
    assert set(services) == {*RELAYS, "caddy", "front", "coturn", "redis"}


def test_redis_may_do_nothing_but_its_work(services: dict[str, Any]) -> None:
    redis = services["redis"]
    assert redis["read_only"] is True
    assert redis["cap_drop"] == ["ALL"]
    assert "ports" not in redis
    assert ANSWERS["REDIS_PASSWORD"] not in str(redis["entrypoint"])


def test_the_example_names_every_answer() -> None:
    text = (compose.FOLDER / ".env.example").read_text(encoding="utf-8")
    for name in ANSWERS:
        assert f"{name}=" in text


@asynccontextmanager
async def redis_of(service: dict[str, Any], folder: Path) -> AsyncIterator[tuple[int, dict[str, str]]]:
    """Redis as a container of the service runs it; ports and places differ."""
    if real_redis.PROGRAM is None:
        pytest.skip(real_redis.MISSING)
    port, data = free_port(), folder / "redis"
    data.mkdir()
    conf = folder / "shipped.conf"
    shipped = (compose.FOLDER / "redis.conf").read_text(encoding="utf-8")
    changes = {"port 6379": f"port {port}", "dir /data": f"dir {data}", "0.0.0.0 -::*": "127.0.0.1"}
    for old, new in changes.items():
        assert old in shipped
        shipped = shipped.replace(old, new)
    conf.write_text(shipped, encoding="utf-8")
    shell, option, script = (part.replace("$$", "$") for part in service["entrypoint"])
    script = script.replace("/etc/redis/redis.conf", str(conf)).replace(
        "/run/redis.conf", str(folder / "live")
    )
    env = {"PATH": os.environ["PATH"], **service["environment"]}
    async with started([f"/bin/{shell}", option, script], port, folder, env):
        yield port, env


def is_healthy(service: dict[str, Any], port: int, env: dict[str, str]) -> bool:
    """What its health check says."""
    command = (
        service["healthcheck"]["test"][1].replace("$$", "$").replace("redis-cli", f"redis-cli -p {port}")
    )
    done = subprocess.run(["/bin/sh", "-c", command], env=env, capture_output=True, timeout=20, check=False)
    return done.returncode == 0


@pytest.fixture
def storage(tmp_path: Path) -> Iterator[S3Server]:
    with s3_server(tmp_path) as made:
        yield made


async def portal_keys(environ: dict[str, str]) -> NewKeys:
    """The portal that `docker compose exec relay coach-relay portal add` makes."""
    settings = load_settings(environ={**environ, "XDG_DATA_HOME": "/x"}, options={"behind_proxy": True})
    assert settings.redis is not None
    client = RedisClient(settings.redis)
    try:
        directory = RedisDirectory(client)
        return await Portals(directory, clock=lambda: 1.0, rng=os.urandom).add(PORTAL)
    finally:
        await client.close()


@pytest.mark.timeout(300)
async def test_three_relays_serve_one_conversation_and_one_may_die(
    services: dict[str, Any], storage: S3Server, tmp_path: Path
) -> None:
    proxy = free_port()
    origin = f"https://{NAME}:{proxy}"
    async with AsyncExitStack() as stack:
        port, redis_env = await stack.enter_async_context(redis_of(services["redis"], tmp_path))
        assert is_healthy(services["redis"], port, redis_env)
        here = {
            "COACH_RELAY_PUBLIC_ORIGINS": origin,
            "COACH_RELAY_REDIS_URL": f"redis://127.0.0.1:{port}/0",
            "COACH_RELAY_S3_ENDPOINT": storage.endpoint,
            "COACH_RELAY_S3_BUCKET": storage.bucket(),
        }
        relays = {}
        for name in RELAYS:
            assert services[name]["environment"]["COACH_RELAY_REDIS_URL"] == "redis://redis:6379/0"
            folder = tmp_path / name
            folder.mkdir()
            relays[name] = await stack.enter_async_context(relay_of(services[name], folder, **here))
        text = (compose.FOLDER / "Caddyfile").read_text(encoding="utf-8")
        answers = services["caddy"]["environment"] | {
            "RELAYS": " ".join(relay.url.removeprefix("http://") for relay in relays.values())
        }
        config = caddy_config(text, tmp_path, port=proxy, relay="", **answers)
        authority = await stack.enter_async_context(caddy_process(config, proxy, NAME))
        http = await stack.enter_async_context(session_to(origin, authority))
        keys = await portal_keys({**services["relay"]["environment"], **here})
        peers = Peers(origin, http, {PORTAL: keys})
        engagement = await peers.engagement("anna", "ben")
        async with peers.device("ben") as ben, peers.device("anna") as anna:
            await anna.create_group(engagement, ben.id)
            await ben.send(fr.Open(1, engagement, 0))
            assert (await ben.wait_for(fr.Opened)).head == 1
            await anna.append(engagement, 2)
            while (await ben.wait_for(fr.Entries)).entries[-1].seq != 2:
                pass
        victim = relays["relay-2"]
        victim.process.kill()
        await victim.process.wait()
        for _ in range(6):  # whoever is asked, somebody answers
            async with asyncio.timeout(PATIENCE), peers.device("cara") as cara:
                assert await cara.put_list("cara") is not None
        async with aiohttp.ClientSession(relays["relay-3"].url) as direct, direct.get("/readyz") as answer:
            assert answer.status == 200
