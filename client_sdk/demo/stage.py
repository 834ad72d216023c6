"""What the steps of the story share: the people, the relay and the portal, the screen, and the checks."""

from __future__ import annotations

import asyncio
import shutil
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from client_sdk.demo.actors import PATIENCE, Actor
from client_sdk.demo.errors import CheckFailed
from client_sdk.demo.line import Line
from client_sdk.demo.said import Said
from client_sdk.demo.screen import Screen
from client_sdk.demo.servers import PortalServer, RelayServer


@dataclass(frozen=True, slots=True, kw_only=True)
class Options:
    """How large the story is."""

    file_bytes: int = 25_000_000
    call_seconds: float = 10.0
    crash_messages: int = 30
    """Messages that each of the two writes while the relay crashes."""
    keep: bool = False


@dataclass(slots=True, kw_only=True)
class Stage:
    """Everything a step needs; what it learns for later steps it leaves here."""

    options: Options
    screen: Screen
    folder: Path
    relay: RelayServer
    portal: PortalServer
    line: Line
    """Anna's way to the relay, which counts what goes over it."""
    anna: Actor
    ben: Actor
    said: Said = field(default_factory=Said)
    engagement: str = ""
    copies: list[Path] = field(default_factory=list)
    """Copies of everything the relay had on its disk, made at several moments of the story."""
    checked: int = 0

    def check_equal(self, what: str, *, expected: object, found: object) -> None:
        """Compare, and mark it as checked; raises `CheckFailed` if they differ."""
        if expected != found:
            raise CheckFailed(what, expected=expected, found=found)
        self._passed(what)

    def check(self, what: str, condition: object, *, expected: object, found: object) -> None:
        """Mark as checked what a condition showed; raises `CheckFailed` if it does not hold."""
        if not condition:
            raise CheckFailed(what, expected=expected, found=found)
        self._passed(what)

    async def copy_relay_files(self, moment: str) -> Path:
        """Keep a copy of the relay's files as they are at this moment, for the search at the end."""
        copy = self.folder / "copies" / f"{len(self.copies) + 1}-{moment}"
        await asyncio.to_thread(_copy, self.relay.folder, copy)
        self.copies.append(copy)
        return copy

    async def both(self, do: str, /, *, patience: float = PATIENCE, **arguments: object) -> list[Any]:
        """Tell Anna's and Ben's programs the same at once; their answers in this order."""
        asking = (actor.ask(do, patience=patience, **arguments) for actor in (self.anna, self.ben))
        return list(await asyncio.gather(*asking))

    def _passed(self, what: str) -> None:
        self.checked += 1
        self.screen.check(what)


def _copy(source: Path, target: Path) -> None:
    """Copy what there is; a file that the running relay removes meanwhile is no error."""

    def copy(found: str, to: str) -> None:
        try:
            shutil.copyfile(found, to)
        except FileNotFoundError:
            Path(to).unlink(missing_ok=True)

    shutil.copytree(source, target, copy_function=copy)
