"""One person of the demo: a program that uses the SDK as any application does, told what to do line by line.

Reads lines such as `{"request": 1, "do": "send", "text": "..."}` and prints lines: answers,
`{"request": 1, "result": ...}` or `{"request": 1, "error": "..."}`, and what happens, `{"event": ...}`.
Where vault, relay and tokens are, the environment says. When its input ends, it ends.
"""

from __future__ import annotations

import asyncio
import json
import os
import sys
from collections.abc import Awaitable, Callable
from contextlib import AsyncExitStack
from typing import Any, Final

from client_sdk.attachments import Progress
from client_sdk.calls import Call, CallSettings
from client_sdk.cli.settings import Settings
from client_sdk.cli.tokens import token_source
from client_sdk.client import Client
from client_sdk.content import CheckIn, Question
from client_sdk.demo.reporting import as_fields, report
from client_sdk.engagement import Engagement
from client_sdk.engine import AnyItem, Changed, CheckInItem, FileItem, Person, Ring
from client_sdk.errors import CoachRelayError, UsageError

HISTORY: Final = 500
"""Items of the history that are compared: more than the story has."""


class _InputEnded(Exception):
    """The demo wants nothing more."""


class Participant:
    """What the program can be told to do: each `do_` coroutine is one command."""

    def __init__(self, stack: AsyncExitStack, tasks: asyncio.TaskGroup) -> None:
        self._stack = stack
        self._tasks = tasks
        self._client: Client | None = None
        self._engagement: Engagement | None = None
        self._ring: Ring | None = None
        self._call: Call | None = None

    async def do(self, command: str, arguments: dict[str, Any]) -> object:
        """Carry out one command; raises `CoachRelayError`."""
        method: Callable[..., Awaitable[object]] | None = getattr(self, f"do_{command}", None)
        if method is None:
            raise UsageError(f"There is no command {command}.")
        return await method(**arguments)

    # Joining

    async def do_open(self, engagement: str, name: str | None = None) -> str:
        """Open the vault (make it, the first time), connect, and report what comes; the user's id."""
        opening = Client.open(
            os.environ["COACH_VAULT"],
            passphrase=os.environ["COACH_PASSPHRASE"],
            relay=os.environ["COACH_RELAY"],
            token=token_source(Settings(token_url=os.environ["COACH_TOKEN_URL"])),
            name=name,
            call_settings=CallSettings(loopback=True),
            on_progress=_report_progress,
        )
        self._client = await self._stack.enter_async_context(opening)
        self._engagement = await self._client.engagement(engagement)
        self._tasks.create_task(self._report_items())
        return self._client.user

    async def do_people(self) -> dict[str, str]:
        """Everybody, once the others have joined and said what they are called: names by user id."""
        room = self._room
        await room.wait_joined()
        await room.wait_until(lambda: all(person.name != person.user for person in room.people))
        return {person.user: person.name for person in (*room.people, room.me)}

    async def do_safety(self, person: str) -> dict[str, str]:
        """Both safety numbers as this side sees them."""
        return {
            "own": _in_groups(self._room.me.safety_number),
            "theirs": _in_groups(self._person(person).safety_number),
        }

    async def do_verify(self, person: str) -> bool:
        """Mark the other as verified."""
        return (await self._room.verify(self._person(person))).verified

    # Talking

    async def do_send(self, text: str) -> str:
        """Say something; its id."""
        return (await self._room.send(text)).id.hex()

    async def do_check_in(self, prompt: str, questions: list[dict[str, Any]]) -> str:
        """Ask; the check-in's id."""
        asked = tuple(
            Question(**{**question, "choices": tuple(question.get("choices", ()))}) for question in questions
        )
        return (await self._room.send(CheckIn(prompt, asked))).id.hex()

    async def do_answer(self, checkin: str, answers: dict[str, int | str]) -> str:
        """Answer a check-in."""
        item = await self._find(checkin)
        if not isinstance(item, CheckInItem):
            raise UsageError("This is no check-in.")
        return (await self._room.answer(item, answers)).id.hex()

    async def do_wait_sent(self) -> None:
        """Wait until the relay has everything."""
        await self._room.wait_sent()

    async def do_caught_up(self) -> None:
        """Wait until everything is here that the relay has."""
        await self._room.wait_caught_up()

    async def do_outbox(self) -> int:
        """How many messages are on this device alone."""
        return len(self._room.outbox)

    async def do_history(self) -> list[dict[str, Any]]:
        """The history, the oldest first."""
        newest_first = await self._room.history(limit=HISTORY)
        return [as_fields(item) for item in reversed(newest_first)]

    # Files

    async def do_send_file(self, path: str) -> str:
        """Begin to send a file; its message's id."""
        return (await self._room.send_file(path, progress=_report_progress)).hex()

    async def do_save(self, item: str, folder: str) -> str:
        """Download a file; where it is."""
        found = await self._find(item)
        if not isinstance(found, FileItem):
            raise UsageError("This is no file.")
        return str(await found.save(folder, progress=_report_progress))

    # Calls

    async def do_call(self, media: str) -> None:
        """Call the others, sending a film."""
        self._call = await self._room.call(media=media)

    async def do_accept(self, record: str) -> None:
        """Take the call that rings, and record what comes."""
        if self._ring is None:
            raise UsageError("Nothing rings.")
        self._call = await self._ring.accept(record=record)

    async def do_words(self) -> list[str]:
        """The call's five words, once it is connected."""
        await self._live.wait_connected()
        return list(self._live.words or ())

    async def do_hang_up(self) -> None:
        """End the call."""
        await self._live.hang_up()

    async def do_wait_ended(self) -> dict[str, Any]:
        """Wait for the call's end, the recording included; how it went."""
        end = await self._live.ended()
        if self._live.recording_error is not None:
            raise self._live.recording_error
        return {"outcome": str(end.outcome), "seconds": end.seconds}

    # Within

    @property
    def _live(self) -> Call:
        if self._call is None:
            raise UsageError("There is no call.")
        return self._call

    async def _report_items(self) -> None:
        async for item in self._room.items():
            if isinstance(item, Ring):
                self._ring = item
                report(event="ring", sender=item.sender.user)
            elif not isinstance(item, Changed):
                report(event="item", **as_fields(item))

    @property
    def _room(self) -> Engagement:
        if self._engagement is None:
            raise UsageError("Nothing is open yet.")
        return self._engagement

    def _person(self, user: str) -> Person:
        return self._room.people.named(user)

    async def _find(self, item_id: str) -> AnyItem:
        for item in await self._room.history(limit=HISTORY):
            if item.id.hex() == item_id:
                return item
        raise UsageError("There is no such item.")


def _report_progress(progress: Progress) -> None:
    report(event="progress", phase=str(progress.phase), done=progress.done, total=progress.total)


def _in_groups(digits: str) -> str:
    return " ".join(digits[start : start + 5] for start in range(0, len(digits), 5))


async def _answer(participant: Participant, line: bytes) -> None:
    order: dict[str, Any] = json.loads(line)
    request, command = order.pop("request"), order.pop("do")
    try:
        report(request=request, result=await participant.do(command, order))
    except CoachRelayError as error:
        report(request=request, error=f"{error} ({error.code})")


async def main() -> None:
    """Do what the lines of standard input say, several things at once if told so, until they end."""
    reader = asyncio.StreamReader()
    loop = asyncio.get_running_loop()
    await loop.connect_read_pipe(lambda: asyncio.StreamReaderProtocol(reader), sys.stdin)
    try:
        async with AsyncExitStack() as stack, asyncio.TaskGroup() as tasks:
            participant = Participant(stack, tasks)
            while line := await reader.readline():
                tasks.create_task(_answer(participant, line))
            raise _InputEnded
    except* _InputEnded:
        pass


if __name__ == "__main__":
    asyncio.run(main())
