"""The demo's own processes: started, watched, and ended by their id."""

from __future__ import annotations

import asyncio
import os
import signal
import sys
from collections.abc import Mapping, Sequence
from contextlib import suppress
from pathlib import Path
from typing import Final

from client_sdk.demo.errors import DemoError

LINE_LIMIT: Final = 4 * 1024 * 1024
"""Bytes of the longest line a process may print: a history of some hundred messages fits many times."""

ENDING: Final = 5.0
"""Seconds a process has to end by itself before it is killed."""


class Child:
    """One process of the demo; what it prints as errors goes to a log file."""

    def __init__(self, name: str, process: asyncio.subprocess.Process, log: Path) -> None:
        self.name = name
        self.log = log
        self._process = process

    @classmethod
    async def start(
        cls,
        name: str,
        command: Sequence[str],
        *,
        log: Path,
        environment: Mapping[str, str],
        background: bool = False,
    ) -> Child:
        """Start `command` with `environment` added to ours, in a session of its own.

        A session of its own keeps Ctrl-C in the terminal from reaching it: the demo ends it in order.
        `background` sends its output to the log too, so that it can outlive the demo. Its input is a pipe:
        when that ends, because the demo was killed, it ends too (`on_a_leash`).
        """
        with log.open("ab") as sink:
            process = await asyncio.create_subprocess_exec(
                *command,
                stdin=asyncio.subprocess.PIPE,
                stdout=sink if background else asyncio.subprocess.PIPE,
                stderr=sink,
                env={**clean_environment(), **environment},
                start_new_session=True,
                limit=LINE_LIMIT,
            )
        return cls(name, process, log)

    @property
    def pid(self) -> int:
        """The process's id."""
        return self._process.pid

    @property
    def running(self) -> bool:
        """Whether it has not ended yet."""
        return self._process.returncode is None

    async def read_line(self) -> bytes:
        """Return the next line it prints; empty when it has ended."""
        if self._process.stdout is None:
            raise DemoError(f"the output of {self.name} goes to {self.log}, not to the demo")
        return await self._process.stdout.readline()

    async def write_line(self, line: bytes) -> None:
        """Give it one line of input."""
        if self._process.stdin is None or not self.running:
            raise DemoError(f"{self.name} is not running any more", log=self.log)
        self._process.stdin.write(line + b"\n")
        await self._process.stdin.drain()

    async def kill(self) -> None:
        """End it at once with SIGKILL, as a crash or a power cut would, and wait until it is gone."""
        self._signal(signal.SIGKILL)
        await self._process.wait()

    async def end_input(self) -> None:
        """Tell it that nothing more comes, so that it ends by itself; kill it when it does not."""
        if self._process.stdin is not None:
            self._process.stdin.close()
        await self._ended()

    async def let_go(self) -> None:
        """Have it go on without the demo."""
        await self.write_line(b"")

    async def end(self) -> None:
        """Ask it to end, and kill it when it does not within `ENDING` seconds."""
        self._signal(signal.SIGTERM)
        await self._ended()

    async def _ended(self) -> None:
        try:
            await asyncio.wait_for(self._process.wait(), ENDING)
        except TimeoutError:
            await self.kill()

    async def wait(self) -> int:
        """Wait until it has ended by itself; its exit code."""
        return await self._process.wait()

    def _signal(self, number: signal.Signals) -> None:
        with suppress(ProcessLookupError):
            if self.running:
                self._process.send_signal(number)


def clean_environment() -> dict[str, str]:
    """Return our environment without the settings that people have for their own relay, portal or vault."""
    ours = {name: value for name, value in os.environ.items() if not name.startswith(("COACH_", "PORTAL_"))}
    return {**ours, "PYTHONUNBUFFERED": "1"}


def on_a_leash(module: str, *arguments: str) -> list[str]:
    """Return the command line of a module that ends with its standard input, unless it was let go before."""
    return python(str(Path(__file__).with_name("leash.py")), module, *arguments)


def python(*arguments: str) -> list[str]:
    """Return the command line of a module or script run by this very Python."""
    return [sys.executable, *arguments]
