"""Anna and Ben as the demo handles them: each a process with a vault, told what to do line by line."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, Final

from client_sdk.demo.errors import DemoError
from client_sdk.demo.processes import Child, python

PATIENCE: Final = 30.0
"""Seconds the demo waits for one thing to happen; it usually takes well below one."""

Event = Mapping[str, Any]


def ignore(_event: Event) -> None:
    """Watch nothing."""


class Actor:
    """One participant: starts and ends their program, tells it what to do, collects what it reports."""

    def __init__(self, name: str, full_name: str, *, vault: Path, log: Path) -> None:
        self.name = name
        self.full_name = full_name
        self.user = name.lower()
        self.passphrase = f"{name} keeps the sea in a jar"
        self.relay = ""
        self.token_url = ""
        self.vault = vault
        self.log = log
        self.events: list[Event] = []
        self._child: Child | None = None
        self._reader: asyncio.Task[None] | None = None
        self._answers: dict[int, asyncio.Future[Event]] = {}
        self._requests = 0
        self._changed = asyncio.Condition()
        self.watch: Callable[[Event], None] = ignore

    @property
    def pid(self) -> int:
        """The id of the program's process."""
        return self._running().pid

    async def start(self) -> None:
        """Start the program; it opens the vault and connects when told `open`."""
        self._child = await Child.start(
            f"{self.name}'s program",
            python("-m", "client_sdk.demo.participant"),
            log=self.log,
            environment={
                "COACH_VAULT": str(self.vault),
                "COACH_PASSPHRASE": self.passphrase,
                "COACH_RELAY": self.relay,
                "COACH_TOKEN_URL": self.token_url,
            },
        )
        self._reader = asyncio.create_task(self._read(self._child))

    async def ask(self, do: str, /, *, patience: float = PATIENCE, **arguments: object) -> Any:
        """Tell the program to do something and return its answer; raises `DemoError` if it could not."""
        self._requests += 1
        request = self._requests
        answer: asyncio.Future[Event] = asyncio.get_running_loop().create_future()
        self._answers[request] = answer
        await self._running().write_line(json.dumps({"request": request, "do": do, **arguments}).encode())
        try:
            reply = await asyncio.wait_for(answer, patience)
        except TimeoutError:
            raise DemoError(
                f"{self.name}'s program did not finish “{do}” in {patience:.0f} s", log=self.log
            ) from None
        finally:
            del self._answers[request]
        if "error" in reply:
            raise DemoError(f"{self.name}'s program could not do “{do}”: {reply['error']}", log=self.log)
        return reply.get("result")

    async def wait_for(
        self, what: str, wanted: Callable[[Event], bool], *, since: int = 0, patience: float = PATIENCE
    ) -> Event:
        """Return the first `wanted` event from number `since` on; `DemoError` if none comes in time."""
        try:
            async with asyncio.timeout(patience), self._changed:
                await self._changed.wait_for(lambda: self._first(wanted, since) or self._gone())
        except TimeoutError:
            problem = f"{self.name} waited {patience:.0f} s in vain for {what}"
            raise DemoError(problem, log=self.log) from None
        found = self._first(wanted, since)
        if found is None:
            raise DemoError(f"{self.name}'s program ended while waiting for {what}", log=self.log)
        return found

    async def wait_item(
        self, what: str, *, since: int = 0, patience: float = PATIENCE, **fields: object
    ) -> Event:
        """Return the first conversation item whose fields have these values."""

        def wanted(event: Event) -> bool:
            return event.get("event") == "item" and all(
                event.get(key) == value for key, value in fields.items()
            )

        return await self.wait_for(what, wanted, since=since, patience=patience)

    def items(self, *, since: int = 0) -> list[Event]:
        """Return the conversation items that were reported from event number `since` on."""
        return [event for event in self.events[since:] if event["event"] == "item"]

    async def kill(self) -> None:
        """End the program at once, as a crash would."""
        await self._running().kill()
        await self._finished()

    async def close(self) -> None:
        """Let the program close the vault and end, if it runs."""
        if self._child is None or not self._child.running:
            return
        await self._child.end_input()
        await self._finished()

    async def abandon(self) -> None:
        """End the program whatever state it is in."""
        if self._child is not None and self._child.running:
            await self._child.end()
        await self._finished()

    def _running(self) -> Child:
        if self._child is None:
            raise DemoError(f"{self.name}'s program has not been started", log=self.log)
        return self._child

    def _gone(self) -> bool:
        return self._reader is None or self._reader.done()

    def _first(self, wanted: Callable[[Event], bool], since: int) -> Event | None:
        return next((event for event in self.events[since:] if wanted(event)), None)

    async def _finished(self) -> None:
        if self._reader is not None:
            await self._reader

    async def _read(self, child: Child) -> None:
        while line := await child.read_line():
            report: dict[str, Any] = json.loads(line)
            answer = self._answers.get(report.get("request", 0))
            if answer is not None and not answer.done():
                answer.set_result(report)
            elif "event" in report:
                self.events.append(report)
                self.watch(report)
            async with self._changed:
                self._changed.notify_all()
        await self._ended(child)

    async def _ended(self, child: Child) -> None:
        code = await child.wait()
        for answer in self._answers.values():
            if not answer.done():
                answer.set_result({"error": f"it ended (exit code {code})"})
        async with self._changed:
            self._changed.notify_all()
