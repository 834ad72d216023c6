"""The browser's engine without a browser: several people in one process of Node, with a clock of the test."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any, Final

from tests.browser.chromium import PACKAGE
from tests.browser.program import Program

ANSWER_SECONDS: Final = 60


class PeerError(Exception):
    """The engine raised something; `code` is its own."""

    def __init__(self, code: str, detail: str) -> None:
        super().__init__(f"{code}: {detail}")
        self.code = code


async def build(folder: Path) -> Path:
    """The program, made of the sources as they are now."""
    building = await asyncio.create_subprocess_exec(
        *("npx", "vite", "build", "-c", "e2e/peer.config.ts", "--outDir", str(folder)),
        cwd=PACKAGE,
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.STDOUT,
    )
    said, _ = await building.communicate()
    if building.returncode != 0:
        raise RuntimeError(said.decode()[-2000:])
    return folder / "peer.js"


class Peers(Program):
    """Devices of people, by name; a name is its user."""

    def __init__(self, program: Path, token_for: Callable[[str], Callable[[], Awaitable[str]]]) -> None:
        super().__init__("--experimental-websocket", "--no-warnings", str(program), patience=ANSWER_SECONDS)
        self._token_for = token_for
        self._answering: set[asyncio.Task[None]] = set()

    def heard(self, said: dict[str, Any]) -> bool:
        if "token" not in said:
            return False
        task = asyncio.create_task(self._give_token(said["token"], said["id"]))
        self._answering.add(task)
        task.add_done_callback(self._answering.discard)
        return True

    async def _give_token(self, name: str, number: int) -> None:
        self.write({"id": number, "token": await self._token_for(name)()})

    async def ask(self, command: str, **arguments: object) -> Any:
        """What the device gives; raises `PeerError`."""
        said = await self.answer(command, **arguments)
        if "error" in said:
            raise PeerError(said["error"], said["detail"])
        return said["value"]

    async def open(self, name: str, url: str, *, old: bool = False) -> Any:
        """This person's device begins, or begins anew with what it stored."""
        return await self.ask("open", name=name, url=url, called=name.capitalize(), old=old)

    async def call(self, name: str, method: str, *args: object) -> Any:
        """What a page would ask of the Worker."""
        return await self.ask("call", name=name, method=method, args=list(args))


class Room:
    """One conversation on one such device."""

    def __init__(self, peers: Peers, name: str, engagement: str) -> None:
        self._peers, self.name, self._id = peers, name, engagement
        self._said = 0

    async def call(self, method: str, *args: object) -> Any:
        return await self._peers.call(self.name, method, self._id, *args)

    async def send(self, text: str, message_id: str) -> str:
        sent: str = await self.call("send", message_id, text, None)
        return sent

    async def history(self) -> list[dict[str, Any]]:
        found: list[dict[str, Any]] = await self.call("history", 500, None)
        return found

    async def texts(self) -> list[str]:
        return [item["text"] for item in await self.history() if item["kind"] == "text"]

    async def gaps(self) -> list[str]:
        return [item["text"] for item in await self.history() if item["kind"] == "gap"]

    async def state(self) -> dict[str, Any]:
        found: dict[str, Any] = await self.call("state")
        return found
