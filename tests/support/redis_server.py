"""A real redis-server of a test's own: on a socket file, durable at every write, ended by its process id."""

from __future__ import annotations

import contextlib
import shutil
import signal
import subprocess
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Final

import redis

PROGRAM: Final = shutil.which("redis-server") or shutil.which("valkey-server")
MISSING: Final = "redis-server is not installed: apt-get install redis-server"
_START_SECONDS: Final = 20.0


class RedisServer:
    """One server with its data in a folder; `kill` and `start` again as often as a test likes."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._process: subprocess.Popen[bytes] | None = None
        self.url = f"unix://{folder / 'redis.sock'}"

    def start(self) -> None:
        """Start it, and return when it answers."""
        if PROGRAM is None:
            raise RuntimeError(MISSING)
        settings = {
            "port": "0",
            "unixsocket": str(self._folder / "redis.sock"),
            "dir": str(self._folder),
            "appendonly": "yes",
            "appendfsync": "always",
            "save": "",
        }
        options = [part for name, value in settings.items() for part in (f"--{name}", value)]
        with (self._folder / "redis.log").open("ab") as log:
            self._process = subprocess.Popen([PROGRAM, *options], stdout=log, stderr=log)
        self._wait()

    def kill(self) -> None:
        """SIGKILL: what it had not made durable is gone."""
        if self._process is not None:
            self._process.send_signal(signal.SIGKILL)
            self._process.wait()
            self._process = None
            (self._folder / "redis.sock").unlink(missing_ok=True)

    def empty(self) -> None:
        """Forget everything."""
        with contextlib.closing(redis.Redis.from_url(self.url)) as client:
            client.flushall()

    def _wait(self) -> None:
        deadline = time.monotonic() + _START_SECONDS
        with contextlib.closing(redis.Redis.from_url(self.url)) as client:
            while True:
                try:
                    client.ping()
                except redis.ConnectionError:  # BusyLoadingError, too: it still reads what it holds
                    if time.monotonic() > deadline:
                        raise
                else:
                    return


@contextlib.contextmanager
def redis_server() -> Iterator[RedisServer]:
    """A running server; a socket's path has to be short, so its folder is not pytest's."""
    with tempfile.TemporaryDirectory(prefix="redis-") as folder:
        server = RedisServer(Path(folder))
        server.start()
        try:
            yield server
        finally:
            server.kill()
