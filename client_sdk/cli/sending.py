"""Waiting until what was said is at the relay, and saying so when it is not."""

from __future__ import annotations

import asyncio
import sys
from typing import Final

from client_sdk import CoachRelayError, Engagement, SecurityAlarm, WaitReason
from client_sdk.cli.errors import CliError, Exit, next_step_of
from client_sdk.cli.opened import Opened
from client_sdk.errors import AccessRefused
from relay.wire.errors import ErrorCode

PATIENCE_FOR_OTHERS: Final = 3.0
"""Seconds to wait for what only somebody else can change: it may be minutes or days."""

_UP_TO_OTHERS: Final = {WaitReason.NOBODY_THERE, WaitReason.NOT_JOINED, WaitReason.ENDED, WaitReason.UPDATE}


async def report_sent(here: Opened, what: str, *, quiet: bool = False) -> Exit:
    """Wait until the relay has everything that was said; say whether it does. Raises a `SecurityAlarm`.

    `quiet`: only if it does not.
    """
    try:
        await here.within(_sent_or_hopeless(here.room))
    except SecurityAlarm:
        raise
    except AccessRefused as error:
        if error.code != ErrorCode.DEVICE_REVOKED:
            return _kept(here.room, what, f"{error} {next_step_of(error)}")
        raise CliError(
            f"{what} is not sent, and stays in this vault. {error}", exit_code=Exit.RELAY
        ) from error
    except CoachRelayError as error:
        return _kept(here.room, what, f"{error} {next_step_of(error)}")
    if here.room.outbox:
        return _kept(here.room, what, "")
    if not quiet:
        print(f"{what} is sent.")
    return Exit.DONE


async def _sent_or_hopeless(room: Engagement) -> None:
    waits = asyncio.create_task(room.wait_sent())
    hopeless = asyncio.create_task(_hopeless(room))
    try:
        done, _rest = await asyncio.wait({waits, hopeless}, return_when=asyncio.FIRST_COMPLETED)
        for task in done:
            task.result()
    finally:
        waits.cancel()
        hopeless.cancel()
        await asyncio.gather(waits, hopeless, return_exceptions=True)


async def _hopeless(room: Engagement) -> None:
    """Return once it has been up to others for a while."""
    while True:
        await room.wait_until(lambda: _is_up_to_others(room))
        try:
            async with asyncio.timeout(PATIENCE_FOR_OTHERS):
                await room.wait_until(lambda: not _is_up_to_others(room))
        except TimeoutError:
            return


def _is_up_to_others(room: Engagement) -> bool:
    return any(entry.reason in _UP_TO_OTHERS for entry in room.outbox)


def _kept(room: Engagement, what: str, error: str) -> Exit:
    reason = error or next((str(entry.reason) for entry in room.outbox), "")
    print(f"{what} is not sent yet, and kept in your vault. {reason}", file=sys.stderr)
    print("It goes out with the next command that can send it.", file=sys.stderr)
    return Exit.WAITING
