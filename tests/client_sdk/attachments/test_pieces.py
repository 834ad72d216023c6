"""Work in pieces: reports, results, errors, and being cancelled."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Generator

import pytest

from client_sdk.attachments.pieces import run_in_pieces
from client_sdk.attachments.progress import Phase, Progress


class Work:
    """Pieces that end only when told to."""

    def __init__(self) -> None:
        self.may_end = threading.Event()
        self.cleaned_up = False

    def pieces(self) -> Generator[Progress, None, str]:
        try:
            done = 0
            while not self.may_end.is_set():
                done += 1
                yield Progress(done, 0, Phase.SEAL)
                self.may_end.wait(0.001)
            return "done"
        finally:
            self.cleaned_up = True


async def test_it_reports_and_returns() -> None:
    work = Work()
    told: list[int] = []

    def tell(progress: Progress) -> None:
        told.append(progress.done)
        if progress.done == 5:
            work.may_end.set()

    assert await run_in_pieces(work.pieces(), tell) == "done"
    assert told[:5] == [1, 2, 3, 4, 5]
    assert work.cleaned_up


async def test_it_reports_on_the_event_loop() -> None:
    work = Work()
    threads: set[threading.Thread] = set()

    def tell(progress: Progress) -> None:
        threads.add(threading.current_thread())
        work.may_end.set()

    await run_in_pieces(work.pieces(), tell)
    assert threads == {threading.main_thread()}


async def test_cancelled_it_cleans_up_before_it_returns() -> None:
    work = Work()
    begun = asyncio.Event()
    task = asyncio.create_task(run_in_pieces(work.pieces(), lambda progress: begun.set()))
    await begun.wait()
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    assert work.cleaned_up


async def test_an_error_of_the_work_comes_out() -> None:
    def pieces() -> Generator[Progress, None, None]:
        yield Progress(1, 2, Phase.OPEN)
        raise LookupError("broken")

    with pytest.raises(LookupError, match="broken"):
        await run_in_pieces(pieces(), None)


async def test_an_observer_that_fails_stops_the_work() -> None:
    work = Work()

    def tell(progress: Progress) -> None:
        raise LookupError("the screen is gone")

    with pytest.raises(LookupError, match="screen"):
        await run_in_pieces(work.pieces(), tell)
    assert work.cleaned_up
