"""deploy/Dockerfile: its steps work, what they make runs on a read-only root, and nothing in it is loose."""

from __future__ import annotations

import asyncio
import re
import subprocess
import sys
import tomllib
from pathlib import Path

import aiohttp
import pytest

from relay.config import load_settings
from tests.deploy import dockerfile
from tests.deploy.programs import output_of, program
from tests.relay.cli.processes import PATIENCE, ROOT, RelayProcess, relay_process

PORT = 8470
ORIGIN = "https://relay.example"


def index_is_reachable() -> bool:
    """Whether pip finds packages: the one thing of the build that is not in the source."""
    done = subprocess.run(
        [sys.executable, "-m", "pip", "install", "--dry-run", "--no-deps", "--ignore-installed", "segno"],
        capture_output=True,
        timeout=60,
        check=False,
    )
    return done.returncode == 0


@pytest.fixture(scope="module")
def image(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The program's folder, made by the steps of the first stage."""
    if not index_is_reachable():
        pytest.skip("no package index here")
    return dockerfile.build(tmp_path_factory.mktemp("image"))


async def ended(command: list[str]) -> int:
    process = await asyncio.create_subprocess_exec(*command, stderr=asyncio.subprocess.DEVNULL)
    async with asyncio.timeout(PATIENCE):
        return await process.wait()


async def answers(relay: RelayProcess) -> str:
    """Its address on this machine, at which it is ready."""
    url = relay.url.replace("0.0.0.0", "127.0.0.1")
    async with aiohttp.ClientSession(url) as http:
        for path in ("/livez", "/readyz"):
            async with http.get(path) as answer:
                assert answer.status == 200
    return url


@pytest.mark.timeout(600)
async def test_what_the_image_starts_serves_from_a_read_only_root_without_a_right(
    image: Path, tmp_path: Path
) -> None:
    data = tmp_path / "data"
    data.mkdir()
    nothing_else = ["--ro-bind", "/", "/", "--dev", "/dev", "--proc", "/proc", "--bind", str(data), str(data)]
    nobody = ["--unshare-user", "--uid", "10001", "--gid", "10001", "--unshare-pid", "--cap-drop", "ALL"]
    settings = dockerfile.image_environment() | {
        "COACH_RELAY_DATA_DIR": str(data),
        "COACH_RELAY_PUBLIC_ORIGINS": ORIGIN,
        "COACH_RELAY_PORT": "0",
        "PATH": f"{image / 'bin'}:/usr/bin:/bin",
    }
    variables = [part for name, value in settings.items() for part in ("--setenv", name, value)]
    room = [
        program("bwrap"),
        *nothing_else,
        *nobody,
        "--clearenv",
        *variables,
        "--chdir",
        "/",
        "--die-with-parent",
    ]
    if await ended([*room, "true"]) != 0:
        pytest.skip("this system makes no namespaces for us")
    command = [*room, *dockerfile.last("ENTRYPOINT").words, *dockerfile.last("CMD").words]
    async with relay_process(tmp_path, command=command) as relay:
        url = await answers(relay)
        check = [
            part.replace(f":{PORT}/", f":{url.rpartition(':')[2]}/") for part in dockerfile.health_check()
        ]
        assert await ended([*room, *check]) == 0
        names = [*dockerfile.last("ENTRYPOINT").words, "portal", "list"]
        assert await ended([*room, *names]) == 0  # what `docker exec` runs beside it
        # bwrap hands no signal on: the relay is the only process below the one that it forked
        relay_pid = await child_of(await child_of(relay.process.pid))
        output_of(["kill", "-TERM", str(relay_pid)])
        assert await relay.ended() == 0
        assert await ended([*room, *check]) != 0
    assert sorted(path.name for path in tmp_path.iterdir()) == ["data"]


async def child_of(pid: int) -> int:
    children = Path(f"/proc/{pid}/task/{pid}/children").read_text(encoding="ascii").split()
    assert len(children) == 1
    return int(children[0])


@pytest.mark.timeout(600)
def test_the_image_has_what_the_relay_needs_and_nothing_for_tests(image: Path) -> None:
    there = {path.name.partition("-")[0] for path in image.glob("lib/python*/site-packages/*.dist-info")}
    assert {"coach_relay", "aiohttp", "apsw_sqlite3mc", "obstore", "redis", "prometheus_client"} <= there
    assert not there & {"pip", "pytest", "mypy", "aiortc", "av", "moto", "hatchling"}


def test_a_linter_finds_no_fault() -> None:
    assert output_of([program("hadolint"), str(dockerfile.FILE)]) == ""


def test_everything_that_it_installs_is_locked_with_hashes_that_the_tests_ran_with() -> None:
    ours = requirements(ROOT / "requirements.lock")
    for name in ("relay.lock", "build.lock"):
        part = requirements(ROOT / "deploy" / name)
        assert part
        assert {package: ours.get(package) for package in part} == part
    runs = [one.text for stage in dockerfile.stages() for one in stage if one.name == "RUN"]
    installs = [step for text in runs for step in text.split("&&") if " install " in step and "pip" in step]
    assert installs
    for step in installs:
        assert "--require-hashes --only-binary :all:" in step or "--no-deps --no-index" in step, step


def requirements(path: Path) -> dict[str, set[str]]:
    """The packages of a lock, each with its version and hashes."""
    found: dict[str, set[str]] = {}
    package = ""
    for line in path.read_text(encoding="utf-8").splitlines():
        if "==" in line:
            package = re.split(r"[ ;\\]", line)[0]
            found[package] = set()
        else:
            found[package].add(line.strip(" \\"))
    return found


def test_the_lock_has_every_requirement_of_the_relay() -> None:
    project = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    extras = project["optional-dependencies"]
    named = {
        re.split(r"[><=; ]", one)[0] for one in project["dependencies"] + extras["relay"] + extras["redis"]
    }
    locked = {package.partition("==")[0] for package in requirements(ROOT / "deploy" / "relay.lock")}
    assert named <= locked


def test_it_is_nobody_keeps_its_data_in_its_volume_and_ends_in_order() -> None:
    assert dockerfile.last("USER").text == "10001:10001"
    assert dockerfile.last("VOLUME").text == "/data"
    assert dockerfile.image_environment()["COACH_RELAY_DATA_DIR"] == "/data"
    assert dockerfile.last("STOPSIGNAL").text == "SIGTERM"
    port = load_settings(environ={"XDG_DATA_HOME": "/x"}).port
    assert dockerfile.last("EXPOSE").text == str(port) == str(PORT)
    assert f"127.0.0.1:{port}/livez" in dockerfile.health_check()[-1]


def test_its_base_is_named_by_version_and_from_nowhere_else() -> None:
    bases = {
        one.text.split(" AS ")[0] for stage in dockerfile.stages() for one in stage if one.name == "FROM"
    }
    (base,) = bases
    assert re.fullmatch(r"python:3\.\d+-slim-[a-z]+", base)


def test_the_context_has_nothing_but_what_is_copied() -> None:
    lines = (ROOT / ".dockerignore").read_text(encoding="utf-8").splitlines()
    assert "*" in lines
    let_in = {line[1:] for line in lines if line.startswith("!")}
    copied = {name for one in dockerfile.stages()[0] if one.name == "COPY" for name in one.text.split()[:-1]}
    assert copied <= let_in
    assert {
        name for name in let_in - copied if not any(name.startswith(f"{one}/") for one in copied)
    } == set()
