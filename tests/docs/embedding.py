"""docs/EMBEDDING.md done step by step: its relay, its portal, its snippets, as they are printed."""

from __future__ import annotations

import asyncio
import re
import shutil
import signal
import sys
from asyncio.subprocess import PIPE, Process
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from relay.config import ConfigError
from relay.http.element_files import element_folder
from tests.relay.cli.processes import ROOT, environment
from tests.support.ports import free_port

TEXT: Final = (ROOT / "docs" / "EMBEDDING.md").read_text(encoding="utf-8")
SECONDS: Final = 30


def missing() -> str | None:
    """Why the document cannot be followed here, or None."""
    try:
        element_folder()
    except ConfigError as error:
        return str(error)
    return None


def snippets(language: str) -> list[str]:
    """What stands in fences of this language, in order."""
    return re.findall(rf"^```{language}\n(.*?)^```", TEXT, re.DOTALL | re.MULTILINE)


def snippet(language: str, containing: str) -> str:
    """The one of them with these words."""
    (found,) = [text for text in snippets(language) if containing in text]
    return found


def headers(block: str) -> dict[str, str]:
    """A block of headers by name."""
    pairs = (line.partition(": ") for line in block.splitlines())
    return {name: value for name, _, value in pairs}


@dataclass(frozen=True, slots=True)
class Followed:
    """Where somebody is who did what steps 1 and 2 say."""

    folder: Path
    relay: str
    portal: int
    secrets: dict[str, str]


@asynccontextmanager
async def followed(folder: Path) -> AsyncIterator[Followed]:
    """Do steps 1 and 2 in a folder; other ports than printed, so that nobody is in the way."""
    relay, portal = free_port(), free_port()
    programs = folder / "bin"
    programs.mkdir(parents=True)
    for name, does in {
        "python": f'exec {sys.executable} "$@"',
        "coach-relay": f'exec {sys.executable} -m relay.cli.main "$@"',
        "pip": "",  # it is installed
    }.items():
        (programs / name).write_text(f"#!/bin/sh\n{does}\n")
        (programs / name).chmod(0o755)
    env = environment(
        PATH=f"{programs}:/usr/bin:/bin",
        COACH_RELAY_DATA_DIR=str(folder / "data"),
        COACH_RELAY_PORT=str(relay),
        RELAY_URL=f"http://127.0.0.1:{relay}",
        PORTAL_PORT=str(portal),
        PYTHONWARNINGS="default",
        PYTHONUNBUFFERED="1",
    )
    (folder / "portal.py").write_text(snippet("python", "def access_token"), encoding="utf-8")
    first = snippet("sh", "serve --serve-element").replace(":8000", f":{portal}")
    async with _shell(first, env, folder, says="listening on"):
        del env["COACH_RELAY_DATA_DIR"], env["COACH_RELAY_PORT"]
        async with _shell(snippet("sh", "python portal.py"), env, folder, says="Running on"):
            lines = (folder / "portal.env").read_text().splitlines()
            secrets = dict(line.split("=", 1) for line in lines if "=" in line and not line.startswith("#"))
            yield Followed(folder, f"http://127.0.0.1:{relay}", portal, secrets)


@asynccontextmanager
async def _shell(text: str, env: dict[str, str], folder: Path, *, says: str) -> AsyncIterator[None]:
    """Run lines of a shell, the last of which goes on; wait for what it says."""
    *before, last = text.strip().splitlines()
    script = "\n".join(["set -e", *before, f"exec {last}"])
    process = await asyncio.create_subprocess_exec(
        shutil.which("sh") or "sh", "-c", script, env=env, cwd=folder, stdout=PIPE, stderr=PIPE
    )
    try:
        async with asyncio.timeout(SECONDS):
            await _said(process, says)
        yield
    finally:
        if process.returncode is None:
            process.send_signal(signal.SIGTERM)
        await process.communicate()


async def _said(process: Process, words: str) -> None:
    if process.stdout is None or process.stderr is None:
        raise RuntimeError("no pipe")
    async for line in process.stdout:
        if words in line.decode():
            return
    raise AssertionError((await process.stderr.read()).decode())
