"""Anna's line to the relay: passes bytes on, counts them, and can stop at a chosen byte."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from contextlib import suppress
from typing import Final

BLOCK: Final = 64 * 1024
HOST: Final = "127.0.0.1"


class Line:
    """A TCP line to `port` of this machine; `sent` counts what went towards the relay, in bytes."""

    def __init__(self, port: int) -> None:
        self.sent = 0
        self.stopped = asyncio.Event()
        """Set when the line has carried as much as `stop_after` allowed."""
        self._target = port
        self._limit: int | None = None
        self._watcher: Callable[[int], None] | None = None
        self._server: asyncio.Server | None = None
        self._tasks: set[asyncio.Task[None]] = set()

    async def open(self) -> None:
        """Begin to take connections."""
        self._server = await asyncio.start_server(self._carry, HOST, 0)

    @property
    def url(self) -> str:
        """The relay's address at the near end of the line."""
        if self._server is None:
            raise RuntimeError("the line is not open")
        return f"http://{HOST}:{self._server.sockets[0].getsockname()[1]}"

    def stop_after(self, size: int) -> None:
        """Carry `size` more bytes towards the relay and then no more, until `resume`."""
        self.stopped.clear()
        self._limit = self.sent + size

    def resume(self) -> None:
        """Carry whatever comes."""
        self._limit = None
        self.stopped.clear()

    def watch(self, watcher: Callable[[int], None] | None) -> None:
        """Have `watcher` told `sent` whenever it grows; None ends that."""
        self._watcher = watcher

    async def close(self) -> None:
        """End every connection, and take no more."""
        if self._server is not None:
            self._server.close()
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)

    async def _carry(self, near: asyncio.StreamReader, near_out: asyncio.StreamWriter) -> None:
        task = asyncio.current_task()
        if task is not None:
            self._tasks.add(task)
            task.add_done_callback(self._tasks.discard)
        try:
            far, far_out = await asyncio.open_connection(HOST, self._target)
        except OSError:  # the relay is down: as over any network, the connection ends
            near_out.close()
            return
        both = {
            asyncio.create_task(self._towards_relay(near, far_out)),
            asyncio.create_task(_pass(far, near_out)),
        }
        try:
            await asyncio.wait(both, return_when=asyncio.FIRST_COMPLETED)
        finally:
            for half in both:
                half.cancel()
            await asyncio.gather(*both, return_exceptions=True)
            for out in (near_out, far_out):
                out.close()

    async def _towards_relay(self, source: asyncio.StreamReader, sink: asyncio.StreamWriter) -> None:
        with suppress(ConnectionError):
            while block := await source.read(BLOCK):
                passed = block if self._limit is None else block[: max(0, self._limit - self.sent)]
                sink.write(passed)
                await sink.drain()
                self.sent += len(passed)
                if self._watcher is not None:
                    self._watcher(self.sent)
                if len(passed) < len(block):
                    self.stopped.set()
                    return


async def _pass(source: asyncio.StreamReader, sink: asyncio.StreamWriter) -> None:
    with suppress(ConnectionError):
        while block := await source.read(BLOCK):
            sink.write(block)
            await sink.drain()
