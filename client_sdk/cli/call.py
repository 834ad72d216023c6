"""`coach call`: calls the other person, or answers their call."""

from __future__ import annotations

import argparse
import asyncio
import logging
from pathlib import Path
from typing import Any, Final

from client_sdk import Ring
from client_sdk.calls import (
    Call,
    CalledAlready,
    CallNotConnected,
    Media,
    MediaUnavailable,
    Outcome,
    Phase,
    media_from_devices,
    media_from_file,
)
from client_sdk.calls.states import RING_SILENCE_SECONDS
from client_sdk.cli.errors import CliError, Exit
from client_sdk.cli.opened import Opened, opened
from client_sdk.cli.options import add_command, add_vault_options, seconds
from client_sdk.cli.printable import one_line
from client_sdk.cli.sending import report_sent

EXAMPLES = """\
  coach call ring --vault anna.vault --media film.mp4
  coach call answer --vault ben.vault --record call.mp4
"""
RING_EXAMPLES = """\
  coach call ring --vault anna.vault                         camera and microphone of this machine (Linux)
  coach call ring --vault anna.vault --media film.mp4 --seconds 30
"""
ANSWER_EXAMPLES = """\
  coach call answer --vault ben.vault --record call.mp4      waits for a call, and answers it
"""


_NO_CALL: Final = {
    Outcome.DECLINED: "They declined the call.",
    Outcome.MISSED: "Nobody answered.",
    Outcome.CANCELLED: "The call was cancelled.",
    Outcome.FAILED: "The call could not be connected: no way was found between the two networks.",
}

NO_TURN: Final = (
    "With --relay-only it needs a TURN server; `coach-relay doctor` tells the operator whether one works. "
    "Without --relay-only it may connect, and the other device then sees this one's network address."
)

GLARE: Final = "glare"
"""Why a call ends for which the other side's, begun at the same moment, counts."""

_log = logging.getLogger(__name__)


def register(commands: Any) -> None:
    """Add the command and its two actions."""
    parser = add_command(
        commands, "call", about="call the other, or answer their call", examples=EXAMPLES, run=None
    )
    actions = parser.add_subparsers(title="actions", metavar="ACTION", required=True)
    ringing = add_command(actions, "ring", about="call the other", examples=RING_EXAMPLES, run=ring)
    answering = add_command(actions, "answer", about="answer a call", examples=ANSWER_EXAMPLES, run=answer)
    for parser in (ringing, answering):
        parser.add_argument(
            "--media",
            type=Path,
            metavar="FILE",
            help="a film or sound file to send instead of camera and microphone",
        )
        parser.add_argument("--audio-only", action="store_true", help="sound without picture")
        parser.add_argument("--listen", action="store_true", help="send nothing, only see and hear the other")
        parser.add_argument(
            "--record", type=Path, metavar="FILE", help="keep what comes as an MP4 file; tell the other first"
        )
        parser.add_argument(
            "--seconds", type=seconds, metavar="NUMBER", help="hang up after so long; else Ctrl-C does"
        )
        parser.add_argument(
            "--loopback", action="store_true", help="the other is on this machine too, as for a trial"
        )
        parser.add_argument(
            "--relay-only",
            action="store_true",
            help="hide this device's network address from the other: the call goes by way of a TURN server",
        )
        parser.add_argument(
            "--no-report",
            action="store_true",
            help="do not let the relay count whether the call connected directly or by way of a TURN server",
        )
        add_vault_options(parser)
    answering.add_argument(
        "--wait", type=seconds, default=300.0, metavar="NUMBER", help="seconds to wait for a call (300)"
    )


async def ring(args: argparse.Namespace) -> Exit:
    """Call, and stay in the call."""
    async with opened(args) as here:
        await here.within(here.room.wait_caught_up())
        media = await _media(args)
        try:
            call = await here.room.call(media=media, record=args.record, video=not args.audio_only)
        except CalledAlready:
            return await _take_theirs(here, args, media)
        print("Calling … Ctrl-C hangs up.", flush=True)
        result = await _stay(call, here, args)
        gave_way = call.end is not None and call.end.reason == GLARE
        return await _take_theirs(here, args, await _media(args)) if gave_way else result


async def _take_theirs(here: Opened, args: argparse.Namespace, media: Media | None) -> Exit:
    """They called at the same moment and were a little earlier: both want this call, so it is taken."""
    print("They are calling you at this moment. Taking their call …", flush=True)
    found = await _next_ring(here, RING_SILENCE_SECONDS)
    return await _stay(await found.accept(media=media, record=args.record), here, args)


async def answer(args: argparse.Namespace) -> Exit:
    """Wait for a call, take it, and stay in it."""
    async with opened(args) as here:
        await here.within(here.room.wait_caught_up())
        print("Waiting for a call … Ctrl-C ends.", flush=True)
        found = await _next_ring(here, args.wait)
        print(f"{one_line(found.sender.name)} is calling.", flush=True)
        call = await found.accept(media=await _media(args), record=args.record)
        return await _stay(call, here, args)


async def _next_ring(here: Opened, patience: float) -> Ring:
    try:
        async with asyncio.timeout(patience):
            async for item in here.room.items():
                if isinstance(item, Ring):
                    return item
    except TimeoutError:
        pass
    raise CliError(
        f"Nobody called within {patience:.0f} s.", do="Wait longer with --wait, or call: coach call ring"
    )


async def _media(args: argparse.Namespace) -> Media | None:
    if args.listen:
        return None
    if args.media is not None and not args.media.is_file():
        raise CliError(f"There is no file {args.media}.", exit_code=Exit.USAGE)
    try:
        if args.media is not None:
            return await media_from_file(args.media)
        return await media_from_devices(camera=None if args.audio_only else "/dev/video0")
    except MediaUnavailable as error:
        raise CliError(
            "There is no camera or microphone here that can be used."
            if args.media is None
            else f"{args.media} is no film or sound file that can be played.",
            do="Send a film or sound file with --media FILE, or nothing with --listen.",
        ) from error


async def _stay(call: Call, here: Opened, args: argparse.Namespace) -> Exit:
    try:
        await call.wait_connected()
        print(f"Connected. Read these words to each other: {' '.join(call.words or ())}")
        print("Other words on the other side mean that somebody listens in: hang up then.", flush=True)
        async with asyncio.timeout(args.seconds):
            await _follow(call)
    except CallNotConnected as error:
        _log.info("not connected: %s", error.code)
    except (TimeoutError, asyncio.CancelledError):  # Ctrl-C is how one hangs up: nothing is wrong
        await call.hang_up()
    return await _report(call, here, args)


async def _follow(call: Call) -> None:
    """Until its end: another network means other words, which must be compared too."""
    shown, state = call.words, call.state
    while state is not Phase.ENDED:
        state = await call.next_state(state)
        if state is Phase.CONNECTED and call.words != shown:
            shown = call.words
            print(f"The network changed; you are connected again. The words are new: {' '.join(shown or ())}")


async def _report(call: Call, here: Opened, args: argparse.Namespace) -> Exit:
    end = await call.ended()
    if end.alarm is not None:
        raise end.alarm
    if call.recording_error is not None:
        raise call.recording_error
    if end.reason == GLARE:
        return Exit.FAILED
    if end.outcome is not Outcome.ANSWERED:
        print(_NO_CALL[end.outcome])
        if end.outcome is Outcome.FAILED and args.relay_only:
            print(NO_TURN)
        return Exit.FAILED
    print(f"The call is over; it lasted {end.seconds} s.")
    if args.record is not None:
        print(f"What came is in {args.record}.")
    # How it went is told to the other side by a message, which must not stay behind here.
    return await report_sent(here, "How the call went", quiet=True)
