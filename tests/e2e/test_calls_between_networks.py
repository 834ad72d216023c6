"""Calls between two hosts that cannot reach each other: real relay, real coturn as shipped, real networks."""

from __future__ import annotations

import asyncio
import json
import re
import sys
from asyncio.subprocess import PIPE, Process
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from client_sdk.demo.media import RecordingFacts, check_recording, make_media
from tests.relay.cli.processes import ROOT, environment
from tests.support.coturn import Coturn, coturn_process, requires_coturn
from tests.support.networks import SERVICE, Networks, networks

pytestmark = [requires_coturn, pytest.mark.timeout(240)]
RELAY = f"http://{SERVICE}:8470"
PATIENCE = 100.0


@pytest.fixture(scope="module")
def hosts() -> Iterator[Networks]:
    with networks() as made:
        yield made


@pytest.fixture(scope="module")
def film(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("film") / "film.mp4"
    make_media(path, 30)
    return path


@dataclass(frozen=True, slots=True)
class World:
    """What runs between the two hosts, and how each part is told of it."""

    hosts: Networks
    folder: Path
    coturn: Coturn
    portal: dict[str, str]

    def settings(self) -> dict[str, str]:
        """The relay's, as an operator sets them in the environment."""
        return {
            "COACH_RELAY_HOST": "0.0.0.0",
            "COACH_RELAY_PORT": "8470",
            "COACH_RELAY_BEHIND_PROXY": "true",
            "COACH_RELAY_PUBLIC_ORIGINS": RELAY,
            "COACH_RELAY_DATA_DIR": str(self.folder / "data"),
            "COACH_RELAY_METRICS_LISTEN": f"{SERVICE}:9470",
            "COACH_RELAY_TURN_URLS": ",".join(self.coturn.urls),
            "COACH_RELAY_TURN_SECRET": self.coturn.secret,
            "SSL_CERT_FILE": str(self.coturn.certificate),
        }

    async def run(self, who: str, *command: str) -> Process:
        """Start a Python module on one of the hosts."""
        with (self.folder / f"{who}.log").open("ab") as log:
            return await asyncio.create_subprocess_exec(
                *self.hosts.inside(who),
                *(sys.executable, "-m", *command),
                env=environment(**self.settings()),
                cwd=ROOT,
                stdout=PIPE,
                stderr=log,
            )

    async def person(self, who: str, do: str, **more: object) -> Process:
        """Start a person (or the portal, `engage`)."""
        given = {**self.portal, "relay": RELAY, "do": do, "user": who, "folder": str(self.folder), **more}
        return await self.run(who, "tests.support.in_network", json.dumps(given))


async def printed(process: Process) -> str:
    async with asyncio.timeout(PATIENCE):
        out, _ = await process.communicate()
    return out.decode()


async def line(process: Process) -> dict[str, Any]:
    """The next thing that happens."""
    assert process.stdout is not None
    async with asyncio.timeout(PATIENCE):
        told = await process.stdout.readline()
    assert told, "the process ended"
    found: dict[str, Any] = json.loads(told)
    return found


@asynccontextmanager
async def world(hosts: Networks, folder: Path) -> AsyncIterator[World]:
    """Coturn as it is shipped, on its own ports, and a relay that names it."""
    async with coturn_process(folder, host=SERVICE, prefix=hosts.inside("between")) as coturn:
        made = World(hosts, folder, coturn, {})
        adding = await made.run("between", "relay.cli.main", "portal", "add", "growth")
        for name, _, value in (one.partition("=") for one in (await printed(adding)).splitlines()):
            made.portal[name] = value
        relay = await made.run("between", "relay.cli.main", "serve")
        assert relay.stdout is not None
        try:
            async with asyncio.timeout(PATIENCE):
                assert b"listening" in await relay.stdout.readline()
            yield made
        finally:
            relay.terminate()
            await relay.wait()


async def facts(folder: Path, who: str) -> RecordingFacts:
    return await asyncio.to_thread(check_recording, folder / f"{who}.mp4")


async def talk(made: World, film: Path, *, relay_only: bool, seconds: float) -> tuple[Process, Process]:
    """Both are in a call, and have told so."""
    engaging = await made.person("between", "engage")
    engagement = json.loads(await printed(engaging))["engagement"]
    people = [
        await made.person(
            who,
            "call",
            engagement=engagement,
            film=str(film),
            record=str(made.folder / f"{who}.mp4"),
            relay_only=relay_only,
            seconds=seconds,
        )
        for who in ("ben", "anna")
    ]
    return people[1], people[0]


async def test_the_hosts_cannot_reach_each_other(hosts: Networks) -> None:
    """Else the other tests would show nothing."""
    script = (
        "import socket\n"
        "s = socket.socket(); s.settimeout(2)\n"
        "try: s.connect(('11.2.0.2', 9))\n"
        "except ConnectionRefusedError: print('reached')\n"
        "except OSError: print('not reached')\n"
    )
    process = await asyncio.create_subprocess_exec(
        *hosts.inside("anna"), sys.executable, "-c", script, stdout=PIPE
    )
    assert await printed(process) == "not reached\n"


async def test_doctor_finds_nothing_wrong(hosts: Networks, tmp_path: Path) -> None:
    """Public addresses, the shipped ports and file: every line is good."""
    async with world(hosts, tmp_path) as made:
        doctor = await made.run("between", "relay.cli.main", "doctor")
        told = await printed(doctor)
    assert doctor.returncode == 0, told
    for way, port in (("UDP", 3478), ("TCP", 3478), ("TLS", 443)):
        assert f"ok      TURN over {way} ({SERVICE}:{port}) works: a packet passes from end to end" in told
    assert f"{SERVICE} does not send to private addresses" in told
    assert "TCP 443, TCP 3478, UDP 3478, and UDP 49152 to 65535" in told


@pytest.mark.parametrize("relay_only", [True, False])
async def test_a_call_goes_around(hosts: Networks, film: Path, tmp_path: Path, relay_only: bool) -> None:
    await called(hosts, film, tmp_path, relay_only=relay_only)


async def test_a_call_connects_where_only_tls_on_443_passes(
    hosts: Networks, film: Path, tmp_path: Path
) -> None:
    with hosts.strict("anna", "ben"):
        for kind, port in (("DGRAM", 3478), ("STREAM", 3478), ("STREAM", 443)):
            assert await reached(hosts, kind, port) == ("forbidden" if port == 3478 else "refused")
        await called(hosts, film, tmp_path, relay_only=False)


async def reached(hosts: Networks, kind: str, port: int) -> str:
    """Whether Anna's network lets her to that port, where nothing listens yet."""
    script = (
        "import socket\n"
        f"try: socket.socket(type=socket.SOCK_{kind}).connect(('{SERVICE}', {port}))\n"
        "except PermissionError: print('forbidden')\n"
        "except ConnectionRefusedError: print('refused')\n"
    )
    process = await asyncio.create_subprocess_exec(
        *hosts.inside("anna"), sys.executable, "-c", script, stdout=PIPE
    )
    return (await printed(process)).strip()


async def counted(made: World) -> dict[str, float]:
    """How calls connected, as /metrics tells it."""
    script = f"import urllib.request; print(urllib.request.urlopen('http://{SERVICE}:9470/metrics').read().decode())"
    asking = await asyncio.create_subprocess_exec(
        *made.hosts.inside("between"), sys.executable, "-c", script, stdout=PIPE
    )
    found = re.findall(r'^coach_relay_calls_total\{path="(\w+)"\} (\S+)$', await printed(asking), re.M)
    return {path: float(count) for path, count in found if float(count)}


async def called(hosts: Networks, film: Path, tmp_path: Path, *, relay_only: bool) -> None:
    """A whole call, in which each sees and hears the other."""
    async with world(hosts, tmp_path) as made:
        anna, ben = await talk(made, film, relay_only=relay_only, seconds=8)
        connected = [await line(anna), await line(ben)]
        assert connected[0]["words"] == connected[1]["words"]
        ended = [await line(anna), await line(ben)]
        assert [one["ended"] for one in ended] == ["answered", "answered"], ended
        await asyncio.gather(printed(anna), printed(ben))
        assert await counted(made) == {"relay": 2.0}  # the operator sees how, of each device, and not who
    for who in ("anna", "ben"):
        found = await facts(tmp_path, who)
        assert found.distinct_frames > 20
        assert found.audio_energy > 0.02


async def test_a_call_goes_on_in_another_network(hosts: Networks, film: Path, tmp_path: Path) -> None:
    """Ben's address changes in the middle, for good: the same call goes on, and is heard and seen again."""
    async with world(hosts, tmp_path) as made:
        anna, ben = await talk(made, film, relay_only=True, seconds=20)
        first = [await line(anna), await line(ben)]
        hosts.readdress("ben", 77)
        try:
            second = [await line(anna), await line(ben)]
            ended = [await line(anna), await line(ben)]
            await asyncio.gather(printed(anna), printed(ben))
        finally:
            hosts.readdress("ben", 2)
    assert len({one["call"] for one in (*first, *second, *ended)}) == 1
    assert [one["attempt"] for one in first] == [1, 1]
    assert second[0]["attempt"] == second[1]["attempt"] > 1
    assert second[0]["words"] == second[1]["words"] != first[0]["words"]
    assert [one["ended"] for one in ended] == ["answered", "answered"]
    for who in ("anna", "ben"):
        found = await facts(tmp_path, who)
        assert found.distinct_frames > 60, "most of the call came after the change"
        assert found.audio_energy > 0.02
