"""docs/OPERATIONS.md: what it tells an operator to do works."""

from __future__ import annotations

import asyncio
import re
import shlex
import sys
from pathlib import Path

import aiohttp

from relay.cli.main import parser
from relay.wire import frames as fr
from relay.wire.errors import ErrorCode
from tests.relay.cli.processes import PATIENCE, ROOT, environment, relay_process, start
from tests.relay.cli.test_serve import add_portal
from tests.relay.http.support import PORTAL, Peers

TEXT = (ROOT / "docs" / "OPERATIONS.md").read_text(encoding="utf-8")


def commands_after(marker: str) -> list[str]:
    found = re.search(re.escape(marker) + r"\n```sh\n(.*?)```", TEXT, re.S)
    assert found is not None
    return found[1].splitlines()


async def run(command: str, folder: Path) -> None:
    process = await start(shlex.split(command), environment(), folder)
    async with asyncio.timeout(PATIENCE):
        output, errors = await process.communicate()
    assert process.returncode == 0, (output + errors).decode()


async def test_a_backup_made_while_the_relay_runs_can_be_restored(tmp_path: Path) -> None:
    copy, new = tmp_path / "copy", tmp_path / "new" / "data"
    new.parent.mkdir()

    async def do(marker: str, data: str, *options: str) -> None:
        for command in commands_after(marker):
            replaced = command.replace("DATA", data).replace("COPY", str(copy))
            line = re.sub("^coach-relay ", f"{sys.executable} -m relay.cli.main ", replaced)
            await run(" ".join([line, *options]), tmp_path)

    async with relay_process(tmp_path) as relay, aiohttp.ClientSession(relay.url) as http:
        keys = await add_portal(relay.data)
        peers = Peers(relay.url, http, {PORTAL: keys})
        engagement = await peers.engagement("anna", "ben")
        async with peers.device("anna") as device:
            await device.create_group(engagement)
            await device.send(fr.Open(1, engagement, 0))
            before = await device.wait_for(fr.Opened)
            await do("<!-- executed by tests/deploy/test_operations.py -->", relay.data)
        assert await relay.stop() == 0
    await do("<!-- restored by tests/deploy/test_operations.py -->", str(new), "--yes")
    async with relay_process(new.parent) as restored, aiohttp.ClientSession(restored.url) as http:
        peers = Peers(restored.url, http, {PORTAL: keys})
        async with peers.device("anna") as device:
            await device.send(fr.Open(1, engagement, 0))
            opened = await device.wait_for(fr.Opened)
            assert opened.head == before.head == 1
            assert opened.incarnation != before.incarnation
        assert await restored.stop() == 0


def told() -> list[list[str]]:
    """Every `coach-relay` command that it tells to run, as its words."""
    blocks = re.findall(r"```sh\n(.*?)```", TEXT, re.S)
    lines = [line.partition(" #")[0] for block in blocks for line in block.splitlines()]
    found = (
        re.match(r"(?:runuser -u .*/bin/|docker compose exec relay )?coach-relay ([^>]+)", line)
        for line in lines
    )
    return [shlex.split(one[1].partition(" --config ")[0]) for one in found if one]


def test_the_program_takes_every_command_that_it_tells() -> None:
    commands = told()
    assert len(commands) > 15
    for words in commands:
        assert parser().parse_args(words).run


async def test_its_commands_about_portals_do_what_it_says(tmp_path: Path) -> None:
    """In the order in which they stand there, each once."""
    await run("openssl genpkey -algorithm ed25519 -out private.pem", tmp_path)
    await run("openssl pkey -in private.pem -pubout -out public.pem", tmp_path)
    asked = [words for words in told() if words[0] == "portal" or words[:2] == ["engagement", "list"]]
    done = set()
    for words in [
        *(one for one in asked if one[1] != "remove"),
        *(one for one in asked if one[1] == "remove"),
    ]:
        if (key := tuple(words[:3])) not in done:
            done.add(key)
            answer = ["--yes"] if words[1] in ("rotate", "remove") else []
            command = [sys.executable, "-m", "relay.cli.main", *words, *answer, "--data-dir", "data"]
            await run(shlex.join(command), tmp_path)
    assert {key[1] for key in done} == {"add", "list", "rotate", "key", "set-origins", "set-quota", "remove"}


def test_every_file_and_setting_that_it_names_is_there() -> None:
    for target in re.findall(r"\]\((?!http)([^)#]+)\)", TEXT):
        assert (ROOT / "docs" / target).exists(), target
    config = (ROOT / "deploy" / "coach-relay.toml").read_text(encoding="utf-8")
    codes = {code.value for code in ErrorCode}
    for name in re.findall(r"`([a-z]+_[a-z_]+)`", TEXT):
        if not name.startswith(("coach_relay_", "process_")):  # those are the metrics' (test_monitoring)
            assert f"# {name} = " in config or name in codes, name
