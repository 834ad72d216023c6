"""The relay as a real process."""

from __future__ import annotations

import asyncio
import os
import re
import signal
import sys
from asyncio.subprocess import PIPE, Process
from collections.abc import AsyncIterator, Mapping, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path

ROOT = Path(__file__).resolve().parents[3]
LINE = re.compile(r"coach-relay: listening on (https?://\S+:\d+), data in (.+)\n")
PATIENCE = 60.0


@dataclass(frozen=True, slots=True)
class RelayProcess:
    """A relay that said where it listens."""

    process: Process
    url: str
    data: str

    async def ended(self) -> int:
        async with asyncio.timeout(PATIENCE):
            return await self.process.wait()

    async def stop(self) -> int:
        self.process.send_signal(signal.SIGTERM)
        return await self.ended()

    async def errors(self) -> str:
        """Everything that it wrote to standard error; waits for its end."""
        assert self.process.stderr is not None
        return (await self.process.stderr.read()).decode()


def environment(**changes: str) -> dict[str, str]:
    """Ours without settings of a relay that the person who runs the tests may have."""
    kept = {name: value for name, value in os.environ.items() if not name.startswith("COACH_RELAY_")}
    return {**kept, "PYTHONPATH": str(ROOT), "PYTHONWARNINGS": "error", **changes}


async def start(command: Sequence[str], env: Mapping[str, str], cwd: Path) -> Process:
    return await asyncio.create_subprocess_exec(*command, env=env, cwd=cwd, stdout=PIPE, stderr=PIPE)


@asynccontextmanager
async def relay_process(
    folder: Path, *options: str, command: Sequence[str] = (), **env: str
) -> AsyncIterator[RelayProcess]:
    """Start `serve` (or another command that does), and wait for its line; at the end it is killed."""
    serve = (sys.executable, "-m", "relay.cli.main", "serve")
    started = command or (*serve, "--port", "0", "--data-dir", str(folder / "data"))
    process = await start([*started, *options], environment(**env), folder)
    assert process.stdout is not None
    try:
        async with asyncio.timeout(PATIENCE):
            line = (await process.stdout.readline()).decode()
        matched = LINE.fullmatch(line)
        if matched is None:
            assert process.stderr is not None
            raise AssertionError(f"{line!r} {(await process.stderr.read()).decode()}")
        yield RelayProcess(process, matched[1], matched[2])
    finally:
        if process.returncode is None:
            process.kill()
        await process.communicate()
