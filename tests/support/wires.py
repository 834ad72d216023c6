"""Loopback TCP proxies that a test controls: one spreads connections over several ports, each can be cut."""

from __future__ import annotations

import asyncio
import contextlib
import random
from collections.abc import Callable, Sequence

_CHUNK = 65_536


class Wire:
    """Forwards each connection to one of `targets()`, the first in a seeded order that accepts it.

    While `is_cut` nothing passes and nobody is told: as if packets were lost.
    """

    def __init__(self, targets: Callable[[], Sequence[int]], *, seed: int = 0) -> None:
        self._targets = targets
        self._random = random.Random(seed)
        self._server: asyncio.Server | None = None
        self._flows: set[asyncio.Task[None]] = set()
        self._open = asyncio.Event()
        self._open.set()
        self.port = 0

    async def start(self) -> None:
        self._server = await asyncio.start_server(self._serve, "127.0.0.1", self.port)
        self.port = self._server.sockets[0].getsockname()[1]

    def cut(self) -> None:
        """Let nothing pass, in neither direction."""
        self._open.clear()

    def mend(self) -> None:
        self._open.set()

    async def close(self) -> None:
        if self._server is not None:
            self._server.close()
        for flow in list(self._flows):
            flow.cancel()
        await asyncio.gather(*self._flows, return_exceptions=True)

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.current_task()
        if task is not None:
            self._flows.add(task)
            task.add_done_callback(self._flows.discard)
        try:
            await self._open.wait()
            there = await self._connect()
            if there is not None:
                await self._join(reader, writer, *there)
        except (OSError, asyncio.CancelledError):
            return
        finally:
            writer.close()

    async def _connect(self) -> tuple[asyncio.StreamReader, asyncio.StreamWriter] | None:
        targets = list(self._targets())
        self._random.shuffle(targets)
        for port in targets:
            with contextlib.suppress(OSError):
                return await asyncio.open_connection("127.0.0.1", port)
        return None

    async def _join(
        self,
        reader: asyncio.StreamReader,
        writer: asyncio.StreamWriter,
        their_reader: asyncio.StreamReader,
        their_writer: asyncio.StreamWriter,
    ) -> None:
        tasks = [
            asyncio.ensure_future(self._pump(reader, their_writer)),
            asyncio.ensure_future(self._pump(their_reader, writer)),
        ]
        try:
            await asyncio.wait(tasks, return_when=asyncio.FIRST_COMPLETED)
        finally:
            for task in tasks:
                task.cancel()
            await asyncio.gather(*tasks, return_exceptions=True)
            their_writer.close()

    async def _pump(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        while chunk := await reader.read(_CHUNK):
            await self._open.wait()
            writer.write(chunk)
            await writer.drain()
