"""What is asked while a batch is under way goes out with the next: no timer, never a round trip each."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Hashable
from typing import Final, Generic, TypeVar

from relay.errors import StoreError, StoreUnavailable

MAX_TOGETHER: Final = 1_024  # questions in one batch: more only make the first of them wait
_Q = TypeVar("_Q")
_A = TypeVar("_A")


class Together(Generic[_Q, _A]):
    """Asks `work` many questions at once; it answers each, or raises for all."""

    def __init__(self, work: Callable[[list[_Q]], Awaitable[list[_A]]]) -> None:
        self._work = work
        self._waiting: list[tuple[_Q, asyncio.Future[_A]]] = []
        self._task: asyncio.Task[None] | None = None

    async def ask(self, question: _Q) -> _A:
        """The answer; raises `StoreError`. Cancelled, it may have been done all the same."""
        future: asyncio.Future[_A] = asyncio.get_running_loop().create_future()
        self._waiting.append((question, future))
        if self._task is None:
            self._task = asyncio.get_running_loop().create_task(self._run())
        return await future

    async def settle(self) -> None:
        """Wait until nothing is under way."""
        while self._task is not None:
            await asyncio.wait([self._task])

    async def _run(self) -> None:
        try:
            while self._waiting:
                batch, self._waiting = self._waiting[:MAX_TOGETHER], self._waiting[MAX_TOGETHER:]
                await self._do(batch)
        finally:
            self._task = None
            for _, future in self._waiting:  # only if we were cancelled
                future.cancel()

    async def _do(self, batch: list[tuple[_Q, asyncio.Future[_A]]]) -> None:
        try:
            answers = await self._work([question for question, _ in batch])
        except Exception as error:
            for _, future in batch:
                if not future.done():
                    future.set_exception(_another(error))
            return
        for (_, future), answer in zip(batch, answers, strict=True):
            if not future.done():
                future.set_result(answer)


class Apart(Generic[_Q, _A]):
    """`Together` for each lane of questions: one whose server does not answer holds up no other."""

    def __init__(
        self, work: Callable[[list[_Q]], Awaitable[list[_A]]], lane_of: Callable[[_Q], Hashable]
    ) -> None:
        self._work = work
        self._lane_of = lane_of
        self._lanes: dict[Hashable, Together[_Q, _A]] = {}  # one for each server there has been: a few

    async def ask(self, question: _Q) -> _A:
        """As `Together.ask`."""
        lane = self._lane_of(question)
        together = self._lanes.get(lane)
        if together is None:
            together = self._lanes[lane] = Together(self._work)
        return await together.ask(question)

    async def settle(self) -> None:
        """Wait until nothing is under way."""
        await asyncio.gather(*[together.settle() for together in self._lanes.values()])


def _another(error: Exception) -> Exception:
    """The same for each who asked: one exception object would gather everybody's traceback."""
    if isinstance(error, StoreError):
        again = type(error)(*error.args)
        again.__cause__ = error
        return again
    failure = StoreUnavailable("the store failed in a way that it does not know")
    failure.__cause__ = error
    return failure
