"""`coach demo --keep`: leaving the relay running, with command lines for Anna and Ben."""

from __future__ import annotations

import asyncio
import shlex
import sys
from pathlib import Path

from client_sdk.cli.settings import Settings, save_settings
from client_sdk.demo.actors import Actor
from client_sdk.demo.stage import Stage


async def hand_over(stage: Stage) -> None:
    """Close both programs, remember how to reach relay and portal beside the vaults, and say what to type."""
    for actor in (stage.anna, stage.ben):
        await actor.close()
        settings = Settings(relay=stage.relay.url, token_url=actor.token_url, engagement=stage.engagement)
        save_settings(actor.vault, settings)
    await stage.line.close()
    await asyncio.gather(stage.relay.let_go(), stage.portal.let_go())
    screen = stage.screen
    screen.plain()
    screen.plain(
        "The relay and the portal go on running. Type along, Ben in one terminal and Anna in another:",
        style="bold",
    )
    screen.plain()
    screen.plain(_command(stage.ben, "read", "--follow"))
    screen.plain()
    screen.plain(_command(stage.anna, "send", "Hello Ben, this is me, from a terminal."))
    screen.plain()
    screen.plain("When you are done, end the two processes and erase everything:", style="bold")
    screen.plain()
    folder = shlex.quote(str(stage.folder))
    screen.plain(f"kill {stage.relay.pid} {stage.portal.pid}; sleep 3; rm -r {folder}")


def _command(actor: Actor, command: str, *arguments: str) -> str:
    program = [*coach(), command, "--vault", str(actor.vault), *arguments]
    return f"COACH_PASSPHRASE={shlex.quote(actor.passphrase)} {shlex.join(program)}"


def coach_line() -> str:
    """Return how `coach` is called from the folder we are in, as short as possible."""
    program = coach()
    if Path(program[0]).is_relative_to(Path.cwd()):
        program[0] = str(Path(program[0]).relative_to(Path.cwd()))
    return shlex.join(program)


def coach() -> list[str]:
    """Return how this very installation's `coach` is called."""
    installed = Path(sys.executable).with_name("coach")
    return [str(installed)] if installed.exists() else [sys.executable, "-m", "client_sdk.cli.main"]
