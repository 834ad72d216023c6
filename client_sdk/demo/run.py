"""Running the story from the first step to the last, and cleaning up whatever happens."""

from __future__ import annotations

import asyncio
import shutil
import signal
import tempfile
import time
import traceback
from collections.abc import Iterator
from contextlib import contextmanager
from importlib.util import find_spec
from pathlib import Path
from typing import Final

from client_sdk.cli.errors import CliError, Exit
from client_sdk.demo import keeping, story
from client_sdk.demo.actors import Actor
from client_sdk.demo.errors import CheckFailed, DemoError
from client_sdk.demo.line import Line
from client_sdk.demo.screen import Screen
from client_sdk.demo.servers import PortalServer, RelayServer, free_port
from client_sdk.demo.stage import Options, Stage

NEEDED: Final = {"jwt": "relay", "obstore": "relay", "aiortc": "calls", "av": "calls"}
"""What the demo uses beyond the SDK's messages and files, and the extra that brings it."""

PORTAL: Final = "demo"


async def run_demo(options: Options) -> Exit:
    """Run the whole story and return the exit code; Ctrl-C and SIGTERM end it in order."""
    check_installation()
    folder = Path(tempfile.mkdtemp(prefix="coach-relay-demo-"))
    stage = _stage(folder, Screen(steps=len(story.STEPS)), options)
    result = Exit.INTERRUPTED
    with cancelled_by_signals():
        try:
            result = await _perform(stage)
        except asyncio.CancelledError:
            stage.screen.plain("\nStopped. Ending the demo's own processes …")
        finally:
            await _clean_up(stage, result)
    return result


async def _clean_up(stage: Stage, result: Exit) -> None:
    """End the demo's processes and remove its files, except what is to be used or looked at."""
    if result is Exit.DONE and stage.options.keep:
        return
    await _end(stage)
    if result is Exit.FAILED:
        stage.screen.plain(f"  The logs and everything else are kept in {stage.folder}")
    else:
        shutil.rmtree(stage.folder, ignore_errors=True)


def check_installation() -> None:
    """Raise `CliError` naming what to install, if the demo cannot run here."""
    missing = [module for module in NEEDED if find_spec(module) is None]
    if missing:
        extras = ",".join(sorted({NEEDED[module] for module in missing}))
        raise CliError(
            f"The demo needs {', '.join(missing)}, which is not installed here.",
            do=f'Install it: pip install "coach-relay[{extras}]"',
        )


def _stage(folder: Path, screen: Screen, options: Options) -> Stage:
    logs = folder / "logs"
    for name in ("logs", "relay", "anna", "ben", "copies"):
        (folder / name).mkdir()
    relay = RelayServer(folder / "relay", port=free_port())
    return Stage(
        options=options,
        screen=screen,
        folder=folder,
        relay=relay,
        portal=PortalServer(logs / "portal.log"),
        line=Line(relay.port),
        anna=Actor("Anna", "Anna Lindqvist", vault=folder / "anna" / "anna.vault", log=logs / "anna.log"),
        ben=Actor("Ben", "Ben Okafor", vault=folder / "ben" / "ben.vault", log=logs / "ben.log"),
    )


@contextmanager
def cancelled_by_signals() -> Iterator[None]:
    """Have the first Ctrl-C or SIGTERM cancel this task; further ones do not disturb the cleaning up."""
    task, loop = asyncio.current_task(), asyncio.get_running_loop()
    told = False

    def cancel_once() -> None:
        nonlocal told
        if not told and task is not None:
            told = True
            task.cancel()

    for number in (signal.SIGINT, signal.SIGTERM):
        loop.add_signal_handler(number, cancel_once)
    try:
        yield
    finally:
        for number in (signal.SIGINT, signal.SIGTERM):
            loop.remove_signal_handler(number)


async def _perform(stage: Stage) -> Exit:
    began = time.monotonic()
    stage.screen.title(story.TITLE, story.EXPLANATION)
    place = "while the relay and the portal were started"
    try:
        await _start_servers(stage)
        for number, step in enumerate(story.STEPS, 1):
            place = f"in step {number}, “{step.title}”"
            stage.screen.step(number, step.title, step.explanation)
            await step.run(stage)
        place = "after the last step"
        _sum_up(stage, time.monotonic() - began)
        if stage.options.keep:
            await keeping.hand_over(stage)
    except Exception as error:
        _report(stage, place, error)
        return Exit.FAILED
    return Exit.DONE


async def _start_servers(stage: Stage) -> None:
    await stage.line.open()
    stage.relay.origins.append(stage.line.url)
    keys = await stage.relay.add_portal(PORTAL)
    stage.said.text("the portal's API key", keys["PORTAL_API_KEY"])
    await stage.relay.start()
    await stage.portal.start(relay=stage.relay.url, keys=keys)
    stage.screen.note(
        f"Started: the relay (process {stage.relay.pid}, at {stage.relay.url}) "
        f"and the portal (process {stage.portal.pid})."
    )
    for actor, relay in ((stage.anna, stage.line.url), (stage.ben, stage.relay.url)):
        actor.relay, actor.token_url = relay, stage.portal.token_url(actor.user)


def _sum_up(stage: Stage, seconds: float) -> None:
    stage.screen.plain()
    stage.screen.check(
        f"All {len(story.STEPS)} steps done: {stage.checked} checks passed, in {seconds:.0f} seconds."
    )
    stage.screen.note(story.CLOSING)
    if not stage.options.keep:
        stage.screen.note(
            f"To use it yourself, with Anna's and Ben's vaults: {keeping.coach_line()} demo --keep"
        )


def _report(stage: Stage, place: str, error: Exception) -> None:
    lines = [f"The demo failed {place}: {error}"]
    if isinstance(error, CheckFailed):
        lines = [
            f"A check failed {place}: {error.what}",
            f"expected: {_shortened(error.expected)}",
            f"found:    {_shortened(error.found)}",
        ]
    elif not isinstance(error, DemoError):
        trace = stage.folder / "logs" / "demo.log"
        trace.write_text("".join(traceback.format_exception(error)), encoding="utf-8")
        lines = [f"The demo failed {place}, by a fault of its own: {type(error).__name__}", f"See {trace}"]
    if isinstance(error, DemoError) and error.log is not None:
        lines.append(f"Look first into {error.log}")
    stage.screen.failure(lines)


def _shortened(value: object, most: int = 600) -> str:
    text = repr(value)
    return text if len(text) <= most else f"{text[:most]}… ({len(text)} characters)"


async def _end(stage: Stage) -> None:
    """End what the demo started, and nothing else."""
    await asyncio.gather(stage.anna.abandon(), stage.ben.abandon())
    await stage.line.close()
    await asyncio.gather(stage.portal.end(), stage.relay.end())
