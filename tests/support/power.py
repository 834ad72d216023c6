"""Loss of power for a Redis server of a test: of its log is left what it had synced, and nothing more."""

from __future__ import annotations

import os
import shutil
import subprocess
from pathlib import Path
from typing import Final

from tests.support.real_redis import Process

COMPILER: Final = shutil.which("cc")
NO_COMPILER: Final = "a C compiler notes what Redis syncs: apt-get install gcc libc6-dev"
_SOURCE: Final = Path(__file__).with_name("synced.c")


def watch_syncs(folder: Path) -> dict[str, str]:
    """The environment in which a server notes what it has synced; `folder` takes the library that does."""
    if COMPILER is None:
        raise RuntimeError(NO_COMPILER)
    library = folder / "synced.so"
    subprocess.run([COMPILER, "-shared", "-fPIC", "-o", str(library), str(_SOURCE), "-ldl"], check=True)
    return {"LD_PRELOAD": str(library)}


def cut_power(*servers: Process) -> None:
    """End servers at once, and take from their logs what was not synced; `start` finds the rest."""
    for server in servers:
        server.kill()
    for server in servers:
        for log in (server.folder / "appendonlydir").glob("*.incr.aof"):
            note = Path(f"{log}.synced")
            os.truncate(log, int(note.read_text()) if note.exists() else 0)
