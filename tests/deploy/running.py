"""Other people's servers as processes, with the files of deploy/ and ports of this machine."""

from __future__ import annotations

import asyncio
import json
import os
import socket
import ssl
import subprocess
from asyncio.subprocess import Process
from collections.abc import AsyncIterator, Mapping, Sequence
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any, Final

import aiohttp
from aiohttp.abc import AbstractResolver, ResolveResult

from tests.deploy.programs import output_of, program
from tests.relay.cli.processes import PATIENCE

STREAM_MODULE: Final = Path("/usr/lib/nginx/modules/ngx_stream_module.so")


async def connects(port: int) -> bool:
    """Whether something listens there."""
    try:
        _, writer = await asyncio.open_connection("127.0.0.1", port)
    except OSError:
        return False
    writer.close()
    await writer.wait_closed()
    return True


@asynccontextmanager
async def started(
    command: Sequence[str], port: int, folder: Path, env: Mapping[str, str] | None = None
) -> AsyncIterator[Process]:
    """Run a server until the end of the block, from when its port accepts connections."""
    log = folder / f"{Path(command[0]).name}.log"
    with log.open("wb") as output:
        process = await asyncio.create_subprocess_exec(
            *command, cwd=folder, env=env, stdout=output, stderr=subprocess.STDOUT
        )
    try:
        async with asyncio.timeout(PATIENCE):
            while not await connects(port):
                assert process.returncode is None, log.read_text(encoding="utf-8")
                await asyncio.sleep(0.05)  # between two looks at another process
        yield process
    finally:
        if process.returncode is None:
            process.terminate()
        async with asyncio.timeout(PATIENCE):
            await process.wait()


def nginx_command(folder: Path, text: str) -> list[str]:
    """How to run nginx with a whole configuration; it has been found good."""
    nginx = program("nginx")
    file = folder / "nginx.conf"
    file.write_text(text, encoding="utf-8")
    stream = "stream {" in text and STREAM_MODULE.exists()
    load = f"load_module {STREAM_MODULE};" if stream else ""
    words = [nginx, "-p", str(folder), "-c", str(file), "-g", f"daemon off; {load}"]
    output_of([*words, "-t"], cwd=folder)
    return words


def caddy_environment(folder: Path, **more: str) -> dict[str, str]:
    """Caddy's own places in a folder."""
    places = {name: str(folder) for name in ("HOME", "XDG_DATA_HOME", "XDG_CONFIG_HOME")}
    return {"PATH": os.environ["PATH"], **places, **more}


class OneAddress(AbstractResolver):
    """Every name is this machine."""

    async def resolve(
        self, host: str, port: int = 0, family: socket.AddressFamily = socket.AF_INET
    ) -> list[ResolveResult]:
        return [
            ResolveResult(hostname=host, host="127.0.0.1", port=port, family=socket.AF_INET, proto=0, flags=0)
        ]

    async def close(self) -> None:
        pass


def session_to(url: str, authority: Path) -> aiohttp.ClientSession:
    """HTTP to a name that is this machine, whose certificates an authority of our own has signed."""
    context = ssl.create_default_context(cafile=authority)
    connector: Any = aiohttp.TCPConnector(resolver=OneAddress(), ssl=context)
    return aiohttp.ClientSession(url, connector=connector)


def caddy_config(text: str, folder: Path, *, port: int, relay: str, **env: str) -> Path:
    """A Caddyfile as Caddy reads it, on another port, with an authority of its own."""
    caddy, source = program("caddy"), folder / "Caddyfile"
    source.write_text(text, encoding="utf-8")
    words = [caddy, "adapt", "--config", str(source), "--adapter", "caddyfile"]
    lines = output_of(words, env=caddy_environment(folder, **env)).splitlines()
    config: Any = json.loads(next(line for line in lines if line.startswith('{"')) if lines else "{}")
    text = json.dumps(config).replace('"127.0.0.1:8470"', f'"{relay}"').replace('"relay:8470"', f'"{relay}"')
    config = json.loads(text)
    config["admin"] = {"disabled": True}
    (server,) = config["apps"]["http"]["servers"].values()
    server["listen"] = [f"127.0.0.1:{port}"]
    server["automatic_https"] = {"disable_redirects": True}
    config["apps"]["pki"] = {"certificate_authorities": {"local": {"install_trust": False}}}
    names = [host for route in server["routes"] for host in route["match"][0]["host"]]
    policy = {"subjects": names, "issuers": [{"module": "internal"}]}
    config["apps"]["tls"] = {"automation": {"policies": [policy]}}
    made = folder / "caddy.json"
    made.write_text(json.dumps(config), encoding="utf-8")
    return made


@asynccontextmanager
async def caddy_process(config: Path, port: int, *names: str) -> AsyncIterator[Path]:
    """Run Caddy until the end of the block, from when it has a certificate for each name; its authority's."""
    folder = config.parent
    command = [program("caddy"), "run", "--config", str(config)]
    async with started(command, port, folder, caddy_environment(folder)):
        async with asyncio.timeout(PATIENCE):
            for name in names:
                while not await answers_tls(port, name):  # noqa: ASYNC110  # another process
                    await asyncio.sleep(0.05)
        yield folder / "caddy" / "pki" / "authorities" / "local" / "root.crt"


async def answers_tls(port: int, name: str) -> bool:
    context = ssl.create_default_context()
    context.check_hostname, context.verify_mode = False, ssl.CERT_NONE
    try:
        _, writer = await asyncio.open_connection("127.0.0.1", port, ssl=context, server_hostname=name)
    except ssl.SSLError:
        return False
    writer.close()
    await writer.wait_closed()
    return True
