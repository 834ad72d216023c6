"""`coach demo --page`: a relay and a portal's pages, in which a coach and a client talk until Ctrl-C."""

from __future__ import annotations

import asyncio
import os
import shutil
import sys
import tempfile
import webbrowser
from importlib.util import find_spec
from pathlib import Path
from typing import Final

from client_sdk.cli.errors import CliError, Exit
from client_sdk.demo.errors import DemoError
from client_sdk.demo.pages import page_origins
from client_sdk.demo.run import PORTAL, cancelled_by_signals
from client_sdk.demo.screen import Screen
from client_sdk.demo.servers import PagesServer, RelayServer, free_port

NEEDED: Final = ("jwt", "obstore")
_TITLE: Final = "A coach and a client in a portal's pages"
_EXPLANATION: Final = (
    "A relay and a make-believe portal run on this machine. Anna, the coach, and Ben, the client, each have "
    "a page of their own origin, with a device and a store of its own in your browser."
)


async def run_page() -> Exit:
    """Serve until Ctrl-C or SIGTERM; ends its own processes and leaves nothing behind."""
    missing = [module for module in NEEDED if find_spec(module) is None]
    if missing:
        raise CliError(
            f"The demo needs {', '.join(missing)}, which is not installed here.",
            do='Install it: pip install "coach-relay[relay]"',
        )
    folder = Path(tempfile.mkdtemp(prefix="coach-relay-page-"))
    screen = Screen(steps=1)
    relay = RelayServer(folder, port=free_port(), serve_element=True)
    portal = PagesServer(folder / "portal.log", port=free_port())
    with cancelled_by_signals():
        try:
            await _serve(relay, portal, screen)
        except asyncio.CancelledError:
            screen.plain("\nStopped. Ending the demo's own processes …")
        except DemoError as error:
            raise _explained(error) from error
        finally:
            await asyncio.gather(portal.end(), relay.end())
            shutil.rmtree(folder, ignore_errors=True)
    return Exit.DONE


async def _serve(relay: RelayServer, portal: PagesServer, screen: Screen) -> None:
    screen.title(_TITLE, _EXPLANATION)
    keys = await relay.add_portal(PORTAL, pages=page_origins(portal.port))
    await relay.start()
    await portal.start(relay=relay.url, keys=keys)
    screen.plain()
    screen.plain(f"Open this in a browser:  {portal.address}", style="bold")
    screen.plain("It goes on until Ctrl-C.")
    if _has_display():
        await asyncio.to_thread(webbrowser.open, portal.address)
    await asyncio.Event().wait()


def _has_display() -> bool:
    return sys.platform == "darwin" or any(os.environ.get(name) for name in ("DISPLAY", "WAYLAND_DISPLAY"))


def _explained(error: DemoError) -> CliError:
    said = error.log.read_text(encoding="utf-8", errors="replace").strip() if error.log else ""
    last = said.splitlines()[-1] if said else ""
    return CliError(f"The demo's page cannot be served: {error}. {last}".strip(), do="")
