"""deploy/compose: Compose takes the files, says what is missing, and what they join works when it runs."""

from __future__ import annotations

import asyncio
import os
import secrets
import shutil
import ssl
import sys
from asyncio.subprocess import Process
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import pytest

from relay.config import load_settings
from tests.deploy import compose, dockerfile
from tests.deploy.programs import output_of, program
from tests.deploy.running import caddy_config, caddy_process, nginx_command, session_to, started
from tests.deploy.test_proxies import talk
from tests.relay.cli.processes import PATIENCE, ROOT, RelayProcess, relay_process
from tests.support.coturn import make_certificate, requires_coturn
from tests.support.ports import free_port

NAME = "relay.example"
IPV6 = Path("/proc/net/if_inet6")
STUN_BINDING = bytes.fromhex("000100002112a442") + b"coach-relay!"  # RFC 8489: request, no attributes


@pytest.fixture
def one_machine(tmp_path: Path) -> dict[str, Any]:
    return compose.config(tmp_path, "compose.yaml", **compose.ANSWERS)["services"]  # type: ignore[no-any-return]  # YAML


@pytest.mark.parametrize("name", sorted(compose.ANSWERS))
def test_what_is_missing_is_said_with_what_to_do(name: str, tmp_path: Path) -> None:
    for answers in ({**compose.ANSWERS, name: ""}, {k: v for k, v in compose.ANSWERS.items() if k != name}):
        with pytest.raises(AssertionError, match="write into "):
            compose.config(tmp_path, "compose.yaml", **answers)


def test_the_example_asks_for_what_is_needed_and_no_more(one_machine: dict[str, Any]) -> None:
    only_some = {"MACHINE_ADDRESS", "PUBLIC_ADDRESS_6"}
    assert set(compose.required()) == {*compose.ANSWERS, *only_some}
    assert {one_machine["coturn"]["environment"][name] for name in only_some} == {""}


def test_no_service_may_do_more_than_it_must(one_machine: dict[str, Any]) -> None:
    for name, service in one_machine.items():
        assert service["read_only"] is True, name
        assert service["cap_drop"] == ["ALL"], name
        assert service["security_opt"] == ["no-new-privileges:true"], name
        assert service["restart"] == "unless-stopped", name
        assert "privileged" not in service
    assert "cap_add" not in one_machine["relay"]
    assert "ports" not in one_machine["relay"]  # nobody but the proxy


def test_every_image_is_named_by_version(one_machine: dict[str, Any]) -> None:
    for service in one_machine.values():
        name, _, tag = service["image"].partition(":")
        assert "." not in name
        assert tag
        assert tag != "latest"


def test_every_file_that_a_service_is_given_is_there(one_machine: dict[str, Any]) -> None:
    for service in one_machine.values():
        for volume in service["volumes"]:
            source = volume.split(":")[0]
            assert not source.startswith("/") or Path(source).is_file(), source
    build = one_machine["relay"]["build"]
    assert Path(build["context"], build["dockerfile"]) == dockerfile.FILE


def test_it_may_take_as_long_to_stop_as_the_relay_takes(one_machine: dict[str, Any]) -> None:
    relay = one_machine["relay"]
    settings = load_settings(
        environ=relay["environment"] | {"XDG_DATA_HOME": "/x"}, options={"behind_proxy": True}
    )
    assert int(relay["stop_grace_period"].removesuffix("s")) > settings.drain_seconds + 10


@asynccontextmanager
async def relay_of(service: dict[str, Any], folder: Path, **changes: str) -> AsyncIterator[RelayProcess]:
    """The relay as a container of the service runs it; ports and the volume's place differ."""
    program_name, *words = compose.command_of(service)
    assert program_name == "coach-relay"
    settings = dockerfile.image_environment() | service["environment"]
    assert settings["COACH_RELAY_DATA_DIR"] == "/data"
    here = {"COACH_RELAY_DATA_DIR": str(folder / "data"), "COACH_RELAY_PORT": "0"}
    here["COACH_RELAY_METRICS_LISTEN"] = "127.0.0.1:0"
    command = (sys.executable, "-m", "relay.cli.main", *words)
    async with relay_process(folder, command=command, **{**settings, **here, **changes}) as relay:
        yield RelayProcess(
            relay.process, relay.url.replace("0.0.0.0", "127.0.0.1"), here["COACH_RELAY_DATA_DIR"]
        )


def front(folder: Path, *, port: int, caddy: int, coturn: int) -> list[str]:
    """nginx with the shipped file on other ports."""
    text = (compose.FOLDER / "front.conf").read_text(encoding="utf-8")
    changes = {
        "listen 443;": f"listen 127.0.0.1:{port};",
        "listen [::]:443;": f"listen [::1]:{port};" if IPV6.exists() else "",
        "127.0.0.1:8443": f"127.0.0.1:{caddy}",
        "127.0.0.1:5349": f"127.0.0.1:{coturn}",
        "/run/nginx.pid": f"{folder}/nginx.pid",
    }
    for old, new in changes.items():
        assert old in text
        text = text.replace(old, new)
    return nginx_command(folder, text)


@asynccontextmanager
async def turn_of(service: dict[str, Any], folder: Path, *, tls_port: int) -> AsyncIterator[Process]:
    """coturn as a container of the service runs it; ports and places differ."""
    room = folder / "run"
    room.mkdir()
    mounted = {one.split(":")[1]: one.split(":")[0] for one in service["volumes"]}
    shell, script = service["entrypoint"]
    places = {
        "PATH": os.environ["PATH"],
        "ROOM": str(room),
        "SHIPPED": mounted["/etc/coturn/turnserver.conf"],
        "CERTIFICATES": str(folder / "caddy" / "certificates"),
        "LOOK_SECONDS": "0.2",
    }
    ports = [f"--tls-listening-port={tls_port}", f"--listening-port={free_port()}"]
    command = [shell, mounted[script], *ports]
    async with started(command, tls_port, folder, service["environment"] | places) as process:
        yield process


@requires_coturn
async def test_relay_certificates_and_turn_server_share_port_443(
    one_machine: dict[str, Any], tmp_path: Path
) -> None:
    port, caddy, coturn = free_port(), free_port(), free_port()
    origin = f"https://{NAME}:{port}"
    service = one_machine["relay"]
    assert service["environment"]["COACH_RELAY_PUBLIC_ORIGINS"] == f"https://{NAME}"
    async with relay_of(service, tmp_path, COACH_RELAY_PUBLIC_ORIGINS=origin) as relay:
        text = (compose.FOLDER / "Caddyfile").read_text(encoding="utf-8")
        answers = one_machine["caddy"]["environment"]
        config = caddy_config(text, tmp_path, port=caddy, relay=relay.url.removeprefix("http://"), **answers)
        async with (
            caddy_process(config, caddy, NAME, f"turn.{NAME}") as authority,
            turn_of(one_machine["coturn"], tmp_path, tls_port=coturn) as turn,
            started(front(tmp_path, port=port, caddy=caddy, coturn=coturn), port, tmp_path),
        ):
            async with session_to(origin, authority) as http:
                await talk(http, origin, relay.data)
            assert await speaks_stun(port, authority)
            await a_new_certificate_is_taken(tmp_path, port)
            turn.terminate()  # as `docker stop` does
            async with asyncio.timeout(PATIENCE):
                assert await turn.wait() == 0
        written = (tmp_path / "run" / "turnserver.conf").read_text(encoding="utf-8")
        assert f"static-auth-secret={compose.ANSWERS['TURN_SECRET']}\n" in written
        assert (tmp_path / "run" / "turnserver.conf").stat().st_mode & 0o077 == 0
        shipped = (ROOT / "deploy" / "coturn" / "turnserver.conf").read_text(encoding="utf-8").splitlines()
        own = ("cert=", "pkey=", "tls-listening-port=")
        assert {line for line in shipped if not line.startswith(own)} <= set(written.splitlines())


async def speaks_stun(port: int, authority: Path) -> bool:
    """Whether coturn answers at its name on the shared port, with a certificate of that name."""
    context = ssl.create_default_context(cafile=authority)
    reader, writer = await asyncio.open_connection(
        "127.0.0.1", port, ssl=context, server_hostname=f"turn.{NAME}"
    )
    writer.write(STUN_BINDING)
    async with asyncio.timeout(PATIENCE):
        answer = await reader.readexactly(20)
    writer.close()
    await writer.wait_closed()
    return answer[:2] == b"\x01\x01" and answer[8:] == STUN_BINDING[8:]


async def certificate_at(port: int) -> bytes | None:
    context = ssl.create_default_context()
    context.check_hostname, context.verify_mode = False, ssl.CERT_NONE
    _, writer = await asyncio.open_connection("127.0.0.1", port, ssl=context, server_hostname=f"turn.{NAME}")
    found: bytes | None = writer.get_extra_info("ssl_object").getpeercert(binary_form=True)
    writer.close()
    await writer.wait_closed()
    return found


async def a_new_certificate_is_taken(folder: Path, port: int) -> None:
    """Caddy renews by writing over the files: coturn has the new ones without being started again."""
    before = await certificate_at(port)
    place = folder / "caddy" / "certificates" / "local" / f"turn.{NAME}"
    other = folder / "caddy" / "certificates" / "local" / NAME
    shutil.copy(other / f"{NAME}.key", place / f"turn.{NAME}.key")
    shutil.copy(other / f"{NAME}.crt", place / f"turn.{NAME}.crt")
    async with asyncio.timeout(PATIENCE):
        while await certificate_at(port) == before:  # noqa: ASYNC110  # another process
            await asyncio.sleep(0.05)


@pytest.mark.parametrize("there", [True, False])
def test_front_listens_by_ipv6_where_there_is_any(
    one_machine: dict[str, Any], tmp_path: Path, there: bool
) -> None:
    shell, option, script = one_machine["front"]["entrypoint"]
    places = {
        str(IPV6): str(tmp_path) if there else "/nowhere",
        "/etc/nginx/nginx.conf": str(compose.FOLDER / "front.conf"),
        "/tmp/front.conf": str(tmp_path / "front.conf"),
        "exec nginx": "exec true",
        "$$": "$",
    }
    for old, new in places.items():
        assert old in script
        script = script.replace(old, new)
    output_of([f"/bin/{shell}", option, script])
    listens = [line.strip() for line in (tmp_path / "front.conf").read_text("utf-8").splitlines()]
    assert [line for line in listens if line.startswith("listen")] == [
        "listen 443;",
        *(["listen [::]:443;"] if there else []),
    ]


@requires_coturn
@pytest.mark.skipif(not IPV6.exists(), reason="this machine has no IPv6, not even ::1")
async def test_the_turn_server_answers_by_ipv6_if_it_is_told_its_address(tmp_path: Path) -> None:
    answers = {**compose.ANSWERS, "PUBLIC_ADDRESS_6": "::1"}
    service = compose.config(tmp_path, "compose.yaml", **answers)["services"]["coturn"]
    name = service["environment"]["TURN_HOST"]
    place = tmp_path / "caddy" / "certificates" / "local" / name
    place.mkdir(parents=True)
    certificate, key = make_certificate(tmp_path)
    shutil.copy(certificate, place / f"{name}.crt")
    shutil.copy(key, place / f"{name}.key")
    port = free_port()
    async with turn_of(service, tmp_path, tls_port=port) as turn:
        context = ssl.create_default_context(cafile=certificate)
        reader, writer = await asyncio.open_connection("::1", port, ssl=context, server_hostname="localhost")
        writer.write(STUN_BINDING)
        async with asyncio.timeout(PATIENCE):
            assert (await reader.readexactly(20))[:2] == b"\x01\x01"
        writer.close()
        turn.terminate()
        async with asyncio.timeout(PATIENCE):
            assert await turn.wait() == 0
    assert "relay-ip=::1\n" in (tmp_path / "run" / "turnserver.conf").read_text(encoding="utf-8")


@requires_coturn
async def test_the_turn_server_waits_for_its_certificate_and_says_so(tmp_path: Path) -> None:
    env = {
        "PATH": os.environ["PATH"],
        "TURN_HOST": "turn.relay.example",
        "TURN_SECRET": secrets.token_hex(8),
        "PUBLIC_ADDRESS": "127.0.0.1",
        "CERTIFICATES": str(tmp_path),
        "ROOM": str(tmp_path),
    }
    process = await asyncio.create_subprocess_exec(
        "/bin/sh", str(compose.FOLDER / "turn.sh"), env=env, stderr=asyncio.subprocess.PIPE
    )
    assert process.stderr is not None
    async with asyncio.timeout(PATIENCE):
        line = (await process.stderr.readline()).decode()
        process.terminate()
        assert await process.wait() == 0
    assert "no certificate for turn.relay.example yet" in line
    assert "port 80" in line


def test_a_linter_finds_no_fault_with_our_scripts() -> None:
    scripts = [str(path) for path in (ROOT / "deploy").rglob("*.sh")]
    assert len(scripts) > 2
    assert output_of([program("shellcheck"), "--severity=warning", *scripts]) == ""
