"""The proxies' files in the real nginx and Caddy: devices talk through them as if there were none."""

from __future__ import annotations

import re
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from io import BytesIO
from pathlib import Path

import aiohttp

from relay.wire import frames as fr
from tests.deploy.running import caddy_config, caddy_process, nginx_command, session_to, started
from tests.relay.cli.processes import ROOT, RelayProcess, relay_process
from tests.relay.cli.test_serve import add_portal
from tests.relay.http.support import PORTAL, Device, Peers
from tests.support.coturn import make_certificate
from tests.support.ports import free_port

PROXY = ROOT / "deploy" / "proxy"
NAME = "relay.example"
TUS = {"Tus-Resumable": "1.0.0"}
LARGE = 3 * 1024 * 1024
SHELL = """
pid {folder}/nginx.pid;
error_log {folder}/nginx-error.log;
worker_processes 1;
events {{ worker_connections 256; }}
http {{
    client_body_temp_path {folder}/body;
    proxy_temp_path {folder}/proxy;
    fastcgi_temp_path {folder}/fastcgi;
    uwsgi_temp_path {folder}/uwsgi;
    scgi_temp_path {folder}/scgi;
    {site}
}}
"""


def nginx_site(folder: Path, *, port: int, relays: list[str]) -> str:
    """The site as an operator sets it: names, certificate, ports, relays; the rest as it is shipped."""
    site = (PROXY / "nginx.conf").read_text(encoding="utf-8")
    certificate, key = make_certificate(folder)
    servers = "\n".join(f"    server {one} max_fails=1 fail_timeout=2s;" for one in relays)
    changes = {
        r"    server 127\.0\.0\.1:8470 [^;]*;": servers,
        r"listen 80;": f"listen 127.0.0.1:{free_port()};",
        r"listen 443 ssl;": f"listen 127.0.0.1:{port} ssl;",
        r"listen \[::\]:(80|443 ssl);": "",
        r"/etc/letsencrypt/\S+/fullchain\.pem": str(certificate),
        r"/etc/letsencrypt/\S+/privkey\.pem": str(key),
        r"server_name relay\.example;": "server_name localhost;",
    }
    for pattern, new in changes.items():
        site, count = re.subn(pattern, new, site)
        assert count, pattern
    return SHELL.format(folder=folder, site=site)


@asynccontextmanager
async def relay_behind(folder: Path, origin: str) -> AsyncIterator[RelayProcess]:
    options = ("--behind-proxy", "--public-origin", origin)
    async with relay_process(folder, *options) as relay:
        yield relay


async def talk(http: aiohttp.ClientSession, origin: str, data: str) -> None:
    """Two people write to each other, a page's origin is looked at, and a file passes whole."""
    peers = Peers(origin, http, {PORTAL: await add_portal(data)})
    engagement = await peers.engagement("anna", "ben")
    async with peers.device("anna") as anna:
        await anna.create_group(engagement)
        await anna.send(fr.Open(1, engagement, 0))
        assert (await anna.wait_for(fr.Opened)).head == 1
        headers = TUS | await anna.blob_access(engagement)
    async with Device.connect(peers, origin="https://elsewhere.example") as elsewhere:
        assert not isinstance(await elsewhere.prove(peers.token("anna")), fr.Ready)
    async with http.post("/v1/blobs", headers=headers | {"Upload-Length": str(LARGE)}) as answer:
        assert answer.status == 201, await answer.text()
        place = answer.headers["Location"]
    part = {"Upload-Offset": "0", "Content-Type": "application/offset+octet-stream"}
    async with http.patch(place, data=BytesIO(bytes(LARGE)), headers=headers | part) as answer:
        assert (answer.status, answer.headers["Upload-Offset"]) == (204, str(LARGE))
    async with http.get(place, headers=headers | {"Range": f"bytes={LARGE - 5}-"}) as answer:
        assert (answer.status, await answer.read()) == (206, bytes(5))


async def test_devices_and_files_pass_through_nginx(tmp_path: Path) -> None:
    port = free_port()
    origin = f"https://localhost:{port}"
    async with relay_behind(tmp_path, origin) as relay:
        text = nginx_site(tmp_path, port=port, relays=[relay.url.removeprefix("http://")])
        async with (
            started(nginx_command(tmp_path, text), port, tmp_path),
            session_to(origin, tmp_path / "turn.pem") as http,
        ):
            await talk(http, origin, relay.data)


async def test_nginx_asks_the_next_relay_when_one_is_gone(tmp_path: Path) -> None:
    port = free_port()
    origin = f"https://localhost:{port}"
    async with relay_behind(tmp_path, origin) as relay:
        relays = [f"127.0.0.1:{free_port()}", relay.url.removeprefix("http://")]
        async with (
            started(nginx_command(tmp_path, nginx_site(tmp_path, port=port, relays=relays)), port, tmp_path),
            session_to(origin, tmp_path / "turn.pem") as http,
        ):
            for _ in range(4):
                async with http.get("/readyz") as answer:
                    assert answer.status == 200


async def test_devices_and_files_pass_through_caddy(tmp_path: Path) -> None:
    port = free_port()
    origin = f"https://{NAME}:{port}"
    async with relay_behind(tmp_path, origin) as relay:
        text = (PROXY / "Caddyfile").read_text(encoding="utf-8")
        config = caddy_config(text, tmp_path, port=port, relay=relay.url.removeprefix("http://"))
        async with (
            caddy_process(config, port, NAME) as authority,
            session_to(origin, authority) as http,
        ):
            await talk(http, origin, relay.data)


def test_no_proxy_of_ours_keeps_a_log_of_who_came() -> None:
    nginx = (PROXY / "nginx.conf").read_text(encoding="utf-8")
    assert nginx.count("access_log off;") == nginx.count("server {")
    for folder in ("proxy", "compose"):
        assert "\tlog" not in (ROOT / "deploy" / folder / "Caddyfile").read_text(encoding="utf-8")
