"""Requests to the relay and their answers, matched by number."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import Final, TypeVar

from client_sdk.errors import RelayRefused, RelayUnreachable
from client_sdk.transport import Incoming, Link
from relay.wire import frames as fr

MAX_PENDING: Final = 1024  # a request for each of a user's 256 engagements, and room for everything else
ANSWER_SECONDS: Final = 30.0  # a relay that has not answered by then has lost the request

_A = TypeVar("_A", bound=Incoming)


class Requests:
    """The requests of one client that wait for an answer; all of them fail when the connection breaks."""

    def __init__(self, link: Link) -> None:
        self._link = link
        self._waiting: dict[int, asyncio.Future[Incoming]] = {}

    async def ask(self, frame: Callable[[int], fr.DeviceFrame], answer: type[_A]) -> _A:
        """Send the frame made for a fresh request number and return its answer.

        Raises `RelayUnreachable` without a connection or an answer, `RelayRefused` with the relay's code.
        """
        if len(self._waiting) >= MAX_PENDING:
            raise RelayUnreachable("Too many requests wait for the relay's answer.")
        number = self._link.next_request()
        waiting = self._waiting[number] = asyncio.get_running_loop().create_future()
        try:
            self._link.send(frame(number))
            async with asyncio.timeout(ANSWER_SECONDS):
                found = await waiting
        except TimeoutError:
            raise RelayUnreachable("The relay does not answer a request.") from None
        finally:
            self._waiting.pop(number, None)
        if not isinstance(found, answer):
            raise RelayUnreachable("The relay answered something else.")
        return found

    def take(self, frame: Incoming) -> bool:
        """Whether this frame answers a request that waits here."""
        number = getattr(frame, "request", 0)
        waiting = self._waiting.get(number)
        if waiting is None or waiting.done():
            return False
        if isinstance(frame, fr.Error):
            waiting.set_exception(
                RelayRefused(f"The relay refused a request ({frame.code}).", code=frame.code)
            )
        else:
            waiting.set_result(frame)
        return True

    def fail_all(self) -> None:
        """The connection is gone, and no answer will come."""
        for waiting in self._waiting.values():
            if not waiting.done():
                waiting.set_exception(RelayUnreachable("The connection to the relay broke."))
