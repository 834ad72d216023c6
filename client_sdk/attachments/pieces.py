"""Blocking work done off the event loop in short pieces, so that it reports and can be cancelled."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Callable, Generator
from typing import TypeVar

from client_sdk.attachments.progress import OnProgress, Progress

Result = TypeVar("Result")
Pieces = Generator[Progress, None, Result]
"""Yields after each piece and returns the result; its ``finally`` gives everything back."""


async def run_in_pieces(pieces: Pieces[Result], progress: OnProgress | None) -> Result:
    """Run ``pieces`` to its end in one worker thread; ``progress`` is called on the event loop.

    When it is cancelled, or ``progress`` raises, it stops after the piece being worked on, lets the generator
    clean up, and leaves nothing behind.
    """
    loop = asyncio.get_running_loop()
    stop = threading.Event()
    failures: list[Exception] = []

    def report(done: Progress) -> None:
        try:
            if progress is not None and not stop.is_set():
                progress(done)
        except Exception as error:
            failures.append(error)
            stop.set()

    def work() -> list[Result]:
        try:
            while not stop.is_set():
                loop.call_soon_threadsafe(report, next(pieces))
        except StopIteration as end:
            return [end.value]
        finally:
            pieces.close()
        return []

    try:
        result = await run_to_end(work, on_cancel=stop.set)
    finally:
        stop.set()
    if failures:
        raise failures[0]
    return result[0]


async def run_to_end(work: Callable[[], Result], *, on_cancel: Callable[[], None] = lambda: None) -> Result:
    """Run ``work`` in a worker thread and, even when cancelled, do not return before it has ended."""
    running = asyncio.ensure_future(asyncio.to_thread(work))
    try:
        return await asyncio.shield(running)
    except asyncio.CancelledError:
        on_cancel()
        await asyncio.wait([running])
        if not running.cancelled():
            running.exception()  # retrieved: whoever cancelled is not interested
        raise
