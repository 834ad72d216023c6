"""A program in Node that is asked in lines of JSON, and answers each by its number."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any, Final

_LINE_BYTES: Final = 16 << 20


class Program:
    """One process; what it says without having been asked is for `heard`."""

    def __init__(
        self,
        *arguments: str,
        patience: float,
        folder: Path | None = None,
        environment: dict[str, str] | None = None,
        inside: Sequence[str] = (),
    ) -> None:
        self._arguments = arguments
        self._inside = inside  # what its command begins with: where it runs
        self._patience = patience
        self._folder = folder
        self._environment = environment
        self._process: asyncio.subprocess.Process | None = None
        self._reading: asyncio.Task[None] | None = None
        self._waiting: dict[int, asyncio.Future[Any]] = {}
        self._asked = 0

    async def start(self) -> None:
        pipe = asyncio.subprocess.PIPE
        self._process = await asyncio.create_subprocess_exec(
            *(*self._inside, "node", *self._arguments),
            cwd=self._folder,
            env=self._environment,
            stdin=pipe,
            stdout=pipe,
            limit=_LINE_BYTES,
        )
        self._reading = asyncio.create_task(self._read(self._process))

    async def stop(self) -> None:
        if self._process is None or self._process.stdin is None or self._reading is None:
            return
        self._process.stdin.close()
        await self._process.wait()
        await self._reading

    async def _read(self, process: asyncio.subprocess.Process) -> None:
        if process.stdout is None:
            raise RuntimeError("the program has no pipe")
        async for line in process.stdout:
            said = json.loads(line)
            if not self.heard(said):
                waiting = self._waiting.pop(said["id"])
                if not waiting.done():
                    waiting.set_result(said)

    def heard(self, said: dict[str, Any]) -> bool:
        """Whether it is no answer, and dealt with."""
        return False

    def write(self, line: dict[str, Any]) -> None:
        if self._process is None or self._process.stdin is None:
            raise RuntimeError("the program was not started")
        self._process.stdin.write(json.dumps(line).encode() + b"\n")

    async def answer(self, command: str, **arguments: object) -> dict[str, Any]:
        """One request, one answer."""
        self._asked += 1
        answered = self._waiting[self._asked] = asyncio.get_running_loop().create_future()
        self.write({"id": self._asked, "command": command, **arguments})
        said: dict[str, Any] = await asyncio.wait_for(answered, self._patience)
        return said
